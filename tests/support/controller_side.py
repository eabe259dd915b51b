"""The controller's side of a worker, by hand: sends orders, and hears reports and signs of life."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Self

import msgspec
from support.endpoints_orders import order
from support.log_checks import eventually

from warrener.domain.messages import (
    AdviseWorker,
    Beat,
    CancelStep,
    FleetMessage,
    RunStep,
    StepReport,
)
from warrener.domain.ports import Broker, Notice, Outgoing
from warrener.domain.topology import (
    CONTROL,
    FLEET,
    QUARANTINE,
    orders_queue,
    reactor_queue,
    results_queue,
)

POLL_SECONDS = 0.02
WORK = orders_queue("default")


class ControllerSide:
    """Hears everything that workers say on one broker."""

    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        self.reports: list[StepReport] = []
        self.report_ids: list[str] = []
        self.beats: list[Beat] = []
        self.fleet: list[FleetMessage] = []
        self._channel = broker.channel()
        for queue in (WORK, QUARANTINE):
            self._channel.declare(queue)
        self._channel.consume(results_queue(), 1_000)
        self._channel.subscribe(reactor_queue("by-hand"), FLEET, ["worker.*"])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._channel.close()

    def send(self, endpoint: str, *paths: str, **args: Any) -> list[RunStep]:
        """Send an order for each path."""
        runs = [order(endpoint, _path=path, **args) for path in paths]
        self.send_again(*runs)
        return runs

    def send_again(self, *runs: RunStep) -> None:
        self.send_bytes(*map(msgspec.json.encode, runs))

    def send_bytes(self, *bodies: bytes, queue: str = WORK) -> None:
        self._channel.publish([Outgoing(queue, body, f"m{n}") for n, body in enumerate(bodies)])

    def send_to(self, queue: str, endpoint: str, path: str, **args: Any) -> RunStep:
        """Send an order to a queue, by the name that definitions use."""
        run = order(endpoint, _path=path, **args)
        self.send_bytes(msgspec.json.encode(run), queue=orders_queue(queue))
        return run

    def cancel(self, run: RunStep) -> None:
        message = CancelStep(job=run.job, step=run.step, attempt=run.attempt)
        body = msgspec.json.encode(message)
        self._channel.publish([Notice(CONTROL, "step.cancel", body, "cancel")])

    def advise(self, worker: str, *queues: str, seconds: float = 3_600.0) -> None:
        """Advise a worker to serve queues for some seconds."""
        until = datetime.now(UTC) + timedelta(seconds=seconds)
        body = msgspec.json.encode(AdviseWorker(worker=worker, queues=queues, until=until))
        self._channel.publish([Notice(CONTROL, "worker.advise", body, "advice")])

    def hear(self) -> None:
        """Take what has come."""
        deliveries = self._channel.poll(1_000, POLL_SECONDS).deliveries
        for delivery in deliveries:
            message = msgspec.json.decode(delivery.body, type=StepReport | Beat | FleetMessage)
            if isinstance(message, StepReport):
                self.reports.append(message)
                self.report_ids.append(delivery.message_id)
            elif isinstance(message, Beat):
                self.beats.append(message)
            else:
                self.fleet.append(message)
        self._channel.ack([delivery.tag for delivery in deliveries if delivery.tag])

    def until(self, holds: Callable[[], Any], what: str = "") -> Any:
        """Hear until something holds, and return it."""

        def look() -> Any:
            self.hear()
            return holds()

        return eventually(look, what)

    def results(self, count: int) -> dict[Any, Any]:
        """Wait for so many reports; return the results by step id, errors as their codes."""
        self.until(lambda: len(self.reports) >= count, f"{count} reports")
        return {
            report.step: report.error.code if report.error else msgspec.json.decode(report.result)
            for report in self.reports
        }

    def waiting(self, count: int) -> list[str]:
        """Take so many orders that nobody has, and no more; return their paths, sorted."""
        channel = self.broker.channel()
        channel.consume(WORK, 1_000)
        found: list[str] = []

        def take() -> bool:
            for delivery in channel.poll(1_000, POLL_SECONDS).deliveries:
                found.append(msgspec.json.decode(delivery.body, type=RunStep).path)
                channel.ack([delivery.tag])
            return len(found) >= count

        eventually(take, f"{count} orders that nobody has")
        channel.poll(0, 10 * POLL_SECONDS)
        take()
        channel.close()
        return sorted(found)
