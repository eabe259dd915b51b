"""`show --attempts`: every time that a step went out or began to wait, and what came of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING

from rich.text import Text

from warrener.services.cli.output import (
    Output,
    error_text,
    moment,
    one_line,
    plain,
    state_text,
    table,
)

if TYPE_CHECKING:
    from warrener.services.attempt_queries import Attempt
    from warrener.services.places import Place
    from warrener.services.queries import Queries

SHOWN_MAX = 1_000  # lines for people; as JSON all are given
_MESSAGE_CHARACTERS = 80


def show_attempts(output: Output, queries: Queries, place: Place, *, tree: bool) -> None:
    """Show the attempts of a step, or those of a job in order of time, or with what it started."""
    found = _attempts(queries, place, tree)
    if output.as_json:
        for attempt in found:
            output.json(attempt)
        return
    first = list(islice(found, SHOWN_MAX + 1))
    if not first:
        output.show("no attempts yet")
        return
    _show(output, first[:SHOWN_MAX], tree=tree and place.path is None)
    if len(first) > SHOWN_MAX:
        output.show(f"and more: only the first {SHOWN_MAX:,} are shown, --json gives all")


def _attempts(queries: Queries, place: Place, tree: bool) -> Iterator[Attempt]:
    if place.path is None:
        yield from queries.timeline(place.job, tree=tree)
        return
    last = -1
    while page := queries.attempts(place, after=last):
        yield from page
        last = page[-1].attempt


def _show(output: Output, attempts: Iterable[Attempt], *, tree: bool) -> None:
    rows = table("step", ">attempt", "outcome", "began", ">waited", ">ran", "worker", "note")
    for each in attempts:
        rows.add_row(
            plain(f"{str(each.job)[:8]}/{each.path}" if tree else each.path),
            str(each.attempt) if each.attempt else each.kind,
            state_text(each.outcome) if each.outcome else plain("under way", "cyan"),
            moment(each.begun_at),
            _seconds(each.seconds_waited),
            _seconds(each.seconds_ran),
            plain(each.worker or ""),
            _note(each),
        )
    output.show(rows)


def _note(attempt: Attempt) -> Text:
    if attempt.error_code:
        message = one_line(attempt.error_message, _MESSAGE_CHARACTERS)
        return error_text(attempt.error_code, message)
    return plain(str(attempt.child or attempt.signal or attempt.request or ""), "dim")


def _seconds(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds:.3f} s"
