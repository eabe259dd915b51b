"""Several parties on one channel: each gets its own, and leaves the others as they are."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from warrener.adapters.memory import MemoryBroker
from warrener.domain.ports import Channel, Notice, Outgoing
from warrener.domain.topology import FLEET, POISON, inbox_queue, reactor_queue
from warrener.services.switchboard import Line, Switchboard

FIRST, SECOND = inbox_queue(0), inbox_queue(1)


@pytest.fixture
def broker() -> MemoryBroker:
    return MemoryBroker()


@pytest.fixture
def board(broker: MemoryBroker) -> Iterator[Switchboard]:
    board = Switchboard(broker.channel())
    yield board
    board.close()


@pytest.fixture
def sender(broker: MemoryBroker) -> Channel:
    channel = broker.channel()
    for queue in (FIRST, SECOND, POISON):
        channel.declare(queue)
    return channel


def send(channel: Channel, queue: str, *names: str) -> None:
    channel.publish([Outgoing(queue, b"", name) for name in names])


def names(line: Line) -> list[str]:
    return [delivery.message_id for delivery in line.poll(100).deliveries]


def consuming(board: Switchboard, *queues: str) -> Line:
    line = board.line()
    for queue in queues:
        line.consume(queue, 10)
    return line


def test_each_line_gets_what_comes_for_its_queues(board: Switchboard, sender: Channel) -> None:
    one, two = consuming(board, FIRST), consuming(board, SECOND)
    send(sender, FIRST, "a", "b")
    send(sender, SECOND, "c")

    board.pump()

    assert (names(one), names(two)) == (["a", "b"], ["c"])


def test_announcements_come_to_every_line_that_hears_them(
    board: Switchboard, sender: Channel
) -> None:
    lines = [board.line() for _ in range(3)]
    for line in lines[:2]:
        line.subscribe(reactor_queue("r"), FLEET, ["worker.*"])
    sender.publish([Notice(FLEET, "worker.beat", b"", "hello")])

    board.pump()

    assert [names(line) for line in lines] == [["hello"], ["hello"], []]


def test_confirmations_come_to_the_line_that_published(board: Switchboard, sender: Channel) -> None:
    one, two = board.line(), board.line()
    one.publish([Outgoing(FIRST, b"", "a")], 7)
    two.publish([Outgoing(SECOND, b"", "b")], 7)
    two.publish([Outgoing(SECOND, b"", "c")], 8)

    board.pump()

    assert (one.poll(0).confirmed, sorted(two.poll(0).confirmed)) == ([7], [7, 8])


def test_what_a_closed_line_held_goes_back_and_the_others_go_on(
    board: Switchboard, broker: MemoryBroker, sender: Channel
) -> None:
    one, two = consuming(board, FIRST), consuming(board, SECOND)
    send(sender, FIRST, "a", "b")
    send(sender, SECOND, "c")
    board.pump()
    (first, *_) = one.poll(1).deliveries
    one.ack([first.tag])

    one.close()
    other = broker.channel()
    other.consume(FIRST, 10)

    assert [each.message_id for each in other.poll(10, 1.0).deliveries] == ["b"]
    assert names(two) == ["c"]


def test_a_queue_that_two_lines_consume_falls_to_the_other_when_one_leaves(
    board: Switchboard, sender: Channel
) -> None:
    one, two = consuming(board, POISON), consuming(board, POISON)
    send(sender, POISON, "a")
    board.pump()
    assert (names(one), names(two)) == (["a"], [])

    one.close()
    board.pump()

    assert names(two) == ["a"]


def test_a_line_may_come_after_another_has_left_its_queue(
    board: Switchboard, sender: Channel
) -> None:
    consuming(board, FIRST).close()
    send(sender, FIRST, "a")
    board.pump()

    again = consuming(board, FIRST)
    board.pump()

    assert names(again) == ["a"]


def test_a_party_that_takes_nothing_new_still_hears_what_is_confirmed(
    board: Switchboard, sender: Channel
) -> None:
    line = consuming(board, FIRST)
    send(sender, FIRST, "a")
    board.pump()
    line.publish([Outgoing(SECOND, b"", "b")], 1)

    assert line.poll(0, 0.05).confirmed == [1]
    assert names(line) == ["a"]
