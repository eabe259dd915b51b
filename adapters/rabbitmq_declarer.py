"""Holds conversations about queues with the broker, one after another, on a channel for them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec
from pika.exceptions import AMQPError, ChannelClosedByBroker

from warrener.adapters.rabbitmq_connection import DECLARING, Connection
from warrener.adapters.rabbitmq_loop import IoThread
from warrener.adapters.rabbitmq_topology import Call, Talk

Done = Callable[[Any, ChannelClosedByBroker | None], None]


class _Question(msgspec.Struct):
    begin: Callable[[], Talk[Any]]
    done: Done


class Declarer:
    """Asks what it is given; what a lost connection interrupts begins again on the next one.

    Belongs to the I/O thread. Each ends with one call of `done(result, None)` or `done(None,
    refusal)`.
    """

    def __init__(self, io: IoThread) -> None:
        """Wait for a connection."""
        self._io = io
        self._questions: deque[_Question] = deque()
        self._talk: Talk[Any] | None = None
        self._connection: Connection | None = None
        self._channel: Any = None

    def ask(self, begin: Callable[[], Talk[Any]], done: Done) -> None:
        """Have a conversation, after those before it."""
        self._questions.append(_Question(begin, done))
        self._next()

    def connected(self, connection: Connection) -> None:
        """Go on over a new connection."""
        self._connection = connection
        self._open(None)

    def disconnected(self) -> None:
        """Wait for the next connection."""
        self._connection = self._channel = self._talk = None

    def _open(self, refusal: ChannelClosedByBroker | None) -> None:
        if self._connection is not None and self._connection.is_open:
            opened = partial(self._opened, refusal)
            self._connection.channel(DECLARING, on_open_callback=opened)

    def _opened(self, refusal: ChannelClosedByBroker | None, channel: Any) -> None:
        self._channel = channel
        channel.add_on_close_callback(self._closed)
        if refusal is not None and self._talk is not None:
            self._go_on(partial(self._talk.throw, refusal))
        else:
            self._next()

    def _closed(self, channel: Any, reason: BaseException) -> None:
        if channel is not self._channel or not isinstance(reason, ChannelClosedByBroker):
            return  # with its connection, which is dealt with elsewhere
        self._channel = None
        self._io.later(0, partial(self._open, reason))  # pika frees the number after this callback

    def _next(self) -> None:
        if self._channel is None or self._talk is not None or not self._questions:
            return
        self._talk = self._questions[0].begin()
        self._go_on(partial(next, self._talk))

    def _go_on(self, step: Callable[[], Call]) -> None:
        """Take a conversation one step further, or to its end."""
        try:
            call = step()
        except StopIteration as end:
            self._finish(end.value, None)
        except ChannelClosedByBroker as refusal:
            self._finish(None, refusal)
        else:
            try:
                getattr(self._channel, call.method)(**call.arguments, callback=self._answered)
            except AMQPError:  # the channel is closing: the answer is that
                return

    def _answered(self, frame: Any) -> None:
        if self._talk is not None:
            self._go_on(partial(self._talk.send, frame.method))

    def _finish(self, result: Any, refusal: ChannelClosedByBroker | None) -> None:
        self._talk = None
        self._questions.popleft().done(result, refusal)
        self._next()
