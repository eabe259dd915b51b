"""Random use of a broker, against a plain account of where each message is."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from functools import partial
from itertools import count
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from support.scale import scaled

from warrener.adapters.memory import MemoryBroker
from warrener.adapters.rabbitmq import RabbitBroker
from warrener.domain.ports import Broker, Channel, Delivery, Outgoing
from warrener.domain.topology import DELIVERY_LIMIT, QUARANTINE

QUEUES = ("a", "b")
EVERY_MESSAGE = 100_000
WAIT_SECONDS = 30.0
QUIET_SECONDS = 0.05  # for this long nothing more must come
EXAMPLE_NUMBERS = count(1)


class BrokerMachine(RuleBasedStateMachine):
    """A message is in its queue, held by one channel, acknowledged or in quarantine: never in two
    places and never in none. What comes for the first time comes in its order.
    """

    restores_order = True  # a message that comes back is where it was
    quiet_seconds = 0.0

    def __init__(self, broker: Broker | None = None) -> None:
        super().__init__()
        self.broker = broker or MemoryBroker()
        self.sender = self.broker.channel()
        example = next(EXAMPLE_NUMBERS)  # a broker that stays has queues of its own for each
        self.queues = [f"{queue}-{example}" for queue in QUEUES]
        self.numbers = count(1)
        self.consumers: dict[Channel, dict[str, int]] = {}  # prefetch by queue
        self.held: dict[Channel, dict[int, Delivery]] = {}
        self.open: dict[str, str] = {}  # message -> queue: sent, neither acknowledged nor rejected
        self.delivered: set[str] = set()
        self.quarantined: list[str] = []
        self.given_back: Counter[str] = Counter()

    @initialize()
    def declare(self) -> None:
        for queue in self.queues:
            self.sender.declare(queue)

    @rule(place=st.sampled_from(QUEUES), size=st.integers(0, 5))
    def publish(self, place: str, size: int) -> None:
        queue = self.queues[QUEUES.index(place)]
        names = [str(next(self.numbers)) for _ in range(size)]
        self.sender.publish([Outgoing(queue, name.encode(), name) for name in names], 1)
        deadline = time.monotonic() + WAIT_SECONDS
        while not (confirmed := self.sender.poll(0, self.quiet_seconds).confirmed):
            assert time.monotonic() < deadline
        assert list(confirmed) == [1]
        self.open.update(dict.fromkeys(names, queue))

    @precondition(lambda self: len(self.consumers) < 3)
    @rule(places=st.sets(st.sampled_from(QUEUES), min_size=1), prefetch=st.integers(1, 4))
    def join(self, places: set[str], prefetch: int) -> None:
        queues = [self.queues[QUEUES.index(place)] for place in places]
        channel = self.broker.channel()
        for queue in sorted(queues):
            channel.consume(queue, prefetch)
        self.consumers[channel] = dict.fromkeys(queues, prefetch)
        self.held[channel] = {}

    @precondition(lambda self: self.consumers)
    @rule(data=st.data(), count_max=st.integers(0, 6))
    def poll(self, data: st.DataObject, count_max: int) -> None:
        channel = self.some_consumer(data)
        deliveries = channel.poll(count_max, self.quiet_seconds).deliveries
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
        delivery = self.held[channel][tag]
        self.given_back[delivery.message_id] += requeue
        if self.given_back[delivery.message_id] > DELIVERY_LIMIT // 2:
            return  # else it would be poison at some time
        channel.reject(tag, requeue=requeue)
        del self.held[channel][tag]
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
        for queue in self.queues:
            expected = sorted(int(name) for name, place in self.open.items() if place == queue)
            left = self.drain(queue, len(expected))
            found = [int(delivery.message_id) for delivery in left]
            fresh = [int(delivery.message_id) for delivery in left if not delivery.redelivered]
            assert (found if self.restores_order else sorted(found)) == expected
            assert fresh == sorted(fresh)
            assert all(d.redelivered for d in left if d.message_id in self.delivered)
        kept = [d.message_id for d in self.drain(QUARANTINE, len(self.quarantined))]
        assert sorted(kept) == sorted(self.quarantined)  # two channels: in no order
        self.sender.close()

    def drain(self, queue: str, size: int) -> Sequence[Delivery]:
        """Take everything out of a queue, and make sure that it is so much."""
        channel = self.broker.channel()
        channel.consume(queue, EVERY_MESSAGE)
        deadline = time.monotonic() + WAIT_SECONDS
        found: list[Delivery] = []
        while len(found) < size and time.monotonic() < deadline:
            found += channel.poll(EVERY_MESSAGE, self.quiet_seconds).deliveries
        found += channel.poll(EVERY_MESSAGE, self.quiet_seconds).deliveries
        channel.ack([delivery.tag for delivery in found])
        channel.close()
        return found

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


class RabbitMachine(BrokerMachine):
    """The same, for a broker that is elsewhere."""

    quiet_seconds = QUIET_SECONDS

    def __init__(self, url: str, queue_type: str) -> None:
        super().__init__(RabbitBroker(f"{url}?queue_type={queue_type}"))
        self.restores_order = queue_type == "classic"


@pytest.mark.parametrize("queue_type", ["classic", "quorum"])
def test_random_use_of_rabbitmq(broker_url: str, queue_type: str) -> None:
    run_state_machine_as_test(
        partial(RabbitMachine, broker_url, queue_type),
        settings=settings(max_examples=scaled(10), stateful_step_count=30),
    )
