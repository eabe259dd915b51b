"""Random use of a broker, against a plain account of where each message is."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from warrener.adapters.memory import MemoryBroker
from warrener.domain.ports import Channel, Delivery, Outgoing
from warrener.domain.topology import QUARANTINE

QUEUES = ("a", "b")
EVERY_MESSAGE = 100_000


class BrokerMachine(RuleBasedStateMachine):
    """Holds for any broker that delivers what it has by the next poll.

    A message is in its queue, held by one channel, acknowledged or in quarantine: never in two
    places and never in none. What comes for the first time comes in its order.
    """

    def __init__(self) -> None:
        super().__init__()
        self.broker = MemoryBroker()
        self.sender = self.broker.channel()
        self.numbers = count(1)
        self.consumers: dict[Channel, dict[str, int]] = {}  # prefetch by queue
        self.held: dict[Channel, dict[int, Delivery]] = {}
        self.open: dict[str, str] = {}  # message -> queue: sent, neither acknowledged nor rejected
        self.delivered: set[str] = set()
        self.quarantined: list[str] = []

    @initialize()
    def declare(self) -> None:
        for queue in QUEUES:
            self.sender.declare(queue)

    @rule(queue=st.sampled_from(QUEUES), size=st.integers(0, 5))
    def publish(self, queue: str, size: int) -> None:
        names = [str(next(self.numbers)) for _ in range(size)]
        self.sender.publish([Outgoing(queue, name.encode(), name) for name in names], 1)
        assert list(self.sender.poll(0).confirmed) == [1]
        self.open.update(dict.fromkeys(names, queue))

    @precondition(lambda self: len(self.consumers) < 3)
    @rule(queues=st.sets(st.sampled_from(QUEUES), min_size=1), prefetch=st.integers(1, 4))
    def join(self, queues: set[str], prefetch: int) -> None:
        channel = self.broker.channel()
        for queue in sorted(queues):
            channel.consume(queue, prefetch)
        self.consumers[channel] = dict.fromkeys(queues, prefetch)
        self.held[channel] = {}

    @precondition(lambda self: self.consumers)
    @rule(data=st.data(), count_max=st.integers(0, 6))
    def poll(self, data: st.DataObject, count_max: int) -> None:
        channel = self.some_consumer(data)
        deliveries = channel.poll(count_max).deliveries
        assert len(deliveries) <= count_max
        for delivery in deliveries:
            self.take(channel, delivery)
        for queue, prefetch in self.consumers[channel].items():
            of_queue = [d for d in self.held[channel].values() if d.queue == queue]
            assert len(of_queue) <= prefetch
            fresh = [
                int(d.message_id) for d in deliveries if d.queue == queue and not d.redelivered
            ]
            assert fresh == sorted(fresh)

    @precondition(lambda self: any(self.held.values()))
    @rule(data=st.data())
    def ack(self, data: st.DataObject) -> None:
        channel = self.some_holder(data)
        tags = data.draw(st.lists(st.sampled_from(sorted(self.held[channel])), unique=True))
        channel.ack(tags)
        for tag in tags:
            del self.open[self.held[channel].pop(tag).message_id]

    @precondition(lambda self: any(self.held.values()))
    @rule(data=st.data(), requeue=st.booleans())
    def reject(self, data: st.DataObject, requeue: bool) -> None:
        channel = self.some_holder(data)
        tag = data.draw(st.sampled_from(sorted(self.held[channel])))
        channel.reject(tag, requeue=requeue)
        delivery = self.held[channel].pop(tag)
        if not requeue:
            del self.open[delivery.message_id]
            self.quarantined.append(delivery.message_id)

    @precondition(lambda self: self.consumers)
    @rule(data=st.data())
    def close(self, data: st.DataObject) -> None:
        channel = self.some_consumer(data)
        channel.close()
        del self.consumers[channel], self.held[channel]

    @invariant()
    def no_message_has_two_holders(self) -> None:
        names = [d.message_id for held in self.held.values() for d in held.values()]
        assert len(names) == len(set(names))

    def teardown(self) -> None:
        """Everything open, and nothing else, is still there, where it was in its queue."""
        for channel in self.consumers:
            channel.close()
        for queue in QUEUES:
            left = self.drain(queue)
            assert [int(d.message_id) for d in left] == sorted(
                int(name) for name, place in self.open.items() if place == queue
            )
            assert all(d.redelivered for d in left if d.message_id in self.delivered)
        assert [d.message_id for d in self.drain(QUARANTINE)] == self.quarantined

    def drain(self, queue: str) -> Sequence[Delivery]:
        channel = self.broker.channel()
        channel.consume(queue, EVERY_MESSAGE)
        deliveries = channel.poll(EVERY_MESSAGE).deliveries
        channel.close()
        return deliveries

    def take(self, channel: Channel, delivery: Delivery) -> None:
        name = delivery.message_id
        assert self.open[name] == delivery.queue
        assert delivery.body == name.encode()
        assert delivery.redelivered or name not in self.delivered
        self.delivered.add(name)
        self.held[channel][delivery.tag] = delivery

    def some_consumer(self, data: st.DataObject) -> Channel:
        return self.pick(data, list(self.consumers))

    def some_holder(self, data: st.DataObject) -> Channel:
        return self.pick(data, [channel for channel, held in self.held.items() if held])

    def pick(self, data: st.DataObject, channels: list[Any]) -> Any:
        return channels[data.draw(st.integers(0, len(channels) - 1))]


class TestRandomUse(BrokerMachine.TestCase):  # type: ignore[misc]
    settings = settings(stateful_step_count=40)
