"""Consuming: what a channel takes part in, and the deliveries that its owner holds."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import msgspec

from warrener.adapters.rabbitmq_mailbox import Mailbox
from warrener.domain.ports import Delivery

GENERATION_BITS = 48  # a tag for the owner: the connection's generation, then the broker's tag
_TAG_MASK = (1 << GENERATION_BITS) - 1


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


class Receiver:
    """Belongs to the I/O thread; its channel of pika's comes and goes."""

    def __init__(self, mailbox: Mailbox) -> None:
        self._mailbox = mailbox
        self._consumptions: dict[str, Consumption] = {}
        self._unacked: dict[int, None] = {}  # the broker's tags that the owner holds
        self._generation = 0
        self._channel: Any = None

    def opened(self, channel: Any) -> None:
        """Begin to consume on a new channel."""
        self._channel = channel
        for consumption in self._consumptions.values():
            self._begin(consumption)

    def lost(self) -> None:
        """The channel is gone, and all deliveries of it with it."""
        self._channel = None
        self._generation += 1
        self._unacked.clear()
        for consumption in self._consumptions.values():
            consumption.tag = None
        with self._mailbox.lock:
            self._mailbox.arrived.clear()

    def add(self, consumption: Consumption) -> None:
        """Take part in a queue, or with another prefetch than before."""
        known = self._consumptions.get(consumption.queue)
        self._consumptions[consumption.queue] = consumption
        if not self._consumes():
            return
        if known is not None and known.tag is not None:
            self._channel.basic_cancel(known.tag)
        self._begin(consumption)

    def _begin(self, consumption: Consumption) -> None:
        channel, queue = self._channel, consumption.queue
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
        if channel is not self._channel:
            return  # of a connection that we have let go: it will be delivered again
        queue, generation = source
        tag = method.delivery_tag
        if queue not in self._consumptions:  # it was on its way when we left
            self._channel.basic_nack(tag, requeue=True)
            return
        self._unacked[tag] = None
        self._mailbox.arrived.append(
            Delivery(generation | tag, queue, body, properties.message_id or "", method.redelivered)
        )
        self._mailbox.wake()

    def _hear(self, queue: str, channel: Any, _method: Any, properties: Any, body: bytes) -> None:
        if channel is not self._channel:
            return
        self._mailbox.arrived.append(Delivery(0, queue, body, properties.message_id or ""))
        self._mailbox.wake()

    def cancelled(self, frame: Any) -> bool:
        """Say whether the broker ended one of our consumptions: the queue is gone, or its node."""
        tag = frame.method.consumer_tag
        return any(consumption.tag == tag for consumption in self._consumptions.values())

    def leave(self, queue: str) -> None:
        """Take no further part; what the owner has not polled goes back."""
        consumption = self._consumptions.pop(queue, None)
        if consumption is not None and consumption.tag is not None and self._consumes():
            self._channel.basic_cancel(consumption.tag)
        arrived = self._mailbox.arrived
        with self._mailbox.lock:
            unseen = [delivery for delivery in arrived if delivery.queue == queue]
            for delivery in unseen:
                arrived.remove(delivery)
        for delivery in unseen:
            self.give_back(delivery.tag)

    def holds(self, tag: int) -> bool:
        """Say whether a delivery is still ours, by the tag that its owner knows."""
        return self._current(tag) is not None

    def _current(self, tag: int) -> int | None:
        """Return the broker's tag of a delivery of the present connection, else None."""
        number = tag & _TAG_MASK
        present = tag >> GENERATION_BITS == self._generation and number in self._unacked
        return number if present and self._consumes() else None

    def _consumes(self) -> bool:
        return self._channel is not None and self._channel.is_open

    def ack(self, tags: Sequence[int]) -> None:
        """Acknowledge those deliveries that are still ours, as few times as their order allows."""
        acked = {number for tag in tags if (number := self._current(tag)) is not None}
        last = 0
        for number in self._unacked:  # in the order in which they came
            if number not in acked:
                break
            last = number
        if last:
            self._channel.basic_ack(last, multiple=True)
        for number in acked:
            del self._unacked[number]
            if number > last:
                self._channel.basic_ack(number)

    def give_back(self, tag: int) -> None:
        """Put a delivery back into its queue."""
        number = self._current(tag)
        if number is not None:
            del self._unacked[number]
            self._channel.basic_nack(number, requeue=True)
