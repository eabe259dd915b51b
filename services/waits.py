"""Steps that wait for a signal or for a time; they hold no worker and no slot."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from warrener.domain import ids
from warrener.domain.definition.check_params import form_misfits, misfits_of_all
from warrener.domain.definition.durations import moment
from warrener.domain.definition.model import Wait
from warrener.domain.errors import UsageError
from warrener.domain.events import Error, JobSignalled
from warrener.domain.job_state import Signal
from warrener.domain.messages import SignalJob
from warrener.domain.payloads import NULL, decode_json
from warrener.domain.step import Step
from warrener.domain.step_events import StepOpened
from warrener.services import user_actions
from warrener.services.active_job import ActiveJob, payload_bytes, read_payload

if TYPE_CHECKING:
    from warrener.services.turn import Turn

SIGNALS_KEPT_MAX = 1_000  # of one job, for whoever waits for them next


def begin_sleep(turn: Turn, active: ActiveJob, name: str, value: bytes) -> None:
    """Let a step sleep: `value` is a duration or an instant, as JSON."""
    step = turn.begun(active, name)
    try:
        until = moment(msgspec.json.decode(value), turn.batch.now)
    except (ValueError, OverflowError) as problem:
        error = Error(code="expression-error", message=f"sleep: {problem}")
        turn.later(partial(_refuse, turn, step, error))
        turn.memory.steps[step.id] = step
        return
    _open(turn, step, until=until)


def _refuse(turn: Turn, step: Step, error: Error) -> None:
    if step.id in turn.memory.steps:  # not cancelled in the meantime
        turn.fail_step(step, error)


def begin_wait(turn: Turn, active: ActiveJob, name: str) -> None:
    """Let a step wait for its signal, or take one that came before."""
    definition = active.plan.steps[name].definition.wait
    assert definition is not None, name
    step = turn.begun(active, name)
    expire = definition.expire
    until = None if expire is None else turn.batch.now + timedelta(seconds=expire)
    kept = _fitting(turn, active, definition)
    ask = definition.form is not None and kept is None
    request = user_actions.ask_for(turn, active, step) if ask else None
    opened = StepOpened(
        at=turn.batch.now,
        cause=turn.cause,
        job=step.job,
        path=step.path,
        signal=definition.signal,
        until=until,
        request=request,
    )
    turn.record_step(step, opened)
    turn.memory.steps[step.id] = step
    if kept is not None:
        turn.claimed.add(kept.key)
        turn.later(partial(_take_kept, turn, active, step, kept))


def _fitting(turn: Turn, active: ActiveJob, wait: Wait) -> Signal | None:
    """Return the first kept signal that a step may take: it fits, and no other has claimed it."""
    for signal in active.job.signals.get(wait.signal, ()):
        data = read_payload(signal.data, turn.memory.store, turn.batch.blobs)
        if signal.key not in turn.claimed and not form_misfits(wait.form, data, "data"):
            return signal
    return None


def _open(turn: Turn, step: Step, until: datetime) -> None:
    at, cause = turn.batch.now, turn.cause
    opened = StepOpened(at=at, cause=cause, job=step.job, path=step.path, until=until)
    turn.record_step(step, opened)
    turn.memory.steps[step.id] = step


def _take_kept(turn: Turn, active: ActiveJob, step: Step, kept: Signal) -> None:
    """Let a step that waits take a signal that was kept."""
    turn.claimed.discard(kept.key)
    if step.state != "waiting" or step.signal is None:
        return  # cancelled in the meantime
    turn.advance(active).decided.heard(kept.key, step.signal)
    data = payload_bytes(kept.data, turn.memory.store, turn.batch.blobs)
    turn.end_step(step, turn.succeeded(step, kept.data), data)


def signal(turn: Turn, active: ActiveJob, message: SignalJob) -> None:
    """Hand a signal to a step that waits for it, or keep it for the next that does.

    Raises `UsageError` if the data does not fit the form of whoever it is for.
    """
    job = active.job
    raw = bytes(message.data)
    data = decode_json(raw)
    step = _waiting_for(turn, active, message.name)
    _check_form(active, message.name, data, step)
    if step is None and sum(map(len, job.signals.values())) >= SIGNALS_KEPT_MAX:
        raise UsageError(
            f"job {job.id} keeps {SIGNALS_KEPT_MAX} signals that nobody has waited for"
        )
    payload = turn.batch.payload(raw)
    turn.flush(active)
    event = JobSignalled(
        at=turn.batch.now,
        cause=turn.cause,
        name=message.name,
        key=message.key,
        data=payload,
        step=step.path if step else None,
        by=message.by,
        reason=message.reason,
    )
    turn.record_job(job, event)
    if step is not None:
        turn.end_step(step, turn.succeeded(step, payload), raw)


def _waiting_for(turn: Turn, active: ActiveJob, name: str) -> Step | None:
    """Return the first step, in topological order, that waits for a signal of this name."""
    for each, planned in active.plan.steps.items():
        wait = planned.definition.wait
        if wait is not None and wait.signal == name:
            step = turn.memory.steps.get(ids.step_id(active.job.id, each))
            if step is not None and step.state == "waiting":
                return step
    return None


def _check_form(active: ActiveJob, name: str, data: object, step: Step | None) -> None:
    """Refuse data that does not fit the form of who it is for, or of anybody who may wait later."""
    waits = [planned.definition.wait for planned in active.plan.steps.values()]
    forms = [wait.form for wait in waits if wait is not None and wait.signal == name]
    if not forms:
        known = sorted({wait.signal for wait in waits if wait is not None})
        hint = f"; it waits for {', '.join(known)}" if known else "; it waits for no signal at all"
        raise UsageError(f"job {active.job.name} has no step that waits for {name}{hint}")
    if step is not None:
        wait = active.plan.steps[step.path].definition.wait
        forms = [wait.form if wait else None]
    found = misfits_of_all(forms, data, "data")
    if found:
        raise UsageError("; ".join(str(problem) for problem in found))


def wake(turn: Turn, step: Step) -> None:
    """The time of a sleep has come."""
    turn.end_step(step, turn.succeeded(step, NULL))


def expire(turn: Turn, step: Step) -> None:
    """No signal came for as long as the step is patient."""
    error = Error(code="wait-expired", message=f"no signal {step.signal} came in time")
    turn.fail_step(step, error)
