"""What goes on in a queue between two samples: rates, shares, and the work that is to come."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from typing import Final

import msgspec

from warrener.domain.flow.figures import PAUSED, QueueSample, StageSample

UNKNOWN_SECONDS: Final = 1.0  # what a step is taken to cost before any was measured

_Key = tuple[str, str]
_NOTHING: Final = StageSample(job="", step="")


class StageRates(msgspec.Struct, frozen=True, kw_only=True):
    """A stage: steps a second that became ready, ended, and failed, and what it has to do.

    `share` is the part of the time the workers worked that went to it. `coming` are the steps that
    the backlog before it will bring, by what an ended step brought so far. `work_seconds` is what
    its own backlog asks of workers, and what is coming.
    """

    job: str
    step: str
    arrived: float
    ended: float
    failed: float
    share: float
    coming: float
    work_seconds: float


class QueueRates(msgspec.Struct, frozen=True, kw_only=True):
    """A queue: steps a second, the time of its workers, and the work that is there and to come.

    `utilisation` is the part of their time that the slots worked for what ended meanwhile, `load`
    the part that is asked of them by what arrives from outside, with all that follows from it in
    this queue. `drain_seconds` is when the backlog will be done if all goes on so; None: never.
    """

    queue: str
    arrived: float
    ended: float
    utilisation: float
    load: float
    work_seconds: float
    drain_seconds: float | None
    stages: tuple[StageRates, ...]


class Chain(msgspec.Struct, frozen=True):
    """What follows on a step of each stage of a queue, by what was counted so far.

    `coming` are the steps to come of each stage, `costs` what a step asks of workers, with all that
    follows from it, in seconds. `entries` are the stages whose steps come from outside.
    """

    coming: dict[_Key, float]
    costs: dict[_Key, float]
    entries: frozenset[_Key]


def rates(before: QueueSample, after: QueueSample, seconds: float) -> QueueRates:
    """Return what went on between two samples of a queue, so many seconds apart."""
    seconds = max(seconds, 1e-9)
    earlier = {(stage.job, stage.step): stage for stage in before.stages}
    chain = chain_of(after.stages)
    changes = {key_of(each): change(earlier.get(key_of(each)), each) for each in after.stages}
    busy = sum(each.busy_seconds for each in changes.values())
    stages = tuple(
        _stage_rates(stage, changes[key_of(stage)], seconds, busy, chain) for stage in after.stages
    )
    asked = sum(chain.costs[key] * changes[key].arrived / seconds for key in chain.entries)
    work = sum(stage.work_seconds for stage in stages)
    return QueueRates(
        queue=after.queue,
        arrived=sum(stage.arrived for stage in stages),
        ended=sum(stage.ended for stage in stages),
        utilisation=busy / seconds / after.slots if after.slots else 0.0,
        load=asked / after.slots if after.slots else 0.0,
        work_seconds=work,
        drain_seconds=_drain_seconds(work, asked, after.slots),
        stages=stages,
    )


def chain_of(stages: Iterable[StageSample]) -> Chain:
    """Return what follows on each step. Stages of a job follow by how much remains after them."""
    coming: dict[_Key, float] = {}
    costs: dict[_Key, float] = {}
    entries: set[_Key] = set()
    by_job = sorted(stages, key=lambda stage: (stage.job, -stage.remaining, stage.step))
    for _, group in groupby(by_job, key=lambda stage: stage.job):
        levels = [list(level) for _, level in groupby(group, key=lambda stage: stage.remaining)]
        entries.update(key_of(stage) for stage in levels[0])
        _look_forward(levels, coming)
        _look_back(levels, costs)
    return Chain(coming, costs, frozenset(entries))


def key_of(stage: StageSample) -> _Key:
    """Return what tells the stages of a queue apart."""
    return stage.job, stage.step


def backlog_of(stage: StageSample) -> int:
    """Return how many steps are ready or out, without those of paused jobs."""
    held = sum(count for reason, count in stage.held.items() if reason != PAUSED)
    return stage.ready + held + stage.out


def cost_of(stage: StageSample) -> float:
    """Return what a step of the stage takes, in seconds of a worker."""
    known = stage.service_seconds
    return UNKNOWN_SECONDS if known is None else known


def change(before: StageSample | None, after: StageSample) -> StageSample:
    """Return a stage with its counters since an earlier sample; they begin anew at a restart."""
    if before is None or before.arrived > after.arrived or before.ended > after.ended:
        before = _NOTHING
    return msgspec.structs.replace(
        after,
        arrived=after.arrived - before.arrived,
        released=max(0, after.released - before.released),
        ended=after.ended - before.ended,
        failed=max(0, after.failed - before.failed),
        busy_seconds=max(0.0, after.busy_seconds - before.busy_seconds),
        failed_seconds=max(0.0, after.failed_seconds - before.failed_seconds),
    )


def _look_forward(levels: list[list[StageSample]], coming: dict[_Key, float]) -> None:
    above: list[StageSample] = []
    for level in levels:
        left = sum(backlog_of(stage) + coming[key_of(stage)] for stage in above)
        for stage in level:
            coming[key_of(stage)] = left * _fan_out(above, stage)
        above = level


def _look_back(levels: list[list[StageSample]], costs: dict[_Key, float]) -> None:
    below: list[StageSample] = []
    for level in reversed(levels):
        after = sum(costs[key_of(stage)] * _fan_out(level, stage) for stage in below)
        for stage in level:
            costs[key_of(stage)] = cost_of(stage) + after
        below = level


def _fan_out(above: list[StageSample], stage: StageSample) -> float:
    """Return how many steps of a stage each ended step of those before it has brought."""
    ended = sum(each.ended for each in above)
    return stage.arrived / ended if ended else 0.0


def _stage_rates(
    stage: StageSample, changed: StageSample, seconds: float, busy: float, chain: Chain
) -> StageRates:
    coming = chain.coming[key_of(stage)]
    return StageRates(
        job=stage.job,
        step=stage.step,
        arrived=changed.arrived / seconds,
        ended=changed.ended / seconds,
        failed=changed.failed / seconds,
        share=changed.busy_seconds / busy if busy else 0.0,
        coming=coming,
        work_seconds=(backlog_of(stage) + coming) * cost_of(stage),
    )


def _drain_seconds(work: float, asked: float, slots: int) -> float | None:
    if work <= 0:
        return 0.0
    return work / (slots - asked) if slots > asked else None
