"""Faults for tests, all drawn from one seeded random source: the same seed, the same faults.

Wrap a real adapter: `FaultyBroker(MemoryBroker(), ...)`, `FaultyEventStore(store, ...)`. `Crash`
ends a process at a named point, as a kill would: `CrashPoints` now and then, `CrashAt` at a chosen
one. The points of a reactor's turn are `before-commit`, `after-commit`, `before-publish`,
`after-publish` and `before-ack`.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import count
from random import Random
from uuid import UUID

import msgspec

from warrener.domain.errors import Conflict, StoreUnavailable
from warrener.domain.events import Recorded
from warrener.domain.ports import (
    Broker,
    Channel,
    Clock,
    EventStore,
    Notice,
    Outgoing,
    Poll,
    Positioned,
)


class Faults(msgspec.Struct):
    """How likely each fault is, from 0 to 1. With `none()` the world is well again."""

    drop: float = 0.0  # a message is lost though it was confirmed: the broker lost its data
    unconfirmed: float = 0.0  # a message is lost and the batch with it is never confirmed
    duplicate: float = 0.0  # a message comes up to five times more
    reorder: float = 0.0  # the messages of a batch come in another order
    delay: float = 0.0  # a message comes later, and so out of order
    delay_seconds_max: float = 10.0
    crash: float = 0.0  # at each named point
    store_down: float = 0.0  # a commit fails and nothing is written
    outcome_unknown: float = 0.0  # a commit fails and everything is written
    conflict: float = 0.0  # a commit is refused although nobody else wrote

    def none(self) -> None:
        """End all faults."""
        for name in self.__struct_fields__:
            if name != "delay_seconds_max":
                setattr(self, name, 0.0)


class Crash(BaseException):
    """The process dies here."""


class CrashPoints:
    """Passed to a reactor as `at_point`: raises `Crash` now and then."""

    def __init__(self, random: Random, faults: Faults) -> None:
        """Draw from this source."""
        self.crashes = 0
        self._random = random
        self._faults = faults

    def __call__(self, point: str) -> None:
        """Die or go on."""
        if self._random.random() < self._faults.crash:
            self.crashes += 1
            raise Crash(point)


class CrashAt:
    """Passed to a reactor as `at_point`: raises `Crash` once, at the n-th pass of one point."""

    def __init__(self, point: str, passes: int = 1) -> None:
        """Choose the point."""
        self._point = point
        self._passes = passes

    def __call__(self, point: str) -> None:
        """Die or go on."""
        if point == self._point:
            self._passes -= 1
            if self._passes == 0:
                raise Crash(point)


class FaultyBroker:
    """A broker on which published messages are dropped, doubled, mixed and delayed by the clock."""

    def __init__(self, broker: Broker, clock: Clock, random: Random, faults: Faults) -> None:
        """Wrap a broker."""
        self.random = random
        self.faults = faults
        self._broker = broker
        self._clock = clock
        self._delayed: list[tuple[datetime, int, Outgoing | Notice]] = []
        self._order = count()
        self._own = broker.channel()

    def channel(self) -> FaultyChannel:
        """Open a channel."""
        return FaultyChannel(self._broker.channel(), self)

    def send(self, messages: Sequence[Outgoing | Notice]) -> tuple[list[Outgoing | Notice], bool]:
        """Return what arrives at once and whether the batch is confirmed; keep what comes later."""
        confirmed = True
        arriving: list[Outgoing | Notice] = []
        for message in messages:
            if self._happens(self.faults.unconfirmed):
                confirmed = False
            else:
                arriving += self._copies(message)
        if self._happens(self.faults.reorder):
            self.random.shuffle(arriving)
        return arriving, confirmed

    def _happens(self, chance: float) -> bool:
        return chance > 0 and self.random.random() < chance

    def _copies(self, message: Outgoing | Notice) -> list[Outgoing | Notice]:
        if self._happens(self.faults.drop):
            return []
        copies = 1
        if self._happens(self.faults.duplicate):
            copies += self.random.randint(1, 5)
        return [message for _ in range(copies) if not self._delay(message)]

    def _delay(self, message: Outgoing | Notice) -> bool:
        if not self._happens(self.faults.delay):
            return False
        wait = timedelta(seconds=self.random.uniform(0, self.faults.delay_seconds_max))
        heapq.heappush(self._delayed, (self._clock.now() + wait, next(self._order), message))
        return True

    def next_due(self) -> datetime | None:
        """Return when the next delayed message arrives."""
        return self._delayed[0][0] if self._delayed else None

    def deliver_due(self) -> None:
        """Let delayed messages arrive whose time has come."""
        while self._delayed and self._delayed[0][0] <= self._clock.now():
            self._own.publish([heapq.heappop(self._delayed)[2]])


class FaultyChannel:
    """A channel of a `FaultyBroker`."""

    def __init__(self, channel: Channel, broker: FaultyBroker) -> None:
        """Wrap a channel."""
        self._channel = channel
        self._broker = broker

    def declare(self, queue: str) -> None:
        """Make sure that the queue exists."""
        self._channel.declare(queue)

    def consume(self, queue: str, prefetch: int) -> None:
        """Take part in a queue."""
        self._channel.consume(queue, prefetch)

    def leave(self, queue: str) -> None:
        """Take no further part in a queue."""
        self._channel.leave(queue)

    def subscribe(self, queue: str, exchange: str = "", patterns: Sequence[str] = ()) -> None:
        """Hear what comes to a temporary queue."""
        self._channel.subscribe(queue, exchange, patterns)

    def publish(self, messages: Sequence[Outgoing | Notice], batch: int | None = None) -> None:
        """Send messages, or what the faults leave of them."""
        arriving, confirmed = self._broker.send(messages)
        self._channel.publish(arriving, batch if confirmed else None)

    def poll(self, count_max: int, timeout_seconds: float = 0.0) -> Poll:
        """Return deliveries and confirmations."""
        self._broker.deliver_due()
        return self._channel.poll(count_max, timeout_seconds)

    def ack(self, tags: Iterable[int]) -> None:
        """The deliveries are dealt with."""
        self._channel.ack(tags)

    def reject(self, tag: int, *, requeue: bool, reason: str = "") -> None:
        """Give a delivery back."""
        self._channel.reject(tag, requeue=requeue, reason=reason)

    def close(self) -> None:
        """Leave."""
        self._channel.close()


class FaultyEventStore:
    """A store whose commits fail: before writing, after writing, or with a false conflict."""

    def __init__(self, store: EventStore, random: Random, faults: Faults) -> None:
        """Wrap a store."""
        self._store = store
        self._random = random
        self._faults = faults

    def commit(
        self,
        events: Sequence[Recorded],
        blobs: Mapping[str, bytes],
        published: int = 0,
        after: int | None = None,
    ) -> int:
        """Append the events, or fail in one of three ways."""
        if self._random.random() < self._faults.store_down:
            raise StoreUnavailable("the store is down")
        if self._random.random() < self._faults.conflict:
            raise Conflict("somebody else was first")
        position = self._store.commit(events, blobs, published, after)
        if self._random.random() < self._faults.outcome_unknown:
            raise StoreUnavailable("the connection was lost; whether it was written is not known")
        return position

    def stream(self, stream: UUID, after_version: int = 0) -> Iterable[Recorded]:
        """Return the events of one stream."""
        return self._store.stream(stream, after_version)

    def last(self, stream: UUID) -> Recorded | None:
        """Return the newest event of one stream."""
        return self._store.last(stream)

    def position(self, stream: UUID, version: int) -> int | None:
        """Return the position of one event."""
        return self._store.position(stream, version)

    def read(self, after_position: int, limit: int) -> Sequence[Positioned]:
        """Return events of the log."""
        return self._store.read(after_position, limit)

    def head(self) -> int:
        """Return the last position."""
        return self._store.head()

    def epoch(self) -> int:
        """Return how often the log was restored from a backup."""
        return self._store.epoch()

    def published(self) -> int:
        """Return how far everything was sent."""
        return self._store.published()

    def open_roots(self) -> Iterable[UUID]:
        """Return the root jobs that have not ended."""
        return self._store.open_roots()

    def blob(self, name: str) -> bytes:
        """Return a blob."""
        return self._store.blob(name)

    def close(self) -> None:
        """Release connections."""
        self._store.close()
