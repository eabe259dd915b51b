"""What a broker must hold for Warrener: exchanges, queues and bindings, as data.

Adapters declare it, `doctor` compares with it, and the documents under `ops/` are made from it.
Messages for one queue go through the direct exchange of their kind, so that permissions can tell
who may send what; announcements for everybody go through topic exchanges.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, Literal

import msgspec

PREFIX: Final = "warrener."
ORDERS: Final = "warrener.orders"  # direct: controller -> workers
RESULTS: Final = "warrener.results"  # direct: workers -> controller
INBOX: Final = "warrener.inbox"  # direct: clients -> controller
QUARANTINE: Final = "warrener.quarantine"  # fanout: what nobody understands, kept for inspection
POISON: Final = "warrener.poison"  # fanout: orders that were delivered too often
EVENTS: Final = "warrener.events"  # topic: facts for others, such as `job.succeeded`
FLEET: Final = "warrener.fleet"  # topic: `worker.hello`, `worker.beat`, `worker.bye`
CONTROL: Final = "warrener.control"  # topic: `step.cancel`, `worker.*`, to every worker

QUEUE_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}\Z", re.ASCII)
DELIVERY_LIMIT: Final = 20  # how often a quorum queue hands out a message before it is poison
CONSUMER_TIMEOUT_SECONDS: Final = 24 * 3600  # how long a worker may hold an order
REASON_HEADER: Final = "x-warrener-reason"  # on messages in the quarantine
SOURCE_HEADER: Final = "x-warrener-queue"

QueueType = Literal["quorum", "classic"]


class Exchange(msgspec.Struct, frozen=True):
    """An exchange; `alternate` names the one that gets what no queue is bound for."""

    name: str
    kind: Literal["direct", "topic", "fanout"]
    alternate: str | None = None


class Queue(msgspec.Struct, frozen=True):
    """A durable queue, bound to an exchange by its own name."""

    name: str
    exchange: str
    dead_letter: str | None = None  # exchange for what was delivered too often


EXCHANGES: Final = (
    Exchange(QUARANTINE, "fanout"),
    Exchange(POISON, "fanout"),
    Exchange(ORDERS, "direct"),  # no alternate: the controller must see what cannot be routed
    Exchange(RESULTS, "direct", alternate=QUARANTINE),
    Exchange(INBOX, "direct", alternate=QUARANTINE),
    Exchange(EVENTS, "topic"),
    Exchange(FLEET, "topic"),
    Exchange(CONTROL, "topic"),
)


def orders_queue(queue: str) -> str:
    """Return the broker's name of the queue that a definition calls `queue`, such as `fetch`."""
    return f"{ORDERS}.{queue}"


def results_queue(partition: int = 0) -> str:
    """Return the queue that the workers report to."""
    return f"{RESULTS}.{partition}"


def inbox_queue(partition: int = 0) -> str:
    """Return the queue that takes commands for a partition."""
    return f"{INBOX}.{partition}"


def worker_queue(worker: str) -> str:
    """Return the temporary queue on which a worker hears control messages."""
    return f"{PREFIX}worker.{worker}"


def reactor_queue(reactor: str) -> str:
    """Return the temporary queue on which a reactor hears of workers."""
    return f"{PREFIX}reactor.{reactor}"


def reply_queue(client: str) -> str:
    """Return the temporary queue on which a client hears answers to its commands."""
    return f"{PREFIX}reply.{client}"


def exchange_of(queue: str) -> str:
    """Return the exchange through which messages for a queue go; `""` for temporary queues."""
    for exchange in (ORDERS, RESULTS, INBOX):
        if queue.startswith(f"{exchange}."):
            return exchange
    return queue if queue in {QUARANTINE, POISON} else ""


def is_temporary(queue: str) -> bool:
    """Say whether a queue is a worker's, reactor's or client's own, gone when they are."""
    return queue.startswith((worker_queue(""), reactor_queue(""), reply_queue("")))


def durable_queue(name: str) -> Queue:
    """Return how a durable queue is to be declared."""
    dead_letter = {QUARANTINE: None, POISON: None, ORDERS: POISON}
    exchange = exchange_of(name)
    return Queue(name, exchange, dead_letter.get(exchange, QUARANTINE))


def topology(partitions: int = 1, queues: Iterable[str] = ("default",)) -> list[Queue]:
    """Return all durable queues of a service with these partitions and queues of orders."""
    names = [QUARANTINE, POISON]
    for partition in range(partitions):
        names += [results_queue(partition), inbox_queue(partition)]
    names += [orders_queue(queue) for queue in queues]
    return [durable_queue(name) for name in names]


def matches(pattern: str, routing_key: str) -> bool:
    """Say whether a routing key fits a pattern of a topic binding (`*` one word, `#` any)."""
    return _match(pattern.split("."), routing_key.split("."))


def _match(pattern: list[str], words: list[str]) -> bool:
    if not pattern:
        return not words
    if pattern[0] == "#":
        return any(_match(pattern[1:], words[place:]) for place in range(len(words) + 1))
    return bool(words) and pattern[0] in ("*", words[0]) and _match(pattern[1:], words[1:])
