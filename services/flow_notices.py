"""What goes out about incidents: notices for other services, and advice for workers."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec

from warrener.domain.control_events import (
    MeasureEnded,
    MeasureTaken,
    StarvationDetected,
    StarvationEnded,
)
from warrener.domain.events import Event, event_of
from warrener.domain.messages import AdviseWorker, StarvationNotice
from warrener.domain.ports import EventStore, Notice, Positioned
from warrener.domain.topology import CONTROL, EVENTS

KEYS: dict[type[Event], str] = {
    StarvationDetected: "starvation.detected",
    StarvationEnded: "starvation.ended",
}
_ENCODE = msgspec.json.Encoder().encode


def advice(positioned: Positioned) -> Sequence[Notice]:
    """Return what tells workers to serve other queues for a time, or their own again."""
    event = positioned.recorded.event
    if not isinstance(event, MeasureTaken | MeasureEnded) or event.measure.kind != "move-workers":
        return ()
    queues: tuple[str, ...] = ()
    until: datetime = event.at
    if isinstance(event, MeasureTaken):
        queues, until = (event.measure.queue,), event.until
    return [
        Notice(
            CONTROL,
            "worker.advise",
            _ENCODE(AdviseWorker(worker=worker, queues=queues, until=until)),
            f"advice/{positioned.recorded.originator_id}/{positioned.position}/{worker}",
        )
        for worker in event.measure.workers
    ]


def starvation_notice(positioned: Positioned, store: EventStore) -> Notice | None:
    """Return what others are told of an incident that begins or ends."""
    incident, event = positioned.recorded.originator_id, positioned.recorded.event
    detected = event_of(next(iter(store.stream(incident)), None), StarvationDetected)
    if detected is None:
        return None
    key = KEYS[type(event)]
    message = StarvationNotice(
        event=key,
        position=positioned.position,
        at=event.at,
        incident=incident,
        queue=detected.queue,
        diagnosis=detected.diagnosis,
        victims=detected.victims,
        since=detected.since,
        why=event.why if isinstance(event, StarvationEnded) else "",
    )
    return Notice(EVENTS, key, _ENCODE(message), f"event/{positioned.position}")
