"""One turn of the controller: from what happened to everything that follows from it.

A turn works on the aggregates in memory and fills a batch. What follows for other jobs or needs
the whole picture (opening fan-outs, starting and ending jobs) waits in a work list, so that
nothing recurses however deep the tree of jobs is.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any
from uuid import UUID

import msgspec

from warrener.domain import ids
from warrener.domain import job as jobs
from warrener.domain import step as steps
from warrener.domain.errors import ExpressionError, PayloadError
from warrener.domain.events import (
    Error,
    JobCancelled,
    JobCancelling,
    JobEvent,
    JobFailed,
    JobSucceeded,
    StepCancelled,
    StepEvent,
    StepFailed,
    StepSucceeded,
)
from warrener.domain.flow import Flow, Ready
from warrener.domain.graph import Advance, Effect, render, value_error
from warrener.domain.job import Job
from warrener.domain.messages import DEFAULT_QUEUE
from warrener.domain.payloads import Payload
from warrener.domain.step import OUT, Step
from warrener.services import children, fan_outs
from warrener.services.batch import Batch, Ended
from warrener.services.working_set import ActiveJob, WorkingSet


class Turn:
    """The work of one batch."""

    def __init__(self, memory: WorkingSet, flow: Flow, batch: Batch) -> None:
        """Begin a turn that fills `batch`."""
        self.memory = memory
        self.flow = flow
        self.batch = batch
        self.cause = ""
        self._advances: dict[UUID, tuple[int, Advance, str]] = {}
        self._work: deque[Callable[[], None]] = deque()

    # --- recording -------------------------------------------------------------------------------

    def record_step(self, step: Step, event: StepEvent) -> None:
        """Let a step evolve by an event and put the event into the batch."""
        steps.evolve(step, event)
        self.batch.append(step.id, step.version, event)

    def record_job(self, job: Job, event: JobEvent) -> None:
        """Let a job evolve by an event and put the event into the batch."""
        jobs.evolve(job, event)
        self.batch.append(job.id, job.version, event)

    def advance(self, active: ActiveJob) -> Advance:
        """Return the advance that gathers this turn's decisions about a job."""
        found = self._advances.get(active.job.id)
        if found is None:
            effects = partial(self._carry_out, active)
            advance = Advance(active.job, active.plan, active.scope, effects, active.demanded)
            found = (self.batch.reserve(), advance, self.cause)
            self._advances[active.job.id] = found
        return found[1]

    def flush(self, active: ActiveJob) -> None:
        """Turn what was decided about a job's steps into its event."""
        place, advance, cause = self._advances.pop(active.job.id, (0, None, ""))
        event = advance.event(self.batch.now, cause) if advance else None
        if event is not None:
            active.job.version += 1
            self.batch.fill(place, active.job.id, active.job.version, event)

    def finish(self) -> None:
        """Flush all jobs at the end of the turn."""
        for job in list(self._advances):
            self.flush(self.memory.jobs[job])

    # --- work list -------------------------------------------------------------------------------

    def later(self, work: Callable[[], None]) -> None:
        """Do this once what is at hand is complete."""
        self._work.append(work)

    def drain(self) -> None:
        """Work until nothing is left to do."""
        while self._work:
            self._work.popleft()()

    # --- steps -----------------------------------------------------------------------------------

    def begun(self, active: ActiveJob, path: str) -> Step:
        """Return the aggregate of a step that begins now."""
        return Step(ids.step_id(active.job.id, path), active.job.id, path)

    def start(self, active: ActiveJob) -> None:
        """Consider the steps of a new job for the first time."""
        self.advance(active).start()
        self.see_if_ended(active)

    def see_if_ended(self, active: ActiveJob) -> None:
        """Have the job ended if all of its steps have."""
        if active.job.settled == len(active.plan.steps) and not active.ending:
            active.ending = True
            self.later(partial(self.end_job, active))

    def _carry_out(self, active: ActiveJob, effect: Effect) -> None:
        _CARRY_OUT[effect.kind](self, active, effect)

    def begin(self, active: ActiveJob, effect: Effect) -> None:
        """A step may run: send it to the backlog, open it, or start its child."""
        step = active.plan.steps[effect.step]
        if step.fan_out:
            self.later(partial(fan_outs.open_fan_out, self, active, effect.step))
        elif step.kind == "job":
            child = partial(children.begin_child, self, active, effect.step, effect.value)
            self.later(child)
        else:
            active.arguments[effect.step] = effect.value
            queue = step.definition.queue or DEFAULT_QUEUE
            self.flow.add(queue, Ready(active.job.id, effect.step))

    def succeed(self, active: ActiveJob, effect: Effect) -> None:
        """Record the result of a step that needs no worker; the graph has settled it."""
        step = self.begun(active, effect.step)
        result = self.batch.payload(effect.value)
        active.values[effect.step] = msgspec.json.decode(effect.value)
        self.record_step(step, self.succeeded(step, result))

    def fail(self, active: ActiveJob, effect: Effect) -> None:
        """Record the failure of a step that never ran; the graph has settled it."""
        error = effect.error or Error(code="error", message="no reason given")
        active.errors[effect.step] = error
        step = self.begun(active, effect.step)
        self.record_step(step, self.failed(step, error))

    def cancel(self, active: ActiveJob, effect: Effect) -> None:
        """Take back what a cancelled step has under way; the graph has settled it."""
        for index in effect.items:
            self.cancel_step(ids.step_id(active.job.id, ids.item_path(effect.step, index)))
        self.cancel_step(ids.step_id(active.job.id, effect.step))
        active.forget_items(effect.step)

    def cancel_step(self, step_id: UUID) -> None:
        """Cancel a step that began and has not ended, with its child job."""
        step = self.memory.steps.pop(step_id, None)
        if step is None:
            return
        self._left_queue(step)
        self.record_step(
            step,
            StepCancelled(
                at=self.batch.now,
                cause=self.cause,
                job=step.job,
                path=step.path,
                attempt=step.attempt if step.state in OUT else None,
            ),
        )
        if step.child in self.memory.jobs:
            self.cancel_job(self.memory.jobs[step.child], "the job above it was stopped")

    def succeeded(self, step: Step, result: Payload | None) -> StepSucceeded:
        """Return the event of a step that ended well without a worker."""
        return StepSucceeded(
            at=self.batch.now, cause=self.cause, job=step.job, path=step.path, result=result
        )

    def failed(self, step: Step, error: Error) -> StepFailed:
        """Return the event of a step that failed without a worker."""
        return StepFailed(
            at=self.batch.now, cause=self.cause, job=step.job, path=step.path, error=error
        )

    def end_step(self, step: Step, event: StepEvent, data: bytes = b"null") -> None:
        """Record the end of a begun step and let its job go on. `data` is the result as JSON."""
        self._left_queue(step)
        self.record_step(step, event)
        self.memory.steps.pop(step.id, None)
        active = self.memory.jobs[step.job]
        name, index = ids.split_path(step.path)
        if index is not None:
            fan_outs.end_item(self, active, step, event, data)
            return
        active.forget_items(name)
        if isinstance(event, StepFailed):
            active.errors[name] = event.error
        if step.state == "succeeded":
            active.values[name] = msgspec.json.decode(data)
        self.advance(active).settle(name, step.state)
        self.see_if_ended(active)

    def fail_step(self, step: Step, error: Error) -> None:
        """End a step that failed for a reason of the controller's own."""
        self.end_step(step, self.failed(step, error))

    def _left_queue(self, step: Step) -> None:
        if step.state in OUT:
            self.flow.completed(step.queue, self.batch.now)

    # --- jobs ------------------------------------------------------------------------------------

    def end_job(self, active: ActiveJob) -> None:
        """Every step of a job has ended: decide how the job ends, and tell its parent."""
        if active.job.id not in self.memory.jobs:
            return  # cancelled in the meantime
        error, data = self._outcome(active)
        self.flush(active)
        at, cause, totals = self.batch.now, self.cause, active.job.totals()
        result = self.batch.payload(data) if error is None else None
        event: JobSucceeded | JobFailed
        if error is None:
            event = JobSucceeded(at=at, cause=cause, steps=totals, result=result)
        else:
            event = JobFailed(at=at, cause=cause, steps=totals, error=error)
        self.record_job(active.job, event)
        self._leave(active, totals)
        children.end_child(self, active, result, data, error)

    def cancel_job(self, active: ActiveJob, reason: str) -> None:
        """Stop a job and everything below it."""
        if active.job.state not in {"submitted", "running", "paused"}:
            return
        at, cause = self.batch.now, self.cause
        self.flush(active)
        self.record_job(active.job, JobCancelling(at=at, cause=cause, reason=reason))
        active.ending = True
        self.advance(active).cancel_all()
        self.flush(active)
        totals = active.job.totals()
        event = JobCancelled(at=at, cause=cause, steps=totals, reason=reason)
        self.record_job(active.job, event)
        self._leave(active, totals)

    def _leave(self, active: ActiveJob, totals: dict[str, int]) -> None:
        self.memory.remove(active)
        self.batch.left[active.job.id] = active.job
        job, parent = active.job, active.job.parent
        if parent is None:
            ended = Ended(job.id, job.state, job.result, job.error, totals)
            self.batch.ended.append(ended)
        elif parent.job in self.memory.jobs:
            self.advance(self.memory.jobs[parent.job]).add_below(totals)

    def _outcome(self, active: ActiveJob) -> tuple[Error | None, bytes]:
        """Return the error of a job that failed, or the result of one that did not, as JSON."""
        error = _failure(active)
        if error is not None:
            return error, b""
        try:
            return None, self._result(active)
        except (ExpressionError, PayloadError) as problem:
            error = value_error(problem)
            return msgspec.structs.replace(error, message=f"result: {error.message}"), b""

    def _result(self, active: ActiveJob) -> bytes:
        selection = active.job.selection
        if selection is not None and selection.mode != "downstream":
            scope: Any = active.scope("")
            return msgspec.json.encode(scope["steps"][selection.step]["result"])
        return render(active.plan.result, active.scope(""))


def _failure(active: ActiveJob) -> Error | None:
    """Return the first failure of a job that nobody allowed."""
    plan = active.plan.steps
    for name in active.job.failed:
        if not plan[name].definition.may_fail and name not in active.job.given:
            error = active.error(name) or Error(code="error", message="the reason is not recorded")
            path = name if error.path is None else f"{name}/{error.path}"
            return msgspec.structs.replace(error, path=path)
    for name, state in active.job.steps.items():
        allowed = plan[name].definition.may_fail or name in active.job.given
        if state == "upstream_failed" and not allowed:
            message = "a step that it needs did not succeed"
            return Error(code="upstream-failed", message=message, path=name)
    return None


_CARRY_OUT: dict[str, Callable[[Turn, ActiveJob, Effect], None]] = {
    "begin": Turn.begin,
    "succeed": Turn.succeed,
    "fail": Turn.fail,
    "cancel": Turn.cancel,
}
