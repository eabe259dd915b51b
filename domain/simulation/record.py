"""What a simulation keeps: times of jobs, lengths of queues over time, and who was served."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence

from warrener.domain.flow.figures import FlowSample
from warrener.domain.flow.ready import Stage
from warrener.domain.simulation.fairness import Shares
from warrener.domain.simulation.trace import TraceJob

SAMPLES_MAX = 2_000  # then every other one is dropped
KEYS_MAX = 1_000  # fairness keys that are told apart; the others count as one
OTHERS = "(others)"


class Numbers:
    """Numbers for names."""

    def __init__(self, count_max: int) -> None:
        """Begin with none."""
        self.names: list[str] = []
        self._numbers: dict[str, int] = {}
        self._count_max = count_max

    def of(self, name: str) -> int:
        """Return the number of a name."""
        found = self._numbers.get(name)
        if found is None:
            if len(self.names) >= self._count_max:
                return self.of(OTHERS) if name != OTHERS else self._add(OTHERS)
            found = self._add(name)
        return found

    def _add(self, name: str) -> int:
        self.names.append(name)
        return self._numbers.setdefault(name, len(self.names) - 1)


class Series:
    """The figures of a stage, at the times of `Record.times`."""

    __slots__ = ("oldest_wait", "running", "waiting")

    def __init__(self, before: int) -> None:
        self.waiting = array("q", bytes(8 * before))  # for their release, a limit, or a worker
        self.running = array("q", bytes(8 * before))
        self.oldest_wait = array("d", bytes(8 * before))  # for its release

    def add(self, waiting: int, running: int, oldest_wait: float) -> None:
        """Add the figures of one time."""
        self.waiting.append(waiting)
        self.running.append(running)
        self.oldest_wait.append(oldest_wait)

    def thin(self) -> None:
        """Keep every other figure."""
        self.waiting, self.running = self.waiting[::2], self.running[::2]
        self.oldest_wait = self.oldest_wait[::2]


class Record:
    """All that is kept of a simulation, in seconds since its begin. It grows with ended jobs only.

    Of every job that ended: number of its name and of its fairness key, when it was submitted, how
    long it took until a worker began with its first step, and how long until its end.
    """

    def __init__(self) -> None:
        """Begin with nothing."""
        self.names = Numbers(KEYS_MAX)
        self.keys = Numbers(KEYS_MAX)
        self.job_name = array("q")
        self.job_key = array("q")
        self.submitted_at = array("d")
        self.wait = array("d")
        self.completion = array("d")
        self.times = array("d")
        self.oldest_open = array("d")  # age of the oldest job that has not ended
        self.oldest_lying = array("d")  # wait of the step whose order lies longest at the broker
        self.stages: dict[Stage, Series] = {}
        self.interval = 1.0  # between two times
        self.shares = Shares()
        self.attempts = 0
        self.busy_seconds = 0.0  # of workers
        self.slot_seconds = 0.0  # of the workers that were there
        self.seconds = 0.0  # from the begin to the end
        self.open_max = 0  # jobs at once

    def ended(self, trace: TraceJob, key: int, began_at: float | None, now: float) -> None:
        """A job ended."""
        self.job_name.append(self.names.of(trace.shape.name))
        self.job_key.append(key)
        self.submitted_at.append(trace.at)
        self.wait.append((now if began_at is None else began_at) - trace.at)
        self.completion.append(now - trace.at)

    def served(self, key: int, planned: float, seconds: float) -> None:
        """An attempt that was planned to take so long has ended."""
        self.attempts += 1
        self.busy_seconds += seconds
        self.shares.serve(key, planned, seconds)

    def finish(self, now: float, slot_seconds: float, open_max: int) -> None:
        """Everything has ended, or nothing will happen any more."""
        self.seconds, self.slot_seconds, self.open_max = now, slot_seconds, open_max

    @property
    def utilisation(self) -> float:
        """Return which part of the workers' time was worked."""
        return self.busy_seconds / self.slot_seconds if self.slot_seconds else 0.0

    def wants_sample(self, now: float) -> bool:
        """Say whether it is time for a sample."""
        return not self.times or now >= self.times[-1] + self.interval

    def sample(
        self,
        now: float,
        sample: FlowSample,
        running: Mapping[Stage, int],
        oldest_open: float,
        oldest_lying: float,
    ) -> None:
        """Add the figures of one time; workers have so many orders of each stage."""
        if len(self.times) >= SAMPLES_MAX:
            self._thin()
        found = {each.stage(lane.queue): each for lane in sample.queues for each in lane.stages}
        for stage in found:
            if stage not in self.stages:
                self.stages[stage] = Series(len(self.times))
        for stage, series in self.stages.items():
            runs, now_there = running.get(stage, 0), found.get(stage)
            if now_there is None:  # nothing of it is left
                series.add(0, 0, 0.0)
                continue
            held = sum(now_there.held.values())
            waiting = now_there.ready + held + now_there.out - runs
            series.add(waiting, runs, now_there.oldest_wait)
        self.times.append(now)
        self.oldest_open.append(oldest_open)
        self.oldest_lying.append(oldest_lying)

    def _thin(self) -> None:
        self.times, self.oldest_open = self.times[::2], self.oldest_open[::2]
        self.oldest_lying = self.oldest_lying[::2]
        for series in self.stages.values():
            series.thin()
        self.interval *= 2

    def oldest_wait(self) -> Sequence[float]:
        """Return for each time how long that step waited for a worker that waited longest."""
        columns = [self.oldest_lying, *(series.oldest_wait for series in self.stages.values())]
        return [max(row) for row in zip(*columns, strict=True)]
