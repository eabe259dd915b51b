"""The controller: messages, due timers and the time go in, events and orders come out.

It never reads a clock, a random source, a socket or a file of its own; it reads the log through
the port it was given, and only for what it does not hold in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from warrener.domain import ids
from warrener.domain import step as steps
from warrener.domain.errors import PayloadError, StoredDataError, UnknownJob, WarrenerError
from warrener.domain.events import Error, StepRetryScheduled
from warrener.domain.fleet import Fleet
from warrener.domain.flow import Flow, Ready
from warrener.domain.job import Job
from warrener.domain.messages import (
    Beat,
    CancelJob,
    CommandReply,
    InboxMessage,
    StepReport,
    SubmitJob,
    WaitJob,
    WorkerState,
)
from warrener.domain.payloads import decode_json
from warrener.domain.ports import EventStore, Notice, Outgoing, Positioned
from warrener.domain.step import Step
from warrener.services import children
from warrener.services.batch import Batch, Refusal
from warrener.services.outbox import Outbox
from warrener.services.recovery import Recovery
from warrener.services.release import release_all
from warrener.services.turn import Turn
from warrener.services.waiters import Waiters, reply
from warrener.services.working_set import WorkingSet


class Chance(msgspec.Struct, frozen=True):
    """The two random sources: tokens of attempts, and jitter from [0, 1)."""

    token: Callable[[], str]
    jitter: Callable[[], float]


class Controller:
    """Decides for the jobs it has been given."""

    def __init__(
        self,
        store: EventStore,
        new_flow: Callable[[], Flow],
        chance: Chance,
        reply_to: str,
        *,
        fleet: Fleet | None = None,
        announces: bool = True,
    ) -> None:
        """Begin with no job in memory; `reply_to` is the queue that workers report to.

        `fleet` hears what workers announce; without `announces` no events are published.
        """
        self._store = store
        self._new_flow = new_flow
        self._chance = chance
        self._reply_to = reply_to
        self._announces = announces
        self.fleet = fleet or Fleet()
        self.waiters = Waiters(store)
        self.ignored = 0  # reports and beats that were late, doubled or forged
        self.forget()

    def forget(self) -> None:
        """Throw away everything in memory, as after a conflict; `recover` loads it again."""
        self.memory = WorkingSet(self._store)
        self.flow = self._new_flow()
        self.outbox = Outbox(self.memory, self._store, self._reply_to, announces=self._announces)

    def recover(self, roots: Iterable[UUID], now: datetime) -> dict[UUID, str]:
        """Load the trees of these roots from the log; return those that are unreadable, and why."""
        recovery = Recovery(self.memory, self.flow, now)
        unreadable: dict[UUID, str] = {}
        for root in roots:
            try:
                recovery.load_tree(root)
            except (StoredDataError, UnknownJob) as error:
                self.memory.drop_tree(root)
                unreadable[root] = str(error)
        return unreadable

    def next_due(self) -> datetime | None:
        """Return when the next timer is due."""
        return self.memory.next_due()

    def handle(self, messages: Sequence[tuple[str, InboxMessage]], now: datetime) -> Batch:
        """Decide all that follows from messages, each with its id, and from due timers."""
        batch = Batch(now)
        turn = Turn(self.memory, self.flow, batch)
        for message_id, message in messages:
            self._take(turn, message_id, message)
            turn.drain()
        self.fleet.expire(now)
        for step in self.memory.take_due(now):
            self._wake(step)
        turn.cause = "release"
        release_all(turn, self._chance.token)
        turn.finish()
        self.ignored += batch.ignored
        return batch

    def outgoing(self, batch: Batch, position: int) -> list[Outgoing | Notice]:
        """Return what must be published once the batch is committed up to `position`."""
        events = batch.events
        first = position - len(events) + 1
        positioned = [Positioned(first + place, event) for place, event in enumerate(events)]

        def job_of(job: UUID) -> Job | None:
            active = self.memory.jobs.get(job)
            return batch.left.get(job) if active is None else active.job

        follows = self.outbox.follows(positioned, job_of, batch.blobs)
        return [*follows, *batch.replies, *self.waiters.answer(batch.ended)]

    # --- messages --------------------------------------------------------------------------------

    def _take(self, turn: Turn, message_id: str, message: InboxMessage) -> None:
        match message:
            case StepReport():
                turn.cause = f"report:{message_id}"
                self._report(turn, message)
            case Beat():
                turn.cause = f"beat:{message_id}"
                self._beat(turn, message)
            case WorkerState():
                self.fleet.hear(message, turn.batch.now)
            case SubmitJob() | CancelJob() | WaitJob():
                turn.cause = f"command:{message_id}"
                self._command(turn, message_id, message)

    def _command(
        self, turn: Turn, message_id: str, message: SubmitJob | CancelJob | WaitJob
    ) -> None:
        """Carry out a command, and answer it if it asks for that."""
        job = ids.job_id(message.key) if isinstance(message, SubmitJob) else message.job
        try:
            if isinstance(message, SubmitJob):
                children.submit(turn, message)
            elif isinstance(message, CancelJob):
                self._cancel(turn, message)
            else:
                open_yet = job in self.memory.jobs or job in turn.batch.left
                self.waiters.add(turn.batch, message, running=open_yet)
                return
        except (WarrenerError, msgspec.MsgspecError) as error:
            reason = f"cannot {_VERBS[type(message)]}: {error}"
            turn.batch.refused.append(Refusal(message_id, reason))
            refusal = Error(code="refused", message=reason)
            reply(turn.batch, message, CommandReply(command=message_id, job=job, error=refusal))
        else:
            reply(turn.batch, message, CommandReply(command=message_id, job=job))

    def _cancel(self, turn: Turn, message: CancelJob) -> None:
        active = self.memory.jobs.get(message.job)
        if active is None:
            raise WarrenerError(f"job {message.job} is not running")
        if active.job.parent is not None:
            raise WarrenerError(
                f"job {message.job} was started by another: cancel its root {active.tree.root}"
            )
        turn.cancel_job(active, message.reason)

    def _report(self, turn: Turn, report: StepReport) -> None:
        step = self.memory.steps.get(report.step)
        if step is None or not steps.answers(step, report):
            turn.batch.ignored += 1
            return
        if report.outcome == "succeeded":
            self._success(turn, step, report)
        else:
            self._failure(turn, step, report)

    def _beat(self, turn: Turn, beat: Beat) -> None:
        step = self.memory.steps.get(beat.step)
        if step is None or not steps.answers(step, beat):
            turn.batch.ignored += 1
            return
        started = steps.decide_start(step, beat, turn.batch.now, turn.cause)
        if started is not None:
            turn.record_step(step, started)

    def _success(self, turn: Turn, step: Step, report: StepReport) -> None:
        data = bytes(report.result)
        try:
            decode_json(data)
        except PayloadError as error:
            refused = Error(code="bad-result", message=str(error))
            self._failure(turn, step, _as_failure(report, refused))
            return
        result = turn.batch.payload(data)
        turn.end_step(
            step, steps.decide_success(step, report, result, turn.batch.now, turn.cause), data
        )

    def _failure(self, turn: Turn, step: Step, report: StepReport) -> None:
        name, _ = ids.split_path(step.path)
        rules = self.memory.jobs[step.job].plan.steps[name].definition.retry
        event = steps.decide_failure(
            step, report, rules, self._chance.jitter(), now=turn.batch.now, cause=turn.cause
        )
        if isinstance(event, StepRetryScheduled):
            self.flow.completed(step.queue, turn.batch.now)
            turn.record_step(step, event)
            self.memory.set_timer(event.due, step.id)
        else:
            turn.end_step(step, event)

    def _wake(self, step: Step) -> None:
        name, index = ids.split_path(step.path)
        self.flow.add(step.queue, Ready(step.job, name, index))


_VERBS = {SubmitJob: "submit", CancelJob: "cancel", WaitJob: "wait"}


def _as_failure(report: StepReport, error: Error) -> StepReport:
    return msgspec.structs.replace(
        report, outcome="permanent", error=error, result=msgspec.Raw(b"null")
    )
