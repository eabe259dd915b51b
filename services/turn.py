"""One turn of the controller: from what happened to everything that follows from it.

A turn works on the aggregates in memory and fills a batch. What follows for other jobs or needs
the whole picture (opening fan-outs, starting and ending jobs) waits in a work list, so that
nothing recurses however deep the tree of jobs is.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from uuid import UUID

import msgspec

from warrener.domain import ids
from warrener.domain import job as jobs
from warrener.domain import step as steps
from warrener.domain.caps import JOBS
from warrener.domain.events import RELEASE, Error, JobEvent
from warrener.domain.flow.control import FlowControl, Recording
from warrener.domain.flow.ready import Queued, Ready
from warrener.domain.graph import Advance, Effect
from warrener.domain.job_state import Job
from warrener.domain.payloads import Payload
from warrener.domain.step import OUT, Step
from warrener.domain.step_events import (
    StepCancelled,
    StepEvent,
    StepFailed,
    StepReadied,
    StepRenewed,
    StepSucceeded,
)
from warrener.services import children, endings, fan_outs, intake, user_actions, waits
from warrener.services.active_job import ActiveJob
from warrener.services.batch import Batch
from warrener.services.working_set import WorkingSet


class Chance(msgspec.Struct, frozen=True):
    """The two random sources: tokens of attempts, and jitter from [0, 1)."""

    token: Callable[[], str]
    jitter: Callable[[], float]


class Turn:
    """The work of one batch."""

    def __init__(
        self, memory: WorkingSet, control: FlowControl, batch: Batch, chance: Chance
    ) -> None:
        """Begin a turn that fills `batch`."""
        self.memory = memory
        self.control = control
        self.flow = control.flow
        self.batch = batch
        self.chance = chance
        self.cause = ""
        self.ended: dict[UUID, Step] = {}  # steps that ended in this turn
        self.left: dict[UUID, ActiveJob] = {}  # root jobs that ended in it, with their values
        self.starts = 0  # of jobs that waited for that
        self.claimed: set[str] = set()  # kept signals that somebody is about to take
        self._advances: dict[UUID, tuple[int, Advance, str]] = {}
        self._led = ""  # to what goes out now: the last message or timer before
        self._readied: dict[Ready, str] = {}  # in this turn, by what
        self._work: deque[Callable[[], None]] = deque()

    # --- recording -------------------------------------------------------------------------------

    def record_step(self, step: Step, event: StepEvent) -> None:
        """Let a step evolve by an event and put the event into the batch."""
        steps.evolve(step, event)
        self.batch.append(step.id, step.version, event)
        if step.job in self.memory.jobs:
            self.memory.watch(step)

    def record_job(self, job: Job, event: JobEvent) -> None:
        """Let a job evolve by an event and put the event into the batch."""
        jobs.evolve(job, event)
        self.batch.append(job.id, job.version, event)

    def record_control(self, recordings: Iterable[Recording]) -> None:
        """Put what flow control has decided, and has evolved by, into the batch."""
        for stream, event in recordings:
            self.batch.append(stream, self.memory.next_version(stream), event)

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

    # --- causes ----------------------------------------------------------------------------------

    def begin_release(self) -> None:
        """All messages and timers of the turn are handled: what is ready may go out."""
        self._led = self.cause

    def cause_of_release(self, ready: Ready) -> str:
        """Return what led to a release: what made it ready in this turn, else what gave room."""
        cause = self._readied.get(ready, self._led)
        return cause if cause.startswith(RELEASE) else f"{RELEASE}{cause}"

    # --- work list -------------------------------------------------------------------------------

    def later(self, work: Callable[[], None]) -> None:
        """Do this once what is at hand is complete."""
        self._work.append(work)

    def drain(self) -> None:
        """Work until nothing is left to do."""
        while self._work:
            self._work.popleft()()

    def has_room(self, queue: str) -> bool:
        """Say whether an order of a queue may go out, or a job that waits in intake may start."""
        if queue != JOBS:
            return self.flow.has_room(queue)
        return self.memory.intake.lets_in(self.flow) and self.starts < intake.STARTS_MAX

    # --- steps -----------------------------------------------------------------------------------

    def begun(self, active: ActiveJob, path: str) -> Step:
        """Return the aggregate of a step that begins now; in a later generation it goes on."""
        step_id = ids.step_id(active.job.id, path)
        if active.job.generation > 1:
            old = self.ended.pop(step_id, None)
            old = old or self.memory.project_step(step_id)
            if old is not None:
                self._renew(old, active.job.generation)
                return old
        return Step(step_id, active.job.id, path)

    def _renew(self, step: Step, generation: int) -> None:
        at, cause, job = self.batch.now, self.cause, step.job
        event = StepRenewed(at=at, cause=cause, job=job, path=step.path, generation=generation)
        self.record_step(step, event)

    def start(self, active: ActiveJob) -> None:
        """Consider the steps of a new job for the first time."""
        self.advance(active).start()
        endings.proceed(self, active)

    def _carry_out(self, active: ActiveJob, effect: Effect) -> None:
        _CARRY_OUT[effect.kind](self, active, effect)

    def begin(self, active: ActiveJob, effect: Effect) -> None:
        """A step may run: send it to the backlog, open it, start its child, or let it wait."""
        name = effect.step
        step = active.plan.steps[name]
        if step.fan_out:
            self.later(partial(fan_outs.open_fan_out, self, active, name))
        elif step.kind == "job":
            self.later(partial(children.begin_child, self, active, name, effect.value))
        elif step.kind == "wait":
            waits.begin_wait(self, active, name)
        elif step.kind == "sleep":
            waits.begin_sleep(self, active, name, effect.value)
        else:
            if effect.value:
                active.arguments[name] = effect.value
            self.queue_up(active, name, None)

    def queue_up(self, active: ActiveJob, name: str, index: int | None) -> None:
        """Let a step wait for its release from now on."""
        ready = Ready(active.job.id, name, index)
        self._readied[ready] = self.cause
        self.flow.add(Queued(ready, active.standing(name), self.batch.now))

    def succeed(self, active: ActiveJob, effect: Effect) -> None:
        """Record the result of a step that needs no worker; the graph has settled it."""
        step = self.begun(active, effect.step)
        result = self.batch.payload(effect.value)
        active.values[effect.step] = msgspec.json.decode(effect.value)
        self.ended[step.id] = step
        self.record_step(step, self.succeeded(step, result))

    def fail(self, active: ActiveJob, effect: Effect) -> None:
        """Record the failure of a step that never ran; the graph has settled it."""
        error = effect.error or Error(code="error", message="no reason given")
        active.errors[effect.step] = error
        step = self.begun(active, effect.step)
        self.ended[step.id] = step
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
        self.leave_queue(step)
        user_actions.leave(self, step)
        self.ended[step_id] = step
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
        self.cancel_child(step)

    def cancel_child(self, step: Step) -> None:
        """Have the child job of a step stopped; its parent ends only after it."""
        child = self.memory.jobs.get(step.child) if step.child else None
        if child is not None:
            self.advance(self.memory.jobs[step.job]).decided.cleaning(child.job.id)
            reason = "the job above it was stopped"
            self.later(partial(endings.cancel_job, self, child, reason))

    def resume(self, active: ActiveJob) -> None:
        """A job is paused no longer: what was held back for it may go out."""
        self.memory.paused.discard(active.job.id)
        for waiter in self.memory.held.pop(active.job.id, ()):
            self.flow.add_again(waiter.queued, waiter.reason)

    def ready_again(
        self, step: Step, *, reason: str, by: str = "", answer: Payload | None = None
    ) -> None:
        """Let a step that waits go out again, as soon as flow and limits allow."""
        user_actions.leave(self, step)
        event = StepReadied(
            at=self.batch.now,
            cause=self.cause,
            job=step.job,
            path=step.path,
            by=by,
            reason=reason,
            answer=answer,
        )
        self.record_step(step, event)
        self.queue_up(self.memory.jobs[step.job], *ids.split_path(step.path))

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
        self.leave_queue(step)
        user_actions.leave(self, step)
        self.record_step(step, event)
        self.memory.steps.pop(step.id, None)
        self.ended[step.id] = step
        active = self.memory.jobs[step.job]
        name, index = ids.split_path(step.path)
        if index is not None:
            fan_outs.end_item(self, active, step, event, data)
            return
        active.forget_items(name)
        error = event.error if isinstance(event, StepFailed) else None
        if error is not None:
            active.errors[name] = error
        elif step.state == "succeeded":
            active.values[name] = msgspec.json.decode(data)
        self.advance(active).settle(name, step.state, error)
        endings.proceed(self, active)

    def fail_step(self, step: Step, error: Error) -> None:
        """End a step that failed for a reason of the controller's own."""
        self.end_step(step, self.failed(step, error))

    def leave_queue(self, step: Step) -> None:
        """The attempt of a step is out no longer: its slots are free."""
        if step.state in OUT:
            self.flow.completed(step.id, self.batch.now)
            self.memory.limits.give_back(step.id)
            self.memory.heard.pop(step.id, None)


_CARRY_OUT: dict[str, Callable[[Turn, ActiveJob, Effect], None]] = {
    "begin": Turn.begin,
    "succeed": Turn.succeed,
    "fail": Turn.fail,
    "cancel": Turn.cancel,
}
