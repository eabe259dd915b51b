"""What people ask for while jobs run: each command checked, and recorded with who asked and why."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any
from uuid import UUID

import msgspec

from warrener.domain import caps, ids
from warrener.domain import job as jobs
from warrener.domain.control_events import FlowChanged, LimitChanged
from warrener.domain.definition.check_words import is_rate, retry_problems
from warrener.domain.errors import UnknownJob, UsageError
from warrener.domain.events import JobAdjusted, JobPaused, JobResumed
from warrener.domain.flow.settings import FlowSettings
from warrener.domain.job_state import Job
from warrener.domain.messages import (
    AdjustStep,
    AnswerUserAction,
    CancelJob,
    ChangeFlow,
    ChangeLimit,
    PauseJob,
    RerunJob,
    ResumeJob,
    RetryJob,
    SignalJob,
    Steering,
)
from warrener.domain.states import JOB_ENDED, JOB_MOVES
from warrener.services import endings, fan_outs, intake, policies, reruns, user_actions, waits
from warrener.services.active_job import ActiveJob
from warrener.services.logs import refuse_pruned

if TYPE_CHECKING:
    from warrener.services.turn import Turn


def steer(turn: Turn, message: Steering, message_id: str) -> None:
    """Carry out a command; raises `UsageError` that says why it cannot be."""
    _HANDLERS[type(message)](turn, message, message_id)


def _active(turn: Turn, job: UUID) -> ActiveJob:
    """Return a job that has not ended."""
    active = turn.memory.jobs.get(job)
    if active is None:
        state = job_of(turn, job).state
        raise UsageError(_ended(state) if state in JOB_ENDED else "no reactor works on it")
    return active


def job_of(turn: Turn, job: UUID) -> Job:
    """Return the state of a job, be it active or not."""
    known = turn.batch.left.get(job)
    refuse_pruned(job, turn.memory.store.last(job) if known is None else None)
    found = known or jobs.project(None, turn.memory.store.stream(job))
    if found is None or found.submitted_at is None:
        raise UnknownJob(f"no job {job} in the store")
    return found


def _keys(turn: Turn, job: UUID) -> Sequence[str]:
    """Return the keys of signals and reruns that a job has taken."""
    active = turn.memory.jobs.get(job)
    return active.job.keys if active is not None else job_of(turn, job).keys


def _ended(state: str) -> str:
    return f"it has already {state}" if state != "cancelled" else "it was cancelled already"


def _check_move(job: Job, move: str) -> None:
    if (job.state, move) not in JOB_MOVES:
        being = {"cancelling": "being cancelled", "submitted": "not started yet"}
        raise UsageError(f"it is {being.get(job.state, job.state)}")


def _cancel(turn: Turn, message: CancelJob, _: str) -> None:
    active = turn.memory.jobs.get(message.job)
    if active is None and job_of(turn, message.job).state == "cancelled":
        return
    active = _active(turn, message.job)
    if active.job.parent is not None:
        raise UsageError(f"it was started by another: cancel its root {active.tree.root}")
    endings.cancel_job(turn, active, message.reason, message.by)


def _pause(turn: Turn, message: PauseJob, _: str) -> None:
    active = _active(turn, message.job)
    if active.job.state == "paused":
        return
    _check_move(active.job, "pause")
    turn.flush(active)
    at, cause = turn.batch.now, turn.cause
    event = JobPaused(at=at, cause=cause, by=message.by, reason=message.reason)
    turn.record_job(active.job, event)
    turn.memory.paused.add(active.job.id)


def _resume(turn: Turn, message: ResumeJob, _: str) -> None:
    active = _active(turn, message.job)
    if active.job.state == "running":
        above = turn.memory.pausing(active)
        if above is not None:
            raise UsageError(f"it is held back by job {above}, which is paused: resume that")
        return
    _check_move(active.job, "resume")
    turn.flush(active)
    at, cause = turn.batch.now, turn.cause
    event = JobResumed(at=at, cause=cause, by=message.by, reason=message.reason)
    turn.record_job(active.job, event)
    turn.resume(active)
    if active.job.started:
        endings.proceed(turn, active)
    else:
        turn.memory.intake.wait(active, turn.flow)


def _retry(turn: Turn, message: RetryJob, message_id: str) -> None:
    reruns.retry(turn, message, message.key or message_id or turn.batch.now.isoformat())


def _rerun(turn: Turn, message: RerunJob, _: str) -> None:
    reruns.rerun(turn, message)


def _signal(turn: Turn, message: SignalJob, _: str) -> None:
    if message.key not in _keys(turn, message.job):
        waits.signal(turn, _active(turn, message.job), message)


def _answer(turn: Turn, message: AnswerUserAction, _: str) -> None:
    user_actions.answer(turn, message)


def _adjust(turn: Turn, message: AdjustStep, _: str) -> None:
    active = _active(turn, message.job)
    job, name = active.job, message.step
    planned = active.plan.steps.get(name)
    if planned is None:
        raise UsageError(f"it has no step {name!r}; it has {', '.join(active.plan.steps)}")
    if not planned.fan_out and (message.window is not None or message.tolerated is not None):
        raise UsageError(f"step {name} is no fan-out: it has no window and tolerates nothing")
    if planned.kind != "call" and message.retry is not None:
        raise UsageError(f"step {name} calls no endpoint: there is nothing to retry")
    items = job.fan_outs.get(name)
    if items is not None and message.tolerated is not None:
        failed = items.counts.get("failed", 0)
        if failed > message.tolerated:
            raise UsageError(f"{failed} items of {name} have failed already")
    problems = retry_problems(message.retry or ())
    if problems:
        raise UsageError(problems[0].message)
    new = (message.window, message.tolerated, message.retry)
    known = (job.windows.get(name), job.tolerances.get(name), job.retries.get(name))
    if all(value is None or value == now for value, now in zip(new, known, strict=True)):
        return
    before = job.fan_outs[name].may_begin if name in job.fan_outs else None
    turn.flush(active)
    event = JobAdjusted(
        at=turn.batch.now,
        cause=turn.cause,
        step=name,
        window=message.window,
        tolerated=message.tolerated,
        retry=message.retry,
        by=message.by,
        reason=message.reason,
    )
    turn.record_job(job, event)
    if before is not None and job.fan_outs[name].may_begin > before:
        fan_outs.make_ready(turn, active, name, before)


def _change_limit(turn: Turn, message: ChangeLimit, _: str) -> None:
    known = turn.memory.limit_change(message.name)
    wanted = (message.slots, message.rate, message.burst)
    if wanted == ((None,) * 3 if known is None else (known.slots, known.rate, known.burst)):
        return
    if message.rate is not None and not is_rate(message.rate):
        raise UsageError("a rate must be more than nothing: write such as 20/min")
    unknown = caps.problem(message.name)
    if unknown:
        raise UsageError(unknown)
    event = LimitChanged(
        at=turn.batch.now,
        cause=turn.cause,
        name=message.name,
        slots=message.slots,
        rate=message.rate,
        burst=message.burst,
        by=message.by,
        reason=message.reason,
    )
    stream = ids.limit_id(message.name)
    turn.batch.append(stream, turn.memory.next_version(stream), event)
    turn.memory.set_limit(event)
    intake.reserve(turn.memory, turn.flow, turn.batch.now)


def _change_flow(turn: Turn, message: ChangeFlow, _: str) -> None:
    known = turn.flow.settings
    if message.policy is not None:
        policies.check_known(message.policy, turn.flow.orders)
    asked = {name: getattr(message, name) for name in FlowSettings.__struct_fields__}
    changes = {name: value for name, value in asked.items() if value is not None}
    wanted = msgspec.structs.replace(known, **changes)
    if wanted == known:
        return
    event = FlowChanged(
        at=turn.batch.now,
        cause=turn.cause,
        by=message.by,
        reason=message.reason,
        settings=wanted,
    )
    turn.batch.append(ids.FLOW_ID, turn.memory.next_version(ids.FLOW_ID), event)
    turn.flow.use(wanted)
    intake.reserve(turn.memory, turn.flow, turn.batch.now)
    if wanted.intake != known.intake:
        turn.memory.limits.let_go(caps.JOBS)
        turn.memory.intake.wait_anew(turn.flow)


_HANDLERS: dict[type[Steering], Callable[[Turn, Any, str], None]] = {
    CancelJob: _cancel,
    PauseJob: _pause,
    ResumeJob: _resume,
    RetryJob: _retry,
    RerunJob: _rerun,
    SignalJob: _signal,
    AdjustStep: _adjust,
    AnswerUserAction: _answer,
    ChangeLimit: _change_limit,
    ChangeFlow: _change_flow,
}

VERBS: dict[type[Any], str] = {
    CancelJob: "cancel",
    PauseJob: "pause",
    ResumeJob: "resume",
    RetryJob: "retry",
    RerunJob: "rerun",
    SignalJob: "signal",
    AdjustStep: "adjust",
}


def refusal(message: Any, reason: str) -> str:
    """Return the text of every refusal of a command about a job."""
    verb = VERBS.get(type(message))
    if verb is not None:
        path = getattr(message, "path", None) or getattr(message, "step", None)
        return f"cannot {verb} {message.job}{f'/{path}' if path else ''}: {reason}"
    if isinstance(message, AnswerUserAction):
        return f"cannot answer: {reason}"
    if isinstance(message, ChangeLimit):
        return f"cannot change limit {message.name}: {reason}"
    if isinstance(message, ChangeFlow):
        return f"cannot change the flow: {reason}"
    return reason
