"""What the events of a job's stream mean for its document and for those of its steps."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any
from uuid import UUID

from warrener.domain.events import (
    Event,
    JobAdvanced,
    JobCancelled,
    JobCancelling,
    JobEvent,
    JobFailed,
    JobStarted,
    JobSubmitted,
    JobSucceeded,
)
from warrener.domain.ids import item_path
from warrener.domain.payloads import NULL
from warrener.domain.states import STEP_ENDED
from warrener.projections.moves import move, open_fan_out, wait
from warrener.projections.views import JOBS, JobView
from warrener.projections.working import Working


def apply_job_event(working: Working, job: UUID, event: JobEvent) -> None:
    """Bring the documents of a job and its steps up to an event of the job's stream."""
    handler = _HANDLERS.get(type(event))
    if handler is not None:
        handler(working, job, event)
        working.settle(job)


def _submitted(working: Working, job: UUID, event: JobSubmitted) -> None:
    working.put(JOBS, _new_job(working, job, event))
    definition = working.definition(event.definition)
    working.delta.named += definition.steps if definition else 0
    for name, given in event.given.items():
        step = working.step(job, name)
        if step is not None:
            step.result, step.error = given.result or NULL, given.error
            move(working, step, given.state, event.at)


def _new_job(working: Working, job: UUID, event: JobSubmitted) -> JobView:
    above = working.peek_job(event.parent.job) if event.parent else None
    return JobView(
        job=job,
        name=event.name,
        version=event.version,
        definition=event.definition,
        state="submitted",
        params=event.params,
        root=event.root,
        submitted_at=event.at,
        parent=event.parent,
        ancestors=(*above.ancestors, above.job) if above else (),
        depth=event.depth,
        labels=event.labels,
        priority=event.priority,
        fair=event.fair,
    )


def _started(working: Working, job: UUID, event: JobStarted) -> None:
    view = working.job(job)
    if view is not None:
        view.state, view.started_at = "running", event.at


def _advanced(working: Working, job: UUID, event: JobAdvanced) -> None:
    _ready_steps(working, job, event)
    for name, child in event.children.items():
        step = working.step(job, name)
        if step is not None:
            step.child = child
            wait(working, step, event.at)
    _advance_fan_outs(working, job, event)
    for name, ends in event.items.items():
        for state, indexes in ends.items():
            _settle(working, job, (item_path(name, index) for index in indexes), state, event)
    for name, state in event.settled.items():
        _settle(working, job, (name,), state, event)


def _ready_steps(working: Working, job: UUID, event: JobAdvanced) -> None:
    for name in event.readied:
        step = working.step(job, name)
        if step is not None:
            step.ready_at = step.ready_at or event.at
            if not step.state:
                move(working, step, "ready", event.at)


def _advance_fan_outs(working: Working, job: UUID, event: JobAdvanced) -> None:
    for name, shape in event.fan_outs.items():
        step = working.step(job, name)
        if step is not None:
            step.window, step.tolerated = shape.window, shape.tolerated
            open_fan_out(working, step, shape.count, event.at)
    for name, begun in event.begun.items():
        step = working.step(job, name)
        if step is not None:
            working.delta.begun += begun - step.begun
            step.begun = begun
            if not step.state:
                wait(working, step, event.at)


def _settle(
    working: Working, job: UUID, paths: Iterable[str], state: str, event: JobAdvanced
) -> None:
    """Give steps their final state, unless their own streams have said so already."""
    for path in paths:
        step = working.step(job, path)
        if step is not None and step.state not in STEP_ENDED:
            step.due = None
            move(working, step, state, event.at)


def _cancelling(working: Working, job: UUID, event: JobCancelling) -> None:
    view = working.job(job)
    if view is not None:
        view.state, view.reason = "cancelling", event.reason


def _succeeded(working: Working, job: UUID, event: JobSucceeded) -> None:
    view = working.job(job)
    if view is not None:
        view.state, view.ended_at = "succeeded", event.at
        view.result = event.result or NULL


def _failed(working: Working, job: UUID, event: JobFailed) -> None:
    view = working.job(job)
    if view is not None:
        view.state, view.ended_at, view.error = "failed", event.at, event.error


def _cancelled(working: Working, job: UUID, event: JobCancelled) -> None:
    view = working.job(job)
    if view is not None:
        view.state, view.ended_at = "cancelled", event.at
        view.reason = event.reason or view.reason


_HANDLERS: dict[type[Event], Callable[[Working, UUID, Any], None]] = {
    JobSubmitted: _submitted,
    JobStarted: _started,
    JobAdvanced: _advanced,
    JobCancelling: _cancelling,
    JobSucceeded: _succeeded,
    JobFailed: _failed,
    JobCancelled: _cancelled,
}
