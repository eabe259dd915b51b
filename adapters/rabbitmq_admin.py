"""Declaring and looking at the topology of RabbitMQ: for operators, over a connection each time.

It needs no management plugin: all of it is asked for in AMQP.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, TypeVar

import pika
from pika import exceptions

from warrener.adapters.rabbitmq_reasons import PRECONDITION_FAILED, refusal, why
from warrener.adapters.rabbitmq_topology import (
    Call,
    Talk,
    declare_exchange,
    declare_queue,
    exchange_exists,
    look,
)
from warrener.adapters.rabbitmq_url import Target, shown
from warrener.domain.broker_admin import Finding, QueueInfo
from warrener.domain.errors import BrokerUnavailable
from warrener.domain.topology import EXCHANGES, POISON, QUARANTINE, Queue, topology

VERSION_MIN = (3, 10)
VERSION_QUEUE_TIMEOUTS = (3, 12)  # a queue may have a consumer timeout of its own
VERSION_SMALL_MESSAGES = (4, 0)
DECLARE = "warrener broker declare"

Result = TypeVar("Result")

_CURRENT_TYPE = re.compile(r"inequivalent arg 'x-queue-type'.* current is '(\w+)'")


class RabbitAdmin:
    """What operators do with the topology; see `domain.broker_admin.BrokerAdmin`."""

    def __init__(self, target: Target) -> None:
        """Connect when something is asked."""
        self._target = target

    def declare(self, queues: Sequence[str], partitions: int = 1) -> None:
        """Declare everything durable; doing it again changes nothing.

        Raises `BrokerUnavailable` if something exists with other arguments (it says which, and what
        to do), or may not be declared by this user.
        """
        with _connected(self._target) as connection:
            for exchange in EXCHANGES:
                what = f"declaring the exchange {exchange.name}"
                _asked(what, connection, declare_exchange(exchange))
            for queue in topology(partitions, queues):
                talk = declare_queue(queue, self._target.queue_type)
                _asked(f"declaring the queue {queue.name}", connection, talk)

    def info(self, queues: Sequence[str], partitions: int = 1) -> list[QueueInfo]:
        """Return how each queue stands. The type is "" for users who may not declare queues."""
        with _connected(self._target) as connection:
            return [self._info(connection, queue)[0] for queue in topology(partitions, queues)]

    def check(self, queues: Sequence[str], partitions: int = 1) -> list[Finding]:
        """Return what is wrong and what is in order: version, exchanges, queues, the quarantine."""
        with _connected(self._target) as connection:
            found = _server(connection)
            wrong = []
            for exchange in EXCHANGES:
                if not _ask(connection, exchange_exists(exchange.name)):
                    detail = f"the exchange {exchange.name} is missing"
                    wrong.append(Finding(False, detail, DECLARE))
            for queue in topology(partitions, queues):
                wrong += self._check_queue(connection, queue)
        return [*found, *(wrong or [Finding(True, "all queues are there")])]

    def _check_queue(self, connection: Any, queue: Queue) -> list[Finding]:
        info, differs = self._info(connection, queue)
        if not info.exists:
            return [Finding(False, f"the queue {queue.name} is missing", DECLARE)]
        if differs:
            return [Finding(False, f"the queue {queue.name} is not as it should be", differs)]
        if queue.name in (QUARANTINE, POISON) and info.messages:
            advice = "look at the reasons in their headers, and remove them"
            return [Finding(False, f"{info.messages} messages lie in {queue.name}", advice)]
        return []

    def _info(self, connection: Any, queue: Queue) -> tuple[QueueInfo, str]:
        """Return how a queue stands, and what is the matter with its arguments.

        Its type is told by declaring it once more, which changes nothing where it exists.
        """
        found = _look(connection, queue.name)
        if not found.exists:
            return found, ""
        kind, differs = str(self._target.queue_type), ""
        try:
            _ask(connection, declare_queue(queue, self._target.queue_type))
        except exceptions.ChannelClosedByBroker as error:
            other = _CURRENT_TYPE.search(error.reply_text)
            if error.reply_code != PRECONDITION_FAILED:
                kind = ""
            elif other:
                kind = other[1]
            differs = refusal("declaring it", error) if kind else ""
        return QueueInfo(queue.name, True, kind, found.messages, found.consumers), differs


@contextmanager
def _connected(target: Target) -> Iterator[Any]:
    """Give a connection to the first node that answers; raises `BrokerUnavailable`."""
    connection = _connect(target)
    try:
        yield connection
    except exceptions.AMQPConnectionError as error:
        raise BrokerUnavailable(f"the broker was lost: {target.shown}: {why(error)}") from error
    finally:
        with suppress(exceptions.AMQPError):
            connection.close()


def _connect(target: Target) -> Any:
    reasons = []
    for node in target.nodes:
        try:
            return pika.BlockingConnection(node)
        except (exceptions.AMQPError, OSError) as error:
            reasons.append(f"{shown(node)}: {why(error)}")
    raise BrokerUnavailable(f"the broker cannot be reached: {'; '.join(reasons)}")


def _ask(connection: Any, talk: Talk[Result]) -> Result:
    """Hold a conversation; raises `ChannelClosedByBroker` where the broker refuses."""
    channel = connection.channel()
    step: Callable[[], Call] = partial(next, talk)
    while True:
        try:
            call = step()
        except StopIteration as end:
            channel.close()
            result: Result = end.value
            return result
        try:
            answer = getattr(channel, call.method)(**call.arguments)
            step = partial(talk.send, answer.method)
        except exceptions.ChannelClosedByBroker as refused:
            channel = connection.channel()
            step = partial(talk.throw, refused)


def _asked(what: str, connection: Any, talk: Talk[Result]) -> Result:
    """Hold a conversation; raises `BrokerUnavailable` where the broker refuses."""
    try:
        return _ask(connection, talk)
    except exceptions.ChannelClosedByBroker as error:
        raise BrokerUnavailable(refusal(what, error)) from error


def _look(connection: Any, queue: str) -> QueueInfo:
    found = _asked(f"looking at the queue {queue}", connection, look(queue))
    if found is None:
        return QueueInfo(queue, exists=False)
    numbers = {"messages": found.message_count, "consumers": found.consumer_count}
    return QueueInfo(queue, exists=True, **numbers)


def _server(connection: Any) -> list[Finding]:
    properties = connection._impl.server_properties
    product, version, cluster = (
        _text(properties.get(name, "")) for name in ("product", "version", "cluster_name")
    )
    if product != "RabbitMQ":
        advice = "only RabbitMQ is known to do what is needed"
        return [Finding(False, f"{product} {version}", advice)]
    numbers = tuple(int(part) for part in re.findall(r"\d+", version)[:2])
    return version_findings(f"{version}, cluster {cluster}", numbers)


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
        advice = "set max_message_size in rabbitmq.conf if more is sent"
        found.append(Finding(False, detail, advice))
    return found


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
