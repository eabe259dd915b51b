"""What histories by hand say of the flow: settings, samples, incidents and measures."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid5

from support.history_waits import TICK

from warrener.domain import ids
from warrener.domain.control_events import (
    FlowChanged,
    FlowSampled,
    MeasureEnded,
    MeasureProposed,
    MeasureTaken,
    StarvationDetected,
    StarvationEnded,
)
from warrener.domain.events import Event
from warrener.domain.flow.figures import FlowSample, QueueSample, StageSample
from warrener.domain.flow.incidents import Measure, Victim
from warrener.domain.flow.settings import FlowSettings

THROTTLE = Measure(kind="throttle-producer", queue="default", job="report", step="load", amount=4)


class Flows:
    """The part of `History` about the flow."""

    now: datetime
    incidents = 0

    def write(self, stream: UUID, kind: type[Event], **fields: Any) -> None:
        raise NotImplementedError

    def set_flow(self, by: str = "ada", reason: str = "", **settings: Any) -> None:
        self.write(
            ids.FLOW_ID, FlowChanged, by=by, reason=reason, settings=FlowSettings(**settings)
        )

    def sample(self, *queues: QueueSample, incidents: tuple[UUID, ...] = ()) -> None:
        sample = FlowSample(at=self.now + TICK, queues=queues)
        self.write(ids.FLOW_SAMPLES_ID, FlowSampled, sample=sample, incidents=incidents)

    def starve(
        self,
        *victims: Victim,
        queue: str = "default",
        diagnosis: str = "upstream-flood",
        evidence: Mapping[str, float | str] | None = None,
    ) -> UUID:
        """Stages starve from now on; returns the incident."""
        self.incidents += 1
        partition = self.store.partition  # type: ignore[attr-defined]
        incident = uuid5(ids.NAMESPACE, f"incident/{partition}/{self.incidents}")
        self.write(
            incident,
            StarvationDetected,
            queue=queue,
            diagnosis=diagnosis,
            victims=victims or (Victim(job="report", step="merge", waiting=9, oldest_wait=90.0),),
            evidence=dict(evidence or {}),
            since=self.now - timedelta(seconds=90),
        )
        return incident

    def end_starving(self, incident: UUID, why: str = "nobody starves") -> None:
        self.write(incident, StarvationEnded, why=why)

    def propose(
        self, incident: UUID, measure: Measure = THROTTLE, request: UUID | None = None
    ) -> None:
        self.write(incident, MeasureProposed, measure=measure, request=request)

    def take_measure(
        self, incident: UUID, measure: Measure = THROTTLE, seconds: float = 60.0, by: str = ""
    ) -> None:
        until = self.now + TICK + timedelta(seconds=seconds)
        self.write(incident, MeasureTaken, measure=measure, until=until, by=by)

    def end_measure(self, incident: UUID, measure: Measure = THROTTLE, why: str = "ended") -> None:
        self.write(incident, MeasureEnded, measure=measure, why=why)


def stage(step: str, job: str = "report", **figures: Any) -> StageSample:
    """Return the figures of a stage."""
    return StageSample(job=job, step=step, **figures)


def queue(*stages: StageSample, name: str = "default", **figures: Any) -> QueueSample:
    """Return the figures of a queue."""
    return QueueSample(queue=name, stages=stages, **figures)
