"""A simulation under flow control: the real detector finds, measures are taken and withdrawn."""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

import msgspec

from warrener.domain.events import Event
from warrener.domain.flow.control import FlowControl
from warrener.domain.flow.figures import FlowSample
from warrener.domain.flow.settings import FlowSettings
from warrener.domain.simulation.crews import Crew
from warrener.domain.simulation.engine import Simulation
from warrener.domain.simulation.trace import TraceJob


class Cured:
    """A simulation whose flow is looked at every second, as a controller does.

    `log` has what was recorded, with the second; `waits` the longest wait of each stage by second.
    """

    def __init__(
        self, jobs: Iterable[TraceJob], crews: Iterable[Crew], settings: FlowSettings, until: float
    ) -> None:
        self.log: list[tuple[float, UUID, Event]] = []
        self.waits: dict[str, list[tuple[float, float]]] = {}
        self.simulation = Simulation(jobs, crews, settings, until=until)
        self.control = FlowControl(self.simulation.flow, "results")
        self.simulation.call(1.0, self._tick)
        self._windows: dict[str, int] = {}  # the largest of each queue since it had no floor

    def run(self) -> None:
        """Play it to its end, and look once more."""
        self.simulation.run()
        self._look()

    def _tick(self) -> None:
        self.simulation.call(self.simulation.now + 1.0, self._tick)
        self._look()

    def _look(self) -> None:
        simulation = self.simulation
        sample = simulation.flow.sample(simulation.at, lambda _: True)
        for queue in sample.queues:
            for stage in queue.stages:
                self.waits.setdefault(stage.step, []).append((simulation.now, stage.oldest_wait))
        if self.control.is_due(simulation.at):
            recorded = self.control.tick(_served(sample), simulation.at)
            self.log += [(simulation.now, stream, event) for stream, event in recorded]
            self._check_bounds(sample)

    def _check_bounds(self, sample: FlowSample) -> None:
        """A throttled stage goes on, and floors leave half of a window to others."""
        measures = self.simulation.flow.measures
        assert all(bound >= 1 for bound in measures.throttled.values())
        for queue in sample.queues:
            floors = [n for stage, n in measures.floors.items() if stage.queue == queue.queue]
            assert sum(floors) <= max(self._windows.get(queue.queue, 0), queue.window) / 2
            if not floors:
                self._windows[queue.queue] = 0
            self._windows[queue.queue] = max(self._windows.get(queue.queue, 0), queue.window)

    def events(self) -> list[Event]:
        """Return all that was recorded."""
        return [event for _, _, event in self.log]

    def longest(self, step: str, begin: float, end: float) -> float:
        """Return the longest wait of a stage between two times."""
        return max(wait for at, wait in self.waits[step] if begin <= at <= end)


def _served(sample: FlowSample) -> FlowSample:
    """Return a sample in which all slots work that have something to do."""
    queues = tuple(
        msgspec.structs.replace(queue, busy=min(queue.out, queue.slots), workers=1)
        for queue in sample.queues
    )
    return msgspec.structs.replace(sample, queues=queues)
