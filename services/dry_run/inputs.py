"""What came from outside about a step, as the record tells it: to be applied once it fits."""

from __future__ import annotations

from datetime import datetime
from typing import Literal
from uuid import UUID

import msgspec

from warrener.domain import step as steps
from warrener.domain.definition.model import Timeout
from warrener.domain.events import Error
from warrener.domain.messages import StepReport, UserActionAsked
from warrener.domain.payloads import Payload
from warrener.domain.step import Failure, Rules, Step
from warrener.domain.step_events import (
    StepEvent,
    StepFailed,
    StepParked,
    StepReadied,
    StepReleased,
    StepRetryScheduled,
    StepSkipped,
    StepSucceeded,
)
from warrener.domain.timers import TIMEOUT_CODES, Kind

KINDS_OF_CODES: dict[str, Kind] = {
    "queue-timeout": "queue",
    "run-timeout": "run",
    "worker-lost": "beat",
    "total-timeout": "total",
}
PATIENCE_CODES = frozenset({"wait-expired", "user-action-expired"})
PLAIN_CODES = frozenset({"error", "cancelled", "unknown-endpoint", "worker-lost"})
RETRY_LATER = "RetryLater"

What = Literal["go", "report", "timeout", "patience", "wake", "again", "answer"]


class Spans(msgspec.Struct, frozen=True):
    """How long an attempt took by each kind of timeout, in seconds; None is unknown."""

    queue: float | None = None
    run: float | None = None
    total: float | None = None

    def over(self, kind: Kind, timeout: Timeout | None) -> bool:
        """Say whether a timeout would have ended it."""
        bound = None if timeout is None else getattr(timeout, kind)
        took: float | None = getattr(self, kind, None)
        return bound is not None and took is not None and took > bound


class Input(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that came from outside, or that time brought about, for one step.

    `attempt` is the attempt that it is about, 0 for none. `waited_seconds` is how long the step had
    waited for it by then.
    """

    what: What
    at: datetime
    id: UUID
    job: UUID
    path: str
    attempt: int = 0
    event: StepEvent
    kind: Kind | None = None
    spans: Spans = Spans()
    waited_seconds: float = 0.0
    outcome: str = ""
    data: Payload | None = None


def release_of(step_id: UUID, before: Step, event: StepReleased) -> Input:
    """Return that an attempt went out, at a time that was up to the flow."""
    return Input(
        what="go",
        at=event.at,
        id=step_id,
        job=event.job,
        path=event.path,
        attempt=event.attempt,
        event=event,
        spans=Spans(total=_seconds(before.begun_at, event.at)),
    )


def input_of(
    step_id: UUID, before: Step, since: datetime | None, event: StepEvent, rules: Rules
) -> Input | None:
    """Return what an event of a step tells that came from outside, None if it just follows.

    `before` is the step as it was, waiting since then; `rules` are its retry rules.
    """
    waited = 0.0 if since is None else (event.at - since).total_seconds()

    def made(what: What, **more: object) -> Input:
        return Input(
            what=what,
            at=event.at,
            id=step_id,
            job=event.job,
            path=event.path,
            event=event,
            waited_seconds=waited,
            **more,  # type: ignore[arg-type]
        )

    by_time = event.cause.startswith("timer:")
    match event:
        case StepReadied():
            if event.answer is not None:
                return made("answer", data=event.answer, attempt=before.attempt)
            patience = by_time and before.state == "waiting_user"
            return made("patience" if patience else "again", attempt=before.attempt)
        case StepFailed() if event.error.code in PATIENCE_CODES and by_time:
            return made("patience", attempt=before.attempt)
        case StepSkipped():
            return made("patience", attempt=before.attempt)
        case StepFailed() if event.attempt is None:
            return made("go")
        case StepFailed() | StepRetryScheduled() if by_time and event.error.code in TIMEOUT_CODES:
            kind = KINDS_OF_CODES[event.error.code]
            spans = _spans(before, event)
            return made("timeout", attempt=event.attempt, kind=kind, spans=spans)
        case StepFailed() | StepRetryScheduled():
            outcome = _outcome(before, event, rules)
            return made(
                "report", attempt=event.attempt, outcome=outcome, spans=_spans(before, event)
            )
        case StepParked():
            spans = _spans(before, event)
            return made("report", attempt=event.attempt, outcome="user_action", spans=spans)
        case StepSucceeded() if event.attempt is not None:
            spans = _spans(before, event)
            return made("report", attempt=event.attempt, outcome="succeeded", spans=spans)
        case StepSucceeded() if by_time and _sleeps(before):
            return made("wake")
        case StepSucceeded() if before.request is not None:
            return made("answer", data=event.result)
        case _:
            return None


def _sleeps(step: Step) -> bool:
    waits = step.state == "waiting" and step.until is not None
    return waits and step.signal is None and step.child is None


def _spans(
    before: Step, event: StepSucceeded | StepFailed | StepRetryScheduled | StepParked
) -> Spans:
    started = getattr(event, "started_at", None)
    ended = getattr(event, "ended_at", None) or event.at
    first_sign = before.started_at or started
    return Spans(
        queue=_seconds(before.released_at, first_sign or event.at),
        run=_seconds(started or before.started_at, ended if started else event.at),
        total=_seconds(before.begun_at, event.at),
    )


def _seconds(begin: datetime | None, end: datetime | None) -> float | None:
    return None if begin is None or end is None else (end - begin).total_seconds()


def _outcome(before: Step, event: StepFailed | StepRetryScheduled, rules: Rules) -> str:
    """Return what the report of a failure said: that is not recorded, but follows mostly."""
    if isinstance(event, StepRetryScheduled):
        later = event.rule < 0 or (rules.rules is not None and event.error.type == RETRY_LATER)
        return "retry_later" if later else "failed"
    decided = steps.decide_failure(
        before, Failure(error=event.error), rules, 0.0, now=event.at, cause=event.cause
    )
    if not isinstance(decided, StepFailed):
        return "permanent"  # else it would have been tried again
    if event.error.type == RETRY_LATER:
        return "retry_later" if rules.rules is not None else "permanent"
    plain = event.error.code in PLAIN_CODES
    return "failed" if plain or before.failures else "permanent"


def report_of(given: Input, token: str, result: bytes, asked: UserActionAsked | None) -> StepReport:
    """Return the report of an attempt as its worker may have sent it."""
    event = given.event
    error: Error | None = getattr(event, "error", None)
    return StepReport(
        job=given.job,
        step=given.id,
        attempt=given.attempt,
        token=token,
        worker=getattr(event, "worker", None) or "recorded",
        outcome=given.outcome,
        result=msgspec.Raw(result),
        error=error,
        retry_after=0.0 if isinstance(event, StepRetryScheduled) else None,
        user_action=asked,
        started_at=getattr(event, "started_at", None) or event.at,
        ended_at=getattr(event, "ended_at", None) or event.at,
    )


def done(step: Step, at: datetime) -> StepReport:
    """Return the report of an attempt that did what it should and has nothing to say."""
    return StepReport(
        job=step.job,
        step=step.id,
        attempt=step.attempt,
        token=step.token,
        worker="nobody",
        outcome="succeeded",
        started_at=at,
        ended_at=at,
    )
