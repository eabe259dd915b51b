"""The flow as reactors of this process know it now, for other threads of it to read."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from threading import Lock

import structlog
from msgspec.structs import replace

from warrener.domain import ids
from warrener.domain.fleet import Fleet
from warrener.domain.flow.figures import FlowSample, QueueSample
from warrener.domain.flow.ready import Ready
from warrener.domain.ports import Clock
from warrener.projections.flow_views import FlowView
from warrener.services.controller import Controller
from warrener.services.flow_figures import Told, Two, flow_now
from warrener.services.flow_shapes import FlowNow
from warrener.services.reactor import Reactor
from warrener.services.release import still_ready

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
        if self._due is not None and now < self._due:
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
            self._samples[partition] = sampled(controller, now)
        found = [Two(sample, before.get(each)) for each, sample in self._samples.items()]
        first = next(iter(controllers.values()), None)
        if first is None:
            return None
        told = Told(slots=first.fleet.served()[0])
        return flow_now(FlowView(settings=first.flow.settings), found, told)

    def read(self) -> FlowNow | None:
        """Return the latest figures, None if no partition is worked on. Any thread may."""
        with self._lock:
            return self._known


def sampled(controller: Controller, now: datetime) -> FlowSample:
    """Return the figures of a controller's flow, with who serves its queues."""
    sample = controller.flow.sample(now, lambda ready: _is_ready(controller, ready))
    queues = tuple(_served(queue, controller.fleet) for queue in sample.queues)
    return replace(sample, queues=queues)


def _is_ready(controller: Controller, ready: Ready) -> bool:
    active = controller.memory.jobs.get(ready.job)
    if active is None or not still_ready(active, ready):
        return False
    step = controller.memory.steps.get(ids.step_id(ready.job, ready.path))
    return step is None or step.state in ("ready", "retrying")


def _served(queue: QueueSample, fleet: Fleet) -> QueueSample:
    states = [
        member.state for member in fleet.members.values() if queue.queue in member.state.queues
    ]
    return replace(queue, workers=len(states), busy=sum(state.busy for state in states))
