"""Fan-outs: opening them over their items, and what follows when an item ends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from warrener.domain import ids
from warrener.domain.errors import ExpressionError, PayloadError
from warrener.domain.events import Error, FanOut
from warrener.domain.graph import value_error
from warrener.domain.job_state import Items
from warrener.domain.payloads import PAYLOAD_BYTES_MAX, check_size, encode_json
from warrener.domain.step import Step
from warrener.domain.step_events import StepEvent, StepFailed, StepOpened
from warrener.services import children
from warrener.services.active_job import ActiveJob, Collected

if TYPE_CHECKING:
    from warrener.services.turn import Turn


def open_fan_out(turn: Turn, active: ActiveJob, name: str) -> None:
    """Evaluate the items of a fan-out and make them ready, as far as its window allows."""
    if active.job.step(name) != "ready":
        return  # cancelled in the meantime
    step = turn.begun(active, name)
    try:
        values = _items_of(active, name)
        data = encode_json(values)
        check_size(len(data))
    except (ExpressionError, PayloadError) as problem:
        turn.fail_step(step, value_error(problem))
        return
    refusal = children.over_budget(turn, active, name, len(values))
    if refusal is not None:
        turn.fail_step(step, refusal)
        return
    _open(turn, active, step, len(values), data)
    active.items[name] = values
    if values:
        make_ready(turn, active, name, 0)
    else:
        _succeed(turn, active, name)


def _open(turn: Turn, active: ActiveJob, step: Step, count: int, data: bytes) -> None:
    planned = active.plan.steps[step.path]
    items = turn.batch.payload(data)
    at, cause, job = turn.batch.now, turn.cause, step.job
    opened = StepOpened(at=at, cause=cause, job=job, path=step.path, items=items, count=count)
    turn.record_step(step, opened)
    turn.memory.steps[step.id] = step
    active.tree.steps_used += count
    name = step.path
    shape = FanOut(
        count,
        active.job.windows.get(name, planned.definition.window),
        active.job.tolerances.get(name, planned.tolerated(count)),
    )
    turn.advance(active).decided.fan_out(step.path, shape)
    if planned.collects:
        active.collected[step.path] = Collected(count, PAYLOAD_BYTES_MAX)


def _items_of(active: ActiveJob, name: str) -> list[Any]:
    source = active.plan.steps[name].for_each
    values = source.render(active.scope(name)) if source is not None else None
    if isinstance(values, dict):
        return [{"key": key, "value": value} for key, value in values.items()]
    if not isinstance(values, list):
        kind = "null" if values is None else type(values).__name__
        raise ExpressionError(f"for_each of step {name} must give a list or a map, not {kind}")
    return values


def make_ready(turn: Turn, active: ActiveJob, name: str, start: int) -> None:
    """Items from `start` up to the end of the window may begin, as far as they have not."""
    planned, items = active.plan.steps[name], active.job.fan_outs[name]
    start = max(start, items.begun)  # the window may have been larger before
    if planned.kind == "call":
        waiting = range(start, items.may_begin)
        standing, now = active.standing(name), turn.batch.now
        turn.flow.add_items(active.job.id, name, standing, now, items=waiting)
        return
    for index in range(start, items.may_begin):
        if active.job.fan_outs.get(name) is not items:
            return  # the fan-out failed meanwhile
        turn.advance(active).decided.begun(name, index + 1)
        children.begin_item(turn, active, name, index)


def end_item(turn: Turn, active: ActiveJob, step: Step, event: StepEvent, data: bytes) -> None:
    """An item ended; end the fan-out, or let the window move on."""
    name, index = ids.split_path(step.path)
    assert index is not None, step.path
    items = active.job.fan_outs[name]
    before = items.may_begin
    turn.advance(active).decided.item(name, index, step.state)
    if step.state == "succeeded" and name in active.collected:
        active.collected[name].put(index, data)
    if isinstance(event, StepFailed) and items.counts["failed"] > items.shape.tolerated:
        _fail(turn, active, name, _too_many(items, step.path, event.error))
    elif items.ended_count == items.shape.count:
        _succeed(turn, active, name)
    elif items.may_begin > before:
        turn.later(lambda: _move_window(turn, active, name, before))


def _move_window(turn: Turn, active: ActiveJob, name: str, start: int) -> None:
    if name in active.job.fan_outs:
        make_ready(turn, active, name, start)


def _succeed(turn: Turn, active: ActiveJob, name: str) -> None:
    step = turn.memory.steps[ids.step_id(active.job.id, name)]
    collected = active.collected.get(name)
    if collected is None:
        turn.end_step(step, turn.succeeded(step, None))
        return
    try:
        check_size(collected.bytes)
    except PayloadError as error:
        turn.fail_step(step, value_error(error))
        return
    data = collected.to_json()
    turn.end_step(step, turn.succeeded(step, turn.batch.payload(data)), data)


def _fail(turn: Turn, active: ActiveJob, name: str, error: Error) -> None:
    for index in active.job.fan_outs[name].in_flight():
        turn.cancel_step(ids.step_id(active.job.id, ids.item_path(name, index)))
        turn.advance(active).decided.item(name, index, "cancelled")
    turn.fail_step(turn.memory.steps[ids.step_id(active.job.id, name)], error)


def _too_many(items: Items, path: str, last: Error) -> Error:
    where = path if last.path is None else f"{path}/{last.path}"
    return Error(
        code="items-failed",
        message=f"{items.counts['failed']} of {items.shape.count} items failed,"
        f" {items.shape.tolerated} tolerated; {where}: {last.message}",
    )
