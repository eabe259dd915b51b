"""The figures of queues and stages over all partitions, from the latest samples of each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Final
from uuid import UUID

import msgspec

from warrener.domain.flow.figures import FlowSample, QueueSample, StageSample
from warrener.domain.flow.rates import QueueRates, StageRates, change, key_of, rates
from warrener.domain.flow.settings import DEFAULT_SETTINGS
from warrener.projections.flow_views import FlowView, IncidentView
from warrener.services.flow_shapes import FlowNow, QueueFlow, Series, StageFlow
from warrener.services.shapes import optional_time

STALE_SECONDS: Final = 60.0  # a partition that told nothing for longer has nothing going on

Key = tuple[str, str, str]  # queue, name of the job, step


class Two(msgspec.Struct, frozen=True):
    """The latest sample of a partition, and the one before it."""

    after: FlowSample
    before: FlowSample | None = None


class Told(msgspec.Struct, frozen=True, dict=True):
    """What is told of queues and stages beside their figures: incidents, and series.

    Incidents are open, or something is still done about them.

    `slots` are those that all workers give to each queue, where that is known.
    """

    slots: Mapping[str, int] = {}
    incidents: Sequence[IncidentView] = ()
    series: Mapping[Key, Series] = {}

    @cached_property
    def victims(self) -> Mapping[Key, tuple[UUID, ...]]:
        """Return the open incidents of each stage that is among their victims."""
        found: dict[Key, tuple[UUID, ...]] = {}
        for each in self.incidents:
            for victim in each.victims if each.closed_at is None else ():
                key = (each.queue, victim.job, victim.step)
                found[key] = (*found.get(key, ()), each.incident)
        return found


class _Part(msgspec.Struct, frozen=True):
    """A queue in one partition; `busy` is the workers' time of each stage, in seconds a second."""

    sample: QueueSample
    rates: QueueRates
    busy: Mapping[tuple[str, str], float]


class _StagePart(msgspec.Struct, frozen=True):
    sample: StageSample
    rates: StageRates
    busy: float


def flow_now(setting: FlowView | None, samples: Sequence[Two], told: Told) -> FlowNow:
    """Return what was set last, None for nothing, and the figures of all partitions together."""
    setting = setting or FlowView()
    settings = setting.settings or DEFAULT_SETTINGS
    latest = [two.after for two in samples]
    measures = [
        measure.measure.kind
        for incident in told.incidents
        for measure in incident.measures
        if measure.state == "taken"
    ]
    return FlowNow(
        policy=settings.policy,
        mode=settings.mode,
        weights=settings.weights,
        bound_seconds=settings.bound_seconds,
        intake=settings.intake,
        by=setting.by,
        reason=setting.reason,
        since=optional_time(setting.since),
        as_of=optional_time(max((each.at for each in latest), default=None)),
        incidents=dict(Counter(each.diagnosis for each in told.incidents if not each.closed_at)),
        measures=dict(Counter(measures)),
        queues=queues_of(samples, told),
        commit_seconds=max((each.commit_seconds for each in latest), default=0.0),
        confirm_seconds=max((each.confirm_seconds for each in latest), default=0.0),
        unconfirmed=max((each.unconfirmed for each in latest), default=0.0),
    )


def queues_of(samples: Sequence[Two], told: Told) -> tuple[QueueFlow, ...]:
    """Return the figures of all queues, by name."""
    newest = max((two.after.at for two in samples), default=None)
    parts: dict[str, list[_Part]] = {}
    for two in samples:
        assert newest is not None
        stale = (newest - two.after.at).total_seconds() > STALE_SECONDS
        for queue in two.after.queues:
            parts.setdefault(queue.queue, []).append(_part(two, queue, stale=stale))
    return tuple(_queue(name, parts[name], told) for name in sorted(parts))


def _part(two: Two, queue: QueueSample, *, stale: bool) -> _Part:
    """Return a queue of a partition; without a sample before it nothing is known to go on."""
    seconds = 0.0 if two.before is None else (two.after.at - two.before.at).total_seconds()
    if two.before is None or stale or seconds <= 0:
        return _Part(queue, rates(queue, queue, 1.0), {})
    earlier = {each.queue: each for each in two.before.queues}
    before = earlier.get(queue.queue) or QueueSample(queue=queue.queue)
    stages = {key_of(each): each for each in before.stages}
    busy = {
        key_of(each): change(stages.get(key_of(each)), each).busy_seconds / seconds
        for each in queue.stages
    }
    return _Part(queue, rates(before, queue, seconds), busy)


def _queue(name: str, parts: Sequence[_Part], told: Told) -> QueueFlow:
    samples, gone_on = [part.sample for part in parts], [part.rates for part in parts]
    busy = sum(sum(part.busy.values()) for part in parts)
    stages = tuple(
        _stage((name, *key), of_stage, busy, told) for key, of_stage in _by_stage(parts).items()
    )
    # Every partition hears of all workers, so their slots are not added up.
    slots = told.slots.get(name) or max(each.slots for each in samples)
    asked = sum(each.load * sample.slots for each, sample in zip(gone_on, samples, strict=True))
    work = sum(stage.work_seconds for stage in stages)
    served: Counter[int] = Counter()
    for sample in samples:
        served.update(sample.served)
    return QueueFlow(
        queue=name,
        workers=max(each.workers for each in samples),
        slots=slots,
        busy=min(max(each.busy for each in samples), slots) if slots else 0,
        window=sum(each.window for each in samples),
        out=sum(each.out for each in samples),
        ready=sum(stage.ready for stage in stages),
        held=sum(sum(stage.held.values()) for stage in stages),
        unknown=tuple(sorted({each for sample in samples for each in sample.unknown})),
        arrival_rate=sum(stage.arrival_rate for stage in stages),
        completion_rate=sum(stage.completion_rate for stage in stages),
        utilisation=busy / slots if slots else 0.0,
        load=asked / slots if slots else 0.0,
        work_seconds=work,
        drain_seconds=_drain_seconds(work, slots - asked),
        served={str(priority): count for priority, count in sorted(served.items())},
        stages=stages,
    )


def _drain_seconds(work: float, left: float) -> float | None:
    if work <= 0:
        return 0.0
    return work / left if left > 0 else None


def _by_stage(parts: Iterable[_Part]) -> dict[tuple[str, str], list[_StagePart]]:
    """Return the parts of each stage, in the order of their jobs: what comes first goes first."""
    found: dict[tuple[str, str], list[_StagePart]] = {}
    for part in parts:
        of_stage = {(each.job, each.step): each for each in part.rates.stages}
        for sample in part.sample.stages:
            key = key_of(sample)
            made = _StagePart(sample, of_stage[key], part.busy.get(key, 0.0))
            found.setdefault(key, []).append(made)
    return dict(sorted(found.items(), key=lambda each: _place(each[0], each[1])))


def _place(key: tuple[str, str], parts: Sequence[_StagePart]) -> tuple[str, int, str]:
    return key[0], -max(part.sample.remaining for part in parts), key[1]


def _stage(key: Key, parts: Sequence[_StagePart], busy: float, told: Told) -> StageFlow:
    samples, gone_on = [part.sample for part in parts], [part.rates for part in parts]
    oldest = max(samples, key=lambda each: each.oldest_wait)
    held: Counter[str] = Counter()
    for sample in samples:
        held.update(sample.held)
    return StageFlow(
        job=key[1],
        step=key[2],
        endpoint=next((each.endpoint for each in samples if each.endpoint), ""),
        ready=sum(each.ready for each in samples),
        held=dict(held),
        held_wait=max(each.held_wait for each in samples),
        out=sum(each.out for each in samples),
        running=sum(each.running for each in samples),
        oldest_wait=oldest.oldest_wait,
        oldest_priority=oldest.oldest_priority,
        wait_p50=max(each.wait_p50 for each in samples),
        wait_p95=max(each.wait_p95 for each in samples),
        wait_p99=max(each.wait_p99 for each in samples),
        service_seconds=_service_seconds(samples),
        arrival_rate=sum(each.arrived for each in gone_on),
        completion_rate=sum(each.ended for each in gone_on),
        failure_rate=sum(each.failed for each in gone_on),
        share=sum(part.busy for part in parts) / busy if busy else 0.0,
        coming=sum(each.coming for each in gone_on),
        work_seconds=sum(each.work_seconds for each in gone_on),
        arrived=sum(each.arrived for each in samples),
        released=sum(each.released for each in samples),
        ended=sum(each.ended for each in samples),
        failed=sum(each.failed for each in samples),
        busy_seconds=sum(each.busy_seconds for each in samples),
        incidents=told.victims.get(key, ()),
        series=told.series.get(key),
    )


def _service_seconds(samples: Sequence[StageSample]) -> float | None:
    """Return what a step takes, by how many each partition has seen."""
    known = [
        (each.service_seconds, max(each.ended, 1))
        for each in samples
        if each.service_seconds is not None
    ]
    count = sum(weight for _, weight in known)
    return sum(seconds * weight for seconds, weight in known) / count if known else None
