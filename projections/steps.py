"""What the events of a step's own stream mean for its document."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from warrener.domain.events import Event
from warrener.domain.payloads import NULL
from warrener.domain.step_events import (
    StepCancelled,
    StepEvent,
    StepFailed,
    StepOpened,
    StepParked,
    StepProgressed,
    StepReadied,
    StepReleased,
    StepRenewed,
    StepRetryScheduled,
    StepSkipped,
    StepStarted,
    StepSucceeded,
)
from warrener.projections.moves import move, wait
from warrener.projections.views import StepView
from warrener.projections.working import Working


def apply_step_event(working: Working, event: StepEvent) -> None:
    """Bring the step's document, and what counts it, up to an event of its stream."""
    if isinstance(event, StepCancelled) and _is_late(working, event):
        return
    handler = _HANDLERS.get(type(event))
    step = working.step(event.job, event.path) if handler else None
    if handler is not None and step is not None:
        handler(working, step, event)
        working.settle(event.job)
        job = working.peek_job(event.job)
        if job is not None:
            working.totals.attempt(job.name, step.name, event)


def _is_late(working: Working, event: StepCancelled) -> bool:
    """Say whether a new generation has begun already; an item of the old one just ends."""
    if working.is_outlived(event.job, event.path):
        item = working.outlived(event.job, event.path)
        if item is not None:
            item.state, item.since, item.reason = "cancelled", event.at, event.reason
            item.due = item.until = item.request = item.signal = None
        return True
    return working.is_renewed(event.job, event.path)


def _released(working: Working, step: StepView, event: StepReleased) -> None:
    step.attempts = event.attempt
    step.endpoint, step.queue = event.endpoint, event.queue
    step.released_at = event.at
    step.started_at = step.ended_at = step.worker = step.progress = step.note = None
    move(working, step, "released", event.at)


def _started(working: Working, step: StepView, event: StepStarted) -> None:
    step.started_at, step.worker = event.at, event.worker
    move(working, step, "running", event.at)


def _progressed(working: Working, step: StepView, event: StepProgressed) -> None:
    step.progress, step.note, step.worker = event.progress, event.note, event.worker
    move(working, step, "running", event.at)


def _parked(working: Working, step: StepView, event: StepParked) -> None:
    step.worker = event.worker or step.worker
    move(working, step, "waiting_user", event.at)
    step.request, step.until = event.request, event.until


def _readied(working: Working, step: StepView, event: StepReadied) -> None:
    move(working, step, "ready", event.at)


def _renewed(working: Working, step: StepView, event: StepRenewed) -> None:
    if not step.is_item:
        step.generation = event.generation
    elif not step.state:
        move(working, step, "ready", event.at)


def _opened(working: Working, step: StepView, event: StepOpened) -> None:
    step.child = event.child
    if event.count is not None:
        step.count = event.count
    wait(working, step, event.at)
    if step.state == "waiting":
        step.signal, step.until, step.request = event.signal, event.until, event.request


def _retry_scheduled(working: Working, step: StepView, event: StepRetryScheduled) -> None:
    step.error = event.error
    step.worker = event.worker or step.worker
    move(working, step, "retrying", event.at)
    step.due = event.due


def _succeeded(working: Working, step: StepView, event: StepSucceeded) -> None:
    step.result = event.result or NULL
    step.error = step.progress = step.note = None
    move(working, step, "succeeded", event.at)
    _end_attempt(step, event)


def _failed(working: Working, step: StepView, event: StepFailed) -> None:
    step.error = event.error
    move(working, step, "failed", event.at)
    _end_attempt(step, event)


def _skipped(working: Working, step: StepView, event: StepSkipped) -> None:
    step.reason = event.reason
    move(working, step, "skipped", event.at)


def _cancelled(working: Working, step: StepView, event: StepCancelled) -> None:
    step.reason = event.reason
    move(working, step, "cancelled", event.at)


def _end_attempt(step: StepView, event: StepSucceeded | StepFailed) -> None:
    """Take over worker and times of the attempt that ended the step, where one did."""
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
    StepProgressed: _progressed,
    StepParked: _parked,
    StepReadied: _readied,
    StepRenewed: _renewed,
    StepSkipped: _skipped,
    StepRetryScheduled: _retry_scheduled,
    StepSucceeded: _succeeded,
    StepFailed: _failed,
    StepCancelled: _cancelled,
}
