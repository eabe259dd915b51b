"""A real reactor on a real broker, with the test as its workers and its clients.

The clock is virtual; everything else goes through the broker's queues as in a fleet.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import count
from typing import Any
from uuid import UUID

import msgspec
from support.driving import START

from warrener.adapters.clock import VirtualClock
from warrener.adapters.memory_events import MemoryEventStore
from warrener.domain import ids
from warrener.domain import job as jobs
from warrener.domain import step as steps
from warrener.domain.definition.model import JobDefinition
from warrener.domain.events import Error
from warrener.domain.flow.lanes import Flow
from warrener.domain.messages import Beat, CommandReply, RunStep, StepReport, UserActionAsked
from warrener.domain.ports import Broker, Delivery, Outgoing
from warrener.domain.topology import (
    CONTROL,
    POISON,
    inbox_queue,
    orders_queue,
    reply_queue,
    results_queue,
    topology,
)
from warrener.services.batch import Batch
from warrener.services.controller import Controller
from warrener.services.endpoints import Registry
from warrener.services.perform import perform
from warrener.services.reactor import Reactor
from warrener.services.submission import Source, submission
from warrener.services.turn import Chance

PLENTY = 1_000
DEADLINE_SECONDS = 20.0
ME = reply_queue("me")


class HandFleet:
    """Submits, performs and steers by hand; every message is decided before a call returns."""

    def __init__(self, broker: Broker) -> None:
        declarer = broker.channel()
        for queue in topology():
            declarer.declare(queue.name)
        declarer.close()
        self.clock = VirtualClock(START)
        self.store = MemoryEventStore()
        tokens = count()
        chance = Chance(lambda: f"{next(tokens):032x}", lambda: 0.5)
        self.controller = Controller(
            self.store, lambda: Flow(lambda _: PLENTY), chance, results_queue()
        )
        inboxes = [results_queue(), inbox_queue(), POISON]
        self.reactor = Reactor(
            self.controller, self.store, broker.channel(), self.clock, inboxes=inboxes
        )
        self._channel = broker.channel()
        self._channel.subscribe(ME, CONTROL, ["step.cancel"])
        self._channel.consume(orders_queue("default"), PLENTY)
        self._orders: dict[tuple[UUID, str], list[Delivery]] = {}
        self._replies: dict[str, CommandReply] = {}
        self._numbers = count(1)

    def close(self) -> None:
        """Leave."""
        self._channel.close()
        self.reactor.close()

    # --- what clients do -------------------------------------------------------------------------

    def submit(self, steps_: dict[str, Any], **head: Any) -> UUID:
        """Submit a job with these steps; see `order` for what it has ordered."""
        definition = msgspec.convert({"job": "by-hand", "steps": steps_, **head}, JobDefinition)
        key = f"job-{next(self._numbers)}"
        self._send(inbox_queue(), submission(Source(definition), {}, key=key), f"submit/{key}")
        return ids.job_id(key)

    def command(self, message: Any) -> str | None:
        """Give a command; return why it was refused, None if it was not."""
        name = f"command/{next(self._numbers)}"
        self._send(inbox_queue(), msgspec.structs.replace(message, reply_to=ME), name)
        self._until(lambda: name in self._replies)
        error = self._replies.pop(name).error
        return None if error is None else error.message

    def send_all(self, messages: Sequence[Any]) -> None:
        """Give commands that nobody waits for, in one batch."""
        bodies = [msgspec.json.encode(message) for message in messages]
        named = [(f"command/{next(self._numbers)}", body) for body in bodies]
        self._channel.publish([Outgoing(inbox_queue(), body, name) for name, body in named])
        self._until(lambda: self.reactor.turn(0.02) is not None)
        self._settle()

    def wait(self, seconds: float) -> None:
        """Let time pass, and what falls due then."""
        self.clock.advance(seconds)
        while self.reactor.turn() is not None:
            pass
        self._settle()

    # --- what workers do -------------------------------------------------------------------------

    def order(self, job: UUID, path: str) -> RunStep:
        """Return the newest order for a step."""
        state = self.step(job, path)
        self._until(lambda: self._newest(job, path) == state.attempt)
        return _order(self._orders[job, path][-1])

    def report(self, order: RunStep, outcome: str, **fields: Any) -> None:
        """Report what became of an attempt."""
        if outcome != "succeeded":
            fields.setdefault("error", Error(code="broken", message="broken"))
        now = self.clock.now()
        report = StepReport(
            job=order.job,
            step=order.step,
            attempt=order.attempt,
            token=order.token,
            worker="hand",
            outcome=outcome,
            started_at=now,
            ended_at=now,
            **fields,
        )
        name = ids.message_id(order.step, order.attempt, "report")
        self._send(order.reply_to, report, name)

    def perform(self, order: RunStep, registry: Registry) -> None:
        """Run an endpoint as a worker does, and report what became of it."""
        report = perform(order, "hand", self.clock, registry)
        name = ids.message_id(order.step, order.attempt, "report")
        self._send(order.reply_to, report, name)

    def poison(self, order: RunStep) -> None:
        """Let the broker find that it has delivered an order too often."""
        self._send(POISON, order, ids.message_id(order.step, order.attempt, "run"))

    def ask(self, order: RunStep, cause: str, **asked: Any) -> None:
        """Report that only a person can help."""
        asking = UserActionAsked(action="help", cause=cause, **asked)
        self.report(order, "user_action", user_action=asking)

    def beat(self, order: RunStep, progress: float | None = None) -> None:
        """Give a sign of life."""
        fields = {"job": order.job, "step": order.step, "attempt": order.attempt}
        beat = Beat(
            **fields, token=order.token, worker="hand", at=self.clock.now(), progress=progress
        )
        self._send(order.reply_to, beat, f"beat/{next(self._numbers)}")

    # --- what is known ---------------------------------------------------------------------------

    def state(self, job: UUID, path: str) -> str:
        """Return the state of a step, by the log alone."""
        found = steps.project(None, self.store.stream(ids.step_id(job, path)))
        named = self.job(job).step(path)
        begun = found is not None and found.generation == self.job(job).generation
        return found.state if found is not None and begun and named == "ready" else named

    def step(self, job: UUID, path: str) -> steps.Step:
        """Return a step as the log has it."""
        found = steps.project(None, self.store.stream(ids.step_id(job, path)))
        assert found is not None, path
        return found

    def job(self, job: UUID) -> Any:
        """Return a job as the log has it."""
        found = jobs.project(None, self.store.stream(job))
        assert found is not None, job
        return found

    def request(self, job: UUID, path: str) -> UUID:
        """Return the user action that a step waits for."""
        found = self.step(job, path).request
        assert found is not None, path
        return found

    # --- the queues ------------------------------------------------------------------------------

    def _send(self, queue: str, message: Any, name: str) -> None:
        """Publish one message, and have the reactor decide it."""
        self._channel.publish([Outgoing(queue, msgspec.json.encode(message), name)])
        deadline = time.monotonic() + DEADLINE_SECONDS
        batch: Batch | None = None
        while batch is None:
            assert time.monotonic() < deadline, f"{name} was not taken"
            self._take(0.0)
            batch = self.reactor.turn(0.02)
        self._settle()

    def _settle(self) -> None:
        self._until(lambda: self.reactor.idle)

    def _until(self, done: Any) -> None:
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not done():
            assert time.monotonic() < deadline, "nothing came"
            self.reactor.turn(0.005)
            self._take(0.005)

    def _take(self, timeout_seconds: float) -> None:
        for delivery in self._channel.poll(PLENTY, timeout_seconds).deliveries:
            if delivery.queue == orders_queue("default"):
                order = _order(delivery)
                self._orders.setdefault((order.job, order.path), []).append(delivery)
                self._channel.ack([delivery.tag])
            elif delivery.message_id.startswith("reply/"):
                reply = msgspec.json.decode(delivery.body, type=CommandReply)
                self._replies[reply.command] = reply

    def _newest(self, job: UUID, path: str) -> int:
        found = self._orders.get((job, path))
        return _order(found[-1]).attempt if found else 0


def _order(delivery: Delivery) -> RunStep:
    return msgspec.json.decode(delivery.body, type=RunStep)
