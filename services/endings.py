"""How a job comes to its end: what is undone, what cleans up, and what is told to its parent."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import UUID

import msgspec

from warrener.domain.errors import ExpressionError, PayloadError
from warrener.domain.events import (
    Error,
    JobCancelled,
    JobCancelling,
    JobEnded,
    JobFailed,
    JobOverdue,
    JobSucceeded,
)
from warrener.domain.graph import render, value_error
from warrener.domain.ids import compensation, split_path
from warrener.domain.job_state import Job
from warrener.domain.plan import Plan
from warrener.domain.states import JOB_MOVES
from warrener.services import children, intake
from warrener.services.active_job import ActiveJob
from warrener.services.batch import Ended

if TYPE_CHECKING:
    from warrener.services.turn import Turn


def proceed(turn: Turn, active: ActiveJob) -> None:
    """Have a job go on to its next stage, or end, if all of the present one has ended."""
    job, plan = active.job, active.plan
    if active.ending or job.cleaning or job.state == "paused":
        return
    if job.settled == len(plan.steps) or (plan.phased and _main_ended(job, plan)):
        active.ending = True
        turn.later(partial(_next_stage, turn, active))


def _main_ended(job: Job, plan: Plan) -> bool:
    return all(job.ended(name) for name, step in plan.steps.items() if step.phase == "main")


def _next_stage(turn: Turn, active: ActiveJob) -> None:
    """Undo what is to be undone, one after the other; then clean up; then end the job."""
    active.ending = False
    job, plan = active.job, active.plan
    if job.id not in turn.memory.jobs or job.cleaning or job.state == "paused":
        return  # ended or stopped in the meantime
    if plan.phased and _main_ended(job, plan):
        if not job.closing and _undo_next(turn, active):
            return
        if not job.closing:
            _leave_out(turn, active, "compensate")
            if not job.started:  # nothing is there to be cleaned up
                _leave_out(turn, active, "always")
            turn.advance(active).close()
    if job.settled == len(plan.steps):
        _end(turn, active)


def _undo_next(turn: Turn, active: ActiveJob) -> bool:
    """Begin to undo the last step that succeeded, if the job comes to nothing; say if one is."""
    job, plan = active.job, active.plan
    undoing = [name for name, step in plan.steps.items() if step.phase == "compensate"]
    if any(job.step(name) == "ready" for name in undoing):
        return True
    if not (job.cancelled or job.overdue or failure(active) is not None):
        return False
    for name in reversed(job.done):
        undo = compensation(name)
        if undo in plan.steps and job.step(undo) == "pending" and name not in job.given:
            turn.advance(active).undo(undo)
            return True
    return False


def _leave_out(turn: Turn, active: ActiveJob, phase: str) -> None:
    for name, step in active.plan.steps.items():
        if step.phase == phase and not active.job.ended(name):
            turn.advance(active).leave_out(name)


def _end(turn: Turn, active: ActiveJob) -> None:
    """Every step of a job has ended: decide how the job ends, and tell its parent."""
    job = active.job
    error, data = (None, b"") if job.cancelled else _outcome(active)
    turn.flush(active)
    at, cause, totals = turn.batch.now, turn.cause, job.totals()
    result = turn.batch.payload(data) if error is None and not job.cancelled else None
    event: JobEnded
    if job.cancelled:
        event = JobCancelled(at=at, cause=cause, steps=totals, reason=job.reason)
    elif error is None:
        event = JobSucceeded(at=at, cause=cause, steps=totals, result=result)
    else:
        event = JobFailed(at=at, cause=cause, steps=totals, error=error)
    turn.record_job(job, event)
    _leave(turn, active, totals)
    if not job.cancelled:
        children.end_child(turn, active, result, data, error)


def cancel_job(turn: Turn, active: ActiveJob, reason: str, by: str = "") -> None:
    """Stop a job and everything below it; what cleans up or undoes still runs."""
    job = active.job
    if (job.state, "cancel") not in JOB_MOVES:
        return
    turn.flush(active)
    at, cause = turn.batch.now, turn.cause
    turn.record_job(job, JobCancelling(at=at, cause=cause, reason=reason, by=by))
    turn.resume(active)
    turn.advance(active).cancel_all()
    _next_stage(turn, active)


def pass_deadline(turn: Turn, active: ActiveJob) -> None:
    """The deadline of a job has passed: cancel what has not ended, so that the job fails."""
    job = active.job
    done = active.plan.phased and _main_ended(job, active.plan)  # what is left must not be late
    if done or (job.state, "pass_deadline") not in JOB_MOVES or job.deadline is None:
        return
    turn.flush(active)
    at, cause = turn.batch.now, turn.cause
    turn.record_job(job, JobOverdue(at=at, cause=cause, deadline=job.deadline))
    turn.resume(active)
    turn.advance(active).cancel_all()
    proceed(turn, active)


def _leave(turn: Turn, active: ActiveJob, totals: dict[str, int]) -> None:
    job, parent = active.job, active.job.parent
    turn.memory.remove(active)
    turn.batch.left[job.id] = job
    if parent is None:
        turn.left[job.id] = active
        intake.leave(turn, job)
        turn.batch.ended.append(Ended(job.id, job.state, job.result, job.error, totals))
    elif (above := turn.memory.jobs.get(parent.job)) is not None:
        if _is_outlived(above.job, job.id, parent.path):
            above.tree.steps_used -= active.steps_known()  # what was begun anew counts in its place
        else:
            turn.advance(above).decided.below(totals)
        if job.id in above.job.cleaning:
            turn.advance(above).decided.cleaned(job.id)
            proceed(turn, above)


def _is_outlived(above: Job, child: UUID, path: str) -> bool:
    """Say whether a child job belongs to a generation of its step that is over."""
    step, _ = split_path(path)
    return above.renewed.get(step, 0) > above.cleaning.get(child, above.generation)


def _outcome(active: ActiveJob) -> tuple[Error | None, bytes]:
    """Return the error of a job that failed, or the result of one that did not, as JSON."""
    error = failure(active)
    if error is not None:
        return error, b""
    try:
        return None, _result(active)
    except (ExpressionError, PayloadError) as problem:
        error = value_error(problem)
        return msgspec.structs.replace(error, message=f"result: {error.message}"), b""


def _result(active: ActiveJob) -> bytes:
    selection = active.job.selection
    if selection is not None and selection.mode != "downstream":
        scope: Any = active.scope("")
        return msgspec.json.encode(scope["steps"][selection.step]["result"])
    return render(active.plan.result, active.scope(""))


def failure(active: ActiveJob) -> Error | None:
    """Return why a job fails: its deadline, or the first failure that nobody allowed or caught."""
    job, plan = active.job, active.plan.steps
    if job.overdue:
        message = "the job was not done by its deadline"
        return Error(code="deadline-exceeded", message=message)
    for name in job.failed:
        if not _allowed(active, name):
            error = active.error(name) or Error(code="error", message="the reason is not recorded")
            path = name if error.path is None else f"{name}/{error.path}"
            return msgspec.structs.replace(error, path=path)
    for name in plan:
        if job.step(name) == "upstream_failed" and not _allowed(active, name):
            message = "a step that it needs did not succeed"
            return Error(code="upstream-failed", message=message, path=name)
    return None


def _allowed(active: ActiveJob, name: str) -> bool:
    job = active.job
    may_fail = active.plan.steps[name].definition.may_fail
    return may_fail or name in job.given or name in job.caught
