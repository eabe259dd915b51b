"""Trying again by hand: what waits goes out now, and what has ended begins a new generation."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING
from uuid import UUID

from warrener.domain import ids
from warrener.domain.demand import downstream
from warrener.domain.errors import UsageError
from warrener.domain.events import JobEnded, JobRerun
from warrener.domain.graph import Effect
from warrener.domain.ids import compensation
from warrener.domain.job_state import Job, add_counts
from warrener.domain.messages import RerunJob, RetryJob
from warrener.domain.plan import Plan
from warrener.domain.states import JOB_ENDED
from warrener.domain.step import Step, may
from warrener.services import commands, endings
from warrener.services.active_job import ActiveJob

if TYPE_CHECKING:
    from warrener.services.turn import Turn


def retry(turn: Turn, message: RetryJob, key: str) -> None:
    """Let what waits for another attempt or a person go out now, and begin anew what failed."""
    if message.path is None:
        _retry_all(turn, message, key)
        return
    step = turn.memory.steps.get(ids.step_id(message.job, message.path))
    if step is not None:
        _retry_step(turn, step, message)
        return
    active = _active_or_ended(turn, message.job)
    name, index = ids.split_path(message.path)
    if name not in active.plan.steps:
        raise UsageError(f"it has no such step; it has {', '.join(active.plan.steps)}")
    if index is not None:
        raise UsageError(f"an item is not begun anew alone: retry its fan-out {name}")
    if key in active.job.keys:
        return
    state = active.job.step(name)
    if state == "ready":
        return  # it goes out as soon as it can
    if state == "upstream_failed":
        raise UsageError("it is upstream_failed: retry the step that failed before it")
    if state not in {"failed", "cancelled"}:
        raise UsageError(f"it is {state}")
    _renew(turn, active, [name], _rerun_for(message, active, name, key))


def _retry_step(turn: Turn, step: Step, message: RetryJob) -> None:
    if step.state == "ready" or step.readied_by == turn.cause:
        return  # it goes out as soon as it can
    if not may(step, "ready_again"):
        raise UsageError(f"it is {step.state}")
    turn.ready_again(step, by=message.by, reason=message.reason or "retried by hand")


def _retry_all(turn: Turn, message: RetryJob, key: str) -> None:
    """Retry what waits or failed, in the job and in all that run below it."""
    top = _active_or_ended(turn, message.job)
    tree = [top, *(each for each in _below_or_same(turn, top) if each is not top)]
    if any(key in each.job.keys for each in tree):
        return
    failed = {each: _failed(each.job) for each in tree if each.job.state != "paused"}
    for active, names in failed.items():  # all or nothing
        if names:
            _to_renew(active, names)
    for active, names in failed.items():
        if names and (active is top or active.job.id in turn.memory.jobs):
            _renew(turn, active, names, _rerun_for(message, active, names[0], key))
    jobs = {each.job.id for each in tree}
    waiting = [step for step in turn.memory.steps.values() if step.job in jobs and _waits(step)]
    for step in waiting:
        turn.ready_again(step, by=message.by, reason=message.reason or "retried by hand")
    repeated = any(s.readied_by == turn.cause for s in turn.memory.steps.values() if s.job in jobs)
    if not (any(failed.values()) or waiting or repeated):
        raise UsageError("nothing of it failed or waits for another attempt")


def _rerun_for(message: RetryJob, active: ActiveJob, name: str, key: str) -> RerunJob:
    by, reason = message.by, message.reason
    return RerunJob(job=active.job.id, step=name, key=key, by=by, reason=reason)


def _failed(job: Job) -> list[str]:
    """Return the steps whose failure is left, if parts of the job may begin anew."""
    if job.cancelled and job.state not in JOB_ENDED:
        return []
    return [name for name in job.failed if name not in job.caught]


def _waits(step: Step) -> bool:
    return step.state in {"retrying", "waiting_user"}


def _below_or_same(turn: Turn, top: ActiveJob) -> list[ActiveJob]:
    """Return the jobs that are worked on which a job has started, directly or not; itself too."""
    memory = turn.memory
    same = [each for each in memory.jobs.values() if each.tree.root == top.tree.root]
    return [each for each in same if any(above is top for above in memory.ancestors(each))]


def rerun(turn: Turn, message: RerunJob) -> None:
    """Begin a new generation of a step and all below it; the same key does so once."""
    active = _active_or_ended(turn, message.job)
    if message.key in active.job.keys:
        return
    if message.step not in active.plan.steps:
        raise UsageError(f"it has no such step; it has {', '.join(active.plan.steps)}")
    state = active.job.step(message.step)
    if not active.job.ended(message.step):
        raise UsageError(f"the step has not ended: it is {state}")
    _renew(turn, active, [message.step], message)


def _left_out(active: ActiveJob) -> list[str]:
    """Return the steps that were stopped with the job, which a rerun of it must not leave so."""
    job, plan = active.job, active.plan
    stopped = job.cancelled or job.overdue or plan.definition.on_failure == "stop"
    if not stopped or job.state not in JOB_ENDED:
        return []
    main = (name for name, step in plan.steps.items() if step.phase == "main")
    return [name for name in main if job.step(name) == "cancelled"]


def _active_or_ended(turn: Turn, job_id: UUID) -> ActiveJob:
    """Return a job to begin parts of anew; one that has ended is not in memory yet.

    Of one that has ended in this turn, the log does not have all values that it gave.
    """
    active = turn.memory.jobs.get(job_id) or turn.left.get(job_id)
    if active is not None:
        return active
    job = commands.job_of(turn, job_id)
    if job.parent is not None:
        raise UsageError(
            f"it was started by another and has ended: rerun its root {job.root} from the step"
            f" that started it"
        )
    if job.state not in JOB_ENDED:
        raise UsageError("no reactor works on it")
    return turn.memory.ended(job)


def _renew(turn: Turn, active: ActiveJob, names: list[str], message: RerunJob) -> None:
    job = active.job
    renewed = _to_renew(active, names)
    for name in reversed(renewed):
        if not job.ended(name) and job.step(name) != "pending":
            items = job.fan_outs.get(name)
            in_flight = () if items is None else items.in_flight()
            turn.cancel(active, Effect("cancel", name, items=in_flight))
    turn.flush(active)
    event = JobRerun(
        at=turn.batch.now,
        cause=turn.cause,
        generation=job.generation + 1,
        step=names[0],
        steps=tuple(renewed),
        key=message.key,
        below=_below(turn, active, renewed),
        by=message.by,
        reason=message.reason,
    )
    turn.record_job(job, event)
    turn.memory.revive(active)
    turn.memory.count_steps(active.tree)
    active.forget(renewed)
    turn.advance(active).consider(renewed)
    endings.proceed(turn, active)


def _to_renew(active: ActiveJob, names: list[str]) -> list[str]:
    """Return the steps that begin anew with these ones; raises `UsageError`."""
    job, plan = active.job, active.plan
    if job.cancelled and job.state not in JOB_ENDED:
        raise UsageError("it is being cancelled")
    if job.state == "paused":
        raise UsageError("it is paused: resume it first")
    renewed = _renewed(plan, [*names, *_left_out(active)])
    undone = [name for name in job.done if name not in renewed and _is_undone(job, plan, name)]
    if undone:
        listed = ", ".join(undone)
        raise UsageError(f"{listed} above it was undone: rerun from there, or from further up")
    return renewed


def _renewed(plan: Plan, names: Iterable[str]) -> list[str]:
    """Return the steps of which a new generation begins, in the order of the plan."""
    found = frozenset().union(*(downstream(plan, name) for name in names))
    return [
        name
        for name, step in plan.steps.items()
        if name in found or step.phase == "always" or (step.undoes or "") in found
    ]


def _is_undone(job: Job, plan: Plan, name: str) -> bool:
    undo = compensation(name)
    return undo in plan.steps and job.step(undo) not in {"pending", "not_needed"}


def _below(turn: Turn, active: ActiveJob, names: Iterable[str]) -> dict[str, int]:
    """Count the steps of the ended child jobs that these steps started, by final state."""
    found: dict[str, int] = {}
    for name in names:
        if active.plan.steps[name].kind == "job":
            for child in _children(turn, active.job, name):
                add_counts(found, _totals(turn, child))
    return found


def _totals(turn: Turn, child: UUID) -> dict[str, int]:
    left = turn.batch.left.get(child)
    if left is not None:
        return left.totals()
    last = turn.memory.store.last(child)
    return last.event.steps if last is not None and isinstance(last.event, JobEnded) else {}


def _children(turn: Turn, job: Job, name: str) -> Iterator[UUID]:
    """Yield the child jobs of a step, or of the items of a fan-out, in its latest generation."""
    if name in job.children:
        yield job.children[name]
    items = job.fan_outs.get(name)
    begun = job.items_begun.get(name, 0) if items is None else items.begun
    for index in range(begun):
        item = ids.step_id(job.id, ids.item_path(name, index))
        step = turn.ended.get(item) or turn.memory.project_step(item)
        if step is not None and step.child is not None:
            yield step.child
