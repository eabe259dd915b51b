"""A controller by hand: it gives orders through the real exchanges and reads what workers say."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import msgspec
import pika
from pika.adapters.blocking_connection import BlockingChannel

from warrener.domain import ids
from warrener.domain import topology as names
from warrener.domain.messages import FleetMessage, InboxMessage, RunStep, StepReport

WAIT_SECONDS = 30.0
PERSISTENT = pika.DeliveryMode.Persistent


class HandController:
    """Queues of orders and of results, on one connection. `heard` has all that workers sent."""

    def __init__(self, connection: pika.BlockingConnection, queues: tuple[str, ...]) -> None:
        self.connection = connection
        self.channel: BlockingChannel = connection.channel()
        self.channel.confirm_delivery()
        self.heard: list[InboxMessage] = []
        self.message_ids: list[str] = []
        self.reply_to = names.results_queue(0)
        self._job = uuid4()
        self._queues = queues
        self.declare()
        self.channel.basic_consume(self.reply_to, self._hear, auto_ack=True)
        self.channel.queue_declare("fleet-by-hand", exclusive=True)
        self.channel.queue_bind("fleet-by-hand", names.FLEET, "worker.*")
        self.channel.basic_consume("fleet-by-hand", self._hear, auto_ack=True)

    def declare(self) -> None:
        """Declare all exchanges and durable queues that are not there."""
        for exchange in names.EXCHANGES:
            arguments = {"alternate-exchange": exchange.alternate} if exchange.alternate else {}
            self.channel.exchange_declare(
                exchange.name, exchange.kind, durable=True, arguments=arguments
            )
        for queue in names.topology(1, self._queues):
            self.declare_queue(queue)

    def declare_queue(self, queue: names.Queue) -> None:
        """Declare a durable queue as `warrener broker declare` does."""
        arguments: dict[str, Any] = {"x-queue-type": "quorum"}
        if queue.dead_letter:
            arguments |= {"x-dead-letter-exchange": queue.dead_letter}
        self.channel.queue_declare(queue.name, durable=True, arguments=arguments)
        self.channel.queue_bind(queue.name, queue.exchange, queue.name)

    def order(
        self, endpoint: str, args: Any, queue: str = "count", *, trace: str = "", **more: Any
    ) -> RunStep:
        """Order an attempt of a new step; `trace` goes into its header."""
        path = f"step{uuid4().hex}"
        order = RunStep(
            job=self._job,
            step=ids.step_id(self._job, path),
            path=path,
            endpoint=endpoint,
            attempt=1,
            token=uuid4().hex,
            args=msgspec.Raw(msgspec.json.encode(args)),
            reply_to=self.reply_to,
            **more,
        )
        name = ids.message_id(order.step, 1, "run")
        self.send(msgspec.json.encode(order), queue, name, trace=trace)
        return order

    def send(
        self, body: bytes, queue: str = "count", message_id: str = "by-hand", *, trace: str = ""
    ) -> None:
        """Put a message into a queue of orders."""
        headers = {"traceparent": trace} if trace else None
        self._publish(names.ORDERS, names.orders_queue(queue), body, message_id, headers)

    def control(self, key: str, message: Any) -> None:
        """Tell all workers something."""
        self._publish(names.CONTROL, key, msgspec.json.encode(message), "control")

    def report(self, order: RunStep) -> StepReport:
        """Wait for the report of an order."""
        return self.until(lambda: self._report(order), f"a report of {order.endpoint}")

    def announced(self, kind: type[FleetMessage], worker: str, count: int = 1) -> FleetMessage:
        """Wait until a worker has announced itself so many times in this way."""

        def found() -> FleetMessage | None:
            all_of = [m for m in self.heard if isinstance(m, kind) and m.worker == worker]
            return all_of[count - 1] if len(all_of) >= count else None

        return self.until(found, f"{kind.__name__} of {worker}")

    def until(self, found: Callable[[], Any], what: str) -> Any:
        """Hear workers until something is found; return it."""
        deadline = time.monotonic() + WAIT_SECONDS
        while not (value := found()):
            assert time.monotonic() < deadline, f"no {what} in {WAIT_SECONDS} s: {self.heard}"
            self.connection.process_data_events(0.02)
        return value

    def waiting(self, queue: str) -> int:
        """Return how many messages wait in a queue, not counting those that workers hold."""
        declared = self.channel.queue_declare(queue, passive=True)
        return int(declared.method.message_count)

    def take(self, queue: str) -> bytes:
        """Wait for a message in a queue, and take it."""
        return self.until(lambda: self.channel.basic_get(queue, auto_ack=True)[2], queue)

    def _report(self, order: RunStep) -> StepReport | None:
        reports = (m for m in self.heard if isinstance(m, StepReport))
        return next((m for m in reports if m.step == order.step), None)

    def _hear(self, _channel: Any, _method: Any, properties: Any, body: bytes) -> None:
        assert properties.content_type == "application/json"
        assert properties.delivery_mode == PERSISTENT.value
        self.message_ids.append(properties.message_id)
        self.heard.append(msgspec.json.decode(body, type=InboxMessage))

    def _publish(
        self,
        exchange: str,
        key: str,
        body: bytes,
        message_id: str,
        headers: dict[str, str] | None = None,
    ) -> None:
        properties = pika.BasicProperties(
            content_type="application/json",
            delivery_mode=PERSISTENT,
            message_id=message_id,
            headers=headers,
        )
        mandatory = exchange == names.ORDERS
        self.channel.basic_publish(exchange, key, body, properties, mandatory=mandatory)


@contextmanager
def hand_controller(url: str, *queues: str) -> Iterator[HandController]:
    """Open a controller on a broker, with these queues of orders."""
    connection = pika.BlockingConnection(pika.URLParameters(url))
    try:
        yield HandController(connection, queues)
    finally:
        connection.close()
