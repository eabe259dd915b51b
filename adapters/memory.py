"""Broker and event store in memory: first-class adapters with the semantics of real ones."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from itertools import count
from threading import Condition, RLock
from uuid import UUID

import msgspec
from eventsourcing.persistence import StoredEvent

from warrener.adapters.codec import EventMapper
from warrener.domain.errors import BrokerUnavailable, Conflict, StoredDataError
from warrener.domain.events import Recorded
from warrener.domain.ports import Delivery, Outgoing, Poll, Positioned

QUARANTINE = "warrener.quarantine"


class _Message(msgspec.Struct):
    outgoing: Outgoing
    redelivered: bool = False


class MemoryBroker:
    """Queues in this process. Channels may belong to different threads."""

    def __init__(self) -> None:
        """Begin with the quarantine queue alone."""
        self.changed = Condition(RLock())
        self._queues: dict[str, deque[_Message]] = {}
        self.declare(QUARANTINE)

    def channel(self) -> MemoryChannel:
        """Open a channel for one party."""
        return MemoryChannel(self)

    def depth(self, queue: str) -> int:
        """Return how many messages wait in a queue, not counting those that are held."""
        with self.changed:
            return len(self._queue(queue))

    def declare(self, queue: str) -> None:
        """Make sure that the queue exists."""
        with self.changed:
            self._queues.setdefault(queue, deque())

    def put(self, messages: Sequence[Outgoing]) -> None:
        """Append messages to their queues; refuses all if one has no queue."""
        with self.changed:
            queues = [self._queue(message.queue) for message in messages]
            for queue, message in zip(queues, messages, strict=True):
                queue.append(_Message(message))
            self.changed.notify_all()

    def put_back(self, messages: Sequence[_Message]) -> None:
        """Return messages, in their order, to the front of their queues."""
        with self.changed:
            for message in reversed(messages):
                message.redelivered = True
                self._queue(message.outgoing.queue).appendleft(message)
            self.changed.notify_all()

    def take(self, queue: str, limit: int) -> list[_Message]:
        """Take up to `limit` messages from the front of a queue."""
        with self.changed:
            found = self._queue(queue)
            return [found.popleft() for _ in range(min(limit, len(found)))]

    def _queue(self, name: str) -> deque[_Message]:
        try:
            return self._queues[name]
        except KeyError:
            raise BrokerUnavailable(f"there is no queue {name!r}: declare it first") from None


class MemoryChannel:
    """One party's connection to a `MemoryBroker`."""

    def __init__(self, broker: MemoryBroker) -> None:
        """Open on a broker."""
        self._broker = broker
        self._prefetch: dict[str, int] = {}
        self._held: dict[int, _Message] = {}
        self._held_by_queue: dict[str, int] = {}
        self._confirmed: list[int] = []
        self._tags = count(1)
        self._open = True

    def declare(self, queue: str) -> None:
        """Make sure that the queue exists."""
        self._broker.declare(queue)

    def consume(self, queue: str, prefetch: int) -> None:
        """Take part in a queue, holding at most `prefetch` unacknowledged deliveries of it."""
        self._broker.declare(queue)
        self._prefetch[queue] = prefetch
        self._held_by_queue.setdefault(queue, 0)

    def publish(self, messages: Sequence[Outgoing], batch: int | None = None) -> None:
        """Send messages; `poll` reports `batch` when all are confirmed."""
        self._check_open()
        self._broker.put(messages)
        if batch is not None:
            self._confirmed.append(batch)

    def poll(self, count_max: int, timeout_seconds: float = 0.0) -> Poll:
        """Return deliveries and confirmations; waits up to the timeout if there is nothing yet."""
        self._check_open()
        with self._broker.changed:
            deliveries = self._take(count_max)
            if not deliveries and not self._confirmed and timeout_seconds > 0:
                self._broker.changed.wait(timeout_seconds)
                deliveries = self._take(count_max)
        confirmed, self._confirmed = self._confirmed, []
        return Poll(deliveries, confirmed)

    def ack(self, tags: Iterable[int]) -> None:
        """The deliveries are dealt with."""
        for tag in tags:
            self._release(tag)

    def reject(self, tag: int, *, requeue: bool) -> None:
        """Give a delivery back to its queue, or away for good into the quarantine."""
        message = self._release(tag)
        if message is None:
            return
        if requeue:
            self._broker.put_back([message])
        else:
            moved = msgspec.structs.replace(message.outgoing, queue=QUARANTINE)
            self._broker.put([moved])

    def close(self) -> None:
        """Leave; unacknowledged deliveries go back to their queues."""
        if self._open:
            self._open = False
            self._broker.put_back(list(self._held.values()))
            self._held.clear()

    def _take(self, count_max: int) -> list[Delivery]:
        deliveries: list[Delivery] = []
        for queue, prefetch in self._prefetch.items():
            room = prefetch - self._held_by_queue[queue]
            limit = min(room, count_max - len(deliveries))
            for message in self._broker.take(queue, limit):
                tag = next(self._tags)
                self._held[tag] = message
                self._held_by_queue[queue] += 1
                sent = message.outgoing
                deliveries.append(
                    Delivery(tag, queue, sent.body, sent.message_id, message.redelivered)
                )
        return deliveries

    def _release(self, tag: int) -> _Message | None:
        message = self._held.pop(tag, None)
        if message is not None:
            self._held_by_queue[message.outgoing.queue] -= 1
        return message

    def _check_open(self) -> None:
        if not self._open:
            raise BrokerUnavailable("the channel is closed")


class MemoryEventStore:
    """The log in memory. Events are kept encoded, so that logs can be compared byte for byte."""

    def __init__(self, mapper: EventMapper | None = None) -> None:
        """Begin empty."""
        self._mapper = mapper or EventMapper()
        self._log: list[StoredEvent] = []
        self._streams: dict[UUID, list[StoredEvent]] = {}
        self._blobs: dict[str, bytes] = {}

    def commit(self, events: Sequence[Recorded], blobs: Mapping[str, bytes]) -> int:
        """Append the events with their blobs; return the position of the last one."""
        lengths: dict[UUID, int] = {}
        for recorded in events:
            stream = recorded.originator_id
            length = lengths.get(stream, len(self._streams.get(stream, ())))
            if recorded.originator_version != length + 1:
                raise Conflict(f"version {recorded.originator_version} of stream {stream} is taken")
            lengths[stream] = length + 1
        for recorded in events:
            stored = self._mapper.to_stored_event(recorded)
            self._log.append(stored)
            self._streams.setdefault(recorded.originator_id, []).append(stored)
        self._blobs.update(blobs)
        return len(self._log)

    def stream(self, stream: UUID, after_version: int = 0) -> Iterable[Recorded]:
        """Return the events of one stream in order of version."""
        return list(
            map(self._mapper.to_domain_event, self._streams.get(stream, ())[after_version:])
        )

    def last(self, stream: UUID) -> Recorded | None:
        """Return the newest event of one stream."""
        found = self._streams.get(stream)
        return self._mapper.to_domain_event(found[-1]) if found else None

    def read(self, after_position: int, limit: int) -> Sequence[Positioned]:
        """Return up to `limit` events of the log after a position, in order."""
        stored = self._log[after_position : after_position + limit]
        return [
            Positioned(position, self._mapper.to_domain_event(event))
            for position, event in enumerate(stored, start=after_position + 1)
        ]

    def head(self) -> int:
        """Return the last position, 0 for an empty log."""
        return len(self._log)

    def blob(self, name: str) -> bytes:
        """Return a blob by its hash."""
        try:
            return self._blobs[name]
        except KeyError:
            raise StoredDataError(f"blob {name} is not in the store") from None

    def dump(self) -> bytes:
        """Return the whole log as JSON lines."""
        return b"".join(
            b'["%b",%d,"%b",%b]\n'
            % (str(e.originator_id).encode(), e.originator_version, e.topic.encode(), e.state)
            for e in self._log
        )

    def close(self) -> None:
        """Nothing to release."""
