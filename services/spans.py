"""From events of the log to spans: one for each attempt, each opened step and each job.

A span is made when the event is read that ends it, from the events of its stream before that one.
Of what is open a bounded number is remembered, to save that; nothing depends on it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from datetime import datetime
from itertools import islice
from typing import Any, Final, Generic, TypeVar
from uuid import UUID

import msgspec

from warrener.domain import events as of_jobs
from warrener.domain import ids
from warrener.domain import step_events as of_steps
from warrener.domain import trace_context as names
from warrener.domain.events import Error, Event, JobEnded, JobRerun, JobSubmitted, Recorded
from warrener.domain.ports import EventStore
from warrener.domain.spans import Attributes, Span, SpanEvent
from warrener.domain.step_events import StepEvent, StepOpened, StepReleased
from warrener.domain.trace_context import SpanContext

KNOWN_MAX: Final = 1_000  # jobs and opened steps that are remembered
OPEN_MAX: Final = 10_000  # attempts and openings that are remembered while they are open
EVENTS_MAX: Final = 64  # of a span
LABELS_MAX: Final = 20
WINDOW_EVENTS: Final = 16  # of a step's stream are looked at first; few attempts have more
_OUTCOMES: Final[dict[type[Event], str]] = {
    of_steps.StepSucceeded: "succeeded",
    of_steps.StepFailed: "failed",
    of_steps.StepRetryScheduled: "retrying",
    of_steps.StepParked: "waiting_user",
    of_steps.StepCancelled: "cancelled",
    of_steps.StepSkipped: "skipped",
    of_jobs.JobSucceeded: "succeeded",
    of_jobs.JobFailed: "failed",
    of_jobs.JobCancelled: "cancelled",
}
_ENDS: Final = tuple(kind for kind in _OUTCOMES if issubclass(kind, StepEvent))
_TOLD: Final[dict[type[Event], str]] = {
    of_jobs.JobPaused: "paused",
    of_jobs.JobResumed: "resumed",
    of_jobs.JobCancelling: "cancelling",
    of_jobs.JobOverdue: "overdue",
    of_jobs.JobSignalled: "signalled",
    of_jobs.JobAdjusted: "adjusted",
    of_jobs.JobRerun: "begun anew",
}
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
                **_step_attributes(job, event, start),
                "warrener.outcome": _OUTCOMES[type(event)],
                **_attributes(worker=getattr(event, "worker", None)),
                **_error_attributes(error),
            },
            events=_step_events(event, between, start.at),
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
        story = _Story()
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
                **_attributes(job=id_, root=job.root, run=story.run),
                "warrener.job.name": job.name,
                "warrener.job.version": job.version,
                **{f"warrener.label.{k}": v for k, v in islice(job.labels.items(), LABELS_MAX)},
                "warrener.outcome": _OUTCOMES[type(event)],
                **_error_attributes(error),
            },
            events=_within(story.events, begin, end),
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


class _Story:
    """What the events of a job say of its present run."""

    def __init__(self) -> None:
        self.job: JobSubmitted | None = None
        self.run = 1
        self.begin: datetime | None = None
        self.events: list[SpanEvent] = []
        self._has_ended = False

    def add(self, event: Event) -> None:
        if isinstance(event, JobSubmitted):
            self.job = event
        elif isinstance(event, JobEnded):
            self._has_ended = True
        elif self._has_ended and isinstance(event, JobRerun):
            self.run, self.begin = self.run + 1, event.at
            self.events, self._has_ended = [], False
        elif type(event) in _TOLD and len(self.events) < EVENTS_MAX:
            said = _attributes(
                by=getattr(event, "by", None),
                reason=getattr(event, "reason", None),
                step=getattr(event, "step", None),
                signal=getattr(event, "name", None),
            )
            self.events.append(SpanEvent(_TOLD[type(event)], event.at, said))


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


def _step_attributes(job: JobSubmitted, event: StepEvent, start: Event) -> Attributes:
    found = {
        **_attributes(job=event.job, root=job.root),
        "warrener.job.name": job.name,
        "warrener.step.path": event.path,
    }
    if isinstance(start, StepReleased):
        about = {"attempt": start.attempt, "endpoint": start.endpoint, "queue": start.queue}
        return {**found, **_attributes(**about)}
    if isinstance(start, StepOpened):
        about = {"child": start.child, "signal": start.signal, "items": start.count}
        return {**found, **_attributes(**about)}
    return found


def _step_events(event: StepEvent, between: list[Event], begin: datetime) -> tuple[SpanEvent, ...]:
    """Return what happened in the midst of an attempt."""
    found: list[SpanEvent] = []
    started = getattr(event, "started_at", None)
    for each in between:
        if isinstance(each, of_steps.StepStarted) and started is None:
            started = each.at
        elif isinstance(each, of_steps.StepProgressed):
            said = _attributes(progress=each.progress, note=each.note)
            found.append(SpanEvent("progressed", each.at, said))
    if started is not None:
        found.insert(0, SpanEvent("started", started))
    if isinstance(event, of_steps.StepRetryScheduled):
        said = _attributes(due=event.due.isoformat(), rule=event.rule)
        found.append(SpanEvent("retry scheduled", event.at, said))
    if isinstance(event, of_steps.StepParked):
        found.append(SpanEvent("waits for a user", event.at, _attributes(request=event.request)))
    if isinstance(event, of_steps.StepCancelled | of_steps.StepSkipped):
        said = _attributes(reason=event.reason)
        found.append(SpanEvent(_OUTCOMES[type(event)], event.at, said))
    return _within(found, begin, max(begin, event.at))


def _within(found: Iterable[SpanEvent], begin: datetime, end: datetime) -> tuple[SpanEvent, ...]:
    """Return events within the bounds of their span: clocks differ, and are set."""
    return tuple(msgspec.structs.replace(each, at=min(max(each.at, begin), end)) for each in found)


def _error_attributes(error: Error | None) -> Attributes:
    if error is None:
        return {}
    more = {"exception.type": error.type, "warrener.error.path": error.path}
    return {"error.type": error.code, **{k: v for k, v in more.items() if v is not None}}


def _attributes(**values: Any) -> Attributes:
    """Return what is known of values as attributes of ours."""
    return {
        f"warrener.{name}": str(value) if isinstance(value, UUID) else value
        for name, value in values.items()
        if value is not None and value != ""
    }
