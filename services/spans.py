"""From events of the log to spans: one for each attempt, each opened step and each job.

A span is made when the event is read that ends it, from the events of its stream before that one.
Of what is open a bounded number is remembered, to save that; nothing depends on it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from datetime import datetime
from itertools import islice
from typing import Final, Generic, TypeVar
from uuid import UUID

import msgspec

from warrener.domain import events as of_jobs
from warrener.domain import ids
from warrener.domain import trace_context as names
from warrener.domain.events import Error, Event, JobEnded, JobSubmitted, Recorded
from warrener.domain.ports import EventStore
from warrener.domain.spans import Span
from warrener.domain.step_events import StepEvent, StepOpened, StepReleased
from warrener.domain.trace_context import SpanContext
from warrener.services.span_parts import (
    EVENTS_MAX,
    LABEL,
    OUTCOMES,
    Story,
    attributes_of,
    error_attributes,
    step_attributes,
    step_events,
    within,
)

KNOWN_MAX: Final = 1_000  # jobs and opened steps that are remembered
OPEN_MAX: Final = 10_000  # attempts and openings that are remembered while they are open
LABELS_MAX: Final = 20
WINDOW_EVENTS: Final = 16  # of a step's stream are looked at first; few attempts have more
_ENDS: Final = tuple(kind for kind in OUTCOMES if issubclass(kind, StepEvent))
V = TypeVar("V")
Begun = tuple[Recorded | None, list[Event]]  # a release or opening, and what came after it


class Opening(msgspec.Struct, frozen=True):
    """A time that a step was opened: the version of the event in its stream, and what it says."""

    version: int
    at: datetime
    child: UUID | None


class Spans:
    """Makes spans of the events of one log, read in order."""

    def __init__(self, store: EventStore) -> None:
        """Take the log."""
        self._store = store
        self._jobs: _Known[JobSubmitted | None] = _Known(self._submission)
        self._openings: _Known[tuple[Opening, ...]] = _Known(self._opened)
        self._open: OrderedDict[UUID, Begun] = OrderedDict()

    def of(self, recorded: Recorded) -> Span | None:
        """Return the span that an event ends, None if it ends none."""
        event = recorded.event
        if isinstance(event, JobEnded):
            return self._of_job(recorded, event)
        if not isinstance(event, StepEvent):
            return None
        if isinstance(event, _ENDS):
            return self._of_step(recorded, event)
        self._remember(recorded)
        return None

    def _remember(self, recorded: Recorded) -> None:
        step = recorded.originator_id
        if isinstance(recorded.event, StepOpened):
            self._openings.forget(step)
        if isinstance(recorded.event, StepReleased | StepOpened):
            self._open[step] = (recorded, [])
            if len(self._open) > OPEN_MAX:
                self._open.popitem(last=False)
        elif step in self._open and len(self._open[step][1]) < EVENTS_MAX:
            self._open[step][1].append(recorded.event)

    # --- steps -----------------------------------------------------------------------------------

    def _of_step(self, ended: Recorded, event: StepEvent) -> Span | None:
        begun, between = self._begun(ended)
        job = self._jobs.get(event.job)
        if begun is None or job is None:
            return None
        step, start = ended.originator_id, begun.event
        if isinstance(start, StepReleased):
            span, sends = names.span_of_attempt(step, start.attempt), True
        else:
            span, sends = names.span_of_opening(step, begun.originator_version), False
        error: Error | None = getattr(event, "error", None)
        return Span(
            context=SpanContext(names.trace_of(job.root), span),
            parent=self._parent_of_step(event, start.at),
            name=ids.split_path(event.path)[0],
            begin=start.at,
            end=max(start.at, event.at),
            sends=sends,
            attributes={
                **step_attributes(job, event, start),
                "warrener.outcome": OUTCOMES[type(event)],
                **attributes_of(worker=getattr(event, "worker", None)),
                **error_attributes(error),
            },
            events=step_events(event, between, start.at),
            error=None if error is None else error.message,
        )

    def _begun(self, ended: Recorded) -> Begun:
        """Return the release or opening that an event ends, and what came in between."""
        known = self._open.pop(ended.originator_id, None)
        if known is not None:
            return known
        last = ended.originator_version
        window = max(0, last - WINDOW_EVENTS)
        found = _fold(self._store.stream(ended.originator_id, window), last)
        if found[0] is None and window:
            found = _fold(self._store.stream(ended.originator_id), last)
        return found

    def _parent_of_step(self, event: StepEvent, at: datetime) -> str:
        name, index = ids.split_path(event.path)
        if index is not None:
            openings = self._openings.get(fan_out := ids.step_id(event.job, name))
            before = [each for each in openings if each.at <= at]
            if before:
                return names.span_of_opening(fan_out, before[-1].version)
        return names.span_of_job(event.job)

    def _opened(self, step: UUID) -> tuple[Opening, ...]:
        return tuple(
            Opening(recorded.originator_version, recorded.event.at, recorded.event.child)
            for recorded in self._store.stream(step)
            if isinstance(recorded.event, StepOpened)
        )

    # --- jobs ------------------------------------------------------------------------------------

    def _of_job(self, ended: Recorded, event: JobEnded) -> Span | None:
        """Return the span of a job's run.

        The first is the parent of those of later runs, which people began after its end.
        """
        story = Story()
        for recorded in self._store.stream(ended.originator_id):
            if recorded.originator_version >= ended.originator_version:
                break
            story.add(recorded.event)
        job, id_ = story.job, ended.originator_id
        if job is None:
            return None
        begin = story.begin or job.at
        end = max(begin, event.at)
        caller = names.parsed(job.traceparent) if story.run == 1 else None
        error: Error | None = getattr(event, "error", None)
        return Span(
            context=SpanContext(names.trace_of(job.root), names.span_of_job(id_, story.run)),
            parent=self._parent_of_job(job, id_) if story.run == 1 else names.span_of_job(id_),
            name=job.name,
            begin=begin,
            end=end,
            attributes={
                **attributes_of(job=id_, root=job.root, run=story.run),
                "warrener.job.name": job.name,
                "warrener.job.version": job.version,
                **{LABEL + k: v for k, v in islice(job.labels.items(), LABELS_MAX)},
                "warrener.outcome": OUTCOMES[type(event)],
                **error_attributes(error),
            },
            events=within(story.events, begin, end),
            links=() if caller is None else (caller,),
            error=None if error is None else error.message,
        )

    def _parent_of_job(self, job: JobSubmitted, id_: UUID) -> str | None:
        if job.parent is None:
            return None
        for opening in self._openings.get(job.parent.step):
            if opening.child == id_:
                return names.span_of_opening(job.parent.step, opening.version)
        return names.span_of_job(job.parent.job)

    def _submission(self, job: UUID) -> JobSubmitted | None:
        return of_jobs.event_of(next(iter(self._store.stream(job)), None), JobSubmitted)


class _Known(Generic[V]):
    """Facts about streams, looked up once; a bounded number is kept."""

    def __init__(self, look_up: Callable[[UUID], V]) -> None:
        self._look_up = look_up
        self._found: OrderedDict[UUID, V] = OrderedDict()

    def get(self, stream: UUID) -> V:
        if stream in self._found:
            self._found.move_to_end(stream)
            return self._found[stream]
        found = self._found[stream] = self._look_up(stream)
        if len(self._found) > KNOWN_MAX:
            self._found.popitem(last=False)
        return found

    def forget(self, stream: UUID) -> None:
        self._found.pop(stream, None)


def _fold(events: Iterable[Recorded], last: int) -> Begun:
    """Return the release or opening that is open before version `last`, and what followed it."""
    begun: Recorded | None = None
    between: list[Event] = []
    for recorded in events:
        if recorded.originator_version >= last:
            break
        if isinstance(recorded.event, StepReleased | StepOpened):
            begun, between = recorded, []
        elif isinstance(recorded.event, _ENDS):
            begun, between = None, []
        elif len(between) < EVENTS_MAX:
            between.append(recorded.event)
    return begun, between
