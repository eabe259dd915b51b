"""Flow control by hand: written samples, and a detector that finds what it is told."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from support.ready import QUEUE, START

from warrener.domain.control_events import (
    FlowSampled,
    MeasureEnded,
    MeasureProposed,
    MeasureTaken,
)
from warrener.domain.events import Event
from warrener.domain.flow.control import FlowControl
from warrener.domain.flow.detection import Finding
from warrener.domain.flow.figures import FlowSample, QueueSample, StageSample
from warrener.domain.flow.incidents import Victim
from warrener.domain.flow.lanes import Flow
from warrener.domain.flow.settings import FlowSettings, Measures
from warrener.domain.messages import WorkerBeat, WorkerState

MAP, MERGE = "job/map", "job/merge"


class ToldDetector:
    """Finds what it is told to."""

    def __init__(self) -> None:
        self.findings: tuple[Finding, ...] = ()
        self.looks = 0
        self.settings: FlowSettings | None = None

    def use(self, settings: FlowSettings) -> None:
        self.settings = settings

    def look(self, sample: FlowSample, measures: Measures | None = None) -> tuple[Finding, ...]:
        assert measures is not None
        self.looks += 1
        return self.findings


def stage(
    step: str, *, ready: int = 5, out: int = 0, wait: float = 0.0, **rest: Any
) -> StageSample:
    """Return a stage of the job `job`."""
    return StageSample(job="job", step=step, ready=ready, out=out, oldest_wait=wait, **rest)


def queue(*stages: StageSample, slots: int = 8, workers: int = 2, name: str = QUEUE) -> QueueSample:
    """Return a queue with a window of twice the slots."""
    out = sum(each.out for each in stages)
    return QueueSample(
        queue=name, workers=workers, slots=slots, window=2 * slots, out=out, stages=stages
    )


def flood(wait: float = 70.0, *, producer_out: int = 16, slots: int = 8) -> QueueSample:
    """Return a queue in which `map` has all orders, and `merge` waits."""
    return queue(
        stage("map", ready=500, out=producer_out, running=slots, remaining=1, wait=5.0),
        stage("merge", wait=wait),
        slots=slots,
    )


def finding(diagnosis: str = "upstream-flood", wait: float = 70.0, **rest: Any) -> Finding:
    """Return that `merge` starves."""
    evidence = rest.pop("evidence", {"producer": MAP})
    victims = rest.pop("victims", (victim(wait=wait),))
    since = rest.pop("since", START)
    name = rest.pop("queue", QUEUE)
    return Finding(queue=name, diagnosis=diagnosis, victims=victims, evidence=evidence, since=since)


def victim(step: str = "merge", wait: float = 70.0) -> Victim:
    return Victim(job="job", step=step, waiting=5, oldest_wait=wait)


def worker(name: str, *queues: str, able: Sequence[str] = (QUEUE,), **rest: Any) -> WorkerState:
    """Return a worker of two slots."""
    rest.setdefault("endpoints", ("work",))
    return WorkerBeat(
        worker=name, host="h", pid=1, queues=queues, able=tuple(able), slots=2, **rest
    )


class HandControl:
    """Flow control with a clock, a detector and samples by hand; `log` has all that it recorded."""

    def __init__(self, mode: str = "act", movable: Sequence[WorkerState] = ()) -> None:
        self.now = START
        self.detector = ToldDetector()
        self.movable = list(movable)
        self.log: list[tuple[UUID, Event]] = []
        self.flow = Flow(lambda _: 8, FlowSettings(mode=mode))
        self.control = self.new_control(self.flow)

    def new_control(self, flow: Flow) -> FlowControl:
        return FlowControl(
            flow, "results", movable=lambda _: self.movable, detector=lambda _: self.detector
        )

    def restart(self) -> None:
        """Go on with a control that knows what the log says of what is open."""
        last = next(e for _, e in reversed(self.log) if isinstance(e, FlowSampled))
        self.flow = Flow(lambda _: 8, self.flow.settings)
        self.detector = ToldDetector()
        self.control = self.new_control(self.flow)
        for stream, event in self.log:
            if stream in last.incidents:
                self.control.evolve(stream, event)
        self.control.evolve(UUID(int=0), last)

    def tick(
        self, *queues: QueueSample, found: Sequence[Finding] | None = None, after: float = 1.0
    ) -> list[Event]:
        """Let time pass and look; `found` is what the detector says from now on."""
        self.now += timedelta(seconds=after)
        if found is not None:
            self.detector.findings = tuple(found)
        recorded = self.control.tick(FlowSample(at=self.now, queues=queues), self.now)
        self.log += recorded
        return [event for _, event in recorded]

    def answer(self, request: UUID, *, agreed: bool) -> list[Event]:
        recorded = self.control.answered(request, self.now, agreed=agreed, by="ada")
        self.log += recorded
        return [event for _, event in recorded]

    def use(self, **settings: Any) -> None:
        self.flow.use(FlowSettings(**settings))


def measures(events: Sequence[Event]) -> list[tuple[str, str]]:
    """Return what was done about measures: taken, proposed, or why one ended."""
    found: list[tuple[str, str]] = []
    for event in events:
        match event:
            case MeasureTaken():
                found.append(("taken", event.measure.kind))
            case MeasureProposed():
                found.append(("proposed", event.measure.kind))
            case MeasureEnded():
                found.append((event.why, event.measure.kind))
    return found


def kinds(events: Sequence[Event]) -> list[str]:
    """Return the names of the events."""
    return [type(event).__name__ for event in events]


def seconds_later(at: datetime, seconds: float) -> datetime:
    return at + timedelta(seconds=seconds)
