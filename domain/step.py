"""The step aggregate: state, `evolve`, and the decisions about its attempts.

Only a step that began has a stream of its own; its first event is its release, its opening
(fan-out, sub-job) or its immediate end.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from uuid import UUID

import msgspec

from warrener.domain import retry
from warrener.domain.definition.model import RetryRule
from warrener.domain.events import Error, Event, Recorded, bounded
from warrener.domain.messages import Beat, StepReport
from warrener.domain.payloads import Payload
from warrener.domain.states import STEP_MOVES
from warrener.domain.step_events import (
    Held,
    StepCancelled,
    StepEvent,
    StepFailed,
    StepOpened,
    StepParked,
    StepProgressed,
    StepReadied,
    StepReleased,
    StepRenewed,
    StepRetryScheduled,
    StepSkipped,
    StepStarted,
    StepSucceeded,
)

OUT = frozenset({"released", "running"})  # an order for the attempt is out
NEVER_RETRIED = frozenset(
    {"bad-input", "bad-result", "payload-too-large", "expression-error", "total-timeout"}
)
NOTE_CHARACTERS_MAX = 200
RULES_MAX = 1_000  # of a step; more than a definition may have
ASKED_TO_WAIT = RetryRule(on="*", max=None, wait="retry-after")


class Step(msgspec.Struct):
    """What is known of a step that began. Times are those of the decisions.

    `begun_at` is the first order of the generation, or its child job; `until` ends a retry's wait,
    a sleep, or the patience with a signal or a person.
    """

    id: UUID
    job: UUID
    path: str
    version: int = 0
    state: str = "ready"
    generation: int = 1
    attempt: int = 0
    token: str = ""
    queue: str = ""
    limits: tuple[Held, ...] = ()
    failures: dict[int, int] = {}  # retry rule -> failures that it answered
    begun_at: datetime | None = None
    released_at: datetime | None = None
    started_at: datetime | None = None
    until: datetime | None = None
    progress: float = 0.0
    child: UUID | None = None
    signal: str | None = None
    request: UUID | None = None
    answer: Payload | None = None
    readied_by: str = ""  # cause of the last event that made it ready again


def evolve(step: Step, event: Event) -> Step:
    """Assign what an event says. Never refuses."""
    step.version += 1
    match event:
        case StepReleased():
            _release(step, event)
        case StepStarted():
            step.state, step.started_at = "running", event.at
        case StepRetryScheduled():
            step.state, step.until = "retrying", event.due
            step.failures = retry.counted(step.failures, event.rule)
        case StepOpened():
            step.state, step.child, step.signal = "waiting", event.child, event.signal
            step.until, step.request = event.until, event.request
            if event.child is not None:
                step.begun_at = step.begun_at or event.at
        case StepSucceeded():
            step.state = "succeeded"
        case StepFailed():
            step.state = "failed"
        case StepCancelled():
            step.state = "cancelled"
        case _:
            _evolve_rarely(step, event)
    return step


def _release(step: Step, event: StepReleased) -> None:
    step.state = "released"
    step.attempt, step.token, step.queue = event.attempt, event.token, event.queue
    step.limits, step.released_at = event.limits, event.at
    step.begun_at = step.begun_at or event.at
    step.started_at = step.until = step.request = None
    step.progress = 0.0


def _evolve_rarely(step: Step, event: Event) -> None:
    match event:
        case StepProgressed():
            step.progress = event.progress
        case StepParked():
            step.state, step.request, step.until = "waiting_user", event.request, event.until
        case StepReadied():
            step.state, step.until, step.request = "ready", None, None
            step.answer, step.readied_by = event.answer or step.answer, event.cause
        case StepSkipped():
            step.state = "skipped"
        case StepRenewed():
            _renew(step, event)


def _renew(step: Step, event: StepRenewed) -> None:
    step.state, step.generation, step.failures = "ready", event.generation, {}
    step.begun_at = step.until = step.child = step.signal = step.request = step.answer = None


def project(step: Step | None, events: Iterable[Recorded]) -> Step | None:
    """Fold recorded events of one stream (the shape `Repository.get` asks for)."""
    for recorded in events:
        event = recorded.event
        if step is None and isinstance(event, StepEvent):
            step = Step(recorded.originator_id, event.job, event.path)
        if step is not None:
            evolve(step, event)
    return step


def may(step: Step, move: str) -> bool:
    """Look a move up in the table of the step's state machine."""
    return (step.state, move) in STEP_MOVES


def answers(step: Step, report: StepReport | Beat) -> bool:
    """Say whether this is about the attempt that is out, and from whoever was given it."""
    return (
        step.state in OUT
        and report.job == step.job
        and report.attempt == step.attempt
        and report.token == step.token
    )


class Rules(msgspec.Struct, frozen=True):
    """The retry rules of a step; `rules` None stands for the default.

    Rules that were changed while the job runs are another `revision`, whose failures are counted
    for themselves.
    """

    rules: tuple[RetryRule, ...] | None = None
    revision: int = 0


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of an attempt that came to nothing; a timeout has only an error."""

    error: Error
    permanent: bool = False
    asked_to_wait: bool = False  # the endpoint named a time to be called again
    retry_after: float | None = None
    worker: str | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None


def failure_of(report: StepReport) -> Failure:
    """Return what a report that is no success says."""
    error = report.error or Error(code="error", message="the worker gave no reason")
    return Failure(
        error=bounded(error),
        permanent=report.outcome == "permanent",
        asked_to_wait=report.outcome == "retry_later",
        retry_after=report.retry_after,
        worker=report.worker,
        started_at=report.started_at,
        ended_at=report.ended_at,
    )


def decide_failure(
    step: Step, failure: Failure, rules: Rules, jitter: float, *, now: datetime, cause: str
) -> StepRetryScheduled | StepFailed:
    """Decide what follows from a failure of the attempt that is out: another one, or the end.

    Without rules a `RetryLater` is followed as often as the endpoint asks.
    """
    error = msgspec.structs.replace(failure.error, attempt=step.attempt)
    number, rule = _rule_for(failure, rules)
    failures = step.failures.get(number, 0) + 1
    if rule is None or not retry.allowed(rule, failures):
        return StepFailed(
            at=now,
            cause=cause,
            job=step.job,
            path=step.path,
            error=error,
            attempt=step.attempt,
            worker=failure.worker,
            started_at=failure.started_at,
            ended_at=failure.ended_at,
        )
    wait_seconds = retry.wait_seconds(rule, failures, jitter, failure.retry_after)
    return StepRetryScheduled(
        at=now,
        cause=cause,
        job=step.job,
        path=step.path,
        attempt=step.attempt,
        error=error,
        due=now + timedelta(seconds=wait_seconds),
        rule=number,
        worker=failure.worker,
        started_at=failure.started_at,
        ended_at=failure.ended_at,
    )


def decide_progress(step: Step, beat: Beat, now: datetime, cause: str) -> StepProgressed | None:
    """Record how far an attempt has come, by tenths, so that no stream grows with its beats."""
    share = beat.progress
    if share is None or not may(step, "progress") or not 0.0 <= share <= 1.0:
        return None
    if int(share * 10) <= int(step.progress * 10):
        return None
    return StepProgressed(
        at=now,
        cause=cause,
        job=step.job,
        path=step.path,
        attempt=step.attempt,
        worker=beat.worker,
        progress=share,
        note=beat.note and beat.note[:NOTE_CHARACTERS_MAX],
    )


def decide_start(step: Step, beat: Beat, now: datetime, cause: str) -> StepStarted | None:
    """Record the first sign of life of the attempt that is out; later ones change nothing."""
    if not may(step, "start"):
        return None
    return StepStarted(
        at=now, cause=cause, job=step.job, path=step.path, attempt=step.attempt, worker=beat.worker
    )


def decide_success(
    step: Step, report: StepReport, result: Payload, now: datetime, cause: str
) -> StepSucceeded:
    """Record the result of the attempt that is out."""
    return StepSucceeded(
        at=now,
        cause=cause,
        job=step.job,
        path=step.path,
        attempt=step.attempt,
        result=result,
        worker=report.worker,
        started_at=report.started_at,
        ended_at=report.ended_at,
    )


def _rule_for(failure: Failure, rules: Rules) -> tuple[int, RetryRule | None]:
    """Return the rule that answers a failure, and the number under which that is counted."""
    if failure.permanent or failure.error.code in NEVER_RETRIED:
        return -1, None
    if rules.rules is None and failure.asked_to_wait:
        return -1, ASKED_TO_WAIT
    candidates = retry.DEFAULT if rules.rules is None else rules.rules
    number = retry.match(candidates, failure.error)
    if number is None:
        return -1, None
    return rules.revision * RULES_MAX + number, candidates[number]
