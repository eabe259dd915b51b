"""The I/O side of a channel: one thread, one loop, a connection to publish and one to consume.

The owner of the channel hands commands over in a deque and wakes the loop once for many; what
arrives is put where the owner's `poll` takes it. Neither side ever waits for the other.
"""

from __future__ import annotations

import logging
import random
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from threading import Thread, get_ident
from typing import Any

import structlog
from pika import exceptions
from pika.adapters.select_connection import IOLoop, SelectConnection

from warrener.adapters.rabbitmq_admin import RabbitAdmin, why
from warrener.adapters.rabbitmq_mailbox import Mailbox
from warrener.adapters.rabbitmq_receiver import Consumption, Receiver
from warrener.adapters.rabbitmq_sender import Batch, Pending, Sender
from warrener.adapters.rabbitmq_tuning import join_writes, read_more
from warrener.adapters.rabbitmq_url import Target
from warrener.domain.errors import BrokerUnavailable
from warrener.domain.ports import Delivery, Notice, Outgoing
from warrener.domain.topology import (
    QUARANTINE,
    REASON_HEADER,
    SOURCE_HEADER,
)

BACKOFF_SECONDS_MIN = 0.05
BACKOFF_SECONDS_MAX = 5.0
CALM_SECONDS = 1.0  # a connection that lasts so long ends the series of attempts
# What goes wrong with a connection is told once, by our own log.
logging.getLogger("pika").setLevel(logging.CRITICAL)
log = structlog.get_logger()


class RabbitIo(Thread):
    """Serves one channel until `close`."""

    def __init__(self, target: Target, mailbox: Mailbox, chance: random.Random) -> None:
        super().__init__(name="warrener-amqp", daemon=True)
        self._target = target
        self._admin = RabbitAdmin(target)
        self._mailbox = mailbox
        self._chance = chance
        self._loop = IOLoop()
        self._commands: deque[tuple[Callable[..., None], tuple[Any, ...]]] = deque()
        self._scheduled = False
        self._durable: dict[str, None] = {}
        self._sender = Sender(mailbox, self._send_again)
        self._receiver = Receiver(mailbox)
        self._publisher: Any = None  # SelectConnection
        self._consumer: Any = None
        self._out: Any = None  # the publisher's channel, once confirms are selected
        self._in: Any = None  # the consumer's channel
        self._generation = 0
        self._attempts = 0
        self._node = 0
        self._closing = False
        self._thread_id = 0

    # --- called by the owner ---------------------------------------------------------------------

    def do(self, command: Callable[..., None], *arguments: Any) -> None:
        """Have a command carried out by the I/O thread."""
        self._commands.append((command, arguments))
        if not self._scheduled:
            self._scheduled = True
            self._loop.add_callback_threadsafe(self._run_commands)

    def note_declared(self, queue: str) -> None:
        """Have the queue declared again whenever a connection is made anew."""
        self.do(self._note_declared, queue)

    def consume(self, consumption: Consumption) -> None:
        """Take part in a queue from now on."""
        self.do(self._receiver.add, consumption)

    def leave(self, queue: str) -> None:
        """Take no further part."""
        self.do(self._receiver.leave, queue)

    def publish(self, messages: Sequence[Outgoing | Notice], number: int | None) -> None:
        """Send messages until they are confirmed."""
        self.do(self._sender.publish, messages, number)

    def ack(self, tags: Sequence[int]) -> None:
        """Acknowledge deliveries."""
        self.do(self._receiver.ack, tags)

    def give_back(self, tag: int) -> None:
        """Put a delivery back into its queue."""
        self.do(self._receiver.give_back, tag)

    def quarantine(self, delivery: Delivery, reason: str) -> None:
        """Move a delivery into the quarantine: publish it there, and then acknowledge it."""
        self.do(self._quarantine, delivery, reason)

    def close(self) -> None:
        """Close the connections and end the thread."""
        self.do(self._close)

    # --- the thread ------------------------------------------------------------------------------

    def run(self) -> None:
        """Connect, and serve the loop until the channel is closed."""
        self._thread_id = get_ident()
        try:
            self._connect()
            self._loop.start()
        except Exception as error:  # a fault of ours or of pika's: the owner must know
            log.exception("broker.thread_died", broker=self._target.shown)
            self._mailbox.dead = BrokerUnavailable(f"the connection's thread died: {error!r}")
            self._mailbox.wake()
        finally:
            self._let_go()

    def _let_go(self) -> None:
        """Close the sockets, whatever state they are in."""
        for connection in (self._publisher, self._consumer):
            with suppress(Exception):
                connection.close()
        with suppress(Exception):
            self._loop.close()

    def _run_commands(self) -> None:
        assert get_ident() == self._thread_id
        self._scheduled = False
        while self._commands:
            command, arguments = self._commands.popleft()
            command(*arguments)
        join_writes(self._publisher)
        join_writes(self._consumer)

    # --- connecting ------------------------------------------------------------------------------

    def _connect(self) -> None:
        if self._closing:
            return
        try:
            made = self._admin.ensure(self._durable)
        except BrokerUnavailable as error:
            self._fail(error)
            self._connect_later()
            return
        self._note_lost(made)
        node = self._target.nodes[self._node % len(self._target.nodes)]
        open_ = partial(
            SelectConnection,
            node,
            on_open_error_callback=self._not_opened,
            on_close_callback=self._closed,
            custom_ioloop=self._loop,
        )
        self._publisher = open_(on_open_callback=self._publisher_opened)
        self._consumer = open_(on_open_callback=self._consumer_opened)

    def _connect_later(self) -> None:
        self._attempts += 1
        self._node += 1
        longest = min(BACKOFF_SECONDS_MAX, BACKOFF_SECONDS_MIN * 2.0 ** min(self._attempts, 20))
        self._loop.call_later(self._chance.uniform(0, longest), self._connect)

    def _not_opened(self, connection: SelectConnection, error: Any) -> None:
        self._closed(connection, error)

    def _closed(self, connection: SelectConnection, reason: Any) -> None:
        """One connection is gone: let go of the other, too, and begin anew."""
        if connection is not self._publisher and connection is not self._consumer:
            return
        if self._closing:
            self._one_less(connection)
            return
        if self._out is not None:
            log.warning("broker.disconnected", broker=self._target.shown, reason=why(reason))
        other = self._consumer if connection is self._publisher else self._publisher
        self._publisher = self._consumer = self._out = self._in = None
        self._generation += 1
        self._sender.lost()
        self._receiver.lost()
        if other is not None and other.is_open:
            other.close()
        self._connect_later()

    def _one_less(self, connection: SelectConnection) -> None:
        """Of the connections that are being closed one is; after the other the loop ends."""
        if connection is self._publisher:
            self._publisher = self._out = None
        else:
            self._consumer = self._in = None
        if self._publisher is None and self._consumer is None:
            self._loop.stop()

    def _publisher_opened(self, connection: Any) -> None:
        if connection is self._publisher:
            read_more(connection)
            connection.channel(on_open_callback=self._out_opened)
        else:
            connection.close()

    def _out_opened(self, channel: Any) -> None:
        channel.add_on_close_callback(self._channel_closed)
        channel.add_on_return_callback(self._sender.on_return)
        confirmed = partial(self._sender.on_confirm, channel)
        channel.confirm_delivery(confirmed, callback=partial(self._out_ready, channel))

    def _out_ready(self, channel: Any, _frame: Any) -> None:
        if channel.connection is not self._publisher:
            return
        self._out = channel
        self._loop.call_later(CALM_SECONDS, partial(self._calm, self._generation))
        if self._generation:
            log.info("broker.connected", broker=self._target.shown, again=self._generation)
        self._sender.opened(channel)

    def _calm(self, generation: int) -> None:
        if generation == self._generation:
            self._attempts = 0

    def _consumer_opened(self, connection: Any) -> None:
        if connection is self._consumer:
            read_more(connection)
            connection.channel(on_open_callback=self._in_opened)
        else:
            connection.close()

    def _in_opened(self, channel: Any) -> None:
        if channel.connection is not self._consumer:
            return
        channel.add_on_close_callback(self._channel_closed)
        channel.add_on_cancel_callback(self._cancelled)
        self._in = channel
        self._receiver.opened(channel)

    def _channel_closed(self, channel: Any, reason: Any) -> None:
        """The broker closed a channel: say why, and begin anew with both connections."""
        if self._closing or channel not in (self._out, self._in):
            return
        if isinstance(reason, exceptions.ChannelClosedByBroker) and reason.reply_code == 403:
            self._fail(BrokerUnavailable(f"the broker refuses: {reason.reply_text}"))
        if channel.connection.is_open:
            channel.connection.close()

    def _fail(self, error: BrokerUnavailable) -> None:
        """Tell the owner of what it can mend; an unreachable broker is waited for."""
        if "may not be declared" in str(error) or "refuses" in str(error):
            self._mailbox.error = error
            self._mailbox.wake()

    def _note_lost(self, made: Iterable[str]) -> None:
        if any(made):
            self._mailbox.lost = True
            self._mailbox.wake()

    def _close(self) -> None:
        self._closing = True
        connections = [c for c in (self._publisher, self._consumer) if c is not None]
        if not all(connection.is_open or connection.is_closing for connection in connections):
            self._loop.stop()  # one is not there yet: nothing is lost with it
        for connection in connections:
            if connection.is_open:
                connection.close()
        if not connections:
            self._loop.stop()

    # --- what needs both connections, or the topology --------------------------------------------

    def _note_declared(self, queue: str) -> None:
        self._durable[queue] = None

    def _cancelled(self, frame: Any) -> None:
        """Begin anew where the broker ended a consumption: all is declared again with that."""
        if self._receiver.cancelled(frame) and self._consumer and self._consumer.is_open:
            self._consumer.close()

    def _quarantine(self, delivery: Delivery, reason: str) -> None:
        if not self._receiver.holds(delivery.tag):
            self._mailbox.settled += 1  # the broker has it still: nothing is to be moved
            return
        batch = Batch(None, 1, partial(self._receiver.ack, [delivery.tag]))
        moved = Outgoing(QUARANTINE, delivery.body, delivery.message_id)
        headers = {REASON_HEADER: reason[:1000], SOURCE_HEADER: delivery.queue}
        self._sender.send(Pending(moved, batch, headers))

    def _send_again(self, again: Sequence[Pending]) -> None:
        """Send what had no queue, or was refused, once its queue is there."""
        queues = {p.message.queue for p in again if isinstance(p.message, Outgoing)}
        try:
            self._note_lost(self._admin.ensure(sorted(queues)))
        except BrokerUnavailable as error:
            self._fail(error)
        for pending in again:
            self._loop.call_later(BACKOFF_SECONDS_MIN, partial(self._sender.send, pending))
