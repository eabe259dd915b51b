"""RabbitMQ as a broker, on pika: an I/O thread for each channel, which its owner never waits for.

The way of a message: `RabbitChannel.publish` hands it to the I/O thread (`rabbitmq_loop`), the
`Sender` makes frames of it (`rabbitmq_frames`) and keeps it until it is confirmed, and the
connection (`rabbitmq_connection`) sends all frames of a turn at once. What arrives goes through the
`Receiver` into the `Mailbox`, where `poll` takes it.

One loop drives both connections, which are made anew each by itself.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from random import Random

from warrener.adapters.rabbitmq_io import Io
from warrener.adapters.rabbitmq_mailbox import Mailbox
from warrener.adapters.rabbitmq_queues import Consumption
from warrener.adapters.rabbitmq_url import HEARTBEAT_SECONDS, Target, target_of
from warrener.domain.errors import BrokerUnavailable
from warrener.domain.ports import Delivery, Notice, Outgoing, Poll

MESSAGES_MAX = 100_000  # that wait for the broker, beyond which it counts as away
BYTES_MAX = 256 * 1024 * 1024
FLUSH_SECONDS = 5.0  # for the broker to confirm what was published before a channel is closed
CLOSE_SECONDS = 5.0


class RabbitBroker:
    """Opens channels on one RabbitMQ, which may have several nodes."""

    def __init__(
        self,
        url: str,
        chance: Random | None = None,
        *,
        heartbeat_seconds: float = HEARTBEAT_SECONDS,
        messages_max: int = MESSAGES_MAX,
        bytes_max: int = BYTES_MAX,
    ) -> None:
        """Take a URL, see `rabbitmq_url`; `chance` spreads reconnects.

        Raises `UsageError` for a URL that is none. A party that falls silent loses what it holds
        after two to three heartbeats. The bounds are those of each channel.
        """
        self._target = target_of(url, heartbeat_seconds)
        self._chance = chance or Random()
        self._bounds = (messages_max, bytes_max)
        _quieten_pika()

    def channel(self) -> RabbitChannel:
        """Open a channel for one party; raises `BrokerUnavailable` with the reason."""
        return RabbitChannel(self._target, self._chance, *self._bounds)


class RabbitChannel:
    """One party's connections. Belongs to one thread; see `domain.ports.Channel`.

    A message is sent again until it is confirmed, over as many connections as that takes; while the
    broker is away `publish` keeps up to `messages_max` messages. Errors that the broker has with
    what the owner asked for are raised by the call that follows.
    """

    def __init__(self, target: Target, chance: Random, messages_max: int, bytes_max: int) -> None:
        """Connect; raises `BrokerUnavailable` if no node can be connected to."""
        self._mailbox = Mailbox()
        self._io = Io(target, self._mailbox, chance)
        self._messages_max = messages_max
        self._bytes_max = bytes_max
        self._declared: set[str] = set()
        self._left: set[str] = set()
        self._open = True
        self._io.start()
        self._io.wait_until_connected()

    def declare(self, queue: str) -> None:
        """Make sure that a durable queue exists."""
        self._check()
        if queue not in self._declared:
            self._declared.add(queue)
            self._io.declare(queue)

    def consume(self, queue: str, prefetch: int) -> None:
        """Take part in a queue, holding at most `prefetch` unacknowledged deliveries of it.

        For a queue that is taken part in already the new prefetch does not count what is held.
        """
        self.declare(queue)
        self._left.discard(queue)
        self._io.consume(Consumption(queue, max(1, prefetch)))

    def leave(self, queue: str) -> None:
        """Take no further part in a queue; what was not polled goes back, the rest stays ours."""
        self._check()
        self._left.add(queue)
        self._declared.discard(queue)
        self._io.leave(queue)

    def subscribe(self, queue: str, exchange: str = "", patterns: Sequence[str] = ()) -> None:
        """Hear what comes to a temporary queue of our own, bound to patterns of an exchange."""
        self._check()
        self._io.consume(Consumption(queue, 0, exchange, tuple(patterns)))

    def publish(self, messages: Sequence[Outgoing | Notice], batch: int | None = None) -> None:
        """Send messages; `poll` reports `batch` when all are confirmed.

        Raises `BrokerUnavailable` if too many, or too many bytes, wait for the broker already.
        """
        self._check()
        if not messages:
            if batch is not None:
                self._mailbox.confirm(batch)
            return
        waiting, size = self._mailbox.unsettled
        if waiting >= self._messages_max or size >= self._bytes_max:
            raise BrokerUnavailable(
                f"{waiting} messages ({size} bytes) wait for the broker: {self._io.state()}"
            )
        self._mailbox.publish(len(messages), sum([len(message.body) for message in messages]))
        self._io.publish(messages, batch)

    def poll(self, count_max: int, timeout_seconds: float = 0.0) -> Poll:
        """Return deliveries and confirmations; waits up to the timeout if there is nothing yet."""
        self._check()
        poll = self._mailbox.take(count_max, timeout_seconds)
        return self._without_left(poll) if self._left else poll

    def ack(self, tags: Iterable[int]) -> None:
        """The deliveries are dealt with."""
        self._check()
        if held := [tag for tag in tags if tag]:
            self._io.ack(held)

    def reject(self, tag: int, *, requeue: bool, reason: str = "") -> None:
        """Give a delivery back to its queue, or away for good into the quarantine, with a reason.

        It is acknowledged only once the quarantine has it for sure.
        """
        self._check()
        if not tag:
            return
        if requeue:
            self._io.give_back([tag])
        else:
            self._mailbox.publish(1, 0)
            self._io.quarantine(tag, reason)

    def close(self) -> None:
        """Leave, once what was published is confirmed or the broker has had time enough for it."""
        if not self._open:
            return
        self._open = False
        self._mailbox.wait_until_settled(FLUSH_SECONDS)
        self._io.close()
        self._io.join(CLOSE_SECONDS)

    def _without_left(self, poll: Poll) -> Poll:
        """Give back what came of queues that were left in the meantime."""
        back = [delivery.tag for delivery in poll.deliveries if delivery.queue in self._left]
        if not back:
            return poll
        self._io.give_back(back)
        kept: list[Delivery] = [d for d in poll.deliveries if d.queue not in self._left]
        return Poll(kept, poll.confirmed, poll.lost, poll.broken)

    def _check(self) -> None:
        if not self._open:
            raise BrokerUnavailable("the channel is closed")
        self._mailbox.check()


def _quieten_pika() -> None:
    """Leave it to us to tell of lost connections: pika needs several tracebacks for each."""
    logger = logging.getLogger("pika")
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.CRITICAL)
