"""Loads made up by a seed: kinds of jobs, how often they come, and the detector that watches."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from heapq import merge
from random import Random

import msgspec

from warrener.domain.flow.detection import Detector, Finding
from warrener.domain.flow.figures import FlowSample, QueueSample
from warrener.domain.flow.settings import FlowSettings
from warrener.domain.limits import Claim
from warrener.domain.simulation.crews import Crew
from warrener.domain.simulation.engine import Simulation
from warrener.domain.simulation.trace import Attempt, Attempts, Shape, TraceJob, TraceStep

BEAT_SECONDS = 10.0  # workers say that often how many slots are busy
VARIANTS = 100  # of each kind of job: what its steps take, and which of them fail


@dataclass
class StageKind:
    """A stage: what a step takes on average, how its length varies, and how often it fails."""

    name: str
    seconds: float
    spread: float = 0.5  # of the logarithm
    items: int = 0  # of a fan-out, at most; 0: it is none
    failing: float = 0.0  # of all attempts
    endless: float = 0.0  # of all steps: those that fail again and again
    attempts_max: int = 3
    pause: float = 2.0  # before another attempt
    claims: tuple[Claim, ...] = ()
    queue: str = "default"

    @property
    def work(self) -> float:
        """Return what it asks of workers on average, for each job."""
        return self.seconds * ((self.items + 1) / 2 if self.items else 1)

    def attempts(self, random: Random) -> Attempts:
        endless = random.random() < self.endless
        found = []
        for _ in range(self.attempts_max):
            fails = endless or random.random() < self.failing
            found.append(Attempt(self._seconds(random), not fails, self.pause))
            if not fails:
                break
        return tuple(found)

    def _seconds(self, random: Random) -> float:
        return random.lognormvariate(math.log(self.seconds) - self.spread**2 / 2, self.spread)


@dataclass
class JobKind:
    """A kind of job: a chain of stages."""

    name: str
    stages: list[StageKind]
    priority: int = 0
    fair: str = ""

    @property
    def work(self) -> float:
        """Return what a job asks of workers on average, in seconds."""
        return sum(stage.work for stage in self.stages)

    def shapes(self, random: Random) -> list[Shape]:
        return [Shape(self.name, self._steps(random)) for _ in range(VARIANTS)]

    def _steps(self, random: Random) -> list[TraceStep]:
        steps = []
        for place, stage in enumerate(self.stages):
            after = (place - 1,) if place else ()
            draw = partial(stage.attempts, random)
            count = random.randint(1, stage.items) if stage.items else 0
            items = tuple(draw() for _ in range(count))
            steps.append(
                TraceStep(
                    name=stage.name,
                    queue=stage.queue,
                    after=after,
                    attempts=() if items else draw(),
                    items=items or None,
                    claims=() if items else stage.claims,
                    item_claims=(stage.claims,) * count if items and stage.claims else (),
                )
            )
        return steps


def stream(
    random: Random, kind: JobKind, rate: float, begin: float, end: float
) -> Iterator[TraceJob]:
    """Yield jobs that come at random, so many a second."""
    shapes = kind.shapes(random)
    at = begin + random.expovariate(rate)
    while at < end:
        yield TraceJob(at, random.choice(shapes), kind.fair, kind.priority)
        at += random.expovariate(rate)


def batch(random: Random, kind: JobKind, count: int, at: float) -> Iterator[TraceJob]:
    """Yield jobs that come all at once."""
    shapes = kind.shapes(random)
    for _ in range(count):
        yield TraceJob(at, random.choice(shapes), kind.fair, kind.priority)


def by_time(*streams: Iterator[TraceJob]) -> Iterator[TraceJob]:
    """Yield the jobs of all in the order of their times."""
    return merge(*streams, key=lambda job: job.at)


@dataclass
class Watched:
    """A simulation that is watched by a detector, with calls at times of it.

    `found` has what was found, by queue and diagnosis, as it was at first, with the time of that,
    and `ended` when it was seen last.
    """

    jobs: Iterator[TraceJob]
    crews: list[Crew]
    settings: FlowSettings
    until: float
    every: float = 1.0
    calls: list[tuple[float, Callable[[Simulation], None]]] = field(default_factory=list)
    tells_delays: bool = True
    found: dict[tuple[str, str], tuple[float, Finding]] = field(default_factory=dict)
    ended: dict[tuple[str, str], float] = field(default_factory=dict)
    longest_wait: float = 0.0
    starved_at: float = math.inf  # when somebody had waited beyond the bound first
    looks: int = 0

    def run(self) -> Simulation:
        """Run it, and note when what was found first and last."""
        self.detector = Detector(self.settings)
        self._busy: dict[str, int] = {}
        self._beat_at = -BEAT_SECONDS
        simulation = Simulation(self.jobs, self.crews, self.settings, until=self.until)
        for at, call in self.calls:
            simulation.call(at, partial(call, simulation))
        simulation.call(self.every, partial(self._tick, simulation))
        simulation.run()
        return simulation

    def _tick(self, simulation: Simulation) -> None:
        simulation.call(simulation.now + self.every, partial(self._tick, simulation))
        self.looks += 1
        sample = self._sample(simulation)
        for queue in sample.queues:
            for stage in queue.stages:
                self.longest_wait = max(self.longest_wait, stage.oldest_wait, stage.held_wait)
        if self.longest_wait > self.settings.bound_seconds:
            self.starved_at = min(self.starved_at, simulation.now)
        for finding in self.detector.look(sample):
            key = finding.queue, finding.diagnosis
            self.found.setdefault(key, (simulation.now, finding))
            self.ended[key] = simulation.now

    def _sample(self, simulation: Simulation) -> FlowSample:
        """Return a sample, with what else a controller knows: who is busy, and how slow the way."""
        sample = simulation.flow.sample(simulation.at, lambda _: True)
        if simulation.now >= self._beat_at + BEAT_SECONDS:
            self._beat_at = simulation.now
            self._busy = {queue.queue: _busy(simulation, queue) for queue in sample.queues}
        queues = tuple(
            msgspec.structs.replace(queue, busy=self._busy.get(queue.queue, 0))
            for queue in sample.queues
        )
        delay = simulation.crews.half_trip if self.tells_delays else 0.0
        return msgspec.structs.replace(sample, queues=queues, confirm_seconds=delay)


def _busy(simulation: Simulation, queue: QueueSample) -> int:
    """Return how many slots work, whatever the queue of what they work on."""
    return sum(
        order.ready_at <= simulation.now
        for names, pool in simulation.crews._pools.items()
        if queue.queue in names
        for order in pool.running
    )
