"""A broker in memory: a first-class adapter with the semantics of a real one."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from itertools import count
from threading import Condition, RLock

import msgspec

from warrener.domain.errors import BrokerUnavailable
from warrener.domain.ports import Delivery, Notice, Outgoing, Poll
from warrener.domain.topology import QUARANTINE, is_temporary, matches

SUBSCRIBED_MAX = 10_000  # messages of subscriptions that wait for their owner


class _Message(msgspec.Struct):
    queue: _Queue
    number: int  # place in the queue, kept when it is given back
    outgoing: Outgoing
    redelivered: bool = False
    reason: str = ""  # in the quarantine: why


class _Queue:
    """Messages that wait, and the channels that take turns in getting them."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.waiting: deque[_Message] = deque()  # in order of their numbers
        self.consumers: deque[MemoryChannel] = deque()  # the next one to get a message first
        self._numbers = count()

    def append(self, outgoing: Outgoing, reason: str = "") -> None:
        self.waiting.append(_Message(self, next(self._numbers), outgoing, reason=reason))

    def put_back(self, message: _Message) -> None:
        """Put a message where it was; as it was taken early, that is near the front."""
        message.redelivered = True
        before = []
        while self.waiting and self.waiting[0].number < message.number:
            before.append(self.waiting.popleft())
        self.waiting.appendleft(message)
        self.waiting.extendleft(reversed(before))

    def dispatch(self) -> None:
        """Hand waiting messages to the consumers in turn, as far as they have room."""
        full = 0
        while self.waiting and full < len(self.consumers):
            consumer = self.consumers[0]
            self.consumers.rotate(-1)
            if consumer.has_room(self):
                consumer.accept(self.waiting.popleft())
                full = 0
            else:
                full += 1


class MemoryBroker:
    """Queues in this process. Each channel may belong to another thread."""

    def __init__(self) -> None:
        """Begin with the quarantine queue alone."""
        self.lock = RLock()
        self._queues: dict[str, _Queue] = {}
        self._bindings: list[tuple[str, str, str]] = []  # exchange, pattern, temporary queue
        self.declare(QUARANTINE)

    def channel(self) -> MemoryChannel:
        """Open a channel for one party."""
        return MemoryChannel(self)

    def depth(self, queue: str) -> int:
        """Return how many messages wait in a queue, not counting those that consumers have."""
        with self.lock:
            return len(self.queue(queue).waiting)

    def declare(self, queue: str) -> None:
        """Make sure that the queue exists."""
        with self.lock:
            if queue not in self._queues:
                self._queues[queue] = _Queue(queue)

    def queue(self, name: str) -> _Queue:
        """Return a queue; raises `BrokerUnavailable` if it was never declared."""
        try:
            return self._queues[name]
        except KeyError:
            raise BrokerUnavailable(f"there is no queue {name!r}: declare it first") from None

    def reasons(self) -> list[str]:
        """Return why each message that waits in the quarantine is there."""
        with self.lock:
            return [message.reason for message in self.queue(QUARANTINE).waiting]

    def bind(self, queue: str, exchange: str, patterns: Sequence[str]) -> None:
        """Have a temporary queue get what is published under these patterns."""
        with self.lock:
            self.declare(queue)
            self._bindings += [(exchange, pattern, queue) for pattern in patterns]

    def drop(self, queue: str) -> None:
        """Forget a temporary queue with its bindings."""
        with self.lock:
            self._queues.pop(queue, None)
            self._bindings = [bound for bound in self._bindings if bound[2] != queue]

    def put(self, messages: Sequence[Outgoing | Notice], reason: str = "") -> None:
        """Append messages to their queues; refuses all if one has no queue."""
        with self.lock:
            placed = [place for message in messages for place in self._places(message)]
            for queue, outgoing in placed:
                queue.append(outgoing, reason)
            for queue in {queue: None for queue, _ in placed}:
                queue.dispatch()

    def _places(self, message: Outgoing | Notice) -> list[tuple[_Queue, Outgoing]]:
        """Return the queues that get a message, with what each gets."""
        if isinstance(message, Outgoing):
            if message.queue not in self._queues and is_temporary(message.queue):
                return []  # its owner has gone
            return [(self.queue(message.queue), message)]
        names = {
            queue: None
            for exchange, pattern, queue in self._bindings
            if exchange == message.exchange and matches(pattern, message.routing_key)
        }
        return [
            (self.queue(name), Outgoing(name, message.body, message.message_id)) for name in names
        ]


class MemoryChannel:
    """One party's connection to a `MemoryBroker`.

    Messages are sent to it up to the prefetch before it asks for them, as a real broker does.
    """

    def __init__(self, broker: MemoryBroker) -> None:
        """Open on a broker."""
        self._broker = broker
        self._changed = Condition(broker.lock)
        self._room: dict[_Queue, int] = {}  # how many more it may hold; below 0 after a reduction
        self._prefetch: dict[_Queue, int] = {}
        self._arrived: deque[_Message] = deque()
        self._held: dict[int, _Message] = {}  # by tag: polled and neither acknowledged nor rejected
        self._confirmed: list[int] = []
        self._temporary: dict[str, None] = {}
        self._tags = count(1)
        self._open = True

    def declare(self, queue: str) -> None:
        """Make sure that the queue exists."""
        self._check_open()
        self._broker.declare(queue)

    def consume(self, queue: str, prefetch: int) -> None:
        """Take part in a queue, holding at most `prefetch` unacknowledged deliveries of it."""
        self._check_open()
        with self._broker.lock:
            self._broker.declare(queue)
            found = self._broker.queue(queue)
            if found not in self._prefetch:
                found.consumers.append(self)
                self._room[found] = -sum(held.queue is found for held in self._held.values())
            self._room[found] += prefetch - self._prefetch.get(found, 0)
            self._prefetch[found] = prefetch
            found.dispatch()

    def leave(self, queue: str) -> None:
        """Take no further part in a queue; what was not polled goes back, the rest stays ours."""
        self._check_open()
        with self._broker.lock:
            found = self._broker.queue(queue)
            if self._prefetch.pop(found, None) is None:
                return
            found.consumers.remove(self)
            del self._room[found]
            for message in [m for m in reversed(self._arrived) if m.queue is found]:
                self._arrived.remove(message)
                found.put_back(message)
            found.dispatch()

    def subscribe(self, queue: str, exchange: str = "", patterns: Sequence[str] = ()) -> None:
        """Hear what comes to a temporary queue of our own, bound to patterns of an exchange."""
        self._check_open()
        self._broker.bind(queue, exchange, patterns)
        self._temporary[queue] = None
        self.consume(queue, SUBSCRIBED_MAX)

    def publish(self, messages: Sequence[Outgoing | Notice], batch: int | None = None) -> None:
        """Send messages; `poll` reports `batch` when all are confirmed."""
        self._check_open()
        self._broker.put(messages)
        if batch is not None:
            self._confirmed.append(batch)

    def poll(self, count_max: int, timeout_seconds: float = 0.0) -> Poll:
        """Return deliveries and confirmations; waits up to the timeout if there is nothing yet."""
        self._check_open()
        with self._changed:
            if timeout_seconds > 0 and not self._confirmed:
                self._changed.wait_for(lambda: self._arrived, timeout_seconds)
            taken = [self._arrived.popleft() for _ in range(min(count_max, len(self._arrived)))]
        confirmed, self._confirmed = self._confirmed, []
        return Poll([self._deliver(message) for message in taken], confirmed)

    def ack(self, tags: Iterable[int]) -> None:
        """The deliveries are dealt with; raises `BrokerUnavailable` for one that is not held."""
        self._check_open()
        with self._broker.lock:
            released = [self._release(tag) for tag in tags if tag]
            for queue in {message.queue: None for message in released}:
                queue.dispatch()

    def reject(self, tag: int, *, requeue: bool, reason: str = "") -> None:
        """Give a delivery back to its queue, or away for good into the quarantine."""
        self._check_open()
        if not tag:
            return
        with self._broker.lock:
            message = self._release(tag)
            if requeue:
                message.queue.put_back(message)
            else:
                moved = msgspec.structs.replace(message.outgoing, queue=QUARANTINE)
                self._broker.put([moved], reason)
            message.queue.dispatch()

    def close(self) -> None:
        """Leave; unacknowledged deliveries go back to their queues."""
        with self._broker.lock:
            if not self._open:
                return
            self._open = False
            for queue in self._prefetch:
                queue.consumers.remove(self)
            for message in (*reversed(self._arrived), *reversed(self._held.values())):
                message.queue.put_back(message)
            self._arrived.clear()
            self._held.clear()
            for queue in self._prefetch:
                queue.dispatch()
            for name in self._temporary:
                self._broker.drop(name)

    def has_room(self, queue: _Queue) -> bool:
        """Say whether one more delivery of the queue may be held."""
        return self._room[queue] > 0

    def accept(self, message: _Message) -> None:
        """Take a message from the broker; the owner gets it with the next poll."""
        self._room[message.queue] -= 1
        self._arrived.append(message)
        self._changed.notify()

    def _deliver(self, message: _Message) -> Delivery:
        sent = message.outgoing
        if sent.queue in self._temporary:
            self._room[message.queue] += 1
            return Delivery(0, sent.queue, sent.body, sent.message_id)
        tag = next(self._tags)
        self._held[tag] = message
        return Delivery(tag, sent.queue, sent.body, sent.message_id, message.redelivered)

    def _release(self, tag: int) -> _Message:
        message = self._held.pop(tag, None)
        if message is None:
            raise BrokerUnavailable(f"delivery {tag} is not held by this channel")
        if message.queue in self._room:  # else we have left it
            self._room[message.queue] += 1
        return message

    def _check_open(self) -> None:
        if not self._open:
            raise BrokerUnavailable("the channel is closed")
