"""What `doctor` says of the read models: how far behind they are, and what stopped them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, NamedTuple

from warrener.services.lag import Lag
from warrener.services.shapes import format_time

SECONDS_BEHIND_WARNED: Final = 60.0
NAMED_MAX: Final = 10
_STOPPED: Final = (
    "run a newer version of Warrener, then it goes on by itself; if this is the newest one, report"
    " the fault"
)
_ALONE: Final = "the next query catches up, or `warrener projector` does so all the time"
_BUSY: Final = "look at the logs of the projectors; start another one if they are busy"


class Finding(NamedTuple):
    """How things are, what was found, and what to do about it."""

    state: Literal["ok", "warning", "failed"]
    detail: str
    advice: str = ""


def findings(found: Sequence[Lag], projectors: int) -> list[Finding]:
    """Return a finding for each read model that has stopped, or one for all of them."""
    stopped = [each for each in found if each.stopped is not None]
    if stopped:
        named = [Finding("failed", _stopped(each), _STOPPED) for each in stopped[:NAMED_MAX]]
        more = len(stopped) - len(named)
        rest = Finding("failed", f"{more} more read models have stopped", _STOPPED)
        return [*named, *([rest] if more else [])]
    return [_behind(found, projectors)]


def _behind(found: Sequence[Lag], projectors: int) -> Finding:
    """Say how far the one that is furthest behind is; with a projector it ought not to be."""
    behind = [each for each in found if each.events]
    who = f"; projectors: {projectors}" if projectors else ""
    if not behind:
        return Finding("ok", f"up to date{who}")
    worst = max(behind, key=lambda each: (each.seconds, each.events))
    others = f" and {len(behind) - 1} more" if len(behind) > 1 else ""
    where = f"{worst.model} of partition {worst.partition}{others}"
    detail = f"{worst.events} events and {worst.seconds:.0f} s behind: {where}{who}"
    if not projectors:
        return Finding("ok", detail, _ALONE)
    state: Literal["ok", "warning"] = "warning" if worst.seconds > SECONDS_BEHIND_WARNED else "ok"
    return Finding(state, detail, _BUSY if state == "warning" else "")


def _stopped(found: Lag) -> str:
    stopped = found.stopped
    assert stopped is not None
    event = f" ({stopped.event})" if stopped.event else ""
    return (
        f"{found.model} stopped at position {stopped.position} of partition {found.partition}"
        f"{event}, first tried {format_time(stopped.at)}: {stopped.reason}"
    )
