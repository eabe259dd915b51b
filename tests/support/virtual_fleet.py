"""The real controller and worker on a virtual clock: steps take as long as they are told."""

from __future__ import annotations

import heapq
import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from warrener.adapters.clock import VirtualClock
from warrener.adapters.memory import MemoryBroker
from warrener.adapters.memory_events import MemoryEventStore
from warrener.domain.control_events import FlowChanged
from warrener.domain.definition.model import JobDefinition
from warrener.domain.events import Error, Recorded
from warrener.domain.flow.settings import FlowSettings
from warrener.domain.ids import FLOW_ID
from warrener.domain.messages import StepReport
from warrener.domain.ports import EventStore
from warrener.services.embedded import Embedded
from warrener.services.runners import Finished, Task
from warrener.services.submission import Source, submission
from warrener.services.turn import Chance

START = datetime(2030, 1, 1, tzinfo=UTC)

# When a job comes, what it is, its parameters, and options of its submission.
Coming = tuple[float, JobDefinition | Source, dict[str, Any], dict[str, Any]]


class TimedRunner:
    """Works on so many tasks at once, for the `seconds` they name; they fail `fails` times."""

    def __init__(self, clock: VirtualClock, slots: int) -> None:
        self._clock = clock
        self._slots = slots
        self._numbers = 0
        self._running: list[tuple[datetime, int, datetime, Task]] = []

    def room(self) -> int:
        return self._slots - len(self._running)

    def busy(self) -> int:
        return len(self._running)

    def submit(self, task: Task) -> None:
        self._numbers += 1
        args = msgspec.json.decode(task.order.args)
        now = self._clock.now()
        due = now + timedelta(seconds=args["seconds"])
        heapq.heappush(self._running, (due, self._numbers, now, task))

    def finished(self, timeout_seconds: float = 0.0) -> Sequence[Finished]:
        done = []
        while self._running and self._running[0][0] <= self._clock.now():
            due, _, began, task = heapq.heappop(self._running)
            done.append(Finished(task, msgspec.json.encode(_report(task, began, due))))
        return done

    def next_due(self) -> datetime | None:
        return self._running[0][0] if self._running else None

    def cancel(self, task: Task) -> None:
        pass

    def withdraw(self) -> Sequence[Task]:
        return ()

    def close(self) -> None:
        pass


def _report(task: Task, began: datetime, due: datetime) -> StepReport:
    order = task.order
    fails = msgspec.json.decode(order.args).get("fails", 0)
    failed = order.attempt <= fails
    return StepReport(
        job=order.job,
        step=order.step,
        attempt=order.attempt,
        token=order.token,
        worker="timed",
        outcome="failed" if failed else "succeeded",
        error=Error(code="not-now", message="not now") if failed else None,
        started_at=began,
        ended_at=due,
    )


def _source(what: JobDefinition | Source) -> Source:
    return what if isinstance(what, Source) else Source(what)


def record(
    coming: Sequence[Coming],
    slots: int,
    policy: str,
    queues: Sequence[str],
    store: EventStore | None = None,
) -> EventStore:
    """Run jobs as they come, to the end of all; return the store that has it all."""
    clock, chance = VirtualClock(START), random.Random(1)
    store = MemoryEventStore() if store is None else store
    settings = FlowChanged(at=START, cause="test", settings=FlowSettings(policy=policy))
    store.commit([Recorded(FLOW_ID, 1, settings)], {})
    runner = TimedRunner(clock, slots)
    embedded = Embedded(
        store,
        MemoryBroker(),
        runner,
        clock,
        Chance(lambda: f"{chance.getrandbits(128):032x}", chance.random),
        slots=slots,
        queues=queues,
    )
    controller = embedded.reactor.controller
    messages = [
        (at, submission(_source(what), params, key=f"job{number}", **options))
        for number, (at, what, params, options) in enumerate(coming)
    ]
    messages.reverse()
    while messages or controller.memory.jobs:
        now = clock.now()
        while messages and START + timedelta(seconds=messages[-1][0]) <= now:
            embedded.submit(messages.pop()[1])
        if embedded.turn():
            continue
        coming_at = START + timedelta(seconds=messages[-1][0]) if messages else None
        times = [coming_at, runner.next_due(), controller.next_due(now)]
        clock.set(max(now, min(time for time in times if time is not None)))
    return store
