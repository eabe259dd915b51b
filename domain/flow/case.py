"""What a diagnosis of a queue goes by, and what it comes to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from warrener.domain.flow.figures import PAUSED, FlowSample, StageSample
from warrener.domain.flow.history import SLOWER, Span, StageSpan
from warrener.domain.flow.incidents import Diagnosis, Victim
from warrener.domain.flow.ready import Stage

SLOW_COMMIT_SECONDS: Final = 1.0
SLOW_CONFIRM_SECONDS: Final = 1.0
UNCONFIRMED_SECONDS: Final = 5.0


class Suspicion(msgspec.Struct, frozen=True, kw_only=True):
    """A cause, as things look at the moment. A `weak` one is what remains when none is seen."""

    diagnosis: Diagnosis
    victims: tuple[Victim, ...]
    evidence: dict[str, float | str]
    weak: bool = False


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """All that a diagnosis of a queue goes by: `load` is what would be asked if all were usual."""

    span: Span
    flow: FlowSample
    bound_seconds: float
    throttled: frozenset[Stage]
    load: float

    def waits(self, stage: StageSpan, share: float = 1.0) -> bool:
        """Say whether a stage waits for its release for longer than a share of the bound."""
        return stage.now.oldest_wait > share * self.bound_seconds

    def is_throttled(self, stage: StageSpan) -> bool:
        """Say whether a measure holds a stage back."""
        return stage.now.stage(self.span.now.queue) in self.throttled


def longest_wait(stage: StageSample) -> float:
    """Return for how long steps of a stage have waited at most, those of paused jobs apart."""
    return max(stage.oldest_wait, stage.held_wait)


def held_count(stage: StageSample) -> int:
    """Return how many steps of a stage limits hold back."""
    return sum(count for reason, count in stage.held.items() if reason != PAUSED)


def is_slow(flow: FlowSample) -> bool:
    """Say whether the store or the broker is seen to be slow."""
    return (
        flow.commit_seconds >= SLOW_COMMIT_SECONDS
        or flow.confirm_seconds >= SLOW_CONFIRM_SECONDS
        or flow.unconfirmed >= UNCONFIRMED_SECONDS
    )


def slower(stage: StageSpan) -> float | None:
    """Return what an attempt takes now, if that is clearly more than usual.

    Where none has ended in the span, those that run have taken as long as it lasted.
    """
    if stage.usual_seconds is None:
        return None
    seconds = stage.seconds
    if seconds is None and stage.change.ended == 0 and stage.running > 0:
        seconds = stage.stuck_seconds
    if seconds is None or seconds < SLOWER * stage.usual_seconds:
        return None
    return seconds


def suspect(
    diagnosis: Diagnosis,
    stages: Sequence[StageSpan],
    facts: dict[str, float | str],
    *,
    weak: bool = False,
) -> Suspicion:
    """Return a suspicion, with the stages that suffer from it."""
    return Suspicion(
        diagnosis=diagnosis, victims=tuple(map(_victim, stages)), evidence=facts, weak=weak
    )


def _victim(stage: StageSpan) -> Victim:
    now = stage.now
    waiting = now.ready + held_count(now)
    wait = longest_wait(now)
    if wait < stage.stuck_seconds and not waiting:
        waiting, wait = now.out, stage.stuck_seconds
    return Victim(job=now.job, step=now.step, waiting=waiting, oldest_wait=round(wait, 3))
