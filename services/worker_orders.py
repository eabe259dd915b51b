"""What a worker reads and writes: orders in, control messages in, reports out."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import structlog

from warrener.domain import ids
from warrener.domain.messages import (
    AdviseWorker,
    CallWorkers,
    CancelStep,
    ControlMessage,
    RunStep,
    decoder,
)
from warrener.domain.ports import Outgoing
from warrener.domain.topology import RESULTS
from warrener.services.log_facts import facts_of
from warrener.services.runners import Finished

log = structlog.get_logger()

decode_order: Callable[[bytes], RunStep] = decoder(RunStep)
decode_control: Callable[[bytes], CancelStep | CallWorkers | AdviseWorker] = decoder(ControlMessage)
_RESULTS = f"{RESULTS}."


def read_order(body: bytes) -> RunStep:
    """Return an order that can be answered; raises an error of msgspec's family on others.

    Where to answer is checked because a report that no queue takes would come back for ever.
    """
    order = decode_order(body)
    if not order.reply_to.startswith(_RESULTS):
        raise msgspec.ValidationError(f"reply_to {order.reply_to!r} is no queue of results")
    return order


def outgoing(finished: Finished) -> Outgoing:
    """Return the report's message; its id is the attempt's, so that duplicates can be told."""
    order = finished.task.order
    name = ids.message_id(order.step, order.attempt, "report")
    return Outgoing(queue=order.reply_to, body=finished.report, message_id=name)


def log_step(fact: str, order: RunStep) -> None:
    """Log something about one attempt, at debug level as there are so many."""
    log.debug(fact, **facts_of(order), endpoint=order.endpoint)
