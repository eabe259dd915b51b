"""Endpoints whose effects are counted by a ledger outside."""

from __future__ import annotations

import os
import time

from support.ledger_server import tell

from warrener import current_step, endpoint


@endpoint("chaos.square", queue="work")
def square(number: int) -> int:
    """Have an effect that honours the token, and take a moment over it."""
    step = current_step()
    time.sleep(0.005)
    tell(os.environ["CHAOS_LEDGER"], step=str(step.step), attempt=step.attempt, token=step.token)
    return number * number


@endpoint("chaos.sum", queue="work")
def total(numbers: list[int]) -> int:
    """Add up."""
    return sum(numbers)
