"""Starvation in a simulation: it is looked for, and acted upon, as a reactor does."""

from __future__ import annotations

from collections import Counter

from warrener.domain.control_events import MeasureTaken, StarvationDetected
from warrener.domain.flow.control import FlowControl
from warrener.domain.flow.ready import Ready
from warrener.domain.simulation.engine import Simulation


class Watch:
    """Looks at a simulation in each second in which something waits; counts what it finds.

    `incidents` are counted by their diagnosis, `measures` by their kind. Workers are not moved.
    """

    def __init__(self) -> None:
        """Begin with nothing found."""
        self.incidents: Counter[str] = Counter()
        self.measures: Counter[str] = Counter()
        self._control: FlowControl | None = None

    def look(self, simulation: Simulation) -> None:
        """Look, if it is time to."""
        if self._control is None:
            self._control = FlowControl(simulation.flow, "simulation", samples=False)
        if not self._control.is_due(simulation.at):
            return
        sample = simulation.flow.sample(simulation.at, _always)
        for _, event in self._control.tick(sample, simulation.at):
            if isinstance(event, StarvationDetected):
                self.incidents[str(event.diagnosis)] += 1
            elif isinstance(event, MeasureTaken):
                self.measures[str(event.measure.kind)] += 1


def _always(_: Ready) -> bool:
    return True
