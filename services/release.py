"""Releasing ready steps: the last moment at which anything can still be decided about them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from warrener.domain import ids
from warrener.domain.errors import ExpressionError, PayloadError
from warrener.domain.events import StepReleased
from warrener.domain.flow import Ready
from warrener.domain.graph import value_error
from warrener.domain.messages import DEFAULT_QUEUE
from warrener.domain.step import Step
from warrener.services.working_set import ActiveJob

if TYPE_CHECKING:
    from warrener.services.turn import Turn


def release_all(turn: Turn, new_token: Callable[[], str]) -> None:
    """Release as much as the windows let out, and do all that follows at once."""
    turn.drain()
    while (ready := turn.flow.take()) is not None:
        _release(turn, ready, new_token)
        turn.drain()


def _release(turn: Turn, ready: Ready, new_token: Callable[[], str]) -> None:
    active = turn.memory.jobs.get(ready.job)
    if active is None or not _still_ready(active, ready):
        return
    path = ready.step if ready.index is None else ids.item_path(ready.step, ready.index)
    step = turn.memory.steps.get(ids.step_id(ready.job, path))
    if step is None:
        step = turn.begun(active, path)
    elif step.state != "retrying":
        return
    turn.cause = f"timer:{step.id}/{step.attempt}" if step.attempt else "release"
    if ready.index is not None and ready.index >= active.job.fan_outs[ready.step].begun:
        turn.advance(active).begin_items(ready.step, ready.index + 1)
    _order(turn, active, ready, step, new_token)


def _still_ready(active: ActiveJob, ready: Ready) -> bool:
    if ready.index is None:
        return active.job.step(ready.step) == "ready"
    items = active.job.fan_outs.get(ready.step)
    return items is not None and not items.ended[ready.index]


def _order(
    turn: Turn, active: ActiveJob, ready: Ready, step: Step, new_token: Callable[[], str]
) -> None:
    planned = active.plan.steps[ready.step]
    try:
        data = active.render_arguments(ready.step, ready.index)
    except (ExpressionError, PayloadError) as error:
        turn.fail_step(step, value_error(error))
        return
    queue = planned.definition.queue or DEFAULT_QUEUE
    event = StepReleased(
        at=turn.batch.now,
        cause=turn.cause,
        job=step.job,
        path=step.path,
        attempt=step.attempt + 1,
        token=new_token(),
        endpoint=planned.definition.call or "",
        queue=queue,
        args=turn.batch.payload(data),
    )
    turn.record_step(step, event)
    turn.memory.steps[step.id] = step
    turn.flow.released(queue)
