"""Drives the real controller by hand: submit a job, see what was ordered, send reports."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any
from uuid import UUID

import msgspec

from warrener.adapters.memory_events import MemoryEventStore
from warrener.domain import ids
from warrener.domain import job as jobs
from warrener.domain import step as steps
from warrener.domain.definition.model import JobDefinition
from warrener.domain.events import Error
from warrener.domain.flow.lanes import Flow
from warrener.domain.flow.settings import DEFAULT_SETTINGS, FlowSettings
from warrener.domain.job_state import Job
from warrener.domain.messages import Beat, RunStep, StepReport, UserActionAsked
from warrener.domain.ports import EventStore, Notice, Outgoing
from warrener.domain.step import Step
from warrener.domain.topology import ORDERS
from warrener.services.batch import Batch
from warrener.services.controller import Controller
from warrener.services.submission import Source, submission
from warrener.services.turn import Chance

START = datetime(2030, 1, 1, tzinfo=UTC)
PLENTY = 1_000


class Driver:
    """One controller, its store, and the orders that are out, by path."""

    def __init__(
        self,
        store: EventStore | None = None,
        settings: FlowSettings = DEFAULT_SETTINGS,
        *,
        slots: Callable[[str], int] = lambda _: PLENTY,
        watches: bool = False,
        samples: bool = True,
    ) -> None:
        self.store = store or MemoryEventStore()
        self.now = START
        tokens = count()
        chance = Chance(token=lambda: f"{next(tokens):032x}", jitter=lambda: 0.5)
        self.controller = Controller(
            self.store,
            lambda: Flow(slots, settings),
            chance,
            "results",
            watches=watches,
            samples=samples,
        )
        self.orders: list[RunStep] = []
        self.sent: list[Outgoing | Notice] = []  # all but the orders
        self.batches: list[Batch] = []
        self.beats = self.commands = 0

    def submit(
        self,
        definition: JobDefinition,
        params: Mapping[str, Any],
        library: Mapping[str, JobDefinition] | None = None,
        key: str = "key",
        **more: Any,
    ) -> UUID:
        """Submit a job and take its first orders."""
        source = Source(definition, dict(library or {}))
        self.handle("submit", submission(source, params, key=key, **more))
        return ids.job_id(key)

    def handle(self, message_id: str, *messages: Any) -> Batch:
        """Have messages decided, committed and published."""
        batch = self.controller.handle([(message_id, message) for message in messages], self.now)
        position = self.store.commit(batch.events, batch.blobs) if batch.events else 0
        self.batches.append(batch)
        for sent in self.controller.outgoing(batch, position):
            if isinstance(sent, Outgoing) and sent.queue.startswith(ORDERS):
                self.orders.append(msgspec.json.decode(sent.body, type=RunStep))
            else:
                self.sent.append(sent)
        return batch

    def wait(self, seconds: float) -> Batch:
        """Let time pass and due timers fire."""
        self.now += timedelta(seconds=seconds)
        return self.handle("")

    def order(self, path: str) -> RunStep:
        """Return the newest order for a step."""
        return next(order for order in reversed(self.orders) if order.path == path)

    def succeed(self, order: RunStep, result: Any = None) -> Batch:
        """Report success."""
        return self.handle(*self.report(order, "succeeded", msgspec.json.encode(result)))

    def fail(self, order: RunStep, code: str = "work-failed", outcome: str = "permanent") -> Batch:
        """Report a failure; by default one that is not tried again."""
        return self.handle(*self.report(order, outcome, error=Error(code=code, message=code)))

    def ask(self, order: RunStep, action: str = "help", cause: str = "c", **asked: Any) -> Batch:
        """Report that only a person can help."""
        error = Error(code="user-action", message="")
        name, report = self.report(order, "user_action", error=error)
        asking = UserActionAsked(action=action, cause=cause, **asked)
        return self.handle(name, msgspec.structs.replace(report, user_action=asking))

    def beat(self, order: RunStep, progress: float | None = None) -> Batch:
        """Give a sign of life of an attempt."""
        fields = {"job": order.job, "step": order.step, "attempt": order.attempt}
        beat = Beat(**fields, token=order.token, worker="tester", at=self.now, progress=progress)
        self.beats += 1
        return self.handle(f"beat/{self.beats}", beat)

    def command(self, message: Any) -> str | None:
        """Give a command; return why it was refused, None if it was not."""
        self.commands += 1
        batch = self.handle(f"command/{self.commands}", message)
        return batch.refused[0].reason if batch.refused else None

    def step(self, job: UUID, path: str) -> Step:
        """Return a step as the log has it."""
        state = steps.project(None, self.store.stream(ids.step_id(job, path)))
        assert state is not None
        return state

    def requests(self) -> list[UUID]:
        """Return the user actions that are open."""
        return list(self.controller.memory.requests.open)

    def report(
        self, order: RunStep, outcome: str, result: bytes = b"null", error: Error | None = None
    ) -> tuple[str, StepReport]:
        """Return message id and report."""
        report = StepReport(
            job=order.job,
            step=order.step,
            attempt=order.attempt,
            token=order.token,
            worker="tester",
            outcome=outcome,
            result=msgspec.Raw(result),
            error=error,
            started_at=self.now,
            ended_at=self.now,
        )
        return ids.message_id(order.step, order.attempt, "report"), report

    def job(self, job: UUID) -> Job:
        """Return a job as the log has it."""
        state = jobs.project(None, self.store.stream(job))
        assert state is not None
        return state
