"""The consuming side of a channel: queues, deliveries, acknowledgements."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from itertools import count
from random import Random
from typing import Any

import structlog
from pika.exceptions import ChannelClosedByBroker

from warrener.adapters import rabbitmq_frames as frames
from warrener.adapters.rabbitmq_connection import MAIN, Connection
from warrener.adapters.rabbitmq_declarer import Declarer
from warrener.adapters.rabbitmq_link import Backoff
from warrener.adapters.rabbitmq_loop import IoThread
from warrener.adapters.rabbitmq_mailbox import Mailbox
from warrener.adapters.rabbitmq_queues import Consumption, Queues
from warrener.adapters.rabbitmq_reasons import ACCESS_REFUSED, refusal
from warrener.domain.errors import BrokerUnavailable
from warrener.domain.ports import Delivery

PREFETCH_MAX = 65_535  # what the protocol can say
GENERATION_BITS = 48  # a tag for the owner: the generation, then the broker's tag
_NUMBER = (1 << GENERATION_BITS) - 1

log = structlog.get_logger()


class Receiver:
    """Takes part in queues, again whenever the connection is a new one. Of the I/O thread.

    A generation is the life of the channel that messages come by: what was delivered by an earlier
    one is the broker's again, and acknowledgements of it do nothing.
    """

    def __init__(
        self,
        io: IoThread,
        mailbox: Mailbox,
        declarer: Declarer,
        queues: Queues,
        *,
        chance: Random,
        ready: Callable[[], None],
    ) -> None:
        """Wait for a connection; `ready` is called whenever it can be used."""
        self._io = io
        self._mailbox = mailbox
        self._declarer = declarer
        self._queues = queues
        self._backoff = Backoff(chance)
        self._ready = ready
        self._connection: Connection | None = None
        self._channel: Any = None
        self._generation = 0
        self._fresh: list[Delivery] = []  # of this turn, for the mailbox
        self._held: dict[int, Delivery] = {}  # by the broker's tag, in order
        self._to_ack: list[int] = []  # of this turn; the owner's tags
        self._consumptions: dict[str, Consumption] = {}
        self._by_consumer: dict[bytes, Consumption] = {}
        self._consumers = count(1)
        self._then: dict[str, list[Callable[[], None]]] = {}  # by queue

    @property
    def is_open(self) -> bool:
        """Say whether there is a channel that messages come by."""
        return self._channel is not None

    # --- what the owner asks for -----------------------------------------------------------------

    def consume(self, consumption: Consumption, then: Callable[[], None]) -> None:
        """Take part in a queue; one that is taken part in already gets another prefetch.

        `then` is called when the broker has agreed, or refused.
        """
        known = self._consumptions.get(consumption.queue)
        if known == consumption:
            then()
            return
        self._then.setdefault(consumption.queue, []).append(then)
        if known is not None:
            self._cancel(known)
        self._consumptions[consumption.queue] = consumption
        if self._channel is not None:
            self._begin(consumption)

    def leave(self, queue: str) -> None:
        """Take no further part; what the owner has not polled goes back."""
        self._queues.forget(queue)
        consumption = self._consumptions.pop(queue, None)
        if consumption is None:
            return
        self._answer(queue)
        self._cancel(consumption)
        self._hand_over([])
        self.give_back([d.tag for d in self._mailbox.take_back(lambda d: d.queue == queue)])

    def ack(self, tags: Iterable[int]) -> None:
        """Acknowledge, together with all others of this turn."""
        self._to_ack += tags

    def give_back(self, tags: Iterable[int]) -> None:
        """Put deliveries back into their queues."""
        for tag in tags:
            if self.held(tag) is not None:
                del self._held[tag & _NUMBER]
                self._write(frames.requeue(MAIN, tag & _NUMBER))

    def held(self, tag: int) -> Delivery | None:
        """Return a delivery that is ours; None, and an error for the owner, if it never was.

        None without an error for one of an earlier generation, and for what needs no answer.
        """
        if tag >> GENERATION_BITS != self._generation or self._channel is None:
            return None
        found = self._held.get(tag & _NUMBER)
        if found is None:
            error = f"delivery {tag} is not held by this channel"
            self._mailbox.fail(BrokerUnavailable(error))
        return found

    # --- the connection --------------------------------------------------------------------------

    def connected(self, connection: Connection) -> None:
        """Open the channels, and take part in the queues again."""
        self._connection = connection
        self._declarer.connected(connection)
        self._queues.verify()
        self._open_channel(connection)

    def disconnected(self) -> None:
        """Forget what came by the old connection: the broker delivers it again."""
        self._connection = None
        self._declarer.disconnected()
        self._drop()

    def close(self) -> None:
        """Give everything back before the channel is closed.

        The broker would do so, too, but its queues hear of a closed channel only a little later:
        who takes part in them at once would get what is behind.
        """
        if self._channel is None:
            return
        for name in self._by_consumer:
            self._channel.basic_cancel(name.decode())
        self._by_consumer.clear()
        if self._held:
            self._held.clear()
            self._write(frames.requeue_all(MAIN))
        self._connection = self._channel = None  # nothing may come behind the channel's end

    def end_turn(self, confirmed: list[int]) -> None:
        """Acknowledge what this turn is to acknowledge, and hand over what it has brought."""
        if self._to_ack:
            self._send_acks()
        if self._fresh or confirmed:
            self._hand_over(confirmed)

    def _open_channel(self, connection: Connection) -> None:
        if connection is self._connection and connection.is_open:
            connection.channel(MAIN, on_open_callback=self._opened)

    def _opened(self, channel: Any) -> None:
        self._io.check()
        self._channel = channel
        self._generation += 1
        channel.connection.events.delivered = self._delivered
        channel.add_on_close_callback(self._closed)
        channel.add_on_cancel_callback(self._cancelled)
        for consumption in self._consumptions.values():
            self._begin(consumption)
        self._ready()

    def _closed(self, channel: Any, reason: BaseException) -> None:
        if channel is not self._channel:
            return
        self._drop()
        if not isinstance(reason, ChannelClosedByBroker):
            return  # with its connection
        log.warning("broker.channel_closed", purpose="consume", reason=str(reason))
        if reason.reply_code == ACCESS_REFUSED:
            self._mailbox.fail(BrokerUnavailable(refusal("taking part in a queue", reason)))
        for queue in list(self._then):
            self._answer(queue)
        again = partial(self._open_channel, channel.connection)
        self._io.later(self._backoff.seconds(), again)

    def _drop(self) -> None:
        """Let go of everything that came by the channel."""
        if self._channel is not None:
            self._mailbox.break_off()
        self._channel = None
        self._held.clear()
        self._to_ack.clear()
        self._fresh.clear()
        self._by_consumer.clear()

    # --- taking part -----------------------------------------------------------------------------

    def _begin(self, consumption: Consumption) -> None:
        prepared = partial(self._prepared, consumption, self._generation)
        if consumption.prefetch:
            self._queues.ensure(consumption.queue, prepared)
        else:
            self._queues.subscribe(consumption, prepared)

    def _prepared(self, consumption: Consumption, generation: int, there: bool) -> None:
        if not self._is_wanted(consumption, generation):
            return
        if there:
            self._consume(consumption)
            return
        self._answer(consumption.queue)
        again = partial(self._begin_again, consumption, generation)
        self._io.later(self._backoff.seconds(), again)

    def _begin_again(self, consumption: Consumption, generation: int) -> None:
        if self._is_wanted(consumption, generation):
            self._begin(consumption)

    def _is_wanted(self, consumption: Consumption, generation: int) -> bool:
        """Say whether it is still to be taken part in, and by this channel."""
        wanted = self._consumptions.get(consumption.queue) is consumption
        return wanted and generation == self._generation and self._channel is not None

    def _consume(self, consumption: Consumption) -> None:
        name = f"warrener-{next(self._consumers)}"
        self._by_consumer[name.encode()] = consumption
        if consumption.prefetch:
            self._channel.basic_qos(prefetch_count=min(consumption.prefetch, PREFETCH_MAX))
        self._channel.basic_consume(
            consumption.queue,
            _unexpected,
            auto_ack=not consumption.prefetch,
            consumer_tag=name,
            callback=partial(self._consuming, consumption.queue),
        )

    def _consuming(self, queue: str, _frame: Any) -> None:
        self._backoff.tries = 0
        self._answer(queue)

    def _answer(self, queue: str) -> None:
        for then in self._then.pop(queue, ()):
            then()

    def _cancel(self, consumption: Consumption) -> None:
        for name, found in list(self._by_consumer.items()):
            if found is consumption:
                del self._by_consumer[name]
                self._channel.basic_cancel(name.decode(), callback=lambda _: None)

    def _cancelled(self, frame: Any) -> None:
        """The broker ended a consumer: its queue is gone, or the node of the queue."""
        consumption = self._by_consumer.pop(frame.method.consumer_tag.encode(), None)
        if consumption is not None:
            log.warning("broker.consumer_cancelled", queue=consumption.queue)
            self._begin_again(consumption, self._generation)

    # --- deliveries ------------------------------------------------------------------------------

    def _delivered(
        self, consumer: bytes, number: int, redelivered: bool, message_id: str, body: bytes
    ) -> None:
        consumption = self._by_consumer.get(consumer)
        if consumption is None:  # left, and this was on its way
            self._write(frames.requeue(MAIN, number))
        elif not consumption.prefetch:
            self._mailbox.put_heard(Delivery(0, consumption.queue, body, message_id))
        else:
            tag = self._generation << GENERATION_BITS | number
            delivery = Delivery(tag, consumption.queue, body, message_id, redelivered)
            self._held[number] = delivery
            self._fresh.append(delivery)

    def _hand_over(self, confirmed: list[int]) -> None:
        fresh, self._fresh = self._fresh, []
        self._mailbox.put(fresh, confirmed)

    def _send_acks(self) -> None:
        """Acknowledge in as few frames as can be: one for all that come before what is held."""
        tags, self._to_ack = self._to_ack, []
        numbers = []
        for tag in tags:
            if self.held(tag) is not None:
                del self._held[tag & _NUMBER]
                numbers.append(tag & _NUMBER)
        first_held = next(iter(self._held), _NUMBER)
        before = [number for number in numbers if number < first_held]
        if before:
            self._write(frames.ack(MAIN, max(before), len(before) > 1))
        for number in numbers:
            if number > first_held:
                self._write(frames.ack(MAIN, number, False))

    def _write(self, frame: bytes) -> None:
        if self._connection is not None:
            self._connection.write(frame)


def _unexpected(*_: Any) -> None:
    raise AssertionError("deliveries are read before pika sees them")
