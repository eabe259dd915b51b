"""The flow as reactors of this process know it now, for other threads of it to read."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from threading import Lock

import structlog

from warrener.domain.flow.figures import FlowSample
from warrener.domain.flow.incident_state import Incident
from warrener.domain.ports import Clock
from warrener.projections.flow_views import FlowView, IncidentView, MeasureView
from warrener.services.controller import Controller
from warrener.services.flow_figures import Told, Two, flow_now
from warrener.services.flow_shapes import FlowNow
from warrener.services.flow_watch import sampled
from warrener.services.reactor import Reactor

SAMPLE_SECONDS = 1.0

log = structlog.get_logger()


class LiveFlow:
    """Figures that the thread of the reactors takes now and then, and others read."""

    def __init__(self, clock: Clock) -> None:
        """Begin with nothing known."""
        self._clock = clock
        self._due: datetime | None = None
        self._samples: dict[int, FlowSample] = {}
        self._lock = Lock()
        self._known: FlowNow | None = None

    def look(self, reactors: Mapping[int, Reactor]) -> None:
        """Take figures if it is time. Belongs to the thread of the reactors, and never stops it."""
        now = self._clock.now()
        waits = timedelta(0) if self._due is None else self._due - now
        if timedelta(0) < waits <= timedelta(seconds=SAMPLE_SECONDS):  # else the clock was set back
            return
        self._due = now + timedelta(seconds=SAMPLE_SECONDS)
        try:
            known = self._taken({at: each.controller for at, each in reactors.items()}, now)
        except Exception as error:
            log.error("metrics.failed", reason=str(error), exc_info=error)
            known = None
        with self._lock:
            self._known = known

    def _taken(self, controllers: Mapping[int, Controller], now: datetime) -> FlowNow | None:
        before, self._samples = self._samples, {}
        for partition, controller in controllers.items():
            self._samples[partition] = sampled(
                controller.memory, controller.flow, controller.fleet, now
            )
        found = [Two(sample, before.get(each)) for each, sample in self._samples.items()]
        first = next(iter(controllers.values()), None)
        if first is None:
            return None
        incidents = [
            _view(incident, partition)
            for partition, controller in controllers.items()
            for incident in controller.control.incidents.known.values()
        ]
        told = Told(slots=first.fleet.served()[0], incidents=incidents)
        return flow_now(FlowView(settings=first.flow.settings), found, told)

    def read(self) -> FlowNow | None:
        """Return the latest figures, None if no partition is worked on. Any thread may."""
        with self._lock:
            return self._known


def _view(incident: Incident, partition: int) -> IncidentView:
    taken = (MeasureView(measure=each.measure, state="taken") for each in incident.taken)
    return IncidentView(
        incident=incident.id,
        partition=partition,
        queue=incident.queue,
        diagnosis=incident.diagnosis,
        victims=incident.victims,
        since=incident.detected_at,
        opened_at=incident.detected_at,
        closed_at=incident.ended_at,
        measures=tuple(taken),
    )
