"""Workers that do all that workers and endpoints may do, and what they must not: say nothing.

An attempt is left without a report only if its step's timeouts will end it.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import count
from typing import TYPE_CHECKING, Any

import msgspec
from support.random_jobs import ANSWER_FORM

from warrener.domain import ids
from warrener.domain.definition.model import Timeout
from warrener.domain.events import Error
from warrener.domain.messages import (
    Beat,
    CancelStep,
    RunStep,
    StepReport,
    UserActionAsked,
)
from warrener.domain.ports import Delivery, Outgoing
from warrener.domain.topology import CONTROL, POISON, orders_queue, worker_queue

if TYPE_CHECKING:
    from support.everything import Everything

QUEUES = ("default", "side")
CAUSES = ("page", "page", "account")  # few, so that many steps share a request
RESULTS: tuple[Any, ...] = (True, 7, None, ["x", "y"], {"k": 1})
BEAT_SECONDS = 1.0
PREFETCH = 2


class Work:
    """An order at hand: what its worker does next about it."""

    def __init__(self, delivery: Delivery, order: RunStep, fate: str, ends_at: datetime) -> None:
        self.delivery = delivery
        self.order = order
        self.fate = fate
        self.ends_at = ends_at
        self.beats = 0


class RandomWorker:
    """Takes orders from both queues, and does with each what chance says."""

    def __init__(self, world: Everything, name: str) -> None:
        self.name = name
        self._world = world
        self._places = count()
        self._due: list[tuple[datetime, int, Work]] = []
        self._join()

    def turn(self) -> bool:
        """Take orders, hear cancellations, and do what is due; say whether there was anything."""
        world = self._world
        if world.random.random() < world.faults.crash / 4:
            self._channel.close()
            self._due.clear()
            self._join()
        poll = self._channel.poll(2 * PREFETCH)
        deliveries = poll.deliveries
        for number in poll.confirmed:
            if number in self._unconfirmed:
                self._channel.ack([self._unconfirmed.pop(number)[1]])
        for said, tag in [self._unconfirmed.pop(number) for number in list(self._unconfirmed)]:
            self._say_and_ack(said, tag)
        for delivery in deliveries:
            if delivery.tag:
                self._take(delivery)
            else:
                self._hear(msgspec.json.decode(delivery.body, type=CancelStep))
        busy = bool(deliveries)
        while self._due and self._due[0][0] <= world.clock.now():
            self._go_on(heapq.heappop(self._due)[2])
            busy = True
        return busy

    def next_due(self) -> datetime | None:
        """Return when there is something to do next."""
        return self._due[0][0] if self._due else None

    def _join(self) -> None:
        self._unconfirmed: dict[int, tuple[Outgoing, int]] = {}  # and what to acknowledge then
        self._channel = self._world.broker.channel()
        self._channel.subscribe(worker_queue(self.name), CONTROL, ["step.cancel"])
        for queue in QUEUES:
            self._channel.consume(orders_queue(queue), PREFETCH)

    def _say_and_ack(self, said: Outgoing, tag: int) -> None:
        """Send a message, and acknowledge an order once that is confirmed."""
        number = next(self._places)
        self._unconfirmed[number] = said, tag
        self._channel.publish([said], number)

    def _later(self, work: Work, seconds: float) -> None:
        at = self._world.clock.now() + timedelta(seconds=seconds)
        heapq.heappush(self._due, (at, next(self._places), work))

    def _take(self, delivery: Delivery) -> None:
        order = msgspec.json.decode(delivery.body, type=RunStep)
        self._world.promises.order_arrived(order)
        random, now = self._world.random, self._world.clock.now()
        fate = random.choice(self._fates(self._world.timeout(order)))
        work = Work(delivery, order, fate, now + timedelta(seconds=random.expovariate(1.0)))
        if fate == "lost":
            self._channel.ack([delivery.tag])
        elif fate == "poison":
            name = ids.message_id(order.step, order.attempt, "run")
            self._say_and_ack(Outgoing(POISON, delivery.body, name), delivery.tag)
        else:
            beats_first = fate in {"silent", "endless"} or random.random() < 0.3
            self._later(work, 0.0 if beats_first else (work.ends_at - now).total_seconds())

    def _fates(self, timeout: Timeout | None) -> list[str]:
        """Return what may become of an order, each as often as it is likely."""
        if self._world.healthy:
            return ["succeeded"]
        found = ["succeeded"] * self._world.theme.successes + ["flaky"] * 3
        found += ["broken", "bad-luck", "permanent", "throttled"]
        found += ["user-action", "user-action", "bad-result"] + ["poison"] * (timeout is not None)
        if timeout is not None:
            ends = timeout.run is not None or timeout.beat is not None
            if timeout.total is not None or (timeout.queue is not None and ends):
                found += ["lost", "silent", "silent"]
            if timeout.total is not None or timeout.run is not None:
                found += ["endless", "endless"]
        return found

    def _hear(self, cancel: CancelStep) -> None:
        """Let go of an attempt that nobody waits for."""
        for _, _, work in self._due:
            order = work.order
            if (order.step, order.attempt) == (cancel.step, cancel.attempt):
                work.fate = "cancelled"
                work.ends_at = self._world.clock.now()

    def _go_on(self, work: Work) -> None:
        if work.fate == "cancelled" or (work.fate == "silent" and work.beats):
            self._channel.ack([work.delivery.tag])
        elif work.fate != "endless" and work.ends_at <= self._world.clock.now():
            self._report(work)
        else:
            self._beat(work)
            left = (work.ends_at - self._world.clock.now()).total_seconds()
            ends = work.fate not in {"endless", "silent"} and left < BEAT_SECONDS
            self._later(work, max(left, 0.0) if ends else BEAT_SECONDS)

    def _beat(self, work: Work) -> None:
        order = work.order
        work.beats += 1
        beat = Beat(
            job=order.job,
            step=order.step,
            attempt=order.attempt,
            token=order.token,
            worker=self.name,
            at=self._world.clock.now(),
            progress=min(1.0, work.beats * 0.15),
        )
        name = f"beat/{self.name}/{order.step}/{order.attempt}/{work.beats}"
        self._channel.publish([Outgoing(order.reply_to, msgspec.json.encode(beat), name)])

    def _report(self, work: Work) -> None:
        report = make_report(work, self.name, self._world.clock.now(), self._world.random.choice)
        self._world.promises.report_sent(report)
        name = ids.message_id(report.step, report.attempt, "report")
        said = Outgoing(work.order.reply_to, msgspec.json.encode(report), name)
        self._say_and_ack(said, work.delivery.tag)


def make_report(work: Work, worker: str, now: datetime, choose: Callable[[Any], Any]) -> StepReport:
    """Return the report that an attempt ends with."""
    outcome, code = "failed", work.fate
    fields: dict[str, Any] = {}
    if work.fate == "succeeded":
        outcome, fields["result"] = "succeeded", msgspec.Raw(msgspec.json.encode(choose(RESULTS)))
    elif work.fate == "bad-result":
        outcome, fields["result"] = "succeeded", msgspec.Raw(b"9" * 30)
    elif work.fate == "permanent":
        outcome = "permanent"
    elif work.fate == "throttled":
        outcome, fields["retry_after"] = "retry_later", choose((0.0, 2.0))
    elif work.fate == "user-action":
        cause = choose(CAUSES)
        form = ANSWER_FORM if cause == "account" else None
        outcome = "user_action"
        fields["user_action"] = UserActionAsked(action="help", cause=cause, form=form)
    order = work.order
    return StepReport(
        job=order.job,
        step=order.step,
        attempt=order.attempt,
        token=order.token,
        worker=worker,
        outcome=outcome,
        error=None if outcome == "succeeded" else Error(code=code, message=code),
        started_at=now,
        ended_at=now,
        **fields,
    )
