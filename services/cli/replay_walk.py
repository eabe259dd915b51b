"""`replay --step-through`: the events of a job one by one, with the state after each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import msgspec

from warrener.domain.errors import UsageError, WarrenerError
from warrener.domain.events import JobFailed
from warrener.domain.step_events import StepFailed, StepRetryScheduled
from warrener.services.causes import paths_of
from warrener.services.cli.keys import Keys
from warrener.services.cli.output import Output
from warrener.services.cli.replay_screen import Page, Scene, Screen

if TYPE_CHECKING:
    from uuid import UUID

    from warrener.domain.partitions import Logs
    from warrener.domain.ports import EventStore
    from warrener.services.cli.session import Session
    from warrener.services.places import Place
    from warrener.services.queries import Queries
    from warrener.services.walk import Walk

_FAILURES: Final = (StepFailed, StepRetryScheduled, JobFailed)


def check(output: Output) -> None:
    """Refuse what is no terminal, unless JSON is asked for."""
    import sys

    if not output.as_json and not (output.out.is_terminal and sys.stdin.isatty()):
        raise UsageError(
            "--step-through needs a terminal: --at POSITION shows one point,"
            " --step-through --json gives a line for each event"
        )


def step_through(
    session: Session, logs: Logs, queries: Queries, place: Place, *, at: Any, tree: bool
) -> None:
    """Go through the events of a job, from the beginning or the point `at`."""
    from warrener.services import wiring
    from warrener.services.logs import blob_of, log_of_job
    from warrener.services.partial_log import PartialLog
    from warrener.services.walk import Walk

    log = log_of_job(logs, place.job)
    events = PartialLog(queries.tree_events(place.job), lambda name: blob_of(logs, name))
    walk = Walk(events, place.job, wiring.open_past_views, tree=tree)
    number = 0 if at is None else _number_at(walk, log, at)
    if session.output.as_json:
        for line in _lines(walk, number):
            session.output.json(line)
        return
    with session.output.out.screen(hide_cursor=True) as opened:
        tour = _Tour(walk, log, Screen(session.output.out, opened.update), Keys())
        tour.go_through(number)


def _number_at(walk: Walk, log: EventStore, at: Any) -> int:
    """Return the number of the last event by a point of the past."""
    from warrener.services.past import point_of

    position, _ = point_of(log, walk.job, at, datetime.now(UTC))
    return max(0, sum(each.position <= position for each in walk.events) - 1)


def _lines(walk: Walk, first: int) -> Iterator[dict[str, Any]]:
    """Yield every event with its number, of how many, and what it changed."""
    from warrener.services.past import line_of

    for number in range(first, len(walk.events)):
        changes = walk.look(number)
        line = line_of(walk.places, walk.events[number], walk.job)
        count = {"number": number + 1, "count": len(walk.events)}
        yield {**count, **msgspec.structs.asdict(line), "changes": changes}


class _Tour:
    """The walk on a terminal: a key leads to another event, or to a page about this one."""

    def __init__(self, walk: Walk, log: EventStore, screen: Screen, keys: Keys) -> None:
        self._walk = walk
        self._log = log
        self._screen = screen
        self._keys = keys
        self._paths = paths_of(walk.log.last)
        self._number = 0
        self._note = ""

    def go_through(self, number: int) -> None:
        """Show events until the user has seen enough."""
        self._number = number
        pages: dict[str, Callable[[], Page | None]] = {
            "w": self._why,
            "d": self._data,
            "?": self._screen.help,
        }
        moves = self._moves()
        while True:
            scene = self._scene()
            self._screen.show(scene, self._note)
            key, self._note = self._next_key(), ""
            if key in ("q", "eof"):
                return
            if key in moves:
                moves[key]()
            elif key in pages:
                self._read_page(pages[key])

    def _next_key(self) -> str:
        try:
            return self._keys.next()
        except EOFError:
            return "eof"

    def _scene(self) -> Scene:
        from warrener.projections.history import job_of
        from warrener.services.causes import in_words
        from warrener.services.past import line_of

        event = self._walk.events[self._number]
        changes = self._walk.look(self._number)
        line = line_of(self._walk.places, event, self._walk.job)
        own = job_of(event) or self._walk.job
        return Scene(
            number=self._number + 1,
            count=len(self._walk.events),
            line=line,
            cause=in_words(line.cause, line.data, self._paths),
            above=self._walk.places.path(own, self._walk.job),
            show=self._walk.queries().show(own, whole=False),
            changes=changes,
        )

    # --- moving ----------------------------------------------------------------------------------

    def _moves(self) -> dict[str, Callable[[], None]]:
        forth, back = lambda: self._move(1), lambda: self._move(-1)
        return {
            **dict.fromkeys(("n", "right", "down", "space", "enter"), forth),
            **dict.fromkeys(("p", "left", "up", "backspace"), back),
            "home": lambda: self._move(-self._number),
            "end": lambda: self._move(len(self._walk.events)),
            "s": self._same_step,
            "f": self._failure,
            "g": self._jump,
        }

    def _move(self, by: int) -> None:
        wanted = self._number + by
        self._number = min(max(0, wanted), len(self._walk.events) - 1)
        if wanted == self._number + 1:
            self._note = "that was the last event"

    def _same_step(self) -> None:
        stream = self._walk.events[self._number].recorded.originator_id
        self._next(lambda each: each.recorded.originator_id == stream, "no later event of this")

    def _failure(self) -> None:
        self._next(lambda each: isinstance(each.recorded.event, _FAILURES), "no later failure")

    def _next(self, wanted: Callable[[Any], bool], none: str) -> None:
        later = range(self._number + 1, len(self._walk.events))
        found = next((each for each in later if wanted(self._walk.events[each])), None)
        if found is None:
            self._note = none
        else:
            self._number = found

    def _jump(self) -> None:
        from warrener.services.cli.replay import point

        typed = self._ask("go to (position, vN, time or age): ")
        if typed:
            try:
                at = point(typed, datetime.now(UTC))
                self._number = _number_at(self._walk, self._log, at)
            except WarrenerError as error:
                self._note = str(error)

    # --- pages -----------------------------------------------------------------------------------

    def _read_page(self, make: Callable[[], Page | None]) -> None:
        """Show a page until another key is pressed; the arrows move it."""
        page, first = make(), 0
        while page is not None:
            first = self._screen.page(page, first)
            key = self._next_key()
            if key not in ("down", "up", "space", "n", "p"):
                return
            first += self._screen.lines_of_page * (1 if key in ("down", "space", "n") else -1)

    def _data(self) -> Page:
        from warrener.services.past import line_of

        event = self._walk.events[self._number]
        line = line_of(self._walk.places, event, self._walk.job)
        text = msgspec.json.format(msgspec.json.encode(line), indent=2).decode()
        return Page(f"{line.type} at position {line.position}", text)

    def _why(self) -> Page | None:
        event = self._walk.events[self._number]
        own = getattr(event.recorded.event, "path", None)
        typed = self._ask(f"why of which step? (Enter: {own or 'the job'}) ")
        if typed is None:
            return None
        try:
            return self._answer(typed or own)
        except WarrenerError as error:
            self._note = str(error)
            return None

    def _answer(self, path: str | None) -> Page:
        from warrener.projections.history import job_of
        from warrener.services.why import LogPast, Moment, ask, locate

        event = self._walk.events[self._number]
        job: UUID = job_of(event) or self._walk.job
        past = LogPast(self._walk.log, Moment(event.position, event.recorded.event.at))
        found = ask(past, locate(past, job, path))
        waiting = found.waiting
        lines = [f"{found.state}: {waiting.sentence}"]
        lines += [f"since {waiting.since}"] if waiting.since else []
        lines += [f"released by: {waiting.release}"] if waiting.release else []
        lines += [
            f"{'  ' * each.depth}{each.kind} {each.path or each.id} {each.state}: {each.sentence}"
            for each in waiting.blockers
        ]
        return Page(f"why {path or 'the job'} at position {event.position}", "\n".join(lines))

    def _ask(self, question: str) -> str | None:
        try:
            return self._keys.answer(lambda typed: self._screen.ask(f"{question}{typed}"))
        except EOFError:
            return None
