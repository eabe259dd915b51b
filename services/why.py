"""Why something does not run, now or at any time before: reads the log for `projections.why`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from difflib import get_close_matches
from uuid import UUID

import msgspec

from warrener.domain import ids
from warrener.domain.errors import (
    ExpressionError,
    StoredDataError,
    StoreUnavailable,
    UnknownJob,
    UsageError,
)
from warrener.domain.job_state import Job
from warrener.domain.plan import Plan
from warrener.domain.ports import EventStore, Leases, Positioned
from warrener.domain.step_events import StepOpened
from warrener.projections.why import model
from warrener.projections.why.explain import explain
from warrener.projections.why.model import Answer, Place
from warrener.projections.why.tales import JobTale, Tales
from warrener.services.active_job import ActiveJob, Tree, read_payload
from warrener.services.log_at import PAGE_EVENTS, LogAt
from warrener.services.shapes import Blocker, Waiting, Why, format_time, optional_time

UNREADABLE = "unreadable"

Progress = Callable[[int, int], None]  # position, and that of the last event to be read

_SEGMENT = re.compile(r"[^/\[\]]+(\[\d{1,18}\])?", re.ASCII)


class Moment(msgspec.Struct, frozen=True):
    """A position of the log and the time that is asked about; `out_from` is only of the present.

    All orders that are out now were sent after position `out_from`.
    """

    position: int
    now: datetime
    out_from: int | None = None


def moment_at(store: EventStore, at: int | datetime | None, now: datetime) -> Moment:
    """Return the moment of a position or a time, None for the present; raises `UsageError`.

    At a time the log ended with the last event at or before it. Where clocks were set back there
    may be several such places, and one of them is taken.
    """
    if at is None:
        return _present(store, now)
    head = store.head()
    if isinstance(at, int):
        if not 1 <= at <= head:
            raise UsageError(f"there is no position {at}: the log has the positions 1 to {head}")
        return Moment(at, _time_of(store, at))
    if at > now:
        raise UsageError(f"{format_time(at)} is yet to come: it is {format_time(now)}")
    position = _last_before(store, at, head)
    if position == 0:
        begins = f"it begins at {format_time(_time_of(store, 1))}" if head else "it is empty"
        raise UsageError(f"the log has nothing from {format_time(at)} or before: {begins}")
    return Moment(position, at)


def _present(store: EventStore, now: datetime) -> Moment:
    """Return the present. Roots that open while we look open after the head we saw first."""
    first_seen = store.head()
    oldest = next(iter(store.open_roots()), None)
    submitted = None if oldest is None else store.position(oldest, 1)
    out_from = first_seen if submitted is None else min(submitted - 1, first_seen)
    return Moment(store.head(), now, out_from)


def _time_of(store: EventStore, position: int) -> datetime:
    found = store.read(position - 1, 1)
    if not found:
        raise StoredDataError(f"position {position} of the log is missing")
    return found[0].recorded.event.at


def _last_before(store: EventStore, at: datetime, head: int) -> int:
    low, high = 0, head
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if _time_of(store, middle) <= at else (low, middle - 1)
    return low


class LogPast:
    """The log up to a moment, as `projections.why` reads it."""

    def __init__(
        self,
        store: EventStore,
        moment: Moment,
        leases: Callable[[], Leases] | None = None,
        on_progress: Progress | None = None,
        partition: int = 0,
        *,
        partitions: int = 1,
    ) -> None:
        """Take the log of one of the partitions; `leases` tells who works on it now."""
        self._partition = partition
        self.partitions = partitions
        self.log = LogAt(store, moment.position)
        self.now = moment.now
        self.stream = self.log.stream
        self.last = self.log.last
        self.position = self.log.position
        self._moment = moment
        self._leases = leases
        self._on_progress = on_progress
        self._keeper: str | None = None
        self._silent_since: datetime | None = None

    @property
    def silent_since(self) -> datetime | None:
        """Return the time of the last event."""
        if self._silent_since is None and self._moment.position:
            self._silent_since = _time_of(self.log, self._moment.position)
        return self._silent_since

    def limit_keys(self, job: Job, plan: Plan, path: str) -> list[str]:
        """Return the evaluated keys of the limits of a step, as the controller evaluates them."""
        name, index = ids.split_path(path)
        active = ActiveJob(job, plan, Tree(job), self.log)
        if index is not None:
            active.items[name] = items = self._items(ids.step_id(job.id, name))
            if index >= len(items):
                raise ExpressionError(f"the items of {name} are not there yet")
        return active.limit_keys(name, index)

    def out(self, whole: bool) -> Iterator[Positioned]:
        """Return the events that tell what is out, with `whole` from the beginning of the log."""
        out_from = self._moment.out_from
        after = 0 if whole or out_from is None else out_from
        while page := self.log.read(after, PAGE_EVENTS):
            yield from page
            after = page[-1].position
            if self._on_progress is not None:
                self._on_progress(after, self._moment.position)

    def keeper(self) -> str:
        """Return who holds the lease of the log now; "" about the past."""
        if self._keeper is None:
            self._keeper = self._kept_by()
        return self._keeper

    def _kept_by(self) -> str:
        if self._leases is None or self._moment.out_from is None:
            return ""
        try:
            leases = self._leases()
            try:
                holder = leases.holder(self._partition)
            finally:
                leases.close()
        except StoreUnavailable:
            return "who holds its lease cannot be read"
        if holder is not None and holder[1] > self.now:
            return f"reactor {holder[0]} holds its lease until {format_time(holder[1])}"
        return "no reactor holds its lease: start one with `warrener reactor` or `warrener run`"

    def _items(self, fan_out: UUID) -> list[object]:
        opened = [each.event for each in self.stream(fan_out)]
        found = [event.items for event in opened if isinstance(event, StepOpened)]
        values: list[object] = read_payload(found[-1], self.log) if found else []
        return values


def ask(past: LogPast, place: Place) -> Why:
    """Return why a job or a step is in its state."""
    return shape_of(explain(past, place), past)


def locate(past: LogPast, job: UUID, path: str | None = None) -> Place:
    """Return the place below a job that a path such as `groups[3]/merge` names.

    Raises `UnknownJob` if it was not there at the moment.
    """
    tales = Tales(past)
    tale = tales.job(job)
    if tale is None:
        raise _not_yet(past, job)
    if path is None:
        return Place(job)
    *above, last = path.split("/")
    for segment in above:
        _check(tale, segment)
        begun = tales.step(tale, segment)
        child = tales.job(begun.step.child) if begun and begun.step.child else None
        if child is None:
            raise UnknownJob(f"step {segment!r} of job {tale.job.id} has started no job by then")
        tale = child
    _check(tale, last)
    _check_item(tales, tale, last)
    return Place(tale.job.id, last)


def _check(tale: JobTale, path: str) -> None:
    if not _SEGMENT.fullmatch(path):
        raise UnknownJob(f"{path!r} is not the path of a step, such as merge or groups[3]")
    name, _ = ids.split_path(path)
    if name not in tale.plan.steps:
        raise UnknownJob(f"job {tale.job.id} has no step {name!r}: {_hint(name, tale.plan.steps)}")


def _check_item(tales: Tales, tale: JobTale, path: str) -> None:
    name, index = ids.split_path(path)
    if index is None:
        return
    opened = [
        each.event
        for each in tales.past.stream(ids.step_id(tale.job.id, name))
        if isinstance(each.event, StepOpened)
    ]
    count = (opened[-1].count or 0) if opened and tales.step(tale, name) else 0
    if index >= count:
        job = tale.job.id
        raise UnknownJob(f"step {name!r} of job {job} has no item {index}: it has {count} by then")


def _hint(name: str, known: Iterable[str]) -> str:
    names = list(known)
    near = get_close_matches(name, names, n=1)
    return f"did you mean {near[0]!r}?" if near else f"it has {', '.join(names)}"


def _not_yet(past: LogPast, job: UUID) -> UnknownJob:
    return UnknownJob(f"no job has the id {job} at {format_time(past.now)}")


def shape_of(answer: Answer, past: LogPast) -> Why:
    """Return an answer as users see it."""
    waiting = Waiting(
        kind=answer.kind,
        since=optional_time(answer.since),
        until=optional_time(answer.until),
        sentence=answer.sentence,
        blockers=tuple(map(_blocker, answer.blockers)),
        release=answer.release,
    )
    return Why(
        job=answer.place.job,
        step=answer.place.path,
        state=answer.state,
        waiting=waiting,
        at=format_time(past.now),
        position=past.log.head(),
    )


def _blocker(blocker: model.Blocker) -> Blocker:
    return Blocker(
        kind=blocker.kind,
        id=blocker.id,
        path=blocker.path,
        state=blocker.state,
        job=blocker.job,
        since=optional_time(blocker.since),
        sentence=blocker.sentence,
        depth=blocker.depth,
    )


def unreadable(error: Exception, now: datetime) -> Why:
    """Return the answer where the store cannot be read: then nothing moves."""
    waiting = Waiting(
        kind="store",
        since=None,
        until=None,
        sentence=f"cannot be told, and nothing moves: {error}",
        blockers=(),
        release="a store that can be read: `warrener doctor` says what is wrong",
    )
    return Why(
        job=None, step=None, state=UNREADABLE, waiting=waiting, at=format_time(now), position=None
    )
