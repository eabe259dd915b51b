"""Measures what bare pika reaches at the work of Warrener's messages: one JSON line per figure.

    python ops/bench/raw.py [--queue-type quorum|classic] [--steps N] [--broker URL]

Two processes, as controller and worker: order -> worker -> confirmed report -> acknowledged order,
and the controller acknowledges the report. Orders and reports have the size of Warrener's, for a
payload of 100 bytes, but nobody decodes them, and nothing is stored. Both sides use pika the way it
is fast: SelectConnection, asynchronous confirms, bounded windows, prefetch, and one acknowledgement
for all of a turn of the loop. Without `--broker` a private RabbitMQ is started.
"""

from __future__ import annotations

import argparse
import json
import secrets
import statistics
import sys
import tempfile
import time
from contextlib import nullcontext, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import pika
from pika.exceptions import AMQPError

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))
from support.guard import GuardedProgram
from support.rabbit import PrivateRabbit

from warrener.domain.messages import RunStep, StepReport

PAYLOAD = msgspec.json.encode("x" * 100)
WINDOW = 500  # orders on their way, unless one at a time
PREFETCH = 200
WAIT_SECONDS = 300.0
ROUNDS = 5


def order() -> bytes:
    number = UUID(int=2**127 + 1)
    message = RunStep(
        job=number,
        step=number,
        path="items[123]",
        endpoint="bench.text",
        attempt=1,
        token=secrets.token_hex(16),
        args=msgspec.Raw(b'{"x":%s}' % PAYLOAD),
        reply_to="warrener.results.0",
        context={"root": str(number)},
    )
    return msgspec.json.encode(message)


def report() -> bytes:
    number, now = UUID(int=2**127 + 1), datetime.now(UTC)
    message = StepReport(
        job=number,
        step=number,
        attempt=1,
        token=secrets.token_hex(16),
        worker="host-12345",
        outcome="succeeded",
        result=msgspec.Raw(PAYLOAD),
        started_at=now,
        ended_at=now,
    )
    return msgspec.json.encode(message)


class Side:
    """Takes messages from one queue and publishes to another, on one connection with two channels.

    Any error ends the loop and is raised by `run`: a benchmark has nothing to recover.
    """

    def __init__(self, url: str, takes: str, gives: str, queue_type: str, body: bytes) -> None:
        self.takes, self.gives, self.queue_type, self.body = takes, gives, queue_type, body
        self.published = 0
        self.confirmed = 0  # all up to this one are
        self.taken = 0  # delivery tag of the last message
        self.acknowledged = 0
        self._early: set[int] = set()
        self._ack_up_to = 0
        self._ack_planned = False
        self._error: BaseException | None = None
        self.connection = pika.SelectConnection(
            pika.URLParameters(url),
            on_open_callback=self._open,
            on_open_error_callback=self._fail,
            on_close_callback=self._fail,
        )

    def ready(self) -> None:
        """Do what is to be done when messages can flow."""

    def delivered(self) -> None:
        """Do what is to be done with a message that has come."""

    def was_confirmed(self) -> None:
        """Do what is to be done when `confirmed` has grown."""

    def run(self) -> None:
        """Turn the loop until `stop`; raise what went wrong."""
        self.connection.ioloop.start()
        if self._error:
            raise RuntimeError(f"the connection broke: {self._error!r}")

    def stop(self) -> None:
        self.connection.ioloop.stop()

    def publish(self) -> None:
        self.published += 1
        properties = pika.BasicProperties(
            content_type="application/json",
            delivery_mode=2,
            message_id=f"{self.published:036}",
            type="bench",
        )
        self.outward.basic_publish("", self.gives, self.body, properties, mandatory=True)

    def acknowledge(self, tag: int) -> None:
        """Acknowledge all up to this one, once for all of a turn of the loop."""
        self._ack_up_to = tag
        if not self._ack_planned:
            self._ack_planned = True
            self.connection.ioloop.call_later(0, self._send_ack)

    def _send_ack(self) -> None:
        self._ack_planned = False
        if self._ack_up_to > self.acknowledged:
            self.acknowledged = self._ack_up_to
            self.inward.basic_ack(self._ack_up_to, multiple=True)

    def _open(self, connection: Any) -> None:
        self.outward = connection.channel(on_open_callback=self._out_open)
        self.inward = connection.channel(on_open_callback=self._in_open)

    def _out_open(self, channel: Any) -> None:
        channel.add_on_close_callback(self._fail)
        channel.add_on_return_callback(self._fail)
        channel.confirm_delivery(self._confirm)

    def _in_open(self, channel: Any) -> None:
        channel.add_on_close_callback(self._fail)
        arguments = {"x-queue-type": self.queue_type}
        channel.queue_declare(self.gives, durable=True, arguments=arguments)
        channel.queue_declare(self.takes, durable=True, arguments=arguments)
        channel.basic_qos(prefetch_count=PREFETCH, callback=self._consume)

    def _consume(self, _: Any) -> None:
        self.inward.basic_consume(self.takes, self._deliver, callback=lambda _: self.ready())

    def _deliver(self, _channel: Any, method: Any, _properties: Any, _body: bytes) -> None:
        self.taken = method.delivery_tag
        self.delivered()

    def _confirm(self, frame: Any) -> None:
        if isinstance(frame.method, pika.spec.Basic.Nack):
            self._fail("the broker refused a message")
            return
        tag = frame.method.delivery_tag
        if frame.method.multiple:
            self.confirmed = max(self.confirmed, tag)
        else:
            self._early.add(tag)
        while self.confirmed + 1 in self._early:
            self.confirmed += 1
            self._early.discard(self.confirmed)
        self.was_confirmed()

    def _fail(self, *reasons: object) -> None:
        self._error = RuntimeError(*reasons)
        self.stop()


class Worker(Side):
    """Reports each order; its n-th report answers the n-th order, so their tags are the same."""

    def delivered(self) -> None:
        self.publish()

    def was_confirmed(self) -> None:
        self.acknowledge(self.confirmed)


class Controller(Side):
    """Keeps a window of orders on their way."""

    def ready(self) -> None:
        self.stop()

    def measure(self, steps: int, window: int) -> float:
        """Run so many steps; return steps per second."""
        self._window, self._goal = window, self.taken + steps
        deadline = self.connection.ioloop.call_later(WAIT_SECONDS, self._too_late)
        begun = time.perf_counter()
        self._fill()
        self.run()
        seconds = time.perf_counter() - begun
        self.connection.ioloop.remove_timeout(deadline)
        return steps / seconds

    def delivered(self) -> None:
        self.acknowledge(self.taken)
        self._fill()
        if self.taken == self._goal:
            self.stop()

    def was_confirmed(self) -> None:
        self._fill()

    def _fill(self) -> None:
        """Publish; both what is not reported and what is not confirmed stay within the window."""
        limit = min(self.taken + self._window, self.confirmed + WINDOW, self._goal)
        while self.published < limit:
            self.publish()

    def _too_late(self) -> None:
        self._fail(f"no end after {WAIT_SECONDS} s")


def ceiling(url: str, queue_type: str, steps: int) -> dict[str, float]:
    """Return steps per second with a window of orders, and with one order at a time.

    Each is the median of `ROUNDS` rounds in turn, of `steps` steps in all; one at a time takes a
    tenth of that. Raises `RuntimeError` if messages are refused or the connection breaks.
    """
    names = [f"bench.raw.{kind}.{secrets.token_hex(4)}" for kind in ("orders", "reports")]
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, __file__, "--worker", *names, "--broker", url]
        log = Path(folder) / "log"
        worker = GuardedProgram([*command, "--queue-type", queue_type], log)
        try:
            return _measure(Controller(url, names[1], names[0], queue_type, order()), steps)
        except RuntimeError as error:
            raise RuntimeError(f"{error}; the worker: {log.read_text()[-1000:]}") from error
        finally:
            worker.kill()
            _delete(url, names)


def _measure(controller: Controller, steps: int) -> dict[str, float]:
    controller.run()
    count = max(1, steps // ROUNDS)
    controller.measure(count, WINDOW)  # to warm up all three
    windowed, single = [], []
    for _ in range(ROUNDS):
        windowed.append(controller.measure(count, WINDOW))
        single.append(controller.measure(max(1, count // 10), 1))
    return {
        "throughput_steps_per_second": statistics.median(windowed),
        "one_at_a_time_steps_per_second": statistics.median(single),
    }


def _delete(url: str, names: list[str]) -> None:
    with suppress(AMQPError), pika.BlockingConnection(pika.URLParameters(url)) as connection:
        for name in names:
            connection.channel().queue_delete(name)


def say(figure: str, value: float, unit: str, **more: Any) -> None:
    print(
        json.dumps({"figure": figure, "value": round(value, 3), "unit": unit, **more}), flush=True
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("--queue-type", choices=["quorum", "classic"], action="append")
    parser.add_argument("--steps", type=int, default=20_000)
    parser.add_argument("--broker", help="amqp URL; default: a private RabbitMQ")
    parser.add_argument("--worker", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    queue_types = options.queue_type or ["quorum", "classic"]
    if options.worker:
        orders, reports = options.worker
        Worker(options.broker, orders, reports, queue_types[0], report()).run()
        return
    with nullcontext() if options.broker else PrivateRabbit() as private:
        for queue_type in queue_types:
            print_figures(private.url() if private else options.broker, queue_type, options.steps)


def print_figures(url: str, queue_type: str, steps: int) -> None:
    found = ceiling(url, queue_type, steps)
    sizes = {"order_bytes": len(order()), "report_bytes": len(report())}
    windowed = found["throughput_steps_per_second"]
    say(f"bare pika, {queue_type}", windowed, "steps/s", window=WINDOW, prefetch=PREFETCH, **sizes)
    one = found["one_at_a_time_steps_per_second"]
    say(f"bare pika, {queue_type}, one at a time", one, "steps/s", ms_per_step=round(1000 / one, 3))


if __name__ == "__main__":
    main()
