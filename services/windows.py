"""Shares the slots of the workers among the partitions that one reactor works on, and with others.

Each partition keeps a release window of its own; together they must not let out much more than
the workers take, and none must keep the others from their part. How much of the slots is left to
other reactors is told by how long orders wait for one.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import partial
from math import ceil

from warrener.domain.fleet import Fleet
from warrener.domain.flow.lanes import Flow
from warrener.domain.flow.pressure import Pressure


class SharedWindows:
    """Tells each partition how many slots of a queue it may count on."""

    def __init__(self, reactors: Callable[[], int] = lambda: 1) -> None:
        """Begin without partitions; `reactors` tells how many work at all."""
        self._reactors = reactors
        self._pressures: dict[str, Pressure] = {}
        self._fleets: dict[int, Fleet] = {}
        self._flows: dict[int, Flow] = {}
        self._known: dict[tuple[int, str], int] = {}  # of this round: it is asked for very often

    def add(self, partition: int, fleet: Fleet) -> Callable[[str], int]:
        """Add a partition with the fleet that it hears of; return what tells it its slots."""
        self._fleets[partition] = fleet
        return partial(self._slots, partition)

    def answered(self, queue: str, waited: float, served: float, now: datetime) -> None:
        """An order has waited at the broker, and run, for so many seconds."""
        pressure = self._pressures.get(queue)
        if pressure is None:
            pressure = self._pressures[queue] = Pressure()
        pressure.answered(waited, served, now, 1.0 / max(1, self._reactors()))

    def use(self, partition: int, flow: Flow) -> None:
        """A partition has a new flow, as after a conflict."""
        self._flows[partition] = flow

    def remove(self, partition: int) -> None:
        """Forget a partition."""
        self._fleets.pop(partition, None)
        self._flows.pop(partition, None)
        self._known.clear()

    def clear(self) -> None:
        """Forget all partitions."""
        self._fleets.clear()
        self._flows.clear()
        self._known.clear()

    def begin_round(self) -> None:
        """Look anew at what is out and what is held back."""
        self._known.clear()

    def _slots(self, partition: int, queue: str) -> int:
        fleet = self._fleets.get(partition)
        slots = 0 if fleet is None else fleet.slots(queue)
        pressure = self._pressures.get(queue)
        if pressure is not None and pressure.part < 1.0:
            slots = ceil(slots * pressure.part)
        if len(self._flows) < 2 or not slots:
            return slots
        key = (partition, queue)
        if key not in self._known:
            self._known[key] = self._part(partition, queue, slots)
        return self._known[key]

    def _part(self, partition: int, queue: str, slots: int) -> int:
        """Return an equal part among those with something to do, or what the others leave.

        A slot has up to two orders out: one that runs and one that waits for it.
        """
        others = [flow for number, flow in self._flows.items() if number != partition]
        rivals = sum(1 for flow in others if flow.held_back(queue) or flow.out(queue))
        taken = sum(flow.out(queue) for flow in others)
        return max(-(-slots // (1 + rivals)), slots - -(-taken // 2))
