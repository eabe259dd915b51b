"""What the publishing side does with its channels, without a broker."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any, cast

from pika.exceptions import ChannelClosedByClient

from warrener.adapters.rabbitmq_connection import Connection, Events
from warrener.adapters.rabbitmq_loop import IoThread
from warrener.adapters.rabbitmq_mailbox import Mailbox
from warrener.adapters.rabbitmq_queues import Queues
from warrener.adapters.rabbitmq_sender import Sender
from warrener.domain.ports import Outgoing
from warrener.domain.topology import orders_queue

WORK = orders_queue("work")


class FakeThread:
    """Keeps what is to be done later until a test lets it happen."""

    def __init__(self) -> None:
        self.due: list[Callable[[], None]] = []

    def check(self) -> None:
        pass

    def later(self, _seconds: float, callback: Callable[[], None]) -> None:
        self.due.append(callback)

    def pass_time(self) -> None:
        due, self.due = self.due, []
        for callback in due:
            callback()


class FakeChannel:
    def __init__(self, connection: FakeConnection) -> None:
        self.connection = connection
        self.closed = False

    def add_on_close_callback(self, callback: Callable[[Any, BaseException], None]) -> None:
        self.on_close = callback

    def add_on_return_callback(self, _callback: Callable[..., None]) -> None:
        pass

    def confirm_delivery(self, _confirmed: object, callback: Callable[[Any], None]) -> None:
        callback(None)

    def close(self) -> None:
        self.closed = True
        self.on_close(self, ChannelClosedByClient(0, "Normal shutdown"))


class FakeConnection:
    """Opens channels at once, and keeps what is written while each is the newest."""

    is_open = True
    body_bytes_max = 1_000

    def __init__(self) -> None:
        self.events = Events()
        self.channels: list[FakeChannel] = []
        self.written: list[bytes] = []

    def add_on_connection_blocked_callback(self, _callback: object) -> None:
        pass

    add_on_connection_unblocked_callback = add_on_connection_blocked_callback

    def channel(self, _number: int, on_open_callback: Callable[[Any], None]) -> None:
        self.channels.append(FakeChannel(self))
        self.written.append(b"")
        on_open_callback(self.channels[-1])

    def write(self, frames: bytes) -> None:
        self.written[-1] += frames

    def confirm(self, number: int, *, multiple: bool = False, positive: bool = True) -> None:
        assert self.events.confirmed is not None
        self.events.confirmed(number, multiple, positive)


def connected_sender(thread: FakeThread) -> tuple[Sender, FakeConnection]:
    sender = Sender(
        cast(IoThread, thread),
        Mailbox(),
        cast(Queues, None),
        chance=Random(1),
        ready=lambda: None,
    )
    connection = FakeConnection()
    sender.connected(cast(Connection, connection))
    return sender, connection


def test_after_a_refusal_all_that_is_not_confirmed_goes_by_a_new_channel() -> None:
    thread = FakeThread()
    sender, connection = connected_sender(thread)
    sender.publish([Outgoing(WORK, f"<{n}>".encode(), f"{n}") for n in (1, 2, 3)], 7)
    connection.confirm(1)

    connection.confirm(2, positive=False)
    thread.pass_time()

    first, second = connection.channels
    assert (first.closed, second.closed) == (True, False)
    assert b"<1>" not in connection.written[1]
    assert connection.written[1].index(b"<2>") < connection.written[1].index(b"<3>")
    connection.confirm(2, multiple=True)
    assert sender.confirmed == [7]


def test_a_connection_lost_before_the_new_channel_is_opened_gets_none() -> None:
    thread = FakeThread()
    sender, lost = connected_sender(thread)
    sender.publish([Outgoing(WORK, b"<1>", "1")], 7)
    lost.confirm(1, positive=False)
    sender.disconnected()
    present = FakeConnection()
    sender.connected(cast(Connection, present))

    thread.pass_time()

    assert (len(lost.channels), len(present.channels)) == (1, 1)
    assert b"<1>" in present.written[0]
