"""What becomes of attempts: their reports, their beats, and what time brings about them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from warrener.domain import ids
from warrener.domain import step as steps
from warrener.domain.errors import PayloadError
from warrener.domain.events import Error
from warrener.domain.messages import Beat, StepReport
from warrener.domain.payloads import decode_json
from warrener.domain.step import Failure, Rules, Step
from warrener.domain.step_events import StepFailed
from warrener.domain.timers import Due, timeout_error
from warrener.services import user_actions, waits
from warrener.services.active_job import ActiveJob
from warrener.services.outbox import cancellation

if TYPE_CHECKING:
    from warrener.services.turn import Turn


def take_report(turn: Turn, report: StepReport) -> None:
    """Apply a report to the attempt that is out; all others are ignored."""
    step = turn.memory.steps.get(report.step)
    if step is None or not steps.answers(step, report):
        turn.batch.ignored += 1
        return
    turn.flow.measured(
        step.id, _seconds(turn, step, report), succeeded=report.outcome == "succeeded"
    )
    if report.outcome == "succeeded":
        _succeed(turn, step, report)
    elif report.outcome == "user_action":
        user_actions.park(turn, turn.memory.jobs[step.job], step, report)
    else:
        _settle(turn, step, steps.failure_of(report))


def _seconds(turn: Turn, step: Step, report: StepReport) -> float:
    """Return how long an attempt took: what its worker says, but not longer than it was out."""
    said, now = report.ended_at - report.started_at, turn.batch.now
    longest = now - (step.released_at or now)
    return max(0.0, min(said, longest).total_seconds())


def _succeed(turn: Turn, step: Step, report: StepReport) -> None:
    data = bytes(report.result)
    try:
        decode_json(data)
    except PayloadError as error:
        fail_for_good(turn, step, report, Error(code="bad-result", message=str(error)))
        return
    result = turn.batch.payload(data)
    event = steps.decide_success(step, report, result, turn.batch.now, turn.cause)
    turn.end_step(step, event, data)


def fail_for_good(turn: Turn, step: Step, report: StepReport, error: Error) -> None:
    """Take a report for one of a failure that no other attempt can mend."""
    failed = msgspec.structs.replace(report, outcome="permanent", error=error)
    _settle(turn, step, steps.failure_of(failed))


def _settle(turn: Turn, step: Step, failure: Failure) -> None:
    """Have the step tried again, or end it."""
    active, jitter = turn.memory.jobs[step.job], turn.chance.jitter()
    now, cause, rules = turn.batch.now, turn.cause, _rules(active, step)
    event = steps.decide_failure(step, failure, rules, jitter, now=now, cause=cause)
    if isinstance(event, StepFailed):
        turn.cancel_child(step)
        turn.end_step(step, event)
    else:
        turn.leave_queue(step)
        turn.record_step(step, event)


def _rules(active: ActiveJob, step: Step) -> Rules:
    """Return the retry rules of a step as they are now."""
    name, _ = ids.split_path(step.path)
    changed = active.job.retries.get(name)
    if changed is not None:
        return Rules(changed, active.job.revisions.get(name, 0))
    return Rules(active.plan.steps[name].definition.retry)


# --- signs of life -----------------------------------------------------------------------------


def take_beat(turn: Turn, beat: Beat) -> None:
    """Note that an attempt is alive, and how far it is; tell its worker if nobody wants it."""
    step = turn.memory.steps.get(beat.step)
    if step is None or not steps.answers(step, beat):
        turn.batch.ignored += 1
        if step is None or step.state not in steps.OUT or beat.attempt < step.attempt:
            stale = cancellation(beat.job, beat.step, beat.attempt)  # nobody waits for it
            turn.batch.replies.append(stale)
        return
    now = turn.batch.now
    started = steps.decide_start(step, beat, now, turn.cause)
    turn.memory.heard[step.id] = now
    if started is not None:
        turn.record_step(step, started)
    progressed = steps.decide_progress(step, beat, now, turn.cause)
    if progressed is not None:
        turn.record_step(step, progressed)


# --- time --------------------------------------------------------------------------------------


def take_due(turn: Turn, step: Step) -> None:
    """Do what time alone has brought about a step by now."""
    active = turn.memory.jobs[step.job]
    turn.cause = f"timer:{step.id}/{step.attempt}"
    dues = turn.memory.due(step)
    due = max(
        (due for due in dues if due.at <= turn.batch.now), key=lambda due: due.kind == "total"
    )
    if due.kind == "retry":
        turn.queue_up(active, *ids.split_path(step.path))
        for later in (later for later in dues if later.at > turn.batch.now):
            turn.memory.set_timer(later.at, step.id)
    elif due.kind == "sleep":
        waits.wake(turn, step)
    elif due.kind == "patience" and step.state == "waiting_user":
        user_actions.expire(turn, active, step)
    elif due.kind == "patience":
        waits.expire(turn, step)
    else:
        _time_out(turn, active, step, due)


def _time_out(turn: Turn, active: ActiveJob, step: Step, due: Due) -> None:
    timeout = active.plan.at(step.path).definition.timeout
    assert timeout is not None, step.path
    _settle(turn, step, Failure(error=timeout_error(due.kind, timeout)))
