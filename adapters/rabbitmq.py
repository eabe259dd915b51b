"""RabbitMQ as a broker, over pika's `SelectConnection` in a thread of each channel's own."""

from __future__ import annotations

import random
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress

from warrener.adapters.rabbitmq_admin import RabbitAdmin
from warrener.adapters.rabbitmq_io import RabbitIo
from warrener.adapters.rabbitmq_mailbox import Mailbox
from warrener.adapters.rabbitmq_receiver import Consumption
from warrener.adapters.rabbitmq_url import HEARTBEAT_SECONDS, target_of
from warrener.domain.errors import BrokerUnavailable
from warrener.domain.ports import Delivery, Notice, Outgoing, Poll

UNCONFIRMED_MAX = 100_000  # messages that may wait for the broker
FLUSH_SECONDS = 5.0
CLOSE_SECONDS = 5.0
PREFETCH_MAX = 65_535  # what fits into AMQP's field; 0 would be no limit


class RabbitBroker:
    """Opens channels on one RabbitMQ, which may have several nodes."""

    def __init__(
        self,
        url: str,
        chance: random.Random | None = None,
        *,
        heartbeat_seconds: float = HEARTBEAT_SECONDS,
    ) -> None:
        """Take the URL; `chance` spreads reconnects. Raises `UsageError` for a URL that is none.

        A party that falls silent loses what it holds after two to three heartbeats.
        """
        self._target = target_of(url, heartbeat_seconds)
        self._chance = chance or random.Random()

    def channel(self) -> RabbitChannel:
        """Open a channel for one party; raises `BrokerUnavailable` with the reason."""
        admin = RabbitAdmin(self._target)
        admin.ensure(())  # tells a wrong password, and a missing topology, from a broker away
        mailbox = Mailbox()
        io = RabbitIo(self._target, mailbox, self._chance)
        io.start()
        return RabbitChannel(io, mailbox, admin)


class RabbitChannel:
    """One party's connections. Belongs to one thread; see `domain.ports.Channel`."""

    def __init__(self, io: RabbitIo, mailbox: Mailbox, admin: RabbitAdmin) -> None:
        """Use an I/O thread that runs."""
        self._io = io
        self._mailbox = mailbox
        self._admin = admin
        self._declared: set[str] = set()
        self._left: set[str] = set()
        self._held: dict[int, Delivery] = {}
        self._open = True

    def declare(self, queue: str) -> None:
        """Make sure that a durable queue exists."""
        self._check()
        if queue in self._declared:
            return
        if self._admin.ensure([queue]):
            self._mailbox.lost = True
        self._declared.add(queue)
        self._io.note_declared(queue)

    def consume(self, queue: str, prefetch: int) -> None:
        """Take part in a queue, holding at most `prefetch` unacknowledged deliveries of it."""
        self.declare(queue)
        self._left.discard(queue)
        self._io.consume(Consumption(queue, min(max(1, prefetch), PREFETCH_MAX)))

    def leave(self, queue: str) -> None:
        """Take no further part in a queue; what was not polled goes back, the rest stays ours."""
        self._check()
        self._left.add(queue)
        self._io.leave(queue)

    def subscribe(self, queue: str, exchange: str = "", patterns: Sequence[str] = ()) -> None:
        """Hear what comes to a temporary queue of our own, bound to patterns of an exchange."""
        self._check()
        self._io.consume(Consumption(queue, 0, exchange, tuple(patterns)))

    def publish(self, messages: Sequence[Outgoing | Notice], batch: int | None = None) -> None:
        """Send messages; `poll` reports `batch` when all are confirmed."""
        self._check()
        if self._mailbox.unconfirmed + len(messages) > UNCONFIRMED_MAX:
            raise BrokerUnavailable(f"{UNCONFIRMED_MAX} messages wait for the broker already")
        self._mailbox.published += len(messages)
        self._io.publish(messages, batch)

    def poll(self, count_max: int, timeout_seconds: float = 0.0) -> Poll:
        """Return deliveries and confirmations; waits up to the timeout if there is nothing yet."""
        self._check()
        if timeout_seconds > 0:
            self._wait(count_max, timeout_seconds)
        deliveries = self._take(count_max)
        confirmed = []
        with suppress(IndexError):
            while True:
                confirmed.append(self._mailbox.confirmed.popleft())
        lost, self._mailbox.lost = self._mailbox.lost, False
        return Poll(deliveries, confirmed, lost)

    def ack(self, tags: Iterable[int]) -> None:
        """The deliveries are dealt with."""
        self._check()
        held = [tag for tag in tags if self._held.pop(tag, None) is not None]
        if held:
            self._io.ack(held)

    def reject(self, tag: int, *, requeue: bool, reason: str = "") -> None:
        """Give a delivery back to its queue, or away for good into the quarantine."""
        self._check()
        delivery = self._held.pop(tag, None)
        if delivery is None:
            return
        if requeue:
            self._io.give_back(tag)
        else:
            self._mailbox.published += 1
            self._io.quarantine(delivery, reason)

    def close(self) -> None:
        """Leave, once what was published is confirmed or the broker is away for too long."""
        if not self._open:
            return
        self._open = False
        deadline = time.monotonic() + FLUSH_SECONDS
        while self._io.is_alive() and self._mailbox.unconfirmed > 0 and time.monotonic() < deadline:
            self._mailbox.event.wait(0.005)
        self._io.close()
        self._io.join(CLOSE_SECONDS)

    def _wait(self, count_max: int, timeout_seconds: float) -> None:
        mailbox = self._mailbox
        mailbox.waiting = True
        try:
            if not self._has_something(count_max):
                mailbox.event.wait(timeout_seconds)
        finally:
            mailbox.waiting = False
            mailbox.event.clear()

    def _has_something(self, count_max: int) -> bool:
        mailbox = self._mailbox
        return bool((count_max and mailbox.arrived) or mailbox.confirmed or mailbox.lost)

    def _take(self, count_max: int) -> list[Delivery]:
        found: list[Delivery] = []
        with self._mailbox.lock:
            arrived = self._mailbox.arrived
            while arrived and len(found) < count_max:
                delivery = arrived.popleft()
                if delivery.queue in self._left:
                    self._io.give_back(delivery.tag)
                    continue
                if delivery.tag:
                    self._held[delivery.tag] = delivery
                found.append(delivery)
        return found

    def _check(self) -> None:
        if not self._open:
            raise BrokerUnavailable("the channel is closed")
        if self._mailbox.dead is not None:
            raise self._mailbox.dead
        error, self._mailbox.error = self._mailbox.error, None
        if error is not None:
            raise error
