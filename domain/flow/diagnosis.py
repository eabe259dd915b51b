"""Why steps wait too long: from what was seen of a queue lately to a cause with its evidence.

A cause is one without which nobody would wait so long. First come those that concern a single
stage (no worker, a limit); for the others, what becomes of the workers' time decides.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Final

import msgspec

from warrener.domain.flow import evidence
from warrener.domain.flow.case import (
    Case,
    Suspicion,
    held_count,
    is_slow,
    longest_wait,
    slower,
    suspect,
)
from warrener.domain.flow.causes import BUSY_MIN, of_workers, usual_load
from warrener.domain.flow.figures import FlowSample
from warrener.domain.flow.history import Span, StageSpan
from warrener.domain.flow.incidents import Diagnosis
from warrener.domain.flow.ready import Stage

DESERTED_SECONDS: Final = 10.0  # without a slot and without an end of an attempt
FAILED_MOST: Final = 0.5  # part of what a limit lets out that fails


def diagnose(
    span: Span, flow: FlowSample, bound_seconds: float, throttled: Collection[Stage] = ()
) -> tuple[Suspicion, ...]:
    """Return the causes for which steps of a queue wait for longer than their bound."""
    case = Case(
        span=span,
        flow=flow,
        bound_seconds=bound_seconds,
        throttled=frozenset(throttled),
        load=usual_load(span),
    )
    absent, held, stuck, others = _groups(case)
    found: list[Suspicion] = []
    if absent:
        found.append(suspect("no-worker", absent, evidence.no_worker(span, absent)))
    found.extend(_held(case, held))
    if stuck:
        facts = evidence.slow_store(span, flow, stuck)
        found.append(suspect("store-or-broker-slow", stuck, facts))
    if others and (waiting := of_workers(case, others)) is not None:
        found.append(waiting)
    return _joined(found)


_Groups = tuple[list[StageSpan], list[StageSpan], list[StageSpan], list[StageSpan]]


def _groups(case: Case) -> _Groups:
    """Return who waits: for a worker at all, for a limit, for orders to arrive, and the others."""
    absent: list[StageSpan] = []
    held: list[StageSpan] = []
    stuck: list[StageSpan] = []
    others: list[StageSpan] = []
    span, bound = case.span, case.bound_seconds
    deserted = span.deserted_seconds >= DESERTED_SECONDS
    for stage in span.stages:
        lies = stage.now.out > 0 and stage.stuck_seconds > bound
        waits = longest_wait(stage.now) > bound
        unknown = stage.now.endpoint in span.now.unknown
        if (deserted or unknown) and (waits or lies):
            absent.append(stage)
        elif waits:
            by_limit = stage.now.held_wait > bound
            more_held = held_count(stage.now) >= stage.now.ready
            at_limit = by_limit and (more_held or not case.waits(stage))
            (held if at_limit else others).append(stage)
        elif lies and span.idle_seconds > bound:
            stuck.append(stage)
    return absent, held, stuck, others


# --- a limit holds them --------------------------------------------------------------------------


def _held(case: Case, stages: Sequence[StageSpan]) -> Iterable[Suspicion]:
    slow_way = case.span.busy < BUSY_MIN and is_slow(case.flow)
    for stage in stages:
        reason = evidence.main_reason(stage.now)
        kind = reason.partition(" ")[0]
        change, one = stage.change, [stage]
        if kind == "slots":
            failed = change.failed_seconds / change.busy_seconds if change.busy_seconds else 0.0
        else:
            failed = change.failed / change.ended if change.ended else 0.0
        if failed >= FAILED_MOST:
            facts = evidence.poison(case.span, one, one, failed)
            yield suspect("poison-loop", one, facts)
        elif kind == "slots" and slower(stage) is not None:
            yield suspect("slow-step", one, evidence.slow(case.span, one, stage))
        elif kind == "slots" and slow_way:
            facts = evidence.slow_store(case.span, case.flow, one)
            yield suspect("store-or-broker-slow", one, facts)
        else:
            diagnosis: Diagnosis = "slots-full" if kind == "slots" else "rate-limit"
            yield suspect(diagnosis, one, evidence.limit(case.span, one, reason))


def _joined(found: Sequence[Suspicion]) -> tuple[Suspicion, ...]:
    """Return one suspicion for each diagnosis, with the evidence of where most steps wait."""
    joined: dict[Diagnosis, list[Suspicion]] = {}
    for each in found:
        joined.setdefault(each.diagnosis, []).append(each)
    return tuple(
        msgspec.structs.replace(
            max(same, key=_waiting), victims=tuple(v for each in same for v in each.victims)
        )
        for same in joined.values()
    )


def _waiting(suspicion: Suspicion) -> int:
    return sum(victim.waiting for victim in suspicion.victims)
