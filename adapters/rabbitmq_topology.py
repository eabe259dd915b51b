"""How RabbitMQ is asked for the topology: conversations, as generators.

Each yields a `Call` to a channel, gets the answer's method (such as `Queue.DeclareOk`), and has
`ChannelClosedByBroker` raised where the broker refuses; after that the channel is a new one. Who
runs them decides whether that blocks.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any, NamedTuple, TypeVar

from pika.exceptions import ChannelClosedByBroker

from warrener.adapters.rabbitmq_reasons import NOT_FOUND
from warrener.domain.topology import (
    CONSUMER_TIMEOUT_SECONDS,
    DELIVERY_LIMIT,
    EXCHANGES,
    Exchange,
    Queue,
    QueueType,
    durable_queue,
)

Result = TypeVar("Result")


class Call(NamedTuple):
    """A method of pika's channels, and its arguments."""

    method: str
    arguments: dict[str, Any]


Talk = Generator[Call, Any, Result]

_BY_NAME = {exchange.name: exchange for exchange in EXCHANGES}


def queue_arguments(queue: Queue, queue_type: QueueType) -> dict[str, Any]:
    """Return the arguments that a durable queue is declared with.

    RabbitMQ 3.10 takes the timeout of consumers, but heeds it only from 3.12 on.
    """
    arguments: dict[str, Any] = {"x-queue-type": queue_type}
    if queue.dead_letter is not None:
        arguments["x-dead-letter-exchange"] = queue.dead_letter
        if queue_type == "quorum":
            # At least once: a quorum queue keeps what is poison until the next one has it for sure.
            arguments["x-delivery-limit"] = DELIVERY_LIMIT
            arguments["x-dead-letter-strategy"] = "at-least-once"
            arguments["x-overflow"] = "reject-publish"
    arguments["x-consumer-timeout"] = CONSUMER_TIMEOUT_SECONDS * 1000
    return arguments


def exchange_arguments(exchange: Exchange) -> dict[str, Any]:
    """Return the arguments that an exchange is declared with."""
    return {"alternate-exchange": exchange.alternate} if exchange.alternate else {}


def look(queue: str) -> Talk[Any]:
    """Return what the broker says of a queue that exists (messages, consumers), None of others."""
    return _if_found(Call("queue_declare", {"queue": queue, "passive": True}))


def ensure_queue(name: str, queue_type: QueueType, *, rebind: bool = False) -> Talk[bool]:
    """Make sure that a durable queue exists with all it needs; say whether it had to be made.

    Where everything is there nothing is asked for but that, so that no permission is needed;
    `rebind` is for a queue that is there and yet gets nothing.
    """
    queue = durable_queue(name)
    exchange_there = yield from exchange_exists(queue.exchange)
    found = yield from look(name)
    if found is None or not exchange_there:
        yield from _make(queue, queue_type)
    elif rebind:
        yield from _bind(queue)
    return found is None


def ensure_exchange(name: str, queue_type: QueueType) -> Talk[None]:
    """Make sure that an exchange of the topology exists, and where it sends what nobody wants."""
    exchange = _BY_NAME.get(name)
    if exchange is None or (yield from exchange_exists(name)):
        return
    if exchange.alternate is not None:
        yield from ensure_queue(exchange.alternate, queue_type)
    yield from declare_exchange(exchange)


def declare_exchange(exchange: Exchange) -> Talk[None]:
    """Declare an exchange."""
    yield Call(
        "exchange_declare",
        {
            "exchange": exchange.name,
            "exchange_type": exchange.kind,
            "durable": True,
            "arguments": exchange_arguments(exchange),
        },
    )


def declare_queue(queue: Queue, queue_type: QueueType) -> Talk[None]:
    """Declare a durable queue and bind it; refused if it exists with other arguments."""
    arguments = queue_arguments(queue, queue_type)
    yield Call("queue_declare", {"queue": queue.name, "durable": True, "arguments": arguments})
    yield from _bind(queue)


def temporary_queue(
    queue: str, exchange: str, patterns: Sequence[str], queue_type: QueueType
) -> Talk[None]:
    """Declare a queue for this connection alone, bound to patterns of a topic exchange."""
    if patterns:
        yield from ensure_exchange(exchange, queue_type)
    # The type is named because a virtual host may have another default, which cannot be exclusive.
    arguments = {"x-queue-type": "classic"}
    names = {"queue": queue, "exclusive": True, "auto_delete": True, "arguments": arguments}
    yield Call("queue_declare", names)
    for pattern in patterns:
        bound = {"queue": queue, "exchange": exchange, "routing_key": pattern}
        yield Call("queue_bind", bound)


def exchange_exists(name: str) -> Talk[bool]:
    """Say whether an exchange exists; the nameless one always does."""
    if not name:
        return True
    call = Call("exchange_declare", {"exchange": name, "passive": True})
    return (yield from _if_found(call)) is not None


def _make(queue: Queue, queue_type: QueueType) -> Talk[None]:
    """Declare a queue, where its messages go when they cannot stay, and all exchanges.

    Where a queue is missing everything may be: each exchange that is missing would close a channel.
    """
    if queue.dead_letter is not None:
        yield from ensure_queue(queue.dead_letter, queue_type)
    for exchange in EXCHANGES:
        if not (yield from exchange_exists(exchange.name)):
            yield from declare_exchange(exchange)
    yield from declare_queue(queue, queue_type)


def _bind(queue: Queue) -> Talk[None]:
    if queue.exchange:
        names = {"queue": queue.name, "exchange": queue.exchange, "routing_key": queue.name}
        yield Call("queue_bind", names)


def _if_found(call: Call) -> Talk[Any]:
    try:
        return (yield call)
    except ChannelClosedByBroker as error:
        if error.reply_code != NOT_FOUND:
            raise
        return None
