"""What becomes of the time of the workers, while steps wait for it.

It is not used, or lost to attempts that fail or are slow, or given to others, or too little.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from warrener.domain.flow import evidence
from warrener.domain.flow.case import Case, Suspicion, held_count, is_slow, slower, suspect
from warrener.domain.flow.history import Span, StageSpan
from warrener.domain.flow.rates import chain_of, change, key_of

BUSY_MIN: Final = 0.7  # part of the slots that works while there is enough to do
LOST_MIN: Final = 0.2  # part of the slots that is lost to a cause which explains a whole overload
LOST_MOST: Final = 0.6  # ... which is the main one, whatever else there is
LOAD_MAX: Final = 1.1  # what would be asked of the workers without the cause; 1 is all they have
FAILED_MIN: Final = 0.4  # part of the attempts of a stage
FAILED_COUNT_MIN: Final = 3
HOGGED_MIN: Final = 0.7  # part of the slots that steps have which take very long
HOG_TIMES: Final = 10.0  # times what the steps that wait take
HIGHER_MIN: Final = 0.6  # part of the workers' time that goes to higher priorities
UPSTREAM_MIN: Final = 0.4  # part of the slots that earlier stages have


def of_workers(case: Case, victims: list[StageSpan]) -> Suspicion | None:
    """Return why these wait for a worker, None if that is meant to be."""
    if not case.span.now.slots:
        if case.span.deserted_seconds:
            return None  # it is soon known whether they come back
        return _too_few(case, victims)
    if case.span.busy < BUSY_MIN:
        victims = [each for each in victims if not case.is_throttled(each)]
        if not victims:
            return None
        facts = evidence.slow_store(case.span, case.flow, victims)
        return suspect("store-or-broker-slow", victims, facts, weak=not is_slow(case.flow))
    for cause in (_lost, _hogged, _priority, _flood):
        found = cause(case, victims)
        if found is not None:
            return found
    return _too_few(case, victims)


def _too_few(case: Case, victims: list[StageSpan]) -> Suspicion:
    facts = evidence.too_few(case.span, victims)
    return suspect("too-few-workers", victims, facts, weak=True)


def _lost(case: Case, victims: list[StageSpan]) -> Suspicion | None:
    """Time is lost to attempts that fail, or that take longer than is usual."""
    span = case.span
    capacity = span.slots * span.seconds
    failing = [stage for stage in span.stages if _is_failing(stage)]
    failed = sum(stage.change.failed_seconds for stage in failing) / capacity
    late = {stage.name: (stage, lost) for stage in span.stages if (lost := _slowness(stage))}
    slow = sum(lost for _, lost in late.values()) / span.slots
    most = max(failed, slow)
    if most < LOST_MIN or (case.load > LOAD_MAX and most < LOST_MOST):
        return None
    if failed >= slow:
        return suspect("poison-loop", victims, evidence.poison(span, victims, failing, failed))
    guilty, _ = max(late.values(), key=lambda each: each[1])
    return suspect("slow-step", victims, evidence.slow(span, victims, guilty))


def _is_failing(stage: StageSpan) -> bool:
    """Say whether so many attempts fail that it is no accident."""
    failed = stage.change.failed
    return failed >= FAILED_COUNT_MIN and failed >= FAILED_MIN * stage.change.ended


def _slowness(stage: StageSpan) -> float:
    """Return how many slots a stage takes only because it is slower than usual."""
    seconds = slower(stage)
    if seconds is None or stage.usual_seconds is None:
        return 0.0
    return stage.running * (1.0 - stage.usual_seconds / seconds)


def _hogged(case: Case, victims: list[StageSpan]) -> Suspicion | None:
    """A stage whose steps take very long has the workers, while short ones wait."""
    span = case.span
    guilty = max(span.stages, key=lambda stage: stage.running)
    others = [stage for stage in victims if stage is not guilty]
    seconds = guilty.now.service_seconds or guilty.stuck_seconds
    costs = [stage.now.service_seconds for stage in others]
    known = [cost for cost in costs if cost is not None]
    if not others or seconds < case.bound_seconds / 2 or case.load > LOAD_MAX:
        return None
    if guilty.running < HOGGED_MIN * span.slots or HOG_TIMES * max(known, default=0) > seconds:
        return None
    return suspect("slow-step", others, evidence.slow(span, others, guilty))


def _priority(case: Case, victims: list[StageSpan]) -> Suspicion | None:
    """Steps of higher priority have nearly all the time, and pass those who wait for long."""
    span = case.span
    lowest = max(stage.now.oldest_priority for stage in victims)
    before = span.before.worked
    worked = {
        priority: max(0.0, seconds - before.get(priority, 0.0))
        for priority, seconds in span.now.worked.items()
    }
    higher = sum(seconds for priority, seconds in worked.items() if priority > lowest)
    share = higher / max(1e-9, sum(worked.values()))
    longest = max(stage.now.oldest_wait for stage in victims)
    quick = min(case.bound_seconds, longest / 2)
    passing = [stage for stage in span.stages if stage.now.wait_p50 <= quick]
    if share < HIGHER_MIN or _worked(passing) < _worked(span.stages) / 2:
        return None
    facts = evidence.priority(span, victims, lowest, share)
    return suspect("priority", victims, facts)


def _worked(stages: Iterable[StageSpan]) -> float:
    return sum(stage.change.busy_seconds for stage in stages)


def _flood(case: Case, victims: list[StageSpan]) -> Suspicion | None:
    """Earlier stages have the workers, while later ones of the same jobs wait."""
    span = case.span
    jobs: dict[str, list[StageSpan]] = {}
    for stage in span.stages:
        jobs.setdefault(stage.now.job, []).append(stage)
    later: list[StageSpan] = []
    producers: dict[str, StageSpan] = {}
    for stage in span.stages:
        if not case.waits(stage, 0.5) or held_count(stage.now) > stage.now.ready:
            continue
        above = [each for each in jobs[stage.now.job] if each.now.remaining > stage.now.remaining]
        if sum(each.running for each in above) >= UPSTREAM_MIN * span.slots:
            later.append(stage)
            producers.update((each.name, each) for each in above)
    if not later:
        return None
    share = sum(stage.running for stage in producers.values()) / span.slots
    guilty = max(producers.values(), key=lambda each: each.running)
    others = [each for each in victims if each.name not in producers and each not in later]
    later += others
    return suspect("upstream-flood", later, evidence.flood(span, later, guilty, share))


def usual_load(span: Span) -> float:
    """Return the part of the slots that would be needed if all were as usual and nothing failed.

    It is that of what has arrived since before the first of those who wait.
    """
    usual = tuple(
        msgspec.structs.replace(
            stage.now,
            arrived=max(0, stage.now.arrived - stage.now.failed),
            ended=max(0, stage.now.ended - stage.now.failed),
            service_seconds=_usual_seconds(stage),
        )
        for stage in span.stages
    )
    chain = chain_of(usual)
    early = {key_of(stage): stage for stage in span.early.stages}
    asked = 0.0
    for stage in span.stages:
        key = key_of(stage.now)
        if key in chain.entries:
            new = change(early.get(key), stage.now)
            asked += chain.costs[key] * max(0, new.arrived - new.failed)
    return asked / span.early_seconds / span.slots


def _usual_seconds(stage: StageSpan) -> float | None:
    return stage.now.service_seconds if stage.usual_seconds is None else stage.usual_seconds
