"""What the events of a step's own stream mean for its document."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from warrener.domain.events import (
    Event,
    StepCancelled,
    StepEvent,
    StepFailed,
    StepOpened,
    StepReleased,
    StepRetryScheduled,
    StepStarted,
    StepSucceeded,
)
from warrener.domain.payloads import NULL
from warrener.projections.moves import move, open_fan_out, wait
from warrener.projections.views import StepView
from warrener.projections.working import Working


def apply_step_event(working: Working, event: StepEvent) -> None:
    """Bring the step's document, and what counts it, up to an event of its stream."""
    handler = _HANDLERS.get(type(event))
    step = working.step(event.job, event.path) if handler else None
    if handler is not None and step is not None:
        handler(working, step, event)
        working.settle(event.job)


def _released(working: Working, step: StepView, event: StepReleased) -> None:
    step.attempts = event.attempt
    step.endpoint, step.queue = event.endpoint, event.queue
    step.released_at, step.due = event.at, None
    step.started_at = step.ended_at = step.worker = None
    move(working, step, "released", event.at)


def _started(working: Working, step: StepView, event: StepStarted) -> None:
    step.started_at, step.worker = event.at, event.worker
    move(working, step, "running", event.at)


def _opened(working: Working, step: StepView, event: StepOpened) -> None:
    step.child = event.child
    if event.count is None:
        wait(working, step, event.at)
    else:
        open_fan_out(working, step, event.count, event.at)


def _retry_scheduled(working: Working, step: StepView, event: StepRetryScheduled) -> None:
    step.error, step.due = event.error, event.due
    step.worker = event.worker or step.worker
    move(working, step, "retrying", event.at)


def _succeeded(working: Working, step: StepView, event: StepSucceeded) -> None:
    step.result = event.result or NULL
    step.error = None
    move(working, step, "succeeded", event.at)
    _end_attempt(step, event)


def _failed(working: Working, step: StepView, event: StepFailed) -> None:
    step.error = event.error
    move(working, step, "failed", event.at)
    _end_attempt(step, event)


def _cancelled(working: Working, step: StepView, event: StepCancelled) -> None:
    step.reason, step.due = event.reason, None
    move(working, step, "cancelled", event.at)


def _end_attempt(step: StepView, event: StepSucceeded | StepFailed) -> None:
    """Take over worker and times of the attempt that ended the step, where one did."""
    step.due = None
    step.worker = event.worker or step.worker
    step.started_at = event.started_at or step.started_at
    step.ended_at = event.ended_at or event.at
    if event.attempt is not None and step.started_at is not None:
        step.seconds = _seconds(step.started_at, step.ended_at)


def _seconds(start: datetime, end: datetime) -> float:
    return max(0.0, (end - start).total_seconds())


_HANDLERS: dict[type[Event], Callable[[Working, StepView, Any], None]] = {
    StepReleased: _released,
    StepStarted: _started,
    StepOpened: _opened,
    StepRetryScheduled: _retry_scheduled,
    StepSucceeded: _succeeded,
    StepFailed: _failed,
    StepCancelled: _cancelled,
}
