"""Plays what is recorded of a tree of jobs to a controller that goes by other definitions.

The controller is the real one. What came from outside (reports, signals, answers, what people
asked for) comes again, in the recorded order and at the recorded times; what waits there for a
limit, a worker, a policy or a backoff waits as long here. What does not fit yet waits until it
does; what never does is left, and the comparison tells.
"""

from __future__ import annotations

import heapq
from collections import deque
from datetime import datetime
from itertools import count
from uuid import UUID

import msgspec

from warrener.domain import ids
from warrener.domain import step as steps
from warrener.domain.definition.model import RetryRule
from warrener.domain.events import Event, JobEvent
from warrener.domain.messages import InboxMessage, SubmitJob
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
from warrener.services.dry_run.steering import Steering
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
        self.apply = Apply(self)
        self._steering = Steering(self)
        self._messages = count(1)
        self._touched: deque[UUID] = deque()
        self._late: dict[UUID, deque[Input]] = {}
        self._before: dict[UUID, Step] = {}  # recorded steps as they are by now
        self.since: dict[UUID, datetime] = {}  # when those that wait began to
        self.retries: dict[tuple[UUID, str], tuple[tuple[RetryRule, ...], int]] = {}
        self._sleeps: list[tuple[datetime, UUID]] = []  # that the record does not know
        self.passed: datetime | None = None  # deadline that was let pass

    # --- the whole -------------------------------------------------------------------------------

    def run(self, message: SubmitJob) -> None:
        """Submit the job, play all that is recorded, and go on with what then is ready."""
        self.turn(message)
        for positioned in self.record.events:
            event = positioned.recorded.event
            if isinstance(event, StepEvent):
                self._pass_time(event.at)
                self._step(positioned, event)
            elif isinstance(event, JobEvent):
                self._pass_time(event.at)
                recorded = positioned.recorded
                self._steering(recorded.originator_id, event, recorded.originator_version)
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

    def settle(self) -> None:
        """Apply what had to wait and fits now."""
        while self._touched:
            late = self._late.get(self._touched.popleft())
            while late and self.apply(late[0]):
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
            self.settle()

    def _pass_deadline(self, at: datetime) -> None:
        """Let a deadline pass that is earlier than the recorded one."""
        root = self.record.submitted.root
        active = self.memory.jobs.get(root)
        deadline = None if active is None else active.job.deadline
        if deadline is None or deadline >= at or deadline == self.passed:
            return
        recorded = self.record.submitted.deadline
        if recorded is None or recorded > deadline:
            self.passed = deadline
            self.now = max(self.now, deadline)
            self.memory.bring_about(root)
            self.turn()
            self.settle()

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
            given = input_of(step_id, before, self.since.get(step_id), event, rules)
        steps.evolve(before, event)
        if isinstance(event, StepOpened | StepParked):
            self.since[step_id] = event.at
        elif isinstance(event, StepRenewed):
            self.since.pop(step_id, None)
        if given is not None:
            self._give(given)

    def _rules(self, job: UUID, path: str) -> Rules:
        name, _ = ids.split_path(path)
        changed = self.retries.get((job, name))
        if changed is not None:
            return Rules(*changed)
        defined = self.record.step(job, path)
        return Rules(None if defined is None else defined.retry)

    def _give(self, given: Input) -> None:
        late = self._late.get(given.id)
        if late is not None:
            late.append(given)
        elif not self.apply(given):
            self._late[given.id] = deque([given])
        self.settle()

    # --- jobs ------------------------------------------------------------------------------------

    def ask(self, job: UUID, path: str, event: Event, message: InboxMessage) -> None:
        """Have a command carried out, and remember if it is refused."""
        reason = self.turn(message)
        if reason is not None:
            self.refused.append(Refused(job, path, event, reason))
        self.settle()

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
            self.settle()
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
                self.settle()

    def _is_beyond(self, job: UUID, path: str) -> bool:
        """Say whether a step is further than the record: not just waiting there, too."""
        known = self.record.job(job)
        if known is None or self.record.ended:
            return True
        name, _ = ids.split_path(path)
        return name not in self.record.plan(job).steps or known.step(name) == "pending"
