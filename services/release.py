"""Releasing ready steps: the last moment at which anything can still be decided about them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from warrener.domain import ids
from warrener.domain.caps import JOBS
from warrener.domain.errors import ExpressionError, PayloadError
from warrener.domain.flow.figures import PAUSED
from warrener.domain.flow.ready import Queued, Ready
from warrener.domain.graph import value_error
from warrener.domain.limit_state import Claim, Waiter
from warrener.domain.step import Step
from warrener.domain.step_events import StepReleased
from warrener.services import intake
from warrener.services.active_job import ActiveJob

if TYPE_CHECKING:
    from warrener.services.turn import Turn


def release_all(turn: Turn) -> None:
    """Release as much as windows and limits let out, and do all that follows at once.

    Those who wait for a limit are among the ready ones before any of these goes out: whoever has
    the better place gets what is free.
    """
    turn.drain()
    intake.go_on(turn)
    went_on = True
    while went_on:
        went_on = _try_again(turn)
        while (queued := turn.flow.take(turn.batch.now)) is not None:
            _release(turn, queued)
            turn.drain()
            went_on = True
    turn.memory.intake.more = turn.starts >= intake.STARTS_MAX


def _try_again(turn: Turn) -> bool:
    """Have those tried again for whom a limit may have room; say whether there are any."""
    freed: list[Waiter] = []
    for waiter in turn.memory.limits.freed(turn.batch.now, turn.has_room):
        turn.starts += waiter.queue == JOBS
        freed.append(waiter)
    for waiter in freed:
        if waiter.queue == JOBS:
            intake.try_start(turn, waiter)
        elif waiter.aged:  # among the others it might be passed once more
            turn.flow.let_go(waiter.queued, waiter.reason)
            _release(turn, waiter.queued)
            turn.drain()
        else:
            turn.flow.add_again(waiter.queued, waiter.reason)
    return bool(freed)


def _release(turn: Turn, queued: Queued) -> None:
    ready = queued.ready
    active = turn.memory.jobs.get(ready.job)
    if active is None or not still_ready(active, ready):
        return
    step_id = ids.step_id(ready.job, ready.path)
    step = turn.memory.steps.get(step_id)
    if step is not None and not _may_go(step, turn.batch.now):
        if step.state == "retrying":
            turn.memory.watch(step)  # it was due, and the clock was set back since
        return
    paused = turn.memory.pausing(active)
    if paused is not None:
        turn.memory.held.setdefault(paused, []).append(_held(turn, queued, PAUSED))
        return
    turn.cause = turn.cause_of_release(ready)
    if step is not None and step.state == "retrying":
        turn.cause = f"timer:{step_id}/{step.attempt}"
    try:
        claims = _claims(turn, active, queued)
    except (ExpressionError, PayloadError) as error:
        turn.fail_step(_begin(turn, active, ready, step), value_error(error))
        return
    blocker = turn.memory.limits.blocker(claims, turn.batch.now) if claims else None
    if blocker is not None:
        reason = turn.memory.limits.reason(blocker)
        turn.memory.limits.wait(blocker, _held(turn, queued, reason), claims)
        return
    _order(turn, active, queued, _begin(turn, active, ready, step), claims)


def _held(turn: Turn, queued: Queued, reason: str) -> Waiter:
    turn.flow.hold(queued, reason)
    return Waiter(queued, reason, turn.flow.place(queued.standing))


def still_ready(active: ActiveJob, ready: Ready) -> bool:
    """Say whether a step of a job that waits for its release may still go out."""
    if ready.index is None:
        return active.job.step(ready.step) == "ready"
    items = active.job.fan_outs.get(ready.step)
    if items is None or ready.index >= max(items.begun, items.may_begin):
        return False  # what has begun goes on, though the window was made smaller since
    return not items.ended[ready.index]


def _may_go(step: Step, now: datetime) -> bool:
    """Say whether a begun step waits for its next attempt, and that is due."""
    if step.state == "retrying":
        return step.until is None or step.until <= now
    return step.state == "ready"


def _claims(turn: Turn, active: ActiveJob, queued: Queued) -> Sequence[Claim]:
    own = active.claims(queued.ready.step, queued.ready.index)
    caps = turn.memory.caps.of_step(queued.standing)
    return [*own, *caps] if caps else own


def _begin(turn: Turn, active: ActiveJob, ready: Ready, step: Step | None) -> Step:
    if ready.index is not None and ready.index >= active.job.fan_outs[ready.step].begun:
        turn.advance(active).decided.begun(ready.step, ready.index + 1)
    return turn.begun(active, ready.path) if step is None else step


def _order(
    turn: Turn, active: ActiveJob, queued: Queued, step: Step, claims: Sequence[Claim]
) -> None:
    ready = queued.ready
    planned = active.plan.steps[ready.step]
    try:
        data = active.render_arguments(ready.step, ready.index)
    except (ExpressionError, PayloadError) as error:
        turn.fail_step(step, value_error(error))
        return
    limits = turn.memory.limits.take(step.id, claims, turn.batch.now) if claims else ()
    event = StepReleased(
        at=turn.batch.now,
        cause=turn.cause,
        job=step.job,
        path=step.path,
        attempt=step.attempt + 1,
        token=turn.chance.token(),
        endpoint=planned.definition.call or "",
        queue=planned.queue,
        args=turn.batch.payload(data),
        limits=limits,
    )
    turn.record_step(step, event)
    turn.memory.steps[step.id] = step
    turn.flow.released(step.id, queued, turn.batch.now)
