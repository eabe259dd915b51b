"""Asking people for help: one open request for each cause, for all steps that name it."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import msgspec

from warrener.domain import ids
from warrener.domain.control_events import (
    MeasureProposed,
    UserActionAnswered,
    UserActionEvent,
    UserActionReminded,
    UserActionRequested,
    UserActionWithdrawn,
)
from warrener.domain.definition.check_params import (
    ANSWER_BYTES_MAX,
    form_misfits,
    form_problems,
)
from warrener.domain.errors import UsageError
from warrener.domain.events import Error
from warrener.domain.messages import AnswerUserAction, StepReport, UserActionAsked
from warrener.domain.payloads import Payload, decode_json
from warrener.domain.ports import EventStore
from warrener.domain.step import Step
from warrener.domain.step_events import StepFailed, StepParked, StepSkipped
from warrener.services import attempts
from warrener.services.active_job import ActiveJob, read_payload
from warrener.services.requests import Request

if TYPE_CHECKING:
    from warrener.services.turn import Turn

TAKE_MEASURE: Final = "take-measure"
AGREE: Final = {
    "type": "object",
    "properties": {"do": {"type": "boolean", "description": "whether to do it"}},
    "required": ["do"],
    "additionalProperties": False,
}

# --- asking ------------------------------------------------------------------------------------


def park(turn: Turn, active: ActiveJob, step: Step, report: StepReport) -> None:
    """Let a step wait for a person, as the endpoint asked."""
    asked = report.user_action or UserActionAsked(action="user-action", cause=str(step.id))
    problems = form_problems(asked.form)
    if problems:
        message = f"the form of user action {asked.action}: {problems[0]}"
        attempts.fail_for_good(turn, step, report, Error(code="bad-form", message=message))
        return
    rule = active.plan.at(step.path).definition.on_user_action
    request = _request(turn, step, asked, step.attempt)
    turn.leave_queue(step)
    until = None
    if rule is not None and rule.expire is not None:
        until = turn.batch.now + timedelta(seconds=rule.expire)
    event = StepParked(
        at=turn.batch.now,
        cause=turn.cause,
        job=step.job,
        path=step.path,
        attempt=step.attempt,
        request=request.id,
        until=until,
        worker=report.worker,
    )
    turn.record_step(step, event)
    turn.memory.join(request, step.id, rule.remind if rule else None)


def ask_for(turn: Turn, active: ActiveJob, step: Step) -> UUID:
    """Open the request of a step that waits for a signal with a form; return its id."""
    wait = active.plan.at(step.path).definition.wait
    assert wait is not None, step.path
    subject = f"{step.job}/{step.path}"
    asked = UserActionAsked(action=wait.signal, cause=subject, form=wait.form)
    request = _request(turn, step, asked, -step.generation, shared=False)
    turn.memory.join(request, step.id, None)
    return request.id


def _request(
    turn: Turn, step: Step, asked: UserActionAsked, number: int, *, shared: bool = True
) -> Request:
    """Return the open request about a cause, opening one if there is none to be shared."""
    requests = turn.memory.requests
    found = requests.about(asked.cause) if shared else None
    if found is not None:
        return found
    form = None if asked.form is None else turn.batch.payload(msgspec.json.encode(asked.form))
    event = UserActionRequested(
        at=turn.batch.now,
        cause=turn.cause,
        action=asked.action,
        subject=asked.cause,
        message=asked.message,
        form=form,
        job=step.job,
        path=step.path,
        shared=shared,
    )
    request = Request(ids.user_action_id(step.id, number), event, turn.batch.now)
    requests.add(request)
    _record(turn, request, event)
    return request


def ask_about_measure(turn: Turn, incident: UUID, proposed: MeasureProposed, says: str) -> None:
    """Ask a person whether to take a measure that was proposed; the incident waits for it."""
    measure = proposed.measure
    assert proposed.request is not None, measure
    about = f" ({measure.job}/{measure.step})" if measure.step else ""
    event = UserActionRequested(
        at=turn.batch.now,
        cause=turn.cause,
        action=TAKE_MEASURE,
        subject=f"starvation:{measure.queue}:{measure.kind}",
        message=f"steps of queue {measure.queue} wait too long: {says}{about}?",
        form=turn.batch.payload(msgspec.json.encode(AGREE)),
    )
    request = Request(proposed.request, event, turn.batch.now)
    turn.memory.requests.add(request)
    _record(turn, request, event)
    turn.memory.join(request, incident, None)


def let_go(turn: Turn, request: Request, why: str) -> None:
    """The service itself waits for a request no longer; steps may wait for it all the same."""
    for member in list(request.members):
        if member not in turn.memory.steps:
            request.leave(member)
    if not request.members:
        _record(turn, request, UserActionWithdrawn(at=turn.batch.now, cause=turn.cause, why=why))
        turn.memory.requests.remove(request)


# --- what becomes of it ------------------------------------------------------------------------


def answer(turn: Turn, message: AnswerUserAction) -> None:
    """Let every step that waits for this request go on; raises `UsageError` if it cannot."""
    request = _asked(turn, message)
    if request is None:
        return
    raw = bytes(message.data)
    if len(raw) > ANSWER_BYTES_MAX:
        raise UsageError(f"{len(raw)} bytes are over the limit of {ANSWER_BYTES_MAX} for an answer")
    data = decode_json(raw)
    form = read_payload(request.asked.form, turn.memory.store, turn.batch.blobs)
    problems = form_misfits(form, data, "data")
    if problems:
        raise UsageError("; ".join(str(problem) for problem in problems))
    payload = turn.batch.payload(raw)
    by, reason = message.by, message.reason
    event = UserActionAnswered(
        at=turn.batch.now, cause=turn.cause, by=by, reason=reason, data=payload
    )
    _record(turn, request, event)
    turn.memory.requests.remove(request)
    for step_id in list(request.members):
        step = turn.memory.steps.get(step_id)
        if step is not None and step.request == request.id:
            _go_on(turn, step, message.by, payload, raw)
    agreed = isinstance(data, dict) and data.get("do") is True
    answered = turn.control.answered(request.id, turn.batch.now, agreed=agreed, by=message.by)
    turn.record_control(answered)


def _asked(turn: Turn, message: AnswerUserAction) -> Request | None:
    """Return the open request that is answered, None if there is nothing to do here."""
    requests = turn.memory.requests
    if message.cause is not None:  # a copy: the request is another partition's
        return requests.about(message.cause)
    found = requests.open.get(message.request)
    if found is None and not _is_repeated(turn, message.request):
        raise UsageError(_why_not_open(turn.memory.store, message.request))
    return found


def _is_repeated(turn: Turn, request: UUID) -> bool:
    """Say whether this very command has answered the request before."""
    last = turn.memory.store.last(request)
    answered = last.event if last is not None else None
    return isinstance(answered, UserActionAnswered) and answered.cause == turn.cause


def _go_on(turn: Turn, step: Step, by: str, payload: Payload, raw: bytes) -> None:
    if step.state == "waiting_user":
        turn.ready_again(step, by=by, reason="answered", answer=payload)
    else:
        turn.end_step(step, turn.succeeded(step, payload), raw)


def take_in_orphans(turn: Turn) -> None:
    """Let steps go on that wait for a request which somebody else has answered or withdrawn.

    That happens where the answer was written while we had not seen it and had a step join.
    """
    orphans, turn.memory.orphans = turn.memory.orphans, []
    for step_id in orphans:
        step = turn.memory.steps.get(step_id)
        if step is None:
            continue
        last = turn.memory.store.last(step.request) if step.request else None
        answered = last.event if last and isinstance(last.event, UserActionAnswered) else None
        if answered is not None:
            turn.ready_again(step, by=answered.by, reason="answered", answer=answered.data)
        else:
            turn.ready_again(step, reason="nobody waits for the answer any more")


def leave(turn: Turn, step: Step) -> None:
    """A step waits for its request no longer."""
    request = turn.memory.requests.open.get(step.request) if step.request else None
    if request is not None and request.leave(step.id) and not request.members:
        turn.later(partial(_withdraw, turn, request))


def _withdraw(turn: Turn, request: Request) -> None:
    if request.members or request.id not in turn.memory.requests.open:
        return
    why = "no step waits for the answer any more"
    _record(turn, request, UserActionWithdrawn(at=turn.batch.now, cause=turn.cause, why=why))
    turn.memory.requests.remove(request)


def remind(turn: Turn, request: Request) -> None:
    """Tell people again, if that is due."""
    due = request.remind_at()
    if due is None:
        return
    if due <= turn.batch.now:
        number = request.reminders + 1
        _record(
            turn, request, UserActionReminded(at=turn.batch.now, cause=turn.cause, number=number)
        )
        request.reminders, request.told_at = number, turn.batch.now
        due = request.remind_at() or due
    turn.memory.set_timer(due, request.id)


def expire(turn: Turn, active: ActiveJob, step: Step) -> None:
    """Nobody has answered for as long as the step is patient: go on as its definition says."""
    rule = active.plan.at(step.path).definition.on_user_action
    then = "fail" if rule is None else rule.then
    if then == "retry":
        turn.ready_again(step, reason="nobody answered in time")
    elif then == "skip":
        reason = "nobody answered the user action in time"
        at, cause = turn.batch.now, turn.cause
        skipped = StepSkipped(at=at, cause=cause, job=step.job, path=step.path, reason=reason)
        turn.end_step(step, skipped)
    else:
        turn.end_step(step, _expired(turn, step))


def _expired(turn: Turn, step: Step) -> StepFailed:
    request = turn.memory.requests.open.get(step.request) if step.request else None
    what = f"user action {request.asked.action}" if request else "a user action"
    error = Error(
        code="user-action-expired",
        message=f"nobody answered {what} in time",
        attempt=step.attempt,
    )
    return turn.failed(step, error)


def _record(turn: Turn, request: Request, event: UserActionEvent) -> None:
    request.version += 1
    turn.batch.append(request.id, request.version, event)


def _why_not_open(store: EventStore, request: UUID) -> str:
    last: Any = store.last(request)
    if last is None or not isinstance(last.event, UserActionEvent):
        return f"there is no user action {request}; `warrener actions` lists those that are open"
    if isinstance(last.event, UserActionAnswered):
        return f"user action {request} has been answered already"
    return f"user action {request} is open no longer: no step waits for it"
