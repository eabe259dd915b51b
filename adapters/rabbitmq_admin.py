"""Declaring and looking at the topology of RabbitMQ, over a connection of its own each time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import pika
from pika import exceptions

from warrener.adapters.rabbitmq_url import Target
from warrener.domain.broker_admin import Finding, QueueInfo
from warrener.domain.errors import BrokerUnavailable
from warrener.domain.topology import (
    CONSUMER_TIMEOUT_SECONDS,
    DELIVERY_LIMIT,
    EXCHANGES,
    Queue,
    durable_queue,
    topology,
)

VERSION_MIN = (3, 10)
VERSION_QUEUE_TIMEOUTS = (3, 12)  # a queue may have a consumer timeout of its own
VERSION_SMALL_MESSAGES = (4, 0)
_GRANT = "let an administrator run `warrener broker declare`, or grant the permission"


class RabbitAdmin:
    """What operators, and channels when they connect, do with the topology."""

    def __init__(self, target: Target) -> None:
        """Connect when something is asked."""
        self._target = target

    def ensure(self, queues: Iterable[str]) -> set[str]:
        """Make sure that exchanges and durable queues exist; return the queues that were made.

        Raises `BrokerUnavailable` where something is missing and may not be declared.
        """
        made = set()
        with connected(self._target) as connection:
            _ensure_exchanges(connection)
            for queue in queues:
                if not self._exists(connection, queue):
                    self._declare(connection, durable_queue(queue))
                    made.add(queue)
        return made

    def declare(self, queues: Sequence[str], partitions: int = 1) -> None:
        """Declare everything durable; a queue that exists with other arguments is refused."""
        with connected(self._target) as connection:
            _declare_exchanges(connection)
            for queue in topology(partitions, queues):
                self._declare(connection, queue)

    def info(self, queues: Sequence[str], partitions: int = 1) -> list[QueueInfo]:
        """Return how each queue stands."""
        with connected(self._target) as connection:
            return [_info(connection, queue.name) for queue in topology(partitions, queues)]

    def check(self, queues: Sequence[str], partitions: int = 1) -> list[Finding]:
        """Return what is wrong, and what is in order."""
        with connected(self._target) as connection:
            found = _version(connection)
            missing = []
            for queue in topology(partitions, queues):
                state = _info(connection, queue.name)
                if not state.exists:
                    detail = f"the queue {queue.name} is missing"
                    missing.append(Finding(False, detail, "warrener broker declare"))
        return [*found, *(missing or [Finding(True, "all queues are there")])]

    def _exists(self, connection: Any, queue: str) -> bool:
        return _info(connection, queue).exists

    def _declare(self, connection: Any, queue: Queue) -> None:
        channel = connection.channel()
        try:
            channel.queue_declare(
                queue.name, durable=True, arguments=arguments_of(queue, self._target.queue_type)
            )
            channel.queue_bind(queue.name, queue.exchange, routing_key=queue.name)
        except exceptions.ChannelClosedByBroker as error:
            raise BrokerUnavailable(_refusal(f"the queue {queue.name}", error)) from error
        channel.close()


def arguments_of(queue: Queue, queue_type: str) -> dict[str, Any]:
    """Return the arguments that a durable queue is declared with."""
    arguments: dict[str, Any] = {"x-queue-type": queue_type}
    if queue.dead_letter is not None:
        arguments["x-dead-letter-exchange"] = queue.dead_letter
    if queue_type == "quorum":
        if queue.dead_letter is not None:
            arguments["x-delivery-limit"] = DELIVERY_LIMIT
            arguments["x-dead-letter-strategy"] = "at-least-once"
            arguments["x-overflow"] = "reject-publish"
        arguments["x-consumer-timeout"] = CONSUMER_TIMEOUT_SECONDS * 1000
    return arguments


@contextmanager
def connected(target: Target) -> Iterator[Any]:
    """Open a connection for a few calls, to the first node that answers."""
    connection = open_connection(target)
    try:
        yield connection
    except exceptions.AMQPError as error:
        raise BrokerUnavailable(f"the broker {target.shown}: {why(error)}") from error
    finally:
        with suppress(exceptions.AMQPError):
            connection.close()


def open_connection(target: Target) -> Any:
    """Return a blocking connection; raises `BrokerUnavailable` with the reason of the last node."""
    reason = ""
    for node in target.nodes:
        try:
            return pika.BlockingConnection(node)
        except (exceptions.AMQPError, OSError) as error:
            reason = why(error)
    raise BrokerUnavailable(f"the broker {target.shown} cannot be reached: {reason}")


def why(error: BaseException) -> str:
    """Return the reason of a failure in words; never with a password."""
    if isinstance(error, exceptions.ProbableAuthenticationError):
        return "it refuses user or password"
    if isinstance(error, exceptions.ProbableAccessDeniedError):
        return "the virtual host does not exist, or the user may not use it"
    if isinstance(error, exceptions.ConnectionClosedByBroker):
        if error.reply_code == 530:
            return "the virtual host does not exist, or the user may not use it"
        return f"it closed the connection: {error.reply_code} {error.reply_text}"
    inner = getattr(error, "args", ())
    while inner and isinstance(inner[0], BaseException):
        if isinstance(inner[0], OSError) and inner[0].strerror:
            return str(inner[0].strerror).lower()
        error, inner = inner[0], getattr(inner[0], "args", ())
    found = getattr(error, "exception", None)
    if found is not None:
        return why(found)
    if isinstance(error, OSError) and error.strerror:
        return str(error.strerror).lower()
    return str(error) or type(error).__name__


def _ensure_exchanges(connection: Any) -> None:
    """Declare the exchanges if one is missing; to look needs no permission."""
    channel = connection.channel()
    try:
        for exchange in EXCHANGES:
            channel.exchange_declare(exchange.name, passive=True)
    except exceptions.ChannelClosedByBroker:
        _declare_exchanges(connection)
    else:
        channel.close()


def _declare_exchanges(connection: Any) -> None:
    for exchange in EXCHANGES:
        channel = connection.channel()
        arguments = {"alternate-exchange": exchange.alternate} if exchange.alternate else {}
        try:
            channel.exchange_declare(
                exchange.name, exchange.kind, durable=True, arguments=arguments
            )
        except exceptions.ChannelClosedByBroker as error:
            raise BrokerUnavailable(_refusal(f"the exchange {exchange.name}", error)) from error
        channel.close()


def _refusal(what: str, error: Any) -> str:
    if error.reply_code == 403:
        return f"{what} may not be declared: {error.reply_text}: {_GRANT}"
    if error.reply_code == 406:
        return (
            f"{what} exists with other arguments: {error.reply_text};"
            " delete it once it is empty, or give the queue_type it has in the broker's URL"
        )
    return f"{what} cannot be declared: {error.reply_code} {error.reply_text}"


def _info(connection: Any, queue: str) -> QueueInfo:
    channel = connection.channel()
    try:
        found = channel.queue_declare(queue, passive=True).method
    except exceptions.ChannelClosedByBroker as error:
        if error.reply_code != 404:
            raise BrokerUnavailable(_refusal(f"the queue {queue}", error)) from error
        return QueueInfo(queue, exists=False)
    channel.close()
    return QueueInfo(
        queue, exists=True, messages=found.message_count, consumers=found.consumer_count
    )


def _version(connection: Any) -> list[Finding]:
    properties = connection._impl.server_properties
    raw = properties.get("version", "")
    text = raw.decode() if isinstance(raw, bytes) else str(raw)
    numbers = tuple(int(part) for part in text.split(".")[:2] if part.isdigit())
    return version_findings(text, numbers)


def version_findings(text: str, numbers: tuple[int, ...]) -> list[Finding]:
    """Return what a version of RabbitMQ is and is not good for."""
    if numbers < VERSION_MIN:
        return [Finding(False, f"RabbitMQ {text}", "upgrade it to 3.10 or newer")]
    found = [Finding(True, f"RabbitMQ {text}")]
    if numbers < VERSION_QUEUE_TIMEOUTS:
        detail = "one consumer timeout for all queues, 30 min by default: longer steps come again"
        found.append(Finding(False, detail, "set consumer_timeout in rabbitmq.conf"))
    if numbers >= VERSION_SMALL_MESSAGES:
        detail = "messages are limited to 16 MiB by default"
        found.append(
            Finding(False, detail, "set max_message_size in rabbitmq.conf if more is sent")
        )
    return found
