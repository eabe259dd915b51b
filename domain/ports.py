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
    """A message on its way to one queue. `traceparent` goes into a header of that name, if any."""

    queue: str
    body: bytes
    message_id: str
    traceparent: str = ""


class Notice(msgspec.Struct, frozen=True):
    """A message for whoever subscribed to such a routing key of a topic exchange; maybe nobody."""

    exchange: str
    routing_key: str
    body: bytes
    message_id: str


class Delivery(msgspec.Struct, frozen=True):
    """A message as a queue hands it over; `tag` is what `ack` and `reject` take.

    What comes by a subscription has the tag 0 and needs no acknowledgement.
    """

    tag: int
    queue: str
    body: bytes
    message_id: str
    redelivered: bool = False


class Channel(Protocol):
    """One party's connection to a broker.

    Obligations: a published message is confirmed only once the broker is answerable for it, and is
    sent again by the channel until it is; a delivery stays this channel's until it is acknowledged
    or rejected; when the channel closes, or its connection is lost, what it still holds goes back
    to the front of its queue, marked `redelivered`; an `ack` or `reject` for a delivery from before
    a lost connection does nothing; at most `prefetch` deliveries of a queue are held at once; any
    message may be delivered more than once; order within a queue holds in the absence of
    redelivery. Names of queues are those of `domain.topology`. A channel belongs to one thread.
    Errors are `BrokerUnavailable`.
    """

    def declare(self, queue: str) -> None:
        """Make sure that a durable queue exists."""
        ...

    def consume(self, queue: str, prefetch: int) -> None:
        """Take part in a queue, holding at most `prefetch` unacknowledged deliveries of it."""
        ...

    def leave(self, queue: str) -> None:
        """Take no further part in a queue; what was not polled goes back, the rest stays ours.

        It may be consumed again later.
        """
        ...

    def subscribe(self, queue: str, exchange: str = "", patterns: Sequence[str] = ()) -> None:
        """Hear what comes to a temporary queue of our own, bound to patterns of a topic exchange.

        It needs no acknowledgement, and ends with the channel. Messages may be lost.
        """
        ...

    def publish(self, messages: Sequence[Outgoing | Notice], batch: int | None = None) -> None:
        """Send messages; `poll` reports `batch` in `Poll.confirmed` when all are confirmed."""
        ...

    def poll(self, count_max: int, timeout_seconds: float = 0.0) -> Poll:
        """Return deliveries and confirmations; waits up to the timeout if there is nothing yet."""
        ...

    def ack(self, tags: Iterable[int]) -> None:
        """The deliveries are dealt with."""
        ...

    def reject(self, tag: int, *, requeue: bool, reason: str = "") -> None:
        """Give a delivery back to its queue, or away for good into the quarantine, with a reason.

        In the quarantine the message is unchanged; reason and queue are in its headers.
        """
        ...

    def close(self) -> None:
        """Leave; unacknowledged deliveries go back to their queues."""
        ...


class Poll(msgspec.Struct, frozen=True):
    """What a channel has for its owner.

    `lost` says that the broker has lost what queues held (they had to be declared anew): whatever
    is still open must be sent again. `broken` says that the connection was lost: what came by
    subscriptions meanwhile is missing.
    """

    deliveries: Sequence[Delivery] = ()
    confirmed: Sequence[int] = ()
    lost: bool = False
    broken: bool = False


class Broker(Protocol):
    """Opens channels."""

    def channel(self) -> Channel:
        """Open a channel for one party."""
        ...


class Lease(msgspec.Struct, frozen=True):
    """Who took a lease last, until when, and how often it has changed hands."""

    holder: str
    until: datetime
    epoch: int


class Leases(Protocol):
    """Who may write which partition, and who is there to do so.

    Obligations: of several who ask at the same time for a lease that is free or has run out, one
    gets it; a holder that asks again in time keeps it. Each time that a lease goes to somebody
    else than before, its epoch rises; giving it up does not take the epoch back. Clocks may differ:
    the unique keys of the log refuse a second writer in any case, a lease only keeps two from
    hindering each other. Errors are `StoreUnavailable`.
    """

    def take(self, partition: int, holder: str, now: datetime, seconds: float) -> int:
        """Take or keep the lease until `now + seconds`; return its epoch, 0 if it is another's."""
        ...

    def give_up(self, partition: int, holder: str) -> None:
        """Let go of the lease, if it is the holder's."""
        ...

    def holder(self, partition: int) -> tuple[str, datetime] | None:
        """Return who took the lease last and until when, None if nobody did or it was given up."""
        ...

    def all(self) -> dict[int, Lease]:
        """Return the leases that somebody took and did not give up, run out or not."""
        ...

    def announce(self, member: str, now: datetime, seconds: float) -> None:
        """Say that somebody is there until `now + seconds`, whether it holds a lease or not."""
        ...

    def withdraw(self, member: str) -> None:
        """Somebody is there no longer."""
        ...

    def members(self, now: datetime) -> Sequence[str]:
        """Return who is there, by name."""
        ...

    def close(self) -> None:
        """Release connections."""
        ...


class Positioned(msgspec.Struct, frozen=True):
    """A recorded event and its position in the log of its partition, from 1 without gaps."""

    position: int
    recorded: Recorded
    partition: int = 0


class EventStore(Protocol):
    """The log of one partition.

    Obligations: `commit` is atomic and durable over all events and blobs; it raises `Conflict` and
    writes nothing if a version is taken; positions rise without gaps and a reader that has seen
    position p never later sees a new event at or below p; a commit whose outcome was unknown is
    found by its own events, not reported as a conflict. `published` is kept with a commit and only
    ever rises.
    """

    def commit(
        self,
        events: Sequence[Recorded],
        blobs: Mapping[str, bytes],
        published: int = 0,
        after: int | None = None,
    ) -> int:
        """Append the events with their blobs; return the position of the last one.

        With `after` that raises `Conflict`, too, if by then the log does not end at this position:
        what was decided by a log that ended there is not written behind anything else.
        `published` is the position up to which everything that follows from the log was sent; with
        it alone the log stays as it is.
        """
        ...

    def published(self) -> int:
        """Return the position up to which everything that follows from the log was sent."""
        ...

    def stream(self, stream: UUID, after_version: int = 0) -> Iterable[Recorded]:
        """Return the events of one stream in order of version."""
        ...

    def last(self, stream: UUID) -> Recorded | None:
        """Return the newest event of one stream."""
        ...

    def position(self, stream: UUID, version: int) -> int | None:
        """Return the position of one event of a stream, None if there is none."""
        ...

    def read(self, after_position: int, limit: int) -> Sequence[Positioned]:
        """Return up to `limit` events of the log after a position, in order."""
        ...

    def head(self) -> int:
        """Return the last position, 0 for an empty log."""
        ...

    def open_roots(self) -> Iterable[UUID]:
        """Return the root jobs that were submitted and have not ended, the oldest first.

        What it costs follows from how many are open and not from how many there ever were.
        """
        ...

    def blob(self, name: str) -> bytes:
        """Return a blob by its hash."""
        ...

    def epoch(self) -> int:
        """Return how often the log was restored from a backup.

        What was on its way before that belongs to a time line that is lost.
        """
        ...

    def close(self) -> None:
        """Release connections."""
        ...
