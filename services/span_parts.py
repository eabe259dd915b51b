"""What spans say: outcomes, attributes, and the events in their midst."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import msgspec

from warrener.domain import events as of_jobs
from warrener.domain import step_events as of_steps
from warrener.domain.events import Error, Event, JobEnded, JobRerun, JobSubmitted
from warrener.domain.spans import Attributes, SpanEvent
from warrener.domain.step_events import StepEvent, StepOpened, StepReleased

EVENTS_MAX: Final = 64  # of a span
LABEL: Final = "warrener.label."
OUTCOMES: Final[dict[type[Event], str]] = {
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
_TOLD: Final[dict[type[Event], str]] = {
    of_jobs.JobPaused: "paused",
    of_jobs.JobResumed: "resumed",
    of_jobs.JobCancelling: "cancelling",
    of_jobs.JobOverdue: "overdue",
    of_jobs.JobSignalled: "signalled",
    of_jobs.JobAdjusted: "adjusted",
    of_jobs.JobRerun: "begun anew",
}


class Story:
    """What the events of a job say of its present run."""

    def __init__(self) -> None:
        self.job: JobSubmitted | None = None
        self.run = 1
        self.begin: datetime | None = None
        self.events: list[SpanEvent] = []
        self._has_ended = False

    def add(self, event: Event) -> None:
        """Take the next event of the job."""
        if isinstance(event, JobSubmitted):
            self.job = event
        elif isinstance(event, JobEnded):
            self._has_ended = True
        elif self._has_ended and isinstance(event, JobRerun):
            self.run, self.begin = self.run + 1, event.at
            self.events, self._has_ended = [], False
        elif type(event) in _TOLD and len(self.events) < EVENTS_MAX:
            said = attributes_of(
                by=getattr(event, "by", None),
                reason=getattr(event, "reason", None),
                step=getattr(event, "step", None),
                signal=getattr(event, "name", None),
            )
            self.events.append(SpanEvent(_TOLD[type(event)], event.at, said))


def step_attributes(job: JobSubmitted, event: StepEvent, start: Event) -> Attributes:
    """Return what is known of an attempt or opened step from its beginning."""
    found = {
        **attributes_of(job=event.job, root=job.root),
        "warrener.job.name": job.name,
        "warrener.step.path": event.path,
    }
    if isinstance(start, StepReleased):
        about = {"attempt": start.attempt, "endpoint": start.endpoint, "queue": start.queue}
        return {**found, **attributes_of(**about)}
    if isinstance(start, StepOpened):
        about = {"child": start.child, "signal": start.signal, "items": start.count}
        return {**found, **attributes_of(**about)}
    return found


def step_events(event: StepEvent, between: list[Event], begin: datetime) -> tuple[SpanEvent, ...]:
    """Return what happened in the midst of an attempt."""
    found: list[SpanEvent] = []
    started = getattr(event, "started_at", None)
    for each in between:
        if isinstance(each, of_steps.StepStarted) and started is None:
            started = each.at
        elif isinstance(each, of_steps.StepProgressed):
            said = attributes_of(progress=each.progress, note=each.note)
            found.append(SpanEvent("progressed", each.at, said))
    if started is not None:
        found.insert(0, SpanEvent("started", started))
    if isinstance(event, of_steps.StepRetryScheduled):
        said = attributes_of(due=event.due.isoformat(), rule=event.rule)
        found.append(SpanEvent("retry scheduled", event.at, said))
    if isinstance(event, of_steps.StepParked):
        found.append(SpanEvent("waits for a user", event.at, attributes_of(request=event.request)))
    if isinstance(event, of_steps.StepCancelled | of_steps.StepSkipped):
        said = attributes_of(reason=event.reason)
        found.append(SpanEvent(OUTCOMES[type(event)], event.at, said))
    return within(found, begin, max(begin, event.at))


def within(found: Iterable[SpanEvent], begin: datetime, end: datetime) -> tuple[SpanEvent, ...]:
    """Return events within the bounds of their span: clocks differ, and are set."""
    return tuple(msgspec.structs.replace(each, at=min(max(each.at, begin), end)) for each in found)


def error_attributes(error: Error | None) -> Attributes:
    """Return what kind of failure an error is; its words are the span's own."""
    if error is None:
        return {}
    more = {"exception.type": error.type, "warrener.error.path": error.path}
    return {"error.type": error.code, **{k: v for k, v in more.items() if v is not None}}


def attributes_of(**values: Any) -> Attributes:
    """Return what is known of values as attributes of ours."""
    return {
        f"warrener.{name}": str(value) if isinstance(value, UUID) else value
        for name, value in values.items()
        if value is not None and value != ""
    }
