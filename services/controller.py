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
from warrener.domain.errors import PayloadError, WarrenerError
from warrener.domain.events import Error, StepRetryScheduled
from warrener.domain.flow import Flow, Ready
from warrener.domain.messages import CancelJob, InboxMessage, StepReport, SubmitJob
from warrener.domain.payloads import decode_json
from warrener.domain.ports import EventStore, Outgoing
from warrener.domain.step import Step
from warrener.services import children
from warrener.services.batch import Batch
from warrener.services.outbox import Outbox
from warrener.services.recovery import Recovery
from warrener.services.release import release_all
from warrener.services.turn import Turn
from warrener.services.working_set import WorkingSet


class Chance(msgspec.Struct, frozen=True):
    """The two random sources: tokens of attempts, and jitter from [0, 1)."""

    token: Callable[[], str]
    jitter: Callable[[], float]


class Controller:
    """Decides for the jobs it has been given."""

    def __init__(
        self, store: EventStore, new_flow: Callable[[], Flow], chance: Chance, reply_to: str
    ) -> None:
        """Begin with no job in memory; `reply_to` is the queue that workers report to."""
        self._store = store
        self._new_flow = new_flow
        self._chance = chance
        self._reply_to = reply_to
        self.ignored = 0  # reports that were late, doubled or forged
        self.forget()

    def forget(self) -> None:
        """Throw away everything in memory, as after a conflict; `recover` loads it again."""
        self.memory = WorkingSet(self._store)
        self.flow = self._new_flow()
        self.outbox = Outbox(self.memory, self._store, self._reply_to)

    def recover(self, roots: Iterable[UUID], now: datetime) -> list[Outgoing]:
        """Load the trees of these roots from the log; return the orders to send again."""
        recovery = Recovery(self.memory, self.flow, now)
        for root in roots:
            recovery.load_tree(root)
        return [self.outbox.order(step, event) for step, event in recovery.open_releases]

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
        for step in self.memory.take_due(now):
            self._wake(step)
        turn.cause = "release"
        release_all(turn, self._chance.token)
        turn.finish()
        return batch

    def orders(self, batch: Batch) -> list[Outgoing]:
        """Return what must be published once the batch is committed."""
        return self.outbox.orders(batch.events, batch.blobs)

    # --- messages --------------------------------------------------------------------------------

    def _take(self, turn: Turn, message_id: str, message: InboxMessage) -> None:
        match message:
            case StepReport():
                turn.cause = f"report:{message_id}"
                self._report(turn, message)
            case SubmitJob():
                turn.cause = f"command:{message_id}"
                self._submit(turn, message)
            case CancelJob():
                turn.cause = f"command:{message_id}"
                self._cancel(turn, message)

    def _submit(self, turn: Turn, message: SubmitJob) -> None:
        try:
            children.submit(turn, message)
        except (WarrenerError, msgspec.MsgspecError) as error:
            turn.batch.refused.append(f"cannot submit: {error}")

    def _cancel(self, turn: Turn, message: CancelJob) -> None:
        active = self.memory.jobs.get(message.job)
        if active is None:
            turn.batch.refused.append(f"cannot cancel job {message.job}: it is not running")
        elif active.job.parent is not None:
            turn.batch.refused.append(
                f"cannot cancel job {message.job} alone: cancel its root {active.tree.root}"
            )
        else:
            turn.cancel_job(active, message.reason)

    def _report(self, turn: Turn, report: StepReport) -> None:
        step = self.memory.steps.get(report.step)
        if step is None or not steps.answers(step, report):
            self.ignored += 1
            return
        if report.outcome == "succeeded":
            self._success(turn, step, report)
        else:
            self._failure(turn, step, report)

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


def _as_failure(report: StepReport, error: Error) -> StepReport:
    return msgspec.structs.replace(
        report, outcome="permanent", error=error, result=msgspec.Raw(b"null")
    )
