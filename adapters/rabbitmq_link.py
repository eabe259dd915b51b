"""One connection to the broker, made anew whenever it is lost."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from random import Random
from typing import Any, Protocol

import structlog
from pika.exceptions import AMQPError

from warrener.adapters.rabbitmq_connection import Connection
from warrener.adapters.rabbitmq_loop import IoThread
from warrener.adapters.rabbitmq_reasons import why
from warrener.adapters.rabbitmq_url import Target, shown

BACKOFF_SECONDS_MIN = 0.1
BACKOFF_SECONDS_MAX = 5.0
STEADY_SECONDS = 10.0  # a connection that held as long was a good one

log = structlog.get_logger()


class Backoff:
    """How long to wait before the next try: longer each time, and at random, to spread a fleet."""

    def __init__(self, chance: Random) -> None:
        """Draw from this source."""
        self.tries = 0
        self._chance = chance

    def seconds(self) -> float:
        """Return the next wait."""
        longest = min(BACKOFF_SECONDS_MAX, BACKOFF_SECONDS_MIN * 2.0 ** min(self.tries, 20))
        self.tries += 1
        return self._chance.uniform(0, longest)


class User(Protocol):
    """Who works on the connection of a link."""

    def connected(self, connection: Connection) -> None:
        """Begin to work on a new connection."""
        ...

    def disconnected(self) -> None:
        """Let go of the connection; it is gone, and with it all its channels."""
        ...


class Link:
    """Keeps a connection for its user. Belongs to the I/O thread.

    `failed(purpose, reason)` is told of each attempt that failed, and of each loss.
    """

    def __init__(
        self,
        io: IoThread,
        target: Target,
        chance: Random,
        user: User,
        *,
        purpose: str,
        failed: Callable[[str, str], None],
    ) -> None:
        """Wait for `connect`; which node comes first is left to chance."""
        self.connection: Connection | None = None
        self.closing = False
        self._io = io
        self._target = target
        self._user = user
        self._purpose = purpose
        self._failed = failed
        self._node = chance.randrange(len(target.nodes))
        self._backoff = Backoff(chance)
        self._opened_at: float | None = None

    def connect(self) -> None:
        """Begin to connect to the next node."""
        if self.closing:
            return
        node = self._target.nodes[self._node % len(self._target.nodes)]
        self.connection = Connection(node, self._io.loop, self._opened, self._gone)

    def close(self) -> None:
        """Close in order what is open, and connect no more."""
        self.closing = True
        if self.connection is not None and not self.connection.is_closing:
            with suppress(AMQPError):
                self.connection.close()

    def break_off(self) -> None:
        """Drop the connection without a word, as a network would."""
        transport: Any = self.connection and self.connection._transport
        if transport is not None:
            transport.abort()

    def flush(self) -> None:
        """Send what was written in this turn of the loop."""
        if self.connection is not None:
            self.connection.flush()

    def _opened(self, connection: Connection) -> None:
        self._io.check()
        self._opened_at = time.monotonic()
        if self._backoff.tries:
            log.info("broker.connected", purpose=self._purpose, node=shown(connection.params))
        self._user.connected(connection)

    def _gone(self, connection: Connection, error: BaseException) -> None:
        self._io.check()
        was_open, self._opened_at = self._opened_at, None
        self.connection = None
        if was_open is not None:
            self._user.disconnected()
            if time.monotonic() - was_open > STEADY_SECONDS:
                self._backoff.tries = 0
        if self.closing:
            return
        self._node += 1
        reason = f"{shown(connection.params)}: {why(error)}"
        if was_open is not None or self._backoff.tries == 1:
            log.warning("broker.disconnected", purpose=self._purpose, reason=reason)
        self._failed(self._purpose, reason)
        if not self.closing:  # who was told may have had enough
            self._io.later(self._backoff.seconds(), self.connect)
