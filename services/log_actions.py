"""Open requests and changed limits, folded from the whole log."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from warrener.domain.events import (
    LimitChanged,
    Recorded,
    StepEvent,
    StepOpened,
    StepParked,
    UserActionAnswered,
    UserActionReminded,
    UserActionRequested,
    UserActionWithdrawn,
)
from warrener.domain.ports import EventStore
from warrener.services.active_job import read_payload
from warrener.services.control_shapes import ActionLine, LimitLine, RateLimit, Waiter
from warrener.services.shapes import format_time, optional_time


def all_actions(store: EventStore) -> list[ActionLine]:
    """Return the requests, the newest first."""
    requests: dict[UUID, UserActionRequested] = {}
    ended: dict[UUID, str] = {}
    reminders: dict[UUID, int] = {}
    waiting: dict[UUID, Any] = {}  # step -> its parking
    for recorded in _events(store):
        stream, event = recorded.originator_id, recorded.event
        match event:
            case UserActionRequested():
                requests[stream] = event
            case UserActionAnswered():
                ended[stream] = "answered"
            case UserActionWithdrawn():
                ended[stream] = "withdrawn"
            case UserActionReminded():
                reminders[stream] = event.number
            case StepParked() | StepOpened(request=UUID()):
                waiting[stream] = event
            case StepEvent():
                waiting.pop(stream, None)
    return [
        _line(
            store,
            request,
            event,
            waiting=list(waiting.values()),
            reminders=reminders.get(request, 0),
            ended=ended,
        )
        for request, event in reversed(requests.items())
    ]


def changed_limits(store: EventStore) -> list[LimitLine]:
    """Return the limits that were changed."""
    found: dict[str, LimitLine] = {}
    for recorded in _events(store):
        event = recorded.event
        if isinstance(event, LimitChanged):
            rate = event.rate
            found[event.name] = LimitLine(
                name=event.name,
                slots=event.slots,
                rate=None if rate is None else RateLimit(count=rate.count, seconds=rate.seconds),
                burst=event.burst,
                by=event.by,
                reason=event.reason,
                since=format_time(event.at),
            )
    return list(found.values())


def _line(
    store: EventStore,
    request: UUID,
    event: UserActionRequested,
    *,
    waiting: list[Any],
    reminders: int,
    ended: dict[UUID, str],
) -> ActionLine:
    mine = [parked for parked in waiting if parked.request == request]
    until = [parked.until for parked in mine if parked.until is not None]
    return ActionLine(
        request=request,
        action=event.action,
        cause=event.subject,
        message=event.message,
        form=read_payload(event.form, store),
        state=ended.get(request, "open"),
        steps=len(mine),
        jobs=len({parked.job for parked in mine}),
        waiting=tuple(
            Waiter(job=parked.job, path=parked.path, since=format_time(parked.at), until=None)
            for parked in mine
        ),
        opened_at=format_time(event.at),
        expires_at=optional_time(min(until, default=None)),
        reminders=reminders,
        ended_at=None,
        by="",
        data=None,
        reason="",
    )


def _events(store: EventStore) -> list[Recorded]:
    return [positioned.recorded for positioned in store.read(0, store.head())]
