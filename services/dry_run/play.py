"""Plays what is recorded of a tree of jobs to a controller that goes by other definitions.

The controller is the real one. What came from outside (reports, signals, answers, what people
asked for) comes again, in the recorded order and at the recorded times; what waits there for a
limit, a worker, a policy or a backoff waits as long here. What does not fit yet waits until it
does; what never does is left, and the comparison tells.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable
from datetime import datetime
from itertools import count
from typing import Any
from uuid import UUID

import msgspec

from warrener.domain import ids
from warrener.domain import step as steps
from warrener.domain.definition.model import RetryRule
from warrener.domain.demand import downstream
from warrener.domain.events import (
    Event,
    JobAdjusted,
    JobCancelling,
    JobOverdue,
    JobPaused,
    JobRerun,
    JobResumed,
    JobSignalled,
    JobStarted,
    JobSubmitted,
)
from warrener.domain.messages import (
    AdjustStep,
    CancelJob,
    InboxMessage,
    PauseJob,
    RerunJob,
    ResumeJob,
    RetryJob,
    SignalJob,
    SubmitJob,
)
from warrener.domain.ports import Positioned
from warrener.domain.step import OUT, Rules, Step
from warrener.domain.step_events import (
    StepEvent,
    StepOpened,
    StepParked,
    StepReleased,
    StepRenewed,
)
from warrener.services.controller import Controller
from warrener.services.dry_run.apply import Apply
from warrener.services.dry_run.inputs import Input, done, input_of, release_of
from warrener.services.dry_run.record import Record
from warrener.services.dry_run.stage import HeldFlow, Scratch, StillMemory
from warrener.services.turn import Chance

ROUNDS_MAX = 100_000  # of letting go out what the record does not tell about


class Refused(msgspec.Struct, frozen=True):
    """What people had asked for, and what would be refused now."""

    job: UUID
    path: str
    event: Event
    reason: str


class Play:
    """One recorded tree under other definitions. `log` has what was decided."""

    def __init__(self, record: Record) -> None:
        """Take the record."""
        self.record = record
        self.log = Scratch(record.log.blob)
        self.flow = HeldFlow()
        self.refused: list[Refused] = []
        self.now = record.submitted.at
        tokens = count(1)
        chance = Chance(lambda: f"{next(tokens):032x}", lambda: 0.0)
        self.controller = Controller(
            self.log,
            lambda: self.flow,
            chance,
            "dry-run",
            announces=False,
            samples=False,
            new_memory=StillMemory,
        )
        assert isinstance(self.controller.memory, StillMemory)
        self.memory: StillMemory = self.controller.memory
        self._apply = Apply(self)
        self._messages = count(1)
        self._touched: deque[UUID] = deque()
        self._late: dict[UUID, deque[Input]] = {}
        self._before: dict[UUID, Step] = {}  # recorded steps as they are by now
        self._since: dict[UUID, datetime] = {}  # when those that wait began to
        self._retries: dict[tuple[UUID, str], tuple[tuple[RetryRule, ...], int]] = {}
        self._begun_anew: set[str] = set()  # causes of reruns
        self._sleeps: list[tuple[datetime, UUID]] = []  # that the record does not know
        self._passed: datetime | None = None  # deadline that was let pass

    # --- the whole -------------------------------------------------------------------------------

    def run(self, message: SubmitJob) -> None:
        """Submit the job, play all that is recorded, and go on with what then is ready."""
        self.turn(message)
        for positioned in self.record.events:
            event = positioned.recorded.event
            if isinstance(event, StepEvent):
                self._pass_time(event.at)
                self._step(positioned, event)
            elif type(event) in _JOB_EVENTS:
                self._pass_time(event.at)
                _JOB_EVENTS[type(event)](self, positioned.recorded.originator_id, positioned, event)
        self._go_on()

    def turn(self, *messages: InboxMessage) -> str | None:
        """Have messages and what was told decided; return why the last was refused, if it was."""
        named = [(f"replay/{next(self._messages)}", message) for message in messages]
        batch = self.controller.handle(named, self.now)
        self.log.commit(batch.events, batch.blobs)
        for recorded in batch.events:
            if isinstance(recorded.event, StepEvent):
                self._touched.append(recorded.originator_id)
                if isinstance(recorded.event, StepOpened):
                    self._opened(recorded.originator_id, recorded.event)
        fresh, self.flow.fresh = self.flow.fresh, []
        if self._late:
            self._touched.extend(ids.step_id(job, path) for job, path in fresh)
        if not batch.refused or batch.events:  # what is refused in part was so before, too
            return None
        return batch.refused[-1].reason

    def _settle(self) -> None:
        """Apply what had to wait and fits now."""
        while self._touched:
            late = self._late.get(self._touched.popleft())
            while late and self._apply(late[0]):
                given = late.popleft()
                if not late:
                    del self._late[given.id]

    def _opened(self, step: UUID, event: StepOpened) -> None:
        sleeps = event.until is not None and event.signal is None and event.child is None
        if sleeps and event.until is not None:
            known = self.record.step(event.job, event.path)
            if known is None or known.sleep is None:
                heapq.heappush(self._sleeps, (event.until, step))

    # --- time ------------------------------------------------------------------------------------

    def _pass_time(self, at: datetime) -> None:
        """Let that come about which is due by then, and of which the record cannot know."""
        while self._sleeps and self._sleeps[0][0] <= at:
            self._wake(heapq.heappop(self._sleeps))
        self._pass_deadline(at)
        self.now = at  # be it earlier: a clock may have been set back

    def _wake(self, due: tuple[datetime, UUID]) -> None:
        until, step = due
        known = self.memory.steps.get(step)
        if known is not None and known.state == "waiting":
            self.now = max(self.now, until)
            self.memory.bring_about(step, "sleep")
            self.turn()
            self._settle()

    def _pass_deadline(self, at: datetime) -> None:
        """Let a deadline pass that is earlier than the recorded one."""
        root = self.record.submitted.root
        active = self.memory.jobs.get(root)
        deadline = None if active is None else active.job.deadline
        if deadline is None or deadline >= at or deadline == self._passed:
            return
        recorded = self.record.submitted.deadline
        if recorded is None or recorded > deadline:
            self._passed = deadline
            self.now = max(self.now, deadline)
            self.memory.bring_about(root)
            self.turn()
            self._settle()

    # --- steps -----------------------------------------------------------------------------------

    def _step(self, positioned: Positioned, event: StepEvent) -> None:
        step_id = positioned.recorded.originator_id
        before = self._before.get(step_id)
        if before is None:
            before = self._before[step_id] = Step(step_id, event.job, event.path)
        if isinstance(event, StepReleased):
            given: Input | None = release_of(step_id, before, event)
        else:
            rules = self._rules(event.job, event.path)
            given = input_of(step_id, before, self._since.get(step_id), event, rules)
        steps.evolve(before, event)
        if isinstance(event, StepOpened | StepParked):
            self._since[step_id] = event.at
        elif isinstance(event, StepRenewed):
            self._since.pop(step_id, None)
        if given is not None:
            self._give(given)

    def _rules(self, job: UUID, path: str) -> Rules:
        name, _ = ids.split_path(path)
        changed = self._retries.get((job, name))
        if changed is not None:
            return Rules(*changed)
        defined = self.record.step(job, path)
        return Rules(None if defined is None else defined.retry)

    def _give(self, given: Input) -> None:
        late = self._late.get(given.id)
        if late is not None:
            late.append(given)
        elif not self._apply(given):
            self._late[given.id] = deque([given])
        self._settle()

    # --- jobs ------------------------------------------------------------------------------------

    def ask(self, job: UUID, path: str, event: Event, message: InboxMessage) -> None:
        """Have a command carried out, and remember if it is refused."""
        reason = self.turn(message)
        if reason is not None:
            self.refused.append(Refused(job, path, event, reason))
        self._settle()

    def _start(self, job: UUID, _: Positioned, __: JobStarted) -> None:
        if job == self.record.submitted.root:
            self.flow.measures.intake_held = False
            self.turn()
            self._settle()

    def _signal(self, job: UUID, _: Positioned, event: JobSignalled) -> None:
        step = None if event.step is None else ids.step_id(job, event.step)
        if step is not None and step in self._since:
            waited = (event.at - self._since[step]).total_seconds()
            self._apply.lose_patience(step, waited, self.record.step(job, event.step or ""))
        data = msgspec.Raw(self.record.data(event.data))
        message = SignalJob(
            job=job, name=event.name, data=data, key=event.key, by=event.by, reason=event.reason
        )
        self.ask(job, event.step or "", event, message)

    def _pause(self, job: UUID, _: Positioned, event: JobPaused) -> None:
        self.ask(job, "", event, PauseJob(job=job, by=event.by, reason=event.reason))

    def _resume(self, job: UUID, _: Positioned, event: JobResumed) -> None:
        self.ask(job, "", event, ResumeJob(job=job, by=event.by, reason=event.reason))

    def _cancel(self, job: UUID, _: Positioned, event: JobCancelling) -> None:
        if job == self.record.submitted.root:  # those below it follow
            self.ask(job, "", event, CancelJob(job=job, by=event.by, reason=event.reason))

    def _overdue(self, job: UUID, _: Positioned, __: JobOverdue) -> None:
        active = self.memory.jobs.get(job)
        deadline = None if active is None else active.job.deadline
        if deadline is not None and deadline <= self.now:
            self._passed = deadline
            self.memory.bring_about(job)
            self.turn()
            self._settle()

    def _rerun(self, job: UUID, positioned: Positioned, event: JobRerun) -> None:
        """Begin anew what was, by the command that must have asked for it."""
        if event.cause in self._begun_anew and self.memory.jobs.get(job) is None:
            return  # with those above it
        self._begun_anew.add(event.cause)
        at_once = self.record.steered_at_once(event.cause) > 1
        message: InboxMessage
        if at_once or self._began_several(job, positioned, event):
            message = RetryJob(job=job, key=event.key, by=event.by, reason=event.reason)
        else:
            message = RerunJob(
                job=job, step=event.step, key=event.key, by=event.by, reason=event.reason
            )
        self.ask(job, event.step, event, message)

    def _began_several(self, job: UUID, positioned: Positioned, event: JobRerun) -> bool:
        """Say whether all that had failed was begun anew, and not just what is below one step."""
        plan = self.record.plan(job)
        before = self.record.job_before(job, positioned.recorded.originator_version)
        stopped = [name for name in event.steps if before.step(name) == "cancelled"]
        below = frozenset().union(*(downstream(plan, name) for name in (event.step, *stopped)))
        return any(
            name in event.steps
            and name not in below
            and plan.steps[name].phase != "always"
            and plan.steps[name].undoes not in below
            for name in before.failed
            if name not in before.caught
        )

    def _adjust(self, job: UUID, _: Positioned, event: JobAdjusted) -> None:
        if event.retry is not None:
            revision = self._retries.get((job, event.step), ((), 0))[1]
            self._retries[job, event.step] = (event.retry, revision + 1)
        message = AdjustStep(
            job=job,
            step=event.step,
            window=event.window,
            tolerated=event.tolerated,
            retry=event.retry,
            by=event.by,
            reason=event.reason,
        )
        self.ask(job, event.step, event, message)

    # --- the end ---------------------------------------------------------------------------------

    def _go_on(self) -> None:
        """Let out what is ready though nothing is recorded of it, so that it can be told."""
        for _ in range(ROUNDS_MAX):
            ready = [key for key in self.flow.ready if self._is_beyond(*key)]
            if not ready and not (self.record.ended and self._sleeps):
                return
            for key in ready:
                self.flow.let(key)
            if self.record.ended and self._sleeps and not ready:
                self._wake(heapq.heappop(self._sleeps))
            self.turn()
            self._settle()
            self._clean_up()

    def _clean_up(self) -> None:
        """Take what only cleans up or undoes for done, so that the end of the job can be told."""
        for step in list(self.memory.steps.values()):
            active = self.memory.jobs.get(step.job)
            if active is None or step.state not in OUT or not self.record.ended:
                continue
            name, index = ids.split_path(step.path)
            if active.plan.steps[name].phase != "main" and index is None:
                self.turn(done(step, self.now))
                self._settle()

    def _is_beyond(self, job: UUID, path: str) -> bool:
        """Say whether a step is further than the record: not just waiting there, too."""
        known = self.record.job(job)
        if known is None or self.record.ended:
            return True
        name, _ = ids.split_path(path)
        return name not in self.record.plan(job).steps or known.step(name) == "pending"


def _submitted(_: Play, __: UUID, ___: Positioned, ____: JobSubmitted) -> None:
    """Do nothing: it was submitted first, and the others follow."""


_JOB_EVENTS: dict[type[Event], Callable[[Play, UUID, Positioned, Any], None]] = {
    JobSubmitted: _submitted,
    JobStarted: Play._start,
    JobSignalled: Play._signal,
    JobPaused: Play._pause,
    JobResumed: Play._resume,
    JobCancelling: Play._cancel,
    JobOverdue: Play._overdue,
    JobRerun: Play._rerun,
    JobAdjusted: Play._adjust,
}
