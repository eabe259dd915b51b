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
from threading import Event, Lock, Thread, get_ident
from typing import Any

import msgspec
import pika
import structlog
from pika import exceptions
from pika.adapters.select_connection import IOLoop, SelectConnection

from warrener.adapters.rabbitmq_admin import RabbitAdmin, why
from warrener.adapters.rabbitmq_tuning import join_writes, read_more
from warrener.adapters.rabbitmq_url import Target
from warrener.domain.errors import BrokerUnavailable
from warrener.domain.ports import Delivery, Notice, Outgoing
from warrener.domain.topology import (
    QUARANTINE,
    REASON_HEADER,
    SOURCE_HEADER,
    exchange_of,
    is_temporary,
)

BACKOFF_SECONDS_MIN = 0.05
BACKOFF_SECONDS_MAX = 5.0
CALM_SECONDS = 1.0  # a connection that lasts so long ends the series of attempts
GENERATION_BITS = 48  # a tag for the owner: the connection's generation, then the broker's tag
# What goes wrong with a connection is told once, by our own log.
logging.getLogger("pika").setLevel(logging.CRITICAL)
log = structlog.get_logger()

_TAG_MASK = (1 << GENERATION_BITS) - 1


class Mailbox:
    """What the I/O thread leaves for the owner."""

    def __init__(self) -> None:
        self.arrived: deque[Delivery] = deque()
        self.confirmed: deque[int] = deque()
        self.lost = False
        self.error: BrokerUnavailable | None = None  # told once
        self.dead: BrokerUnavailable | None = None  # nothing will come any more
        self.published = 0  # messages, counted by the owner
        self.settled = 0  # messages, counted by the I/O thread
        self.lock = Lock()
        self.event = Event()
        self.waiting = False

    @property
    def unconfirmed(self) -> int:
        """Return how many messages the broker is not yet answerable for."""
        return self.published - self.settled

    def wake(self) -> None:
        """Wake the owner if it waits."""
        if self.waiting:
            self.event.set()


class Consumption(msgspec.Struct):
    """A queue that is taken part in; `patterns` and `exchange` are those of a subscription."""

    queue: str
    prefetch: int = 0
    exchange: str = ""
    patterns: tuple[str, ...] = ()
    tag: str | None = None  # the broker's name of it while it is connected

    @property
    def subscribed(self) -> bool:
        """Say whether the queue is temporary and needs no acknowledgements."""
        return self.prefetch == 0


class _Batch(msgspec.Struct):
    number: int | None
    left: int
    after: Callable[[], None] | None = None


class _Pending(msgspec.Struct):
    message: Outgoing | Notice
    batch: _Batch
    headers: dict[str, str] | None = None


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
        self._consumptions: dict[str, Consumption] = {}
        self._publisher: Any = None  # SelectConnection
        self._consumer: Any = None
        self._out: Any = None  # the publisher's channel, once confirms are selected
        self._in: Any = None  # the consumer's channel
        self._generation = 0
        self._attempts = 0
        self._node = 0
        self._closing = False
        self._backlog: deque[_Pending] = deque()  # to be sent once there is a connection
        self._pending: dict[int, _Pending] = {}  # by the publisher's delivery tag
        self._next_tag = 1
        self._returned: set[tuple[str, str]] = set()
        self._unacked: dict[int, None] = {}  # the broker's tags that the owner holds
        self._properties: dict[str, Any] = {}
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
        self.do(self._add_consumption, consumption)

    def leave(self, queue: str) -> None:
        """Take no further part."""
        self.do(self._leave, queue)

    def publish(self, messages: Sequence[Outgoing | Notice], number: int | None) -> None:
        """Send messages until they are confirmed."""
        self.do(self._publish, messages, number)

    def ack(self, tags: Sequence[int]) -> None:
        """Acknowledge deliveries."""
        self.do(self._ack, tags)

    def give_back(self, tag: int) -> None:
        """Put a delivery back into its queue."""
        self.do(self._give_back, tag)

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
        self._backlog.extendleft(reversed(self._pending.values()))
        self._pending.clear()
        self._returned.clear()
        self._unacked.clear()
        self._generation += 1
        for consumption in self._consumptions.values():
            consumption.tag = None
        with self._mailbox.lock:
            self._mailbox.arrived.clear()
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
        channel.add_on_return_callback(self._on_return)
        confirmed = partial(self._on_confirm, channel)
        channel.confirm_delivery(confirmed, callback=partial(self._out_ready, channel))

    def _out_ready(self, channel: Any, _frame: Any) -> None:
        if channel.connection is not self._publisher:
            return
        self._out, self._next_tag = channel, 1
        self._loop.call_later(CALM_SECONDS, partial(self._calm, self._generation))
        if self._generation:
            log.info("broker.connected", broker=self._target.shown, again=self._generation)
        self._send_backlog()

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
        for consumption in self._consumptions.values():
            self._begin(consumption)

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

    # --- consuming -------------------------------------------------------------------------------

    def _note_declared(self, queue: str) -> None:
        self._durable[queue] = None

    def _add_consumption(self, consumption: Consumption) -> None:
        known = self._consumptions.get(consumption.queue)
        self._consumptions[consumption.queue] = consumption
        if not self._consumes():
            return
        if known is not None and known.tag is not None:
            self._in.basic_cancel(known.tag)
        self._begin(consumption)

    def _begin(self, consumption: Consumption) -> None:
        channel, queue = self._in, consumption.queue
        if consumption.subscribed:
            channel.queue_declare(queue, exclusive=True, auto_delete=True)
            for pattern in consumption.patterns:
                channel.queue_bind(queue, consumption.exchange, routing_key=pattern)
            receive = partial(self._hear, queue)
            consumption.tag = channel.basic_consume(queue, receive, auto_ack=True)
            return
        channel.basic_qos(prefetch_count=consumption.prefetch)
        receive = partial(self._receive, (queue, self._generation << GENERATION_BITS))
        consumption.tag = channel.basic_consume(queue, receive)

    def _receive(
        self, source: tuple[str, int], channel: Any, method: Any, properties: Any, body: bytes
    ) -> None:
        if channel is not self._in:
            return  # of a connection that we have let go: it will be delivered again
        queue, generation = source
        tag = method.delivery_tag
        if queue not in self._consumptions:  # it was on its way when we left
            self._in.basic_nack(tag, requeue=True)
            return
        self._unacked[tag] = None
        self._mailbox.arrived.append(
            Delivery(generation | tag, queue, body, properties.message_id or "", method.redelivered)
        )
        self._mailbox.wake()

    def _hear(self, queue: str, channel: Any, _method: Any, properties: Any, body: bytes) -> None:
        if channel is not self._in:
            return
        self._mailbox.arrived.append(Delivery(0, queue, body, properties.message_id or ""))
        self._mailbox.wake()

    def _cancelled(self, frame: Any) -> None:
        """The broker ended a consumption: the queue is gone, or its node."""
        for consumption in self._consumptions.values():
            if consumption.tag == frame.method.consumer_tag:
                consumption.tag = None
                if self._consumer is not None and self._consumer.is_open:
                    self._consumer.close()  # all is declared anew with the next connection

    def _leave(self, queue: str) -> None:
        consumption = self._consumptions.pop(queue, None)
        if consumption is not None and consumption.tag is not None and self._consumes():
            self._in.basic_cancel(consumption.tag)
        arrived = self._mailbox.arrived
        with self._mailbox.lock:
            unseen = [delivery for delivery in arrived if delivery.queue == queue]
            for delivery in unseen:
                arrived.remove(delivery)
        for delivery in unseen:
            self._give_back(delivery.tag)

    def _current(self, tag: int) -> int | None:
        """Return the broker's tag of a delivery of the present connection, else None."""
        number = tag & _TAG_MASK
        present = tag >> GENERATION_BITS == self._generation and number in self._unacked
        return number if present and self._consumes() else None

    def _consumes(self) -> bool:
        return self._in is not None and self._in.is_open

    def _ack(self, tags: Sequence[int]) -> None:
        acked = {number for tag in tags if (number := self._current(tag)) is not None}
        last = 0
        for number in self._unacked:  # in the order in which they came
            if number not in acked:
                break
            last = number
        if last:
            self._in.basic_ack(last, multiple=True)
        for number in acked:
            del self._unacked[number]
            if number > last:
                self._in.basic_ack(number)

    def _give_back(self, tag: int) -> None:
        number = self._current(tag)
        if number is not None:
            del self._unacked[number]
            self._in.basic_nack(number, requeue=True)

    def _quarantine(self, delivery: Delivery, reason: str) -> None:
        if self._current(delivery.tag) is None:
            self._mailbox.settled += 1  # the broker has it still: nothing is to be moved
            return
        batch = _Batch(None, 1, partial(self._ack, [delivery.tag]))
        moved = Outgoing(QUARANTINE, delivery.body, delivery.message_id)
        headers = {REASON_HEADER: reason[:1000], SOURCE_HEADER: delivery.queue}
        self._send(_Pending(moved, batch, headers))

    # --- publishing ------------------------------------------------------------------------------

    def _publish(self, messages: Sequence[Outgoing | Notice], number: int | None) -> None:
        batch = _Batch(number, len(messages))
        if not messages:
            self._finish(batch)
        for message in messages:
            self._send(_Pending(message, batch))

    def _send_backlog(self) -> None:
        while self._backlog and self._out is not None and self._out.is_open:
            self._send(self._backlog.popleft())

    def _send(self, pending: _Pending) -> None:
        if self._out is None or not self._out.is_open:
            self._backlog.append(pending)
            return
        message, tag = pending.message, self._next_tag
        properties = pika.BasicProperties(
            content_type="application/json",
            delivery_mode=2,
            message_id=message.message_id or None,
            headers=pending.headers,
        )
        if isinstance(message, Outgoing):
            exchange, key = exchange_of(message.queue), message.queue
            mandatory = not is_temporary(key)
        else:
            exchange, key, mandatory = message.exchange, message.routing_key, False
        self._pending[tag] = pending
        self._next_tag = tag + 1
        self._out.basic_publish(exchange, key, message.body, properties, mandatory)

    def _on_return(self, channel: Any, method: Any, properties: Any, _body: bytes) -> None:
        if channel is not self._out:
            return  # of a connection that we have let go: what it held is sent again anyway
        self._returned.add((method.routing_key, properties.message_id or ""))

    def _on_confirm(self, channel: Any, frame: Any) -> None:
        if channel is not self._out:
            return  # its tags mean other messages than those of the present channel
        method = frame.method
        tag, positive = method.delivery_tag, method.NAME == "Basic.Ack"
        if not method.multiple:
            found = [self._pending.pop(tag)]
        else:
            found = []
            for number in list(self._pending):
                if number > tag:
                    break
                found.append(self._pending.pop(number))
        again = [pending for pending in found if not self._settle(pending, positive)]
        if again:
            self._send_again(again)

    def _settle(self, pending: _Pending, positive: bool) -> bool:
        """Take a confirmation; say whether the broker is answerable for the message now."""
        message = pending.message
        if self._returned and isinstance(message, Outgoing):
            key = (message.queue, message.message_id)
            if key in self._returned:
                self._returned.discard(key)
                return False
        if not positive:
            return False
        batch = pending.batch
        batch.left -= 1
        self._mailbox.settled += 1
        if batch.left == 0:
            self._finish(batch)
        return True

    def _finish(self, batch: _Batch) -> None:
        if batch.after is not None:
            batch.after()
        elif batch.number is not None:
            self._mailbox.confirmed.append(batch.number)
            self._mailbox.wake()

    def _send_again(self, again: Sequence[_Pending]) -> None:
        """Send what had no queue, or was refused, once its queue is there."""
        queues = {p.message.queue for p in again if isinstance(p.message, Outgoing)}
        try:
            self._note_lost(self._admin.ensure(sorted(queues)))
        except BrokerUnavailable as error:
            self._fail(error)
        for pending in again:
            self._loop.call_later(BACKOFF_SECONDS_MIN, partial(self._send, pending))
