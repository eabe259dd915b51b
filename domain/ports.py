"""The ports of the core. Each says what it owes; the contract tests say the same."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Protocol
from uuid import UUID

import msgspec

from warrener.domain.events import Recorded


class Clock(Protocol):
    """Tells the time."""

    def now(self) -> datetime:
        """Return the current time, in UTC with time zone."""
        ...


class Outgoing(msgspec.Struct, frozen=True):
    """A message on its way to a queue."""

    queue: str
    body: bytes
    message_id: str


class Delivery(msgspec.Struct, frozen=True):
    """A message as a queue hands it over; `tag` is what `ack` and `reject` take."""

    tag: int
    queue: str
    body: bytes
    message_id: str
    redelivered: bool = False


class Channel(Protocol):
    """One party's connection to a broker.

    Obligations: a published message is confirmed only once the broker is answerable for it; a
    delivery stays this channel's until it is acknowledged or rejected; when the channel closes,
    what it still holds goes back to the front of its queue, marked `redelivered`; at most
    `prefetch` deliveries of a queue are held at once; any message may be delivered more than
    once; order within a queue holds in the absence of redelivery. A channel belongs to one thread.
    """

    def declare(self, queue: str) -> None:
        """Make sure that the queue exists."""
        ...

    def consume(self, queue: str, prefetch: int) -> None:
        """Take part in a queue, holding at most `prefetch` unacknowledged deliveries of it."""
        ...

    def publish(self, messages: Sequence[Outgoing], batch: int | None = None) -> None:
        """Send messages; `poll` reports `batch` in `Poll.confirmed` when all are confirmed."""
        ...

    def poll(self, count_max: int, timeout_seconds: float = 0.0) -> Poll:
        """Return deliveries and confirmations; waits up to the timeout if there is nothing yet."""
        ...

    def ack(self, tags: Iterable[int]) -> None:
        """The deliveries are dealt with."""
        ...

    def reject(self, tag: int, *, requeue: bool) -> None:
        """Give a delivery back to its queue, or away for good into `warrener.quarantine`."""
        ...

    def close(self) -> None:
        """Leave; unacknowledged deliveries go back to their queues."""
        ...


class Poll(msgspec.Struct, frozen=True):
    """What a channel has for its owner."""

    deliveries: Sequence[Delivery] = ()
    confirmed: Sequence[int] = ()


class Broker(Protocol):
    """Opens channels."""

    def channel(self) -> Channel:
        """Open a channel for one party."""
        ...


class Positioned(msgspec.Struct, frozen=True):
    """A recorded event and its position in the log, counted from 1 without gaps."""

    position: int
    recorded: Recorded


class EventStore(Protocol):
    """The log.

    Obligations: `commit` is atomic and durable over all events and blobs; it raises `Conflict` and
    writes nothing if a version is taken; positions rise without gaps and a reader that has seen
    position p never later sees a new event at or below p; a commit whose outcome was unknown is
    found by its own events, not reported as a conflict.
    """

    def commit(self, events: Sequence[Recorded], blobs: Mapping[str, bytes]) -> int:
        """Append the events with their blobs; return the position of the last one."""
        ...

    def stream(self, stream: UUID, after_version: int = 0) -> Iterable[Recorded]:
        """Return the events of one stream in order of version."""
        ...

    def last(self, stream: UUID) -> Recorded | None:
        """Return the newest event of one stream."""
        ...

    def read(self, after_position: int, limit: int) -> Sequence[Positioned]:
        """Return up to `limit` events of the log after a position, in order."""
        ...

    def head(self) -> int:
        """Return the last position, 0 for an empty log."""
        ...

    def blob(self, name: str) -> bytes:
        """Return a blob by its hash."""
        ...

    def close(self) -> None:
        """Release connections."""
        ...
