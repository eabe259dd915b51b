"""The read model of the flow: settings, samples of the figures, and incidents of starvation."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from copy import copy
from typing import Any

from msgspec.structs import replace

from warrener.domain.control_events import (
    FlowChanged,
    FlowSampled,
    MeasureEnded,
    MeasureProposed,
    MeasureTaken,
    StarvationDetected,
    StarvationEnded,
    StarvationEvent,
)
from warrener.domain.events import Recorded
from warrener.domain.flow.figures import FlowSample, QueueSample, StageSample
from warrener.domain.flow.incidents import Measure
from warrener.domain.ports import Positioned
from warrener.projections.flow_views import (
    EVIDENCE_MAX,
    FLOW,
    FLOW_POINTS,
    INCIDENTS,
    MEASURES_MAX,
    OPEN_MAX,
    OTHERS,
    POINTS_KEPT,
    QUEUES_MAX,
    REASONS_MAX,
    STAGES_MAX,
    VICTIMS_MAX,
    FlowPointView,
    FlowView,
    IncidentView,
    MeasureView,
    StagePoint,
)
from warrener.projections.ports import Documents, Wanted, current
from warrener.projections.views import View

KINDS = (FlowChanged, FlowSampled, StarvationEvent)
_TABLES = (FLOW_POINTS, INCIDENTS, FLOW)
NAMED_MAX = 50  # endpoints that no worker of a queue knows


def wanted(batch: Sequence[Positioned]) -> Wanted:
    """Return the keys of the documents that a batch touches."""
    keys: dict[str, set[Any]] = {table: set() for table in _TABLES}
    for positioned in batch:
        for table, key in _places(positioned):
            keys[table].add(key)
    return keys


def fold(batch: Sequence[Positioned], loaded: Documents) -> Documents:
    """Return settings, samples and incidents as they are after the batch."""
    changed: dict[str, dict[Any, View]] = {table: {} for table in _TABLES}
    for positioned in batch:
        for table, key in _places(positioned):
            view = current((table, key), changed, loaded)
            if view is not None and view.position >= positioned.position:
                continue
            fresh = _APPLIED[table](view, positioned)
            if fresh is not None:
                fresh.position = positioned.position
                changed[table][key] = fresh
    return changed


def _places(positioned: Positioned) -> Iterator[tuple[str, Any]]:
    """Yield table and key of each document that an event is about."""
    recorded, partition = positioned.recorded, positioned.partition
    if isinstance(recorded.event, FlowSampled):
        yield FLOW_POINTS, (partition, recorded.originator_version % POINTS_KEPT)
    if isinstance(recorded.event, FlowChanged | FlowSampled):
        yield FLOW, partition
    elif isinstance(recorded.event, StarvationEvent):
        yield INCIDENTS, recorded.originator_id


# --- settings and samples ------------------------------------------------------------------------


def _flow(view: View | None, positioned: Positioned) -> View | None:
    """Return what a partition heard last, after an event."""
    known = isinstance(view, FlowView)
    fresh = copy(view) if known else FlowView(partition=positioned.partition)
    assert isinstance(fresh, FlowView)
    event = positioned.recorded.event
    if isinstance(event, FlowChanged):
        fresh.settings, fresh.since = event.settings, event.at
        fresh.by, fresh.reason = event.by, event.reason
    elif isinstance(event, FlowSampled):
        fresh.before, fresh.sample = fresh.sample, bounded(event.sample)
        fresh.incidents = event.incidents[:OPEN_MAX]
        fresh.slot = positioned.recorded.originator_version % POINTS_KEPT
    return fresh


def _point(_: View | None, positioned: Positioned) -> View | None:
    """Return a sample in short."""
    recorded = positioned.recorded
    assert isinstance(recorded.event, FlowSampled)
    sample = bounded(recorded.event.sample)
    return FlowPointView(
        partition=positioned.partition,
        slot=recorded.originator_version % POINTS_KEPT,
        at=sample.at,
        stages=tuple(
            StagePoint(
                queue=queue.queue,
                job=stage.job,
                step=stage.step,
                ready=stage.ready,
                held=sum(stage.held.values()),
                out=stage.out,
                oldest_wait=round(stage.oldest_wait, 3),
            )
            for queue in sample.queues
            for stage in queue.stages
        ),
    )


def bounded(sample: FlowSample) -> FlowSample:
    """Return a sample with no more in it than a document may hold: the stages with most to do."""
    queues = sorted(sample.queues, key=_weight_of_queue, reverse=True)[:QUEUES_MAX]
    stages = [(_weight(stage), queue, at) for queue in queues for at, stage in _stages(queue)]
    kept = {
        (queue.queue, at)
        for _, queue, at in sorted(stages, key=lambda each: each[0], reverse=True)[:STAGES_MAX]
    }
    names = {queue.queue for queue in queues}
    return replace(
        sample,
        queues=tuple(
            replace(
                queue,
                unknown=queue.unknown[:NAMED_MAX],
                stages=tuple(
                    _with_few_reasons(stage)
                    for at, stage in _stages(queue)
                    if (queue.queue, at) in kept
                ),
            )
            for queue in sample.queues
            if queue.queue in names
        ),
    )


def _stages(queue: QueueSample) -> Iterator[tuple[int, StageSample]]:
    return iter(enumerate(queue.stages))


def _weight(stage: StageSample) -> int:
    return stage.ready + stage.out + sum(stage.held.values())


def _weight_of_queue(queue: QueueSample) -> int:
    return queue.out + sum(map(_weight, queue.stages))


def _with_few_reasons(stage: StageSample) -> StageSample:
    if len(stage.held) <= REASONS_MAX:
        return stage
    most = sorted(stage.held, key=lambda reason: stage.held[reason], reverse=True)
    named = {reason: stage.held[reason] for reason in most[:REASONS_MAX]}
    others = sum(stage.held.values()) - sum(named.values())
    return replace(stage, held={**named, OTHERS: others})


# --- incidents -----------------------------------------------------------------------------------


def _incident(view: View | None, positioned: Positioned) -> View | None:
    """Return an incident after an event; None where it is unknown."""
    event = positioned.recorded.event
    if isinstance(event, StarvationDetected):
        return _detected(view, positioned, event)
    if not isinstance(view, IncidentView):
        return None
    fresh = copy(view)
    match event:
        case StarvationEnded():
            fresh.closed_at, fresh.why = event.at, event.why
        case MeasureProposed():
            made = MeasureView(measure=event.measure, proposed_at=event.at, request=event.request)
            fresh.measures = _with(fresh.measures, made)
        case MeasureTaken():
            open_one = _open_one(fresh.measures, event.measure)
            made = copy(open_one) if open_one else MeasureView(measure=event.measure)
            made.measure, made.state, made.until = event.measure, "taken", event.until
            made.taken_at, made.by = made.taken_at or event.at, event.by or made.by
            fresh.measures = _with(fresh.measures, made)
        case MeasureEnded():
            open_one = _open_one(fresh.measures, event.measure)
            made = copy(open_one) if open_one else MeasureView(measure=event.measure)
            made.state, made.ended_at, made.why = "ended", event.at, event.why
            fresh.measures = _with(fresh.measures, made)
    return fresh


def told_incident(events: Iterable[Recorded]) -> IncidentView | None:
    """Return what the stream of an incident tells, None if it is none."""
    view: View | None = None
    for recorded in events:
        view = _incident(view, Positioned(recorded.originator_version, recorded)) or view
    return view if isinstance(view, IncidentView) else None


def _detected(view: View | None, positioned: Positioned, event: StarvationDetected) -> IncidentView:
    """Return an incident that was detected, perhaps once more: then with what is new of it."""
    known = view if isinstance(view, IncidentView) else None
    return IncidentView(
        incident=positioned.recorded.originator_id,
        partition=positioned.partition,
        queue=event.queue,
        diagnosis=event.diagnosis,
        victims=event.victims[:VICTIMS_MAX],
        evidence=dict(list(event.evidence.items())[:EVIDENCE_MAX]),
        since=event.since,
        opened_at=known.opened_at if known else event.at,
        measures=known.measures if known else (),
    )


def _open_one(measures: Sequence[MeasureView], measure: Measure) -> MeasureView | None:
    """Return the measure of the same kind about the same stage that has not ended."""
    place = _place_of(measure)
    found = (m for m in measures if m.state != "ended" and _place_of(m.measure) == place)
    return next(found, None)


def _with(measures: tuple[MeasureView, ...], made: MeasureView) -> tuple[MeasureView, ...]:
    """Return measures with one in the place of the open one that it follows, or as the last."""
    before = _open_one(measures, made.measure)
    if before is None:
        return (*measures, made)[-MEASURES_MAX:]
    return tuple(made if each is before else each for each in measures)


def _place_of(measure: Measure) -> tuple[str, ...]:
    return measure.kind, measure.queue, measure.job, measure.step


_APPLIED = {FLOW: _flow, FLOW_POINTS: _point, INCIDENTS: _incident}
