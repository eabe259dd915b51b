"""The one way in which a projection gives a step another state, so that all counts follow."""

from __future__ import annotations

from datetime import datetime

from warrener.domain.states import STEP_ENDED
from warrener.projections.views import StepView
from warrener.projections.working import Working


def move(working: Working, step: StepView, state: str, at: datetime) -> None:
    """Give a step another state and count it in its fan-out; what it waited for is over."""
    old = step.state
    if old == state:
        return
    step.state, step.since = state, at
    step.due = step.until = step.request = step.signal = None
    if step.is_item:
        _count_item(working, step, old, at)
    if state in STEP_ENDED and step.ended_at is None:
        step.ended_at = at


def _count_item(working: Working, step: StepView, old: str, at: datetime) -> None:
    """Count an item in the document of its fan-out."""
    fan_out = working.step(step.job, step.name)
    if fan_out is None:
        return
    if fan_out.state == "pending":
        move(working, fan_out, "waiting", at)
    if old:
        left = fan_out.items.pop(old, 0) - 1
        if left > 0:
            fan_out.items[old] = left
    fan_out.items[step.state] = fan_out.items.get(step.state, 0) + 1


def wait(working: Working, step: StepView, at: datetime) -> None:
    """The step waits for something, unless it has ended already."""
    if step.state not in STEP_ENDED:
        move(working, step, "waiting", at)
