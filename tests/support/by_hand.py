"""A channel and a runner that do what the test says, when it says so."""

from __future__ import annotations

from collections import deque
from typing import Any

import msgspec
from support.endpoints_orders import SteppingClock

from warrener.domain.messages import FleetMessage, RunStep
from warrener.domain.ports import Delivery, Notice, Outgoing, Poll
from warrener.domain.topology import orders_queue, worker_queue
from warrener.services.perform import Fate, report
from warrener.services.runners import Finished, Task

WORK = orders_queue("default")


class HandChannel:
    """A channel whose deliveries and confirmations come when the test says so."""

    def __init__(self) -> None:
        self.incoming: deque[Delivery] = deque()
        self.confirmations: deque[int] = deque()
        self.published: list[Outgoing] = []
        self.notices: list[Notice] = []
        self.batches: list[int] = []  # of messages to queues
        self.notice_batches: list[int] = []
        self.acked: list[int] = []
        self.rejected: list[tuple[int, bool]] = []
        self.reasons: list[str] = []
        self.consumed: dict[str, int] = {}
        self.left: list[str] = []
        self.subscribed: dict[str, tuple[str, tuple[str, ...]]] = {}
        self.broken = False  # tell so with the next poll
        self.closed = False

    def declare(self, queue: str) -> None:
        self.consumed.setdefault(queue, 0)

    def consume(self, queue: str, prefetch: int) -> None:
        self.consumed[queue] = prefetch

    def leave(self, queue: str) -> None:
        self.left.append(queue)
        self.consumed.pop(queue, None)

    def subscribe(self, queue: str, exchange: str = "", patterns: Any = ()) -> None:
        self.subscribed[queue] = (exchange, tuple(patterns))

    def publish(self, messages: Any, batch: int | None = None) -> None:
        outgoing = [message for message in messages if isinstance(message, Outgoing)]
        self.published += outgoing
        self.notices += [message for message in messages if isinstance(message, Notice)]
        (self.batches if outgoing else self.notice_batches).append(batch)

    def poll(self, count_max: int, timeout_seconds: float = 0.0) -> Poll:
        deliveries = [self.incoming.popleft() for _ in range(min(count_max, len(self.incoming)))]
        confirmed = list(self.confirmations)
        self.confirmations.clear()
        broken, self.broken = self.broken, False
        return Poll(deliveries, confirmed, broken=broken)

    def ack(self, tags: Any) -> None:
        self.acked.extend(tags)

    def reject(self, tag: int, *, requeue: bool, reason: str = "") -> None:
        self.rejected.append((tag, requeue))
        self.reasons.append(reason)

    def close(self) -> None:
        self.closed = True

    def deliver(self, tag: int, what: bytes | RunStep, queue: str = WORK) -> None:
        body = what if isinstance(what, bytes) else msgspec.json.encode(what)
        self.incoming.append(Delivery(tag, queue, body, f"message-{tag}"))

    def control(self, message: Any) -> None:
        """Deliver a control message, as a subscription does."""
        body = message if isinstance(message, bytes) else msgspec.json.encode(message)
        self.incoming.append(Delivery(0, worker_queue("w"), body, "control"))

    def confirm_all(self) -> None:
        """Confirm all that was published so far and is not confirmed."""
        self.confirmations += self.batches + self.notice_batches
        self.batches, self.notice_batches = [], []

    def announced(self) -> list[FleetMessage]:
        return [msgspec.json.decode(notice.body, type=FleetMessage) for notice in self.notices]


class HandRunner:
    """A runner whose tasks begin at once and end when the test says so."""

    def __init__(self, slots: int = 4) -> None:
        self.slots = slots
        self.running: list[Task] = []
        self.done: list[Finished] = []
        self.submitted: list[Task] = []
        self.cancelled: list[Task] = []
        self.unbegun: list[Task] = []  # what `withdraw` gives back
        self.closed = False

    def room(self) -> int:
        return self.slots - self.busy()

    def busy(self) -> int:
        return len(self.running) + len(self.done)

    def submit(self, task: Task) -> None:
        self.submitted.append(task)
        self.running.append(task)

    def finish(self, task: Task, result: bytes = b"1") -> None:
        now = SteppingClock().now()
        fate = Fate("succeeded", msgspec.Raw(result))
        made = report(task.order, "w", fate, started_at=now, ended_at=now)
        self.running.remove(task)
        self.done.append(Finished(task, msgspec.json.encode(made)))

    def finished(self, timeout_seconds: float = 0.0) -> list[Finished]:
        done, self.done = self.done, []
        return done

    def cancel(self, task: Task) -> None:
        task.pulse.cancelled = True
        self.cancelled.append(task)

    def withdraw(self) -> list[Task]:
        given, self.unbegun = self.unbegun, []
        for task in given:
            self.running.remove(task)
        return given

    def close(self) -> None:
        self.closed = True
