"""What `show` says beside the bare states: who steered a job, what its steps do or wait for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from warrener.services.cli.output import (
    counts_text,
    error_text,
    moment,
    one_line,
    plain,
    share_text,
)

if TYPE_CHECKING:
    from warrener.services.shapes import Show, Steered, Step


def facts(shown: Show) -> dict[str, str]:
    """Return what people have done with a job, and what its clock and its signals say."""
    return {
        "paused": steered(shown.paused),
        "cancelled": steered(shown.cancelling),
        "rerun": steered(shown.rerun),
        "generation": "" if shown.generation == 1 else str(shown.generation),
        "deadline": _deadline(shown),
        "signals": _signals(shown),
        "closing": "everything but the clean-up has ended" if _cleans_up(shown) else "",
    }


def steered(asked: Steered | None) -> str:
    """Return who asked for something, when and why, such as `by ada at 12:00: lunch`."""
    if asked is None:
        return ""
    by = f"by {asked.by} " if asked.by else ""
    return f"{by}at {moment(asked.at)}" + (f": {asked.reason}" if asked.reason else "")


def note(step: Step) -> Text:
    """Return the last column of a step: what it waits for, how far it is, why it failed."""
    if step.waiting is not None:
        release = step.waiting.release
        told = f" ({release})" if release.startswith("warrener ") else ""
        return plain(one_line(f"{step.waiting.sentence}{told}", 300))
    if step.error is not None:
        caught = plain(f", caught by {step.caught_by}" if step.caught_by else "")
        return error_text(step.error.code, one_line(step.error.message)) + caught
    if step.progress is not None and step.state == "running":
        return share_text(step.progress) + plain(f" {one_line(step.note)}" if step.note else "")
    if step.items:
        return Text.assemble("items: ", counts_text(step.items))
    return plain(f"job {step.child}" if step.child else one_line(step.reason))


def _deadline(shown: Show) -> str:
    if shown.overdue_at is not None:
        return f"{moment(shown.deadline)}, passed"
    return moment(shown.deadline)


def _cleans_up(shown: Show) -> bool:
    return shown.closing and shown.ended_at is None


def _signals(shown: Show) -> str:
    names = [signal.name for signal in shown.signals]
    more = shown.signals_kept - len(names)
    told = [*names, f"{more} more"] if more > 0 else names
    return f"{', '.join(told)} (kept until a step waits for them)" if told else ""
