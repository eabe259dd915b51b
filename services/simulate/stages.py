"""What is known of all attempts of a stage together: it stands in for what an attempt lacks."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from datetime import datetime
from random import Random
from statistics import fmean, median
from typing import Final

from warrener.domain.flow.figures import percentile
from warrener.domain.flow.ready import Stage
from warrener.domain.ids import split_path
from warrener.services.simulate.runs import JobRun, StepRun, Try

SAMPLES_MAX: Final = 10_000  # of a stage, the first
TRIP_SECONDS_MAX: Final = 60.0
QUICKEST: Final = 0.05  # this share of orders found a free worker, it is thought


class Known:
    """The attempts of a stage that workers reported."""

    __slots__ = ("_wait", "counts", "seconds", "waits")

    def __init__(self) -> None:
        self.seconds = array("d")
        self.waits = array("d")  # from the order to the begin of the work
        self.counts = array("q")  # items of a fan-out
        self._wait: float | None = None

    def wait(self) -> float:
        """Return how long an order lay with the broker, at the median."""
        if self._wait is None:
            self._wait = median(self.waits) if self.waits else 0.0
        return self._wait


class Stages:
    """All stages. `draw` numbers come from a seed."""

    def __init__(self, seed: int) -> None:
        """Begin with nothing known."""
        self._known: dict[Stage, Known] = {}
        self._chance = Random(seed)
        self._delays = array("d")  # from the end of the work to the controller's knowing
        self._begins = array("d")
        self.drawn = 0

    def learn(self, jobs: Iterable[JobRun]) -> None:
        """Take in what jobs did."""
        for job in jobs:
            for path, step in job.steps.items():
                name = split_path(path)[0]
                known = self._of(job, name, step)
                if step.count is not None and len(known.counts) < SAMPLES_MAX:
                    known.counts.append(step.count)
                for each in step.tries:
                    self._learn(known, each)

    def seconds(self, job: JobRun, name: str, step: StepRun, each: Try) -> float:
        """Return how long an attempt took a worker, or might have."""
        if each.started_at is not None and each.ended_at is not None:
            return _seconds(each.started_at, each.ended_at)
        if each.known_at is None:
            return self.draw(job, name, step.queue)
        if each.started_at is not None:
            return _seconds(each.started_at, each.known_at)
        taken = _seconds(each.released_at, each.known_at)
        return max(0.0, taken - self._of(job, name, step).wait())

    def draw(self, job: JobRun, name: str, queue: str) -> float:
        """Return what another attempt of the stage took; 0 if none is known."""
        self.drawn += 1
        known = self._known.get(Stage(queue, job.fact.name, name))
        return self._chance.choice(known.seconds) if known and known.seconds else 0.0

    def draw_count(self, job: JobRun, name: str, queue: str) -> int:
        """Return how many items another fan-out of the stage had; 0 if none is known."""
        known = self._known.get(Stage(queue, job.fact.name, name))
        return self._chance.choice(known.counts) if known and known.counts else 0

    def round_trip(self) -> float:
        """Return what it takes from the end of work to the knowing of it, and from order to begin.

        Where all orders had to lie for a while, their way is taken to be as long as that back.
        """
        if not self._delays:
            return 0.0
        back = fmean(self._delays)
        there = min(back, percentile(sorted(self._begins), QUICKEST))
        return min(back + there, TRIP_SECONDS_MAX)

    def _of(self, job: JobRun, name: str, step: StepRun) -> Known:
        stage = Stage(step.queue, job.fact.name, name)
        known = self._known.get(stage)
        if known is None:
            known = self._known[stage] = Known()
        return known

    def _learn(self, known: Known, each: Try) -> None:
        if not each.reported or len(known.seconds) >= SAMPLES_MAX:
            return
        if each.started_at is None or each.ended_at is None or each.known_at is None:
            return
        known.seconds.append(_seconds(each.started_at, each.ended_at))
        wait = _seconds(each.released_at, each.started_at)
        known.waits.append(wait)
        self._begins.append(wait)
        self._delays.append(_seconds(each.ended_at, each.known_at))


def _seconds(begin: datetime, end: datetime) -> float:
    return max(0.0, (end - begin).total_seconds())
