"""What the events of a job's stream mean for its document and for those of its steps."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any
from uuid import UUID

from warrener.domain.events import (
    Event,
    JobAdjusted,
    JobAdvanced,
    JobCancelled,
    JobCancelling,
    JobEvent,
    JobFailed,
    JobOverdue,
    JobPaused,
    JobRerun,
    JobResumed,
    JobSignalled,
    JobStarted,
    JobSteered,
    JobSubmitted,
    JobSucceeded,
    Parent,
)
from warrener.domain.ids import item_path, split_path
from warrener.domain.payloads import NULL
from warrener.domain.states import STEP_ENDED
from warrener.projections.moves import move, wait
from warrener.projections.views import JOBS, SIGNALS_NAMED_MAX, JobView, KeptSignal, Steered
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
    working.delta.add({"pending": definition.steps} if definition else {})
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
        above=_above(above, event.parent),
        depth=event.depth,
        labels=event.labels,
        priority=event.priority,
        fair=event.fair,
        deadline=event.deadline,
    )


def _above(above: JobView | None, parent: Parent | None) -> tuple[tuple[UUID, str], ...]:
    if above is None or parent is None:
        return ()
    return *above.above, (above.job, split_path(parent.path)[0])


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
    for name, handler in event.caught.items():
        step = working.step(job, name)
        if step is not None:
            step.caught_by = handler
    if event.heard or event.closing:
        _take_note(working, job, event)


def _take_note(working: Working, job: UUID, event: JobAdvanced) -> None:
    """Note what an advance says about the job itself."""
    view = working.job(job)
    if view is not None:
        view.signals = tuple(each for each in view.signals if each.key not in event.heard)
        view.signals_kept = max(0, view.signals_kept - len(event.heard))
        view.closing = view.closing or event.closing


def _ready_steps(working: Working, job: UUID, event: JobAdvanced) -> None:
    for name in event.readied:
        step = working.step(job, name)
        if step is not None:
            step.ready_at = step.ready_at or event.at
            if step.state == "pending":
                move(working, step, "ready", event.at)


def _advance_fan_outs(working: Working, job: UUID, event: JobAdvanced) -> None:
    for name, shape in event.fan_outs.items():
        step = working.step(job, name)
        if step is not None:
            step.window, step.tolerated = shape.window, shape.tolerated
            step.count = shape.count
            wait(working, step, event.at)
    for name, begun in event.begun.items():
        step = working.step(job, name)
        if step is not None:
            step.begun = begun
            wait(working, step, event.at)


def _settle(
    working: Working, job: UUID, paths: Iterable[str], state: str, event: JobAdvanced
) -> None:
    """Give steps their final state, unless their own streams have said so already."""
    for path in paths:
        step = working.step(job, path)
        if step is not None and step.state not in STEP_ENDED:
            move(working, step, state, event.at)


def _paused(working: Working, job: UUID, event: JobPaused) -> None:
    view = working.job(job)
    if view is not None:
        view.state, view.paused = "paused", steered(event)


def _resumed(working: Working, job: UUID, _event: JobResumed) -> None:
    view = working.job(job)
    if view is not None:
        view.state, view.paused = "running" if view.started_at else "submitted", None


def _cancelling(working: Working, job: UUID, event: JobCancelling) -> None:
    view = working.job(job)
    if view is not None:
        view.state, view.reason = "cancelling", event.reason
        view.stopped, view.paused = steered(event), None


def _overdue(working: Working, job: UUID, event: JobOverdue) -> None:
    view = working.job(job)
    if view is not None:
        view.state, view.paused = "running", None
        view.deadline, view.overdue_at = event.deadline, event.at


def _signalled(working: Working, job: UUID, event: JobSignalled) -> None:
    view = working.job(job)
    if view is None or event.step is not None:
        return
    view.signals_kept += 1
    if len(view.signals) < SIGNALS_NAMED_MAX:
        kept = KeptSignal(event.name, event.key, event.at, event.by)
        view.signals = (*view.signals, kept)


def _rerun(working: Working, job: UUID, event: JobRerun) -> None:
    """Begin a new generation of some steps: nothing that they stood for counts any more."""
    for name in event.steps:
        step = working.step(job, name)
        if step is not None:
            working.delta.add(step.below.states, -1)
            working.renew(step)
            step.generation, step.since = event.generation, event.at
    view = working.job(job)
    if view is not None:
        view.state, view.generation, view.rerun = "running", event.generation, steered(event)
        view.ended_at, view.result, view.error, view.reason = None, NULL, None, ""
        view.started_at = view.started_at or event.at
        view.paused = view.stopped = view.overdue_at = None
        view.closing = False
        if view.deadline is not None and view.deadline <= event.at:
            view.deadline = None


def _adjusted(working: Working, job: UUID, event: JobAdjusted) -> None:
    step = working.step(job, event.step)
    if step is None:
        return
    step.adjusted = steered(event)
    step.window = step.window if event.window is None else event.window
    step.tolerated = step.tolerated if event.tolerated is None else event.tolerated
    step.retry = step.retry if event.retry is None else event.retry


def steered(event: JobSteered) -> Steered:
    """Return who asked for something, and why."""
    return Steered(event.at, event.by, event.reason)


def _end(working: Working, job: UUID, state: str, at: datetime) -> JobView | None:
    view = working.job(job)
    if view is not None:
        view.state, view.ended_at, view.paused = state, at, None
    return view


def _succeeded(working: Working, job: UUID, event: JobSucceeded) -> None:
    view = _end(working, job, "succeeded", event.at)
    if view is not None:
        view.result = event.result or NULL


def _failed(working: Working, job: UUID, event: JobFailed) -> None:
    view = _end(working, job, "failed", event.at)
    if view is not None:
        view.error = event.error


def _cancelled(working: Working, job: UUID, event: JobCancelled) -> None:
    view = _end(working, job, "cancelled", event.at)
    if view is not None:
        view.reason = event.reason or view.reason


_HANDLERS: dict[type[Event], Callable[[Working, UUID, Any], None]] = {
    JobSubmitted: _submitted,
    JobStarted: _started,
    JobAdvanced: _advanced,
    JobPaused: _paused,
    JobResumed: _resumed,
    JobCancelling: _cancelling,
    JobOverdue: _overdue,
    JobSignalled: _signalled,
    JobRerun: _rerun,
    JobAdjusted: _adjusted,
    JobSucceeded: _succeeded,
    JobFailed: _failed,
    JobCancelled: _cancelled,
}
