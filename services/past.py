"""The state of jobs at any point of their past, computed from their events alone."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from itertools import islice
from typing import Any, Final
from uuid import UUID

import msgspec

from warrener.domain.errors import UsageError
from warrener.domain.partitions import Logs
from warrener.domain.ports import EventStore, Positioned
from warrener.projections.apply import READ_MODELS, ReadModel
from warrener.projections.history import job_of
from warrener.projections.ports import Documents, ViewStore
from warrener.services.logs import LogSet, blob_of, log_of_job
from warrener.services.partial_log import PartialLog
from warrener.services.places import Place, Places
from warrener.services.queries import Queries
from warrener.services.shapes import HistoryLine, Shape, Show, Step, Time, TreeNode, format_time
from warrener.services.tree_queries import history_line
from warrener.services.why import moment_at

BATCH_EVENTS_MAX: Final = 10_000
MODELS: Final = tuple(model for model in READ_MODELS if model.name in ("jobs", "control"))

OpenViews = Callable[[Documents], ViewStore]  # what answers queries about documents
Blob = Callable[[str], bytes]
Tables = dict[str, dict[Any, Any]]


class Version(msgspec.Struct, frozen=True):
    """The number of an event in the stream of its job, from 1."""

    number: int


At = int | datetime | Version | None  # a position of the log, a time, a version, or the end


class Point(Shape, frozen=True, kw_only=True):
    """A point of the past: a position of the log and its time.

    `event` is the last one by then of the job and what is below it.
    """

    position: int
    at: Time
    event: HistoryLine


class Past(msgspec.Struct, frozen=True):
    """What there was at a point: a job, or with a step that one alone."""

    point: Point
    place: Place
    queries: Queries

    def show(self, *, whole: bool = True) -> Show:
        """Return the job as `Queries.show` does."""
        return self.queries.show(self.place.job, whole=whole)

    def step(self, *, whole: bool = True) -> Step:
        """Return the step as `Queries.step` does."""
        return self.queries.step(self.place, whole=whole)

    def tree(self, *, jobs_max: int = 500) -> TreeNode:
        """Return the job with those below it, as `Queries.tree` does."""
        return self.queries.tree(self.place.job, jobs_max=jobs_max)


def replay(
    logs: Logs, queries: Queries, place: Place, at: At, *, now: datetime, open_views: OpenViews
) -> Past:
    """Return what there was of a job or a step at a point; raises `UsageError`.

    Events are read one after the other and not kept; nothing but them is looked at.
    """
    log = log_of_job(logs, place.job)
    position, moment = point_of(log, place.job, at, now)
    last = _LastEvents(queries.tree_events(place.job, until=position))
    documents: Tables = {}
    fold(documents, last)
    if place.job not in last.by_job:
        raise _too_early(log, place.job, position)
    views = open_views(documents)
    event = last_of(Places(views), place.job, last.by_job)
    found = Point(position=position, at=format_time(moment), event=event)
    return Past(found, place, queries_of(views, lambda name: blob_of(logs, name)))


def point_of(log: EventStore, job: UUID, at: At, now: datetime) -> tuple[int, datetime]:
    """Return the position of a point, and the time there; raises `UsageError`."""
    if at is None:
        at = log.head()  # and not now: the answer is the same later
    if not isinstance(at, Version):
        moment = moment_at(log, at, now)
        return moment.position, moment.now
    position = log.position(job, at.number) if at.number > 0 else None
    if position is None:
        last = log.last(job)
        count = 0 if last is None else last.originator_version
        raise UsageError(f"job {job} has no version {at.number}: it has the versions 1 to {count}")
    return position, moment_at(log, position, now).now


def fold(documents: Tables, events: Iterable[Positioned]) -> None:
    """Bring documents up to events that come in the order of their streams."""
    source = iter(events)
    with _no_collection():
        while batch := list(islice(source, BATCH_EVENTS_MAX)):
            for model in MODELS:
                put(documents, fold_one(model, batch, documents))


def fold_one(model: ReadModel, batch: Sequence[Positioned], documents: Documents) -> Documents:
    """Return the documents of a read model that a batch changes, as they are after it."""
    own = [each for each in batch if isinstance(each.recorded.event, model.kinds)]
    return model.fold(own, documents) if own else {}


def put(documents: Tables, changes: Documents) -> None:
    """Put changed documents into their tables."""
    for table, views in changes.items():
        documents.setdefault(table, {}).update(views)


def queries_of(views: ViewStore, blob: Blob) -> Queries:
    """Return what answers from documents that were folded here."""
    return Queries(LogSet([PartialLog((), blob)]), views, folds=False)


def last_of(places: Places, job: UUID, last: Mapping[UUID, Positioned]) -> HistoryLine:
    """Return the last event of a job and what is below it, of the last ones of each job."""
    below = (each for own, each in last.items() if places.is_below(own, job))
    return line_of(places, max(below, key=lambda each: each.position), job)


def line_of(places: Places, event: Positioned, top: UUID) -> HistoryLine:
    """Return an event of a job, or of one below it, as users see it."""
    return history_line(event, places.path(job_of(event) or top, top))


class _LastEvents:
    """Passes events on, and remembers the last one of each job."""

    def __init__(self, events: Iterable[Positioned]) -> None:
        self._events = events
        self.by_job: dict[UUID, Positioned] = {}

    def __iter__(self) -> Iterator[Positioned]:
        for each in self._events:
            job = job_of(each)
            if job is not None:
                self.by_job[job] = each
            yield each


def _too_early(log: EventStore, job: UUID, position: int) -> UsageError:
    begun = log.position(job, 1)
    return UsageError(
        f"job {job} was not there at position {position}: it was submitted at position {begun}"
    )


@contextmanager
def _no_collection() -> Iterator[None]:
    """Spare the collector of cycles what is all kept anyway: it would look at it ever again."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
