"""Orders that the broker gave up on: delivered again and again, to workers that died of them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import msgspec

from warrener.domain.errors import WarrenerError
from warrener.domain.events import Error
from warrener.domain.messages import RunStep, StepReport, decoder
from warrener.domain.topology import RESULTS

_RESULTS = f"{RESULTS}."

_decode: Callable[[bytes], RunStep] = decoder(RunStep)


class NoOrder(WarrenerError):
    """What came as a poisoned order is none."""


def poisoned(body: bytes, now: datetime) -> tuple[StepReport, str]:
    """Return the report that ends a poisoned order's attempt, and the queue that waits for it."""
    try:
        order = _decode(body)
    except msgspec.MsgspecError as error:
        raise NoOrder(f"no order: {error}") from error
    if not order.reply_to.startswith(_RESULTS):
        raise NoOrder(f"reply_to {order.reply_to!r} is no queue of results")
    message = "the order was delivered too often: its workers died, or gave it back every time"
    report = StepReport(
        job=order.job,
        step=order.step,
        attempt=order.attempt,
        token=order.token,
        worker="broker",
        outcome="permanent",
        error=Error(code="poison", message=message),
        started_at=now,
        ended_at=now,
    )
    return report, order.reply_to
