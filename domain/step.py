"""The step aggregate: state, `evolve`, and the decisions about its attempts.

Only a step that began has a stream of its own; its first event is its release, its opening
(fan-out, sub-job) or its immediate end.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from uuid import UUID

import msgspec

from warrener.domain import retry
from warrener.domain.definition.model import RetryRule
from warrener.domain.events import (
    Error,
    Event,
    Recorded,
    StepCancelled,
    StepEvent,
    StepFailed,
    StepOpened,
    StepReleased,
    StepRetryScheduled,
    StepStarted,
    StepSucceeded,
    bounded,
)
from warrener.domain.messages import Beat, StepReport
from warrener.domain.payloads import Payload
from warrener.domain.states import STEP_MOVES

OUT = frozenset({"released", "running"})  # an order for the attempt is out
NEVER_RETRIED = frozenset({"bad-input", "bad-result", "payload-too-large", "expression-error"})
ASKED_TO_WAIT = RetryRule(on="*", max=None, wait="retry-after")


class Step(msgspec.Struct):
    """What is known of a step that began. Times are those of the decisions."""

    id: UUID
    job: UUID
    path: str
    version: int = 0
    state: str = "ready"
    attempt: int = 0
    token: str = ""
    queue: str = ""
    failures: dict[int, int] = {}  # retry rule -> failures that it answered
    due: datetime | None = None
    child: UUID | None = None


def evolve(step: Step, event: Event) -> Step:
    """Assign what an event says. Never refuses."""
    step.version += 1
    match event:
        case StepReleased():
            step.state = "released"
            step.attempt, step.token, step.queue = event.attempt, event.token, event.queue
            step.due = None
        case StepStarted():
            step.state = "running"
        case StepRetryScheduled():
            step.state, step.due = "retrying", event.due
            step.failures = retry.counted(step.failures, event.rule)
        case StepOpened():
            step.state, step.child = "waiting", event.child
        case StepSucceeded():
            step.state = "succeeded"
        case StepFailed():
            step.state = "failed"
        case StepCancelled():
            step.state = "cancelled"
    return step


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


def decide_failure(
    step: Step,
    report: StepReport,
    rules: Sequence[RetryRule] | None,
    jitter: float,
    *,
    now: datetime,
    cause: str,
) -> StepRetryScheduled | StepFailed:
    """Decide what follows from a report that is no success: another attempt, or the end.

    `rules` None stands for the default: other failures by the default rule, and a `RetryLater`
    as often as the endpoint asks.
    """
    error = _error_of(report)
    number, rule = _rule_for(report, error, rules)
    failures = step.failures.get(number, 0) + 1
    if rule is None or not retry.allowed(rule, failures):
        return StepFailed(
            at=now,
            cause=cause,
            job=step.job,
            path=step.path,
            error=error,
            attempt=step.attempt,
            worker=report.worker,
            started_at=report.started_at,
            ended_at=report.ended_at,
        )
    wait = retry.wait_seconds(rule, failures, jitter, report.retry_after)
    return StepRetryScheduled(
        at=now,
        cause=cause,
        job=step.job,
        path=step.path,
        attempt=step.attempt,
        error=error,
        due=now + timedelta(seconds=wait),
        rule=number,
        worker=report.worker,
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


def _error_of(report: StepReport) -> Error:
    if report.error is None:
        return Error(code="error", message="the worker gave no reason", attempt=report.attempt)
    return msgspec.structs.replace(bounded(report.error), attempt=report.attempt)


def _rule_for(
    report: StepReport, error: Error, rules: Sequence[RetryRule] | None
) -> tuple[int, RetryRule | None]:
    if report.outcome in {"permanent", "user_action"} or error.code in NEVER_RETRIED:
        return -1, None
    if rules is None and report.outcome == "retry_later":
        return -1, ASKED_TO_WAIT
    candidates = retry.DEFAULT if rules is None else rules
    number = retry.match(candidates, error)
    return (-1, None) if number is None else (number, candidates[number])
