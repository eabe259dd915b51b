"""Starting jobs: roots from a submission, children from a step; and handing a child's end up."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import UUID

import msgspec

from warrener.domain import ids, trace_context
from warrener.domain.definition.check import validate_params
from warrener.domain.definition.model import JobDefinition
from warrener.domain.definition.params import complete, digest
from warrener.domain.errors import ExpressionError, PayloadError
from warrener.domain.events import DefinitionStored, Error, JobStarted, JobSubmitted, Parent
from warrener.domain.graph import value_error
from warrener.domain.job_state import Job
from warrener.domain.messages import SubmitJob
from warrener.domain.payloads import Payload
from warrener.domain.plan import Plan
from warrener.domain.step import Step
from warrener.domain.step_events import StepOpened
from warrener.services import intake
from warrener.services.active_job import ActiveJob
from warrener.services.admission import admit

if TYPE_CHECKING:
    from warrener.services.turn import Turn


def submit(turn: Turn, message: SubmitJob) -> None:
    """Start a root job, unless the same key has started it before."""
    job_id = ids.job_id(message.key)
    known = job_id in turn.memory.jobs or job_id in turn.batch.left
    if known or turn.memory.store.last(job_id) is not None:
        return
    admitted = admit(message, turn.memory.store)
    plan, params = admitted.plan, admitted.params
    definition, data = plan.definition, bytes(message.params)
    intake.refuse_if_busy(turn, definition.name)
    store_definition(turn, plan)
    for other in admitted.library.values():
        store_definition(turn, other)
    event = JobSubmitted(
        at=turn.batch.now,
        cause=turn.cause,
        name=definition.name,
        version=definition.version,
        definition=plan.hash,
        params=turn.batch.payload(data),
        params_digest=digest(plan.hash, params),
        root=job_id,
        key=message.key,
        labels=message.labels,
        priority=message.priority,
        fair=message.fair,
        library={name: other.hash for name, other in sorted(admitted.library.items())},
        budget=definition.budget,
        selection=message.selection,
        given=message.given,
        deadline=_deadline(turn, message, definition),
        traceparent=message.traceparent if trace_context.parsed(message.traceparent) else None,
    )
    intake.take_in(turn, _open_job(turn, job_id, event, plan, params))


def _deadline(turn: Turn, message: SubmitJob, definition: JobDefinition) -> datetime | None:
    """Return when a job must be done: the earlier of what its sender and its definition say."""
    said = [] if message.deadline is None else [message.deadline]
    if definition.deadline is not None:
        said.append(turn.batch.now + timedelta(seconds=definition.deadline))
    return min(said, default=None)


def store_definition(turn: Turn, plan: Plan) -> None:
    """Keep a definition in the log, once."""
    stream = ids.definition_id(plan.hash)
    if plan.hash in turn.memory.plans:
        return
    turn.memory.plans[plan.hash] = plan
    if turn.memory.store.last(stream) is None:
        definition = plan.definition
        event = DefinitionStored(
            at=turn.batch.now,
            cause=turn.cause,
            name=definition.name,
            version=definition.version,
            hash=plan.hash,
            json=definition.to_json().decode(),
        )
        turn.batch.append(stream, 1, event)


def _open_job(turn: Turn, job_id: UUID, event: JobSubmitted, plan: Plan, params: Any) -> ActiveJob:
    """Record a new job."""
    job = Job(job_id)
    turn.record_job(job, event)
    active = turn.memory.add(job, plan)
    active.tree.steps_used += len(plan.steps)
    active.params = params
    if job.deadline is not None:
        turn.memory.set_timer(job.deadline, job.id)
    return active


def start_job(turn: Turn, active: ActiveJob) -> None:
    """Start a job that was submitted, and consider its steps."""
    turn.record_job(active.job, JobStarted(at=turn.batch.now, cause=turn.cause))
    turn.start(active)


def begin_child(turn: Turn, active: ActiveJob, name: str, data: bytes) -> None:
    """Start the child job of a step, on these parameters as JSON."""
    if active.job.step(name) == "ready":  # not cancelled in the meantime
        _begin(turn, active, turn.begun(active, name), data)


def begin_item(turn: Turn, active: ActiveJob, name: str, index: int) -> None:
    """Start the child job of an item of a fan-out."""
    step = turn.begun(active, ids.item_path(name, index))
    try:
        data = active.render_arguments(name, index)
    except (ExpressionError, PayloadError) as error:
        turn.fail_step(step, value_error(error))
        return
    _begin(turn, active, step, data)


def _begin(turn: Turn, active: ActiveJob, step: Step, data: bytes) -> None:
    name, index = ids.split_path(step.path)
    plan = turn.memory.plan(_library(turn, active)[active.plan.steps[name].definition.job or ""])
    params = complete(plan.definition, msgspec.json.decode(data))
    error = _refusal(turn, active, step.path, plan, params)
    if error is not None:
        turn.fail_step(step, error)
        return
    active.tree.steps_promised += len(plan.steps)  # others may begin before the child is opened
    child = ids.child_job_id(step.id, step.generation)
    _record_opening(turn, active, step, child)
    if index is None:
        turn.advance(active).decided.child(name, child)
        if ids.compensation(name) in active.plan.steps:
            active.inputs[name] = params
    event = _child_submission(turn, active, step, plan, params)
    turn.later(partial(_open_child, turn, step, event, plan, params))


def _open_child(turn: Turn, step: Step, event: JobSubmitted, plan: Plan, params: Any) -> None:
    tree = turn.memory.trees.get(event.root)
    if tree is not None:
        tree.steps_promised -= len(plan.steps)
    if step.id in turn.memory.steps and step.child is not None:  # not cancelled in the meantime
        start_job(turn, _open_job(turn, step.child, event, plan, params))


def _record_opening(turn: Turn, active: ActiveJob, step: Step, child: UUID) -> None:
    at, cause = turn.batch.now, turn.cause
    opened = StepOpened(at=at, cause=cause, job=active.job.id, path=step.path, child=child)
    turn.record_step(step, opened)
    turn.memory.steps[step.id] = step


def _library(turn: Turn, active: ActiveJob) -> dict[str, str]:
    return turn.memory.jobs[active.tree.root].job.library


def _refusal(
    turn: Turn, active: ActiveJob, path: str, plan: Plan, params: dict[str, Any]
) -> Error | None:
    problems = validate_params(plan.definition, params)
    if problems:
        text = "; ".join(str(problem) for problem in problems)
        return Error(code="bad-input", message=f"job {plan.definition.name}: {text}")
    depth_max = active.tree.budget.depth
    if active.job.depth + 1 > depth_max:
        where = turn.memory.path_of(active, path)
        message = f"{where}: deeper than the budget of {depth_max} levels of jobs"
        return Error(code="budget-exceeded", message=message)
    sought = digest(plan.hash, params)
    for ancestor in turn.memory.ancestors(active):
        if ancestor.job.params_digest == sought:
            where = turn.memory.path_of(active, path)
            message = f"{where}: job {plan.definition.name} would start itself on the same params"
            return Error(code="recursion-loop", message=message)
    return over_budget(turn, active, path, len(plan.steps))


def over_budget(turn: Turn, active: ActiveJob, path: str, more: int) -> Error | None:
    """Return the error of a step that would put more steps under its root than the budget has."""
    tree = active.tree
    used = tree.steps_used + tree.steps_promised
    if used + more <= tree.budget.steps:
        return None
    return Error(
        code="budget-exceeded",
        message=f"{turn.memory.path_of(active, path)}: {more} more steps would exceed the budget"
        f" of {tree.budget.steps} steps under one root; {used} are used",
    )


def _child_submission(
    turn: Turn, active: ActiveJob, step: Step, plan: Plan, params: dict[str, Any]
) -> JobSubmitted:
    job, definition = active.job, plan.definition
    return JobSubmitted(
        at=turn.batch.now,
        cause=turn.cause,
        name=definition.name,
        version=definition.version,
        definition=plan.hash,
        params=turn.batch.payload(msgspec.json.encode(params)),
        params_digest=digest(plan.hash, params),
        root=active.tree.root,
        parent=Parent(job.id, step.id, step.path),
        depth=job.depth + 1,
        labels=job.labels,
        priority=job.priority,
        fair=job.fair,
        budget=active.tree.budget,
    )


def end_child(
    turn: Turn, child: ActiveJob, result: Payload | None, data: bytes, error: Error | None
) -> None:
    """Hand the end of a job to the step that started it."""
    parent = child.job.parent
    step = None if parent is None else turn.memory.steps.get(parent.step)
    if step is None:
        return
    if error is None:
        turn.end_step(step, turn.succeeded(step, result), data)
        return
    turn.fail_step(step, error)
