"""What users ask about the flow: the figures of all partitions together, and what is set."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime

from warrener.domain.flow.figures import StageSample
from warrener.projections.control_views import FLEET, FleetView
from warrener.projections.flow_views import (
    FLOW,
    FLOW_POINTS,
    INCIDENTS,
    POINTS_KEPT,
    FlowPointView,
    FlowView,
    IncidentView,
)
from warrener.projections.ports import IncidentFilter, ViewStore
from warrener.services.flow_figures import Key, Told, Two, flow_now
from warrener.services.flow_series import series_of
from warrener.services.flow_shapes import FlowNow, Series

INCIDENTS_MAX = 1_000


class FlowQueries:
    """Answers from the read models."""

    def __init__(self, views: ViewStore, partitions: int = 1) -> None:
        self._views = views
        self._partitions = range(partitions)

    def flow(self, points: int) -> FlowNow:
        """Return settings and figures; each stage with a series of so many points at most."""
        found = self._found()
        told = Told(self._slots(), self._incidents(found), self._series(found, points))
        samples = [Two(view.sample, view.before) for view in found if view.sample is not None]
        return flow_now(_set_last(found), samples, told)

    def held(self) -> Iterator[tuple[StageSample, str, int]]:
        """Yield stages with each reason why steps of theirs are held back, and how many."""
        for view in self._found():
            for queue in view.sample.queues if view.sample else ():
                for stage in queue.stages:
                    for reason, count in stage.held.items():
                        yield stage, reason, count

    def _found(self) -> list[FlowView]:
        found: Mapping[int, FlowView] = self._views.load({FLOW: self._partitions})[FLOW]
        return [found[each] for each in self._partitions if each in found]

    def _slots(self) -> Mapping[str, int]:
        """Return the slots that all workers give to each queue, as was told last."""
        heard: Iterable[FleetView] = self._views.load({FLEET: self._partitions})[FLEET].values()
        newest = max(heard, key=lambda view: view.since, default=None)
        return {} if newest is None else newest.slots

    def _incidents(self, found: Sequence[FlowView]) -> list[IncidentView]:
        """Return the incidents that are open, or about which something is still done."""
        wanted = IncidentFilter(state="open", limit=INCIDENTS_MAX)
        open_ones = {view.incident: view for view in self._views.find_incidents(wanted)}
        named = {each for view in found for each in view.incidents} - set(open_ones)
        return [*open_ones.values(), *self._views.load({INCIDENTS: named})[INCIDENTS].values()]

    def _series(self, found: Sequence[FlowView], points: int) -> dict[Key, Series]:
        ages = range(min(points, POINTS_KEPT))
        keys = [(view.partition, (view.slot - ago) % POINTS_KEPT) for view in found for ago in ages]
        loaded: Mapping[object, FlowPointView] = self._views.load({FLOW_POINTS: keys})[FLOW_POINTS]
        return series_of(loaded.values(), points)


def _set_last(found: Sequence[FlowView]) -> FlowView | None:
    """Return what tells the settings that were made last; partitions hear of them in turn."""
    told = [view for view in found if view.since is not None]
    return max(told, key=_since, default=None)


def _since(view: FlowView) -> datetime:
    assert view.since is not None
    return view.since
