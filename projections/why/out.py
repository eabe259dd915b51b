"""Why a step that began has not ended: it is out, waits for a clock, a person or its parts."""

from __future__ import annotations

from datetime import datetime

from warrener.domain import ids
from warrener.domain.control_events import (
    UserActionAnswered,
    UserActionRequested,
    UserActionWithdrawn,
)
from warrener.domain.definition.model import Timeout
from warrener.domain.step import Step
from warrener.domain.timers import Due, all_due
from warrener.projections.why import held, serving
from warrener.projections.why.model import (
    NEXT_MAX,
    Blocker,
    Look,
    Place,
    Rank,
    counted,
    cut,
    failure,
    lasting,
    listed,
    moment,
)
from warrener.projections.why.still import decides, paused
from warrener.projections.why.tales import JobTale, StepTale, Tales

_KINDS = {
    "queue": "queue timeout",
    "run": "run timeout",
    "beat": "beat timeout",
    "total": "total timeout",
}


def timeout_of(tale: JobTale, path: str) -> Timeout:
    """Return the timeouts of a step."""
    return tale.planned(path).definition.timeout or Timeout()


def next_due(tale: JobTale, step: Step) -> Due | None:
    """Return what time brings next; beats are not in the log, and so neither is their end."""
    return min(all_due(step, timeout_of(tale, step.path), None), default=None)


def _overdue(tales: Tales, tale: JobTale, begun: StepTale, what: str) -> Look | None:
    """Look at what should have been brought about by time already."""
    due = next_due(tale, begun.step)
    if due is None or due.at > tales.past.now:
        return None
    kind = _KINDS.get(due.kind, what)
    says = f"is overdue: its {kind} has ended at {moment(due.at)}, which the reactor tells next"
    return decides(tales, tale, begun.step.path, says, begun.state)


# --- an order is out -----------------------------------------------------------------------------


def released(tales: Tales, tale: JobTale, begun: StepTale) -> Look:
    """Look at an order that no worker has spoken of yet."""
    overdue = _overdue(tales, tale, begun, "time")
    if overdue is not None:
        return overdue
    step, order = begun.step, begun.order
    due = next_due(tale, step)
    unserved = serving.unserved(tales.fleet(), step.queue, order.endpoint if order else "")
    where = f"attempt {step.attempt} has been with queue {step.queue} since {moment(begun.since)}"
    says = (
        f"waits for a worker: {where}, and {unserved}"
        if unserved
        else f"waits for a worker's report: {where}; none has said yet that it runs"
    )
    return Look(
        state="released",
        kind="worker",
        since=begun.since,
        until=due.at if due else None,
        says=says + _deadlines(tale, step),
        release=serving.serve(step.queue, unserved) if unserved else "a report of the worker",
        rank=Rank.PEOPLE if unserved else Rank.RUNS,
    )


def running(tales: Tales, tale: JobTale, begun: StepTale) -> Look:
    """Look at an attempt that a worker said it runs."""
    overdue = _overdue(tales, tale, begun, "time")
    if overdue is not None:
        return overdue
    step, come = begun.step, begun.progress
    due = next_due(tale, step)
    far = ""
    if come is not None:
        note = f" ({cut(come.note)})" if come.note else ""
        far = f", {come.progress:.0%} done at {moment(come.at)}{note}"
    return Look(
        state="running",
        kind="worker",
        since=begun.since,
        until=due.at if due else None,
        says=f"runs: attempt {step.attempt} on worker {begun.worker}"
        f" since {moment(step.started_at)}{far}{_deadlines(tale, step)}",
        release=f"a report of worker {begun.worker}",
        rank=Rank.RUNS,
    )


def _deadlines(tale: JobTale, step: Step) -> str:
    """Return when timeouts will end the attempt, as the end of a sentence."""
    timeout = timeout_of(tale, step.path)
    dues = [due for due in all_due(step, timeout, None) if due.kind in _KINDS]
    parts = [f"{_KINDS[due.kind]} at {moment(due.at)}" for due in sorted(dues)]
    if step.state == "running" and timeout.beat is not None:
        parts.append(f"beat timeout {lasting(timeout.beat)} after the last sign of life")
    return f"; {listed(parts)}" if parts else ""


# --- a clock -------------------------------------------------------------------------------------


def retrying(tales: Tales, tale: JobTale, begun: StepTale) -> Look:
    """Look at a step whose next attempt has a time."""
    step = begun.step
    retry_at = step.until or begun.since
    said = f"attempt {step.attempt} failed with {failure(begun.error)}"
    if retry_at <= tales.past.now:
        return held.look(tales, tale, step.path, "retrying")
    overdue = _overdue(tales, tale, begun, "time")
    if overdue is not None:
        return overdue
    pause = paused(tales, tale, "retrying", f"; its next attempt is due at {moment(retry_at)}")
    if pause is not None:
        return pause
    due = next_due(tale, step)
    ends = ""
    if due is not None and due.kind == "total":
        ends = f", but its total timeout ends at {moment(due.at)} already"
    return Look(
        state="retrying",
        kind="retry",
        since=begun.since,
        until=due.at if due else retry_at,
        says=f"waits for its next attempt, due at {moment(retry_at)}{ends}: {said}",
        release=f"the time {moment(retry_at)}, or: warrener retry {step.job}/{step.path}",
        rank=Rank.CLOCK,
    )


def waiting(tales: Tales, tale: JobTale, path: str, begun: StepTale | None) -> Look:
    """Look at a step that waits for its parts, a signal or a time."""
    if path in tale.job.fan_outs:
        return _for_items(tales, tale, path)
    if begun is None:  # only the job's event of the opening is there yet
        return decides(tales, tale, path, state="waiting")
    if begun.step.child is not None:
        return _for_child(begun)
    if begun.step.signal is not None:
        return _for_signal(tales, tale, begun, begun.step.signal)
    if begun.step.until is not None:
        return _for_time(tales, tale, begun, begun.step.until)
    return decides(tales, tale, path, state="waiting")


def _for_time(tales: Tales, tale: JobTale, begun: StepTale, until: datetime) -> Look:
    overdue = _overdue(tales, tale, begun, "sleep")
    if overdue is not None:
        return overdue
    return Look(
        state="waiting",
        kind="timer",
        since=begun.since,
        until=until,
        says=f"sleeps until {moment(until)}",
        release=f"the time {moment(until)}",
        rank=Rank.CLOCK,
    )


# --- people --------------------------------------------------------------------------------------


def waiting_user(tales: Tales, tale: JobTale, begun: StepTale) -> Look:
    """Look at a step that only a person can help."""
    overdue = _overdue(tales, tale, begun, "patience")
    request = _request(tales, begun)
    if overdue is not None or request is None:
        says = "its user action is closed: the reactor lets it go on next"
        return overdue or decides(tales, tale, begun.step.path, says, begun.state)
    asked, blocker = request
    until = begun.step.until
    message = f": {cut(asked.message)}" if asked.message else ""
    rule = tale.planned(begun.step.path).definition.on_user_action
    ends = f"; at {moment(until)} it will {rule.then} without" if until and rule else ""
    return Look(
        state="waiting_user",
        kind="user-action",
        since=begun.since,
        until=until,
        says=f"waits for the answer to user action {asked.action}"
        f" (cause {cut(asked.subject)}){message}{ends}",
        release=f"warrener answer {blocker.id}",
        blockers=(blocker,),
        rank=Rank.PEOPLE,
    )


def _request(tales: Tales, begun: StepTale) -> tuple[UserActionRequested, Blocker] | None:
    """Return the open request that a step waits for."""
    asked: UserActionRequested | None = None
    request = begun.step.request
    for recorded in () if request is None else tales.past.stream(request):
        if isinstance(recorded.event, UserActionRequested):
            asked = recorded.event
        elif isinstance(recorded.event, UserActionAnswered | UserActionWithdrawn):
            return None
    if asked is None or request is None:
        return None
    blocker = Blocker(
        kind="user-action",
        id=request,
        job=asked.job or begun.step.job,
        path=asked.path if asked.job else begun.step.path,
        state="open",
        since=asked.at,
        sentence=f"{asked.action} (cause {cut(asked.subject)})",
    )
    return asked, blocker


def _for_signal(tales: Tales, tale: JobTale, begun: StepTale, signal: str) -> Look:
    kept = tale.job.signals
    if signal in kept:
        says = f"takes the signal {signal}, which has come, next"
        return decides(tales, tale, begun.step.path, says, "waiting")
    overdue = _overdue(tales, tale, begun, "patience")
    if overdue is not None:
        return overdue
    until, request = begun.step.until, _request(tales, begun)
    asks = f", or the answer to user action {request[0].action}" if request else ""
    ends = f" until {moment(until)}" if until else ""
    others = f"; kept for others: {listed(sorted(kept))}" if kept else ""
    answer = f", or: warrener answer {request[1].id}" if request else ""
    return Look(
        state="waiting",
        kind="signal",
        since=begun.since,
        until=until,
        says=f"waits for signal {signal}{asks}{ends}{others}",
        release=f"warrener signal {begun.step.job} {signal}{answer}",
        blockers=(request[1],) if request else (),
        rank=Rank.PEOPLE,
    )


# --- parts ---------------------------------------------------------------------------------------


def _for_child(begun: StepTale) -> Look:
    child = begun.step.child
    assert child is not None
    return Look(
        state="waiting",
        kind="children",
        since=begun.since,
        says=f"waits for its child job {child}: for",
        release="the end of the child job",
        next=(Place(child),),
        inside=True,
    )


def _for_items(tales: Tales, tale: JobTale, path: str) -> Look:
    items = tale.job.fan_outs[path]
    numbers = list(items.in_flight()[:NEXT_MAX])
    numbers += range(items.begun, min(items.may_begin, items.begun + NEXT_MAX - len(numbers)))
    if not numbers:
        return decides(tales, tale, path, state="waiting")
    open_items = [ids.item_path(path, number) for number in numbers]
    states = [tales.state(tale, item) for item in open_items]
    left = items.shape.count - items.ended_count
    rest = left - len(states)
    told = counted(states) + (f", {rest} more" if rest > 0 else "")
    window = items.shape.window
    limited = "" if window is None else f", {window} at most in flight"
    return Look(
        state="waiting",
        kind="children",
        since=tale.since(path),
        says=f"waits for {left} of {items.shape.count} items ({told}{limited}): for",
        release="the end of its items",
        next=tuple(tale.place(item) for item in open_items),
        inside=True,
    )
