"""Healthy hours made up by a seed: much is going on, and all is served within the bound."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random
from typing import Final

from support.loads import JobKind, StageKind, Watched, batch, by_time, stream

from warrener.domain.definition.model import Limit, Rate
from warrener.domain.flow.orders import ORDERS
from warrener.domain.flow.settings import FlowSettings
from warrener.domain.limits import Claim
from warrener.domain.simulation.crews import Crew
from warrener.domain.simulation.engine import Simulation
from warrener.domain.simulation.trace import TraceJob
from warrener.domain.step_events import Held

HOUR: Final = 3_600.0
BURSTS_PER_HOUR: Final = 6
QUEUES: Final = ("default", "mail", "gpu")


def healthy_hour(seed: int) -> Watched:
    """Return an hour with several queues, kinds of jobs, tenants, priorities and limits."""
    return _Hour(seed).watched()


class _Hour:
    def __init__(self, seed: int) -> None:
        random = self.random = Random(f"healthy-{seed}")
        self.bound = random.choice([60.0, 120.0, 120.0])
        self.queues = QUEUES[: random.choice([1, 1, 2, 3])]
        self.slots = {queue: random.randint(4, 8) for queue in self.queues}
        self.pace = self.bound / random.uniform(15.0, 30.0)  # what a step takes, by and large
        self.calls: list[tuple[float, Callable[[Simulation], None]]] = []

    def watched(self) -> Watched:
        streams: list[Iterator[TraceJob]] = []
        for queue in self.queues:
            streams += self._streams(queue)
        if self.random.random() < 0.5:
            self._restart(self.random.choice(self.queues))
        return Watched(
            by_time(*streams),
            [Crew(workers=slots, queues=(queue,)) for queue, slots in self.slots.items()],
            FlowSettings(policy=self.random.choice(list(ORDERS)), bound_seconds=self.bound),
            until=HOUR,
            every=self.random.choice([3.0, 5.0]),
            calls=self.calls,
        )

    def _streams(self, queue: str) -> Iterator[Iterator[TraceJob]]:
        """Make up what a queue does: a base of 50 to 85 %, and bursts into what is left."""
        random, slots = self.random, self.slots[queue]
        kinds = [self._kind(f"{queue}{number}", queue) for number in range(random.randint(1, 3))]
        base = random.uniform(0.5, 0.85)
        weights = [random.uniform(0.2, 1.0) for _ in kinds]
        for kind, weight in zip(kinds, weights, strict=True):
            load = base * weight / sum(weights)
            yield stream(random, kind, load * slots / kind.work, 0.0, HOUR)
        for number in range(random.randint(0, BURSTS_PER_HOUR)):
            kind = random.choice(kinds)
            work = (1.0 - base) * slots * self.bound * random.uniform(0.1, 0.4)
            at = HOUR * (number + random.random()) / BURSTS_PER_HOUR
            yield batch(random, kind, max(1, int(work / kind.work)), at)
        if random.random() < 0.3:  # a step that runs for long, on one slot
            long = JobKind("long", [StageKind("all", random.uniform(200, 900), queue=queue)])
            yield batch(random, long, 1, random.uniform(0.0, HOUR / 2))

    def _kind(self, name: str, queue: str) -> JobKind:
        random = self.random
        stages = [
            StageKind(
                f"s{place}",
                self.pace * random.uniform(0.3, 2.0),
                random.uniform(0.1, 1.0),
                random.choice([0, 0, 5, 10]) if place else 0,
                failing=random.choice([0.0, 0.0, 0.02, 0.1]),
                pause=random.uniform(0.5, 20.0),
                queue=queue,
            )
            for place in range(random.randint(1, 4))
        ]
        for stage in stages:
            if random.random() < 0.25:
                stage.claims = (self._roomy(name, stage),)
        priority = random.choice([0, 0, 0, 5, -5])
        return JobKind(name, stages, priority, random.choice(["", "a", "b", "c"]))

    def _roomy(self, name: str, stage: StageKind) -> Claim:
        """Return a limit that has room for all that the queue can do."""
        slots = 3 * self.slots[stage.queue]
        if self.random.random() < 0.5:
            limit = Limit(name=f"{name}.{stage.name}", slots=slots)
        else:
            rate = Rate(max(1, int(10 * 1.5 * slots / stage.seconds)), 10.0)
            limit = Limit(name=f"{name}.{stage.name}", rate=rate, burst=slots)
        return Claim(limit, Held(limit.name, "all"))

    def _restart(self, queue: str) -> None:
        """All workers of a queue are gone for a short time."""
        at, slots = self.random.uniform(600.0, 3_000.0), self.slots[queue]
        away = self.bound * self.random.uniform(0.05, 0.2)
        self.calls.append((at, lambda simulation: simulation.crews.change((queue,), -slots)))
        self.calls.append((at + away, lambda simulation: simulation.crews.change((queue,), slots)))
