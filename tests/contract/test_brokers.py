"""What every `Broker` owes. A new one is one more entry in `BROKERS`, with fresh queues each."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence

import pytest
from support.log_checks import eventually

from warrener.adapters.memory import MemoryBroker
from warrener.adapters.rabbitmq import RabbitBroker
from warrener.adapters.rabbitmq_admin import RabbitAdmin
from warrener.adapters.rabbitmq_url import target_of
from warrener.domain.errors import BrokerUnavailable
from warrener.domain.ports import Broker, Channel, Delivery, Notice, Outgoing, Poll
from warrener.domain.topology import CONTROL, EVENTS, FLEET, QUARANTINE, orders_queue
from warrener.services.switchboard import Line, Switchboard

# By name: what makes a broker of a URL. All but memory get a virtual host of their own each time.
BROKERS: dict[str, Callable[[str], Broker]] = {
    "memory": lambda _: MemoryBroker(),
    "switchboard": lambda _: SwitchboardBroker(),
    "rabbitmq-classic": lambda url: RabbitBroker(f"{url}?queue_type=classic"),
    "rabbitmq-quorum": lambda url: RabbitBroker(f"{url}?queue_type=quorum"),
}
SERVERLESS = {"memory", "switchboard"}
RABBITS = sorted(set(BROKERS) - SERVERLESS)
WAIT_SECONDS = 10.0
QUIET_SECONDS = 0.05  # for this long nothing more must come
WORK = orders_queue("work")
OTHER = orders_queue("other")


class SwitchboardLine(Line):
    """A line with a switchboard of its own, which is closed with it."""

    def close(self) -> None:
        super().close()
        self._board.close()


class SwitchboardBroker:
    """Opens each channel as the line of a switchboard."""

    def __init__(self) -> None:
        self._broker = MemoryBroker()

    def channel(self) -> Channel:
        board = Switchboard(self._broker.channel())
        line = SwitchboardLine(board)
        board.lines.append(line)
        return line


class Tidy:
    """A broker that closes what the test left open."""

    def __init__(self, broker: Broker, url: str) -> None:
        self._broker = broker
        self._admin = RabbitAdmin(target_of(url)) if url else None
        self._channels: list[Channel] = []

    def await_consumers(self, count: int) -> None:
        """Wait until so many take part in the queue: a broker elsewhere hears of it later."""
        if self._admin is not None:
            info = self._admin.info
            eventually(lambda: info(["work"])[-1].consumers == count, f"{count} consumers")

    def channel(self) -> Channel:
        self._channels.append(self._broker.channel())
        return self._channels[-1]

    def close(self) -> None:
        for channel in self._channels:
            channel.close()


@pytest.fixture(params=sorted(BROKERS))
def broker(request: pytest.FixtureRequest) -> Iterator[Tidy]:
    url = "" if request.param in SERVERLESS else request.getfixturevalue("broker_url")
    tidy = Tidy(BROKERS[request.param](url), url)
    yield tidy
    tidy.close()


@pytest.fixture
def sender(broker: Tidy) -> Iterator[Channel]:
    channel = broker.channel()
    channel.declare(WORK)
    yield channel
    channel.close()


def consumer(broker: Tidy, prefetch: int = 100, queue: str = WORK) -> Channel:
    channel = broker.channel()
    channel.consume(queue, prefetch)
    return channel


def send(channel: Channel, *names: str, queue: str = WORK) -> None:
    """Publish a message for each name, and wait until they are confirmed."""
    channel.publish([Outgoing(queue, name.encode(), name) for name in names], 1)
    assert confirmations(channel, 1) == [1]


def confirmations(channel: Channel, count: int) -> list[int]:
    found: list[int] = []
    deadline = time.monotonic() + WAIT_SECONDS
    while len(found) < count and time.monotonic() < deadline:
        found += channel.poll(0, 0.1).confirmed
    return found


def receive(channel: Channel, count: int) -> list[Delivery]:
    """Wait for so many deliveries, and make sure that no more come with them."""
    found: list[Delivery] = []
    deadline = time.monotonic() + WAIT_SECONDS
    while len(found) < count and time.monotonic() < deadline:
        found += channel.poll(1_000, 0.1).deliveries
    found += channel.poll(1_000, QUIET_SECONDS).deliveries
    assert len(found) == count, found
    return found


def ids(deliveries: Sequence[Delivery]) -> list[str]:
    return [delivery.message_id for delivery in deliveries]


def test_messages_come_in_the_order_they_were_sent(broker: Tidy, sender: Channel) -> None:
    names = [f"m{n}" for n in range(500)]
    send(sender, *names)

    found = receive(consumer(broker, prefetch=1_000), 500)

    assert ids(found) == names
    assert [delivery.body for delivery in found] == [name.encode() for name in names]
    assert {delivery.queue for delivery in found} == {WORK}
    assert not any(delivery.redelivered for delivery in found)


def test_a_message_waits_for_a_consumer_that_comes_later(broker: Tidy, sender: Channel) -> None:
    send(sender, "early")

    assert ids(receive(consumer(broker), 1)) == ["early"]


def test_batches_are_confirmed_by_their_numbers_once(sender: Channel) -> None:
    for batch in (7, 8, 9):
        sender.publish([Outgoing(WORK, b"x", f"{batch}")], batch)

    assert sorted(confirmations(sender, 3)) == [7, 8, 9]
    assert list(sender.poll(0).confirmed) == []


def test_an_empty_batch_is_confirmed_too(sender: Channel) -> None:
    sender.publish([], 3)

    assert confirmations(sender, 1) == [3]


def test_no_more_than_the_prefetch_is_held_until_something_is_acknowledged(
    broker: Tidy, sender: Channel
) -> None:
    send(sender, "a", "b", "c", "d", "e")
    channel = consumer(broker, prefetch=2)

    first = receive(channel, 2)
    channel.ack([first[0].tag])
    second = receive(channel, 1)
    channel.ack([first[1].tag, second[0].tag])
    third = receive(channel, 2)

    assert ids([*first, *second, *third]) == ["a", "b", "c", "d", "e"]


def test_the_prefetch_counts_for_each_queue_by_itself(broker: Tidy, sender: Channel) -> None:
    sender.declare(OTHER)
    send(sender, "a", "b")
    send(sender, "x", "y", queue=OTHER)
    channel = consumer(broker, prefetch=1)
    channel.consume(OTHER, 2)

    found = receive(channel, 3)

    assert sorted(ids(found)) == ["a", "x", "y"]


def test_poll_gives_no_more_than_it_is_asked_for(broker: Tidy, sender: Channel) -> None:
    send(sender, "a", "b", "c")
    channel = consumer(broker)
    first = channel.poll(2, WAIT_SECONDS).deliveries

    assert 1 <= len(first) <= 2
    assert ids(first) + ids(receive(channel, 3 - len(first))) == ["a", "b", "c"]


def test_an_acknowledged_message_never_comes_again(broker: Tidy, sender: Channel) -> None:
    send(sender, "a", "b")
    channel = consumer(broker)
    channel.ack(delivery.tag for delivery in receive(channel, 2))
    channel.close()

    send(sender, "c")

    assert ids(receive(consumer(broker), 1)) == ["c"]


def test_what_a_closed_channel_held_comes_first_again_and_is_marked(
    broker: Tidy, sender: Channel
) -> None:
    send(sender, "a", "b", "c", "d")
    first = consumer(broker, prefetch=3)
    receive(first, 3)

    first.close()

    again = receive(consumer(broker), 4)
    assert ids(again) == ["a", "b", "c", "d"]
    assert [each.redelivered for each in again] == [True, True, True, False]


def test_a_closed_channel_gives_back_only_what_was_not_acknowledged(
    broker: Tidy, sender: Channel
) -> None:
    send(sender, "a", "b", "c", "d")
    first = consumer(broker, prefetch=3)
    held = receive(first, 3)
    first.ack([held[1].tag])

    first.close()

    # In any order: "d" may have been on its way to the first, as "b" made room for it.
    assert sorted(ids(receive(consumer(broker), 3))) == ["a", "c", "d"]


def test_closing_twice_gives_nothing_back_twice(broker: Tidy, sender: Channel) -> None:
    send(sender, "a")
    first = consumer(broker)
    receive(first, 1)

    first.close()
    first.close()

    assert ids(receive(consumer(broker), 1)) == ["a"]


def test_a_message_given_back_comes_again_before_those_behind_it(
    broker: Tidy, sender: Channel
) -> None:
    send(sender, "a", "b", "c")
    channel = consumer(broker, prefetch=1)
    (first,) = receive(channel, 1)

    channel.reject(first.tag, requeue=True)

    (again,) = receive(channel, 1)
    assert (again.message_id, again.body, again.redelivered) == ("a", b"a", True)
    channel.ack([again.tag])
    (then,) = receive(channel, 1)
    assert (then.message_id, then.redelivered) == ("b", False)


def test_a_message_rejected_for_good_lies_unchanged_in_the_quarantine(
    broker: Tidy, sender: Channel
) -> None:
    send(sender, "bad", "good")
    channel = consumer(broker, prefetch=1)
    (bad,) = receive(channel, 1)

    channel.reject(bad.tag, requeue=False)

    assert ids(receive(channel, 1)) == ["good"]
    (kept,) = receive(consumer(broker, queue=QUARANTINE), 1)
    assert (kept.message_id, kept.body) == ("bad", b"bad")


def test_consumers_of_a_queue_take_turns(broker: Tidy, sender: Channel) -> None:
    consumers = [consumer(broker) for _ in range(3)]
    broker.await_consumers(3)

    send(sender, *(f"m{n}" for n in range(30)))

    shares = [ids(receive(each, 10)) for each in consumers]
    assert sorted(name for share in shares for name in share) == sorted(f"m{n}" for n in range(30))


def test_a_full_consumer_holds_up_nobody_else(broker: Tidy, sender: Channel) -> None:
    small, large = consumer(broker, prefetch=1), consumer(broker, prefetch=100)
    broker.await_consumers(2)

    send(sender, *(f"m{n}" for n in range(10)))

    assert len(receive(small, 1)) + len(receive(large, 9)) == 10


# Only a broker in the same process knows at once that there is no such queue.
@pytest.mark.parametrize("broker", ["memory"], indirect=True)
def test_a_message_for_a_queue_that_nobody_declared_is_refused_by_name(broker: Tidy) -> None:
    with pytest.raises(BrokerUnavailable, match="nowhere"):
        broker.channel().publish([Outgoing("nowhere", b"x", "m")], 1)


# A broker that keeps queues for others can lose them: then the channel makes them anew and says so.
@pytest.mark.parametrize("broker", RABBITS, indirect=True)
def test_a_message_for_a_queue_that_is_not_there_waits_in_it_and_the_loss_is_told(
    broker: Tidy,
) -> None:
    channel = broker.channel()

    channel.publish([Outgoing(WORK, b"x", "m")], 1)

    polls = polls_until_confirmed(channel)
    assert any(poll.lost for poll in polls)
    assert ids(receive(consumer(broker), 1)) == ["m"]


# Who declares a queue that was not there may have held orders in the one before.
@pytest.mark.parametrize("broker", RABBITS, indirect=True)
def test_declaring_tells_of_a_loss_only_where_the_queue_was_missing(broker: Tidy) -> None:
    first, second = broker.channel(), broker.channel()
    first.declare(WORK)
    second.declare(WORK)

    assert first.poll(0).lost
    assert not first.poll(0).lost
    assert not second.poll(0).lost


def polls_until_confirmed(channel: Channel) -> list[Poll]:
    polls = [channel.poll(0, 0.1)]
    deadline = time.monotonic() + WAIT_SECONDS
    while not polls[-1].confirmed and time.monotonic() < deadline:
        polls.append(channel.poll(0, 0.1))
    assert list(polls[-1].confirmed) == [1]
    return polls


def test_a_closed_channel_refuses_everything(broker: Tidy, sender: Channel) -> None:
    send(sender, "a")
    channel = consumer(broker)
    (held,) = receive(channel, 1)
    channel.close()

    uses: list[Callable[[], object]] = [
        lambda: channel.poll(1),
        lambda: channel.publish([Outgoing(WORK, b"x", "m")]),
        lambda: channel.declare(OTHER),
        lambda: channel.consume(WORK, 1),
        lambda: channel.ack([held.tag]),
        lambda: channel.reject(held.tag, requeue=True),
    ]
    for use in uses:
        with pytest.raises(BrokerUnavailable):
            use()


def test_a_poll_that_waits_is_woken_by_a_message_for_it(broker: Tidy, sender: Channel) -> None:
    found: list[Delivery] = []
    channel = consumer(broker)
    waiting = threading.Event()

    def wait() -> None:
        waiting.set()
        found.extend(channel.poll(10, WAIT_SECONDS).deliveries)

    thread = threading.Thread(target=wait)
    begun = time.monotonic()
    thread.start()
    waiting.wait()
    send(sender, "a")
    thread.join()

    assert ids(found) == ["a"]
    assert time.monotonic() - begun < WAIT_SECONDS


def test_a_poll_without_news_ends_at_its_timeout(broker: Tidy, sender: Channel) -> None:
    channel = consumer(broker)
    begun = time.monotonic()

    poll = channel.poll(10, 0.05)

    assert time.monotonic() - begun >= 0.05
    assert (list(poll.deliveries), list(poll.confirmed)) == ([], [])


def test_messages_sent_and_taken_by_many_threads_come_exactly_once(
    broker: Tidy, sender: Channel
) -> None:
    taken: list[str] = []
    done = threading.Event()

    def work() -> None:
        channel = consumer(broker, prefetch=7)
        while not done.is_set():
            deliveries = channel.poll(5, 0.05).deliveries
            taken.extend(ids(deliveries))
            channel.ack(delivery.tag for delivery in deliveries)
            if len(taken) >= 800:
                done.set()
        channel.close()

    def produce(number: int) -> None:
        channel = broker.channel()
        for n in range(200):
            channel.publish([Outgoing(WORK, b"", f"{number}/{n}")], n)
        assert len(confirmations(channel, 200)) == 200
        channel.close()

    threads = [threading.Thread(target=work) for _ in range(3)]
    threads += [threading.Thread(target=produce, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_SECONDS)

    assert sorted(taken) == sorted(f"{k}/{n}" for k in range(4) for n in range(200))


def test_a_notice_reaches_those_who_subscribed_to_its_key_and_nobody_else(broker: Tidy) -> None:
    one, two, other = broker.channel(), broker.channel(), broker.channel()
    one.subscribe("warrener.reply.one", FLEET, ["worker.*"])
    two.subscribe("warrener.reply.two", FLEET, ["worker.hello", "worker.#"])
    other.subscribe("warrener.reply.other", CONTROL, ["#"])
    sender = broker.channel()

    sender.publish(
        [Notice(FLEET, "worker.hello", b"a", "1"), Notice(FLEET, "step", b"b", "2")], batch=7
    )

    assert confirmations(sender, 1) == [7]
    assert [(d.body, d.tag) for d in receive(one, 1)] == [(b"a", 0)]
    assert [d.body for d in receive(two, 1)] == [b"a"]
    assert receive(other, 0) == []


def test_a_notice_that_nobody_waits_for_is_confirmed(broker: Tidy) -> None:
    sender = broker.channel()

    sender.publish([Notice(EVENTS, "job.succeeded", b"{}", "1")], batch=1)

    assert confirmations(sender, 1) == [1]


def test_a_temporary_queue_can_be_written_to_by_its_name(broker: Tidy) -> None:
    client, sender = broker.channel(), broker.channel()
    client.subscribe("warrener.reply.me")

    sender.publish([Outgoing("warrener.reply.me", b"hello", "1")], batch=1)

    (delivery,) = receive(client, 1)
    assert (delivery.body, delivery.message_id) == (b"hello", "1")
    client.ack([delivery.tag])


def test_after_leaving_a_queue_what_was_polled_stays_and_the_rest_goes_to_others(
    broker: Tidy, sender: Channel
) -> None:
    leaving = consumer(broker, prefetch=2)
    send(sender, "a", "b", "c")
    (first,) = receive_at_most(leaving, 1)

    leaving.leave(WORK)

    staying = consumer(broker)
    assert sorted(ids(receive(staying, 2))) == ["b", "c"]
    leaving.ack([first.tag])
    leaving.close()
    assert receive(staying, 0) == []


def test_a_queue_that_was_left_can_be_consumed_again_and_nothing_of_it_is_lost(
    broker: Tidy, sender: Channel
) -> None:
    coming_back = consumer(broker, prefetch=2)
    send(sender, "a", "b", "c", "d")
    held = receive(coming_back, 2)
    coming_back.leave(WORK)
    send(sender, "e")
    assert receive(coming_back, 0) == []

    coming_back.consume(WORK, 2)

    coming_back.ack([delivery.tag for delivery in held])
    then = receive(coming_back, 2)  # what is held now counts, and what was held before does not
    coming_back.ack([delivery.tag for delivery in then])
    last = receive(coming_back, 1)
    assert ids([*held, *then, *last]) == ["a", "b", "c", "d", "e"]


def test_other_queues_are_served_on_while_one_is_left_and_consumed_again(
    broker: Tidy, sender: Channel
) -> None:
    channel = consumer(broker)
    channel.consume(OTHER, 100)
    channel.leave(WORK)
    send(sender, "w")
    send(sender, "o", queue=OTHER)
    assert ids(receive(channel, 1)) == ["o"]

    channel.consume(WORK, 100)
    channel.leave(OTHER)
    send(sender, "p", queue=OTHER)

    assert ids(receive(channel, 1)) == ["w"]
    assert ids(receive(consumer(broker, queue=OTHER), 1)) == ["p"]


def test_a_rejected_message_comes_into_the_quarantine_unchanged_with_its_reason(
    broker: Tidy, sender: Channel
) -> None:
    receiver = consumer(broker)
    send(sender, "odd")
    (delivery,) = receive(receiver, 1)

    receiver.reject(delivery.tag, requeue=False, reason="it is odd")

    (kept,) = receive(consumer(broker, queue=QUARANTINE), 1)
    assert (kept.body, kept.message_id) == (b"odd", "odd")


def receive_at_most(channel: Channel, count: int) -> list[Delivery]:
    """Wait for deliveries, taking no more than so many."""
    deadline = time.monotonic() + WAIT_SECONDS
    found: list[Delivery] = []
    while not found and time.monotonic() < deadline:
        found += channel.poll(count, 0.1).deliveries
    return found
