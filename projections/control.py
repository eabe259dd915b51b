"""The read model of what jobs share: requests for people, changed limits, the fleet."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from typing import Any

from warrener.domain.control_events import (
    FleetChanged,
    LimitChanged,
    UserActionAnswered,
    UserActionEvent,
    UserActionReminded,
    UserActionRequested,
    UserActionWithdrawn,
)
from warrener.domain.ports import Positioned
from warrener.projections.control_views import (
    ACTIONS,
    FLEET,
    LIMITS,
    ActionView,
    FleetView,
    LimitView,
)
from warrener.projections.ports import Documents, Wanted, current
from warrener.projections.views import View

KINDS = (UserActionEvent, LimitChanged, FleetChanged)


def wanted(batch: Sequence[Positioned]) -> Wanted:
    """Return the keys of the documents that a batch touches."""
    keys: dict[str, set[Any]] = {ACTIONS: set(), LIMITS: set(), FLEET: set()}
    for positioned in batch:
        place = _place(positioned)
        if place is not None:
            keys[place[0]].add(place[1])
    return keys


def fold(batch: Sequence[Positioned], loaded: Documents) -> Documents:
    """Return requests, limits and fleet as they are after the batch."""
    changed: dict[str, dict[Any, View]] = {ACTIONS: {}, LIMITS: {}, FLEET: {}}
    for positioned in batch:
        place = _place(positioned)
        if place is None:
            continue
        view = current(place, changed, loaded)
        if view is not None and view.position >= positioned.position:
            continue
        fresh = _applied(view, positioned)
        if fresh is not None:
            fresh.position = positioned.position
            changed[place[0]][place[1]] = fresh
    return changed


def _place(positioned: Positioned) -> tuple[str, Any] | None:
    """Return table and key of the document that an event is about."""
    event = positioned.recorded.event
    if isinstance(event, UserActionEvent):
        return ACTIONS, positioned.recorded.originator_id
    if isinstance(event, LimitChanged):
        return LIMITS, (event.name, positioned.partition)
    return (FLEET, positioned.partition) if isinstance(event, FleetChanged) else None


def _applied(view: View | None, positioned: Positioned) -> View | None:
    """Return the document after an event; None where the request is unknown."""
    event = positioned.recorded.event
    if isinstance(event, LimitChanged):
        return LimitView(
            name=event.name,
            partition=positioned.partition,
            slots=event.slots,
            rate=event.rate,
            burst=event.burst,
            by=event.by,
            reason=event.reason,
            since=event.at,
        )
    if isinstance(event, FleetChanged):
        partition = positioned.partition
        return FleetView(
            partition=partition, slots=event.slots, endpoints=event.endpoints, since=event.at
        )
    if isinstance(event, UserActionRequested):
        return _requested(positioned, event)
    if isinstance(view, ActionView) and isinstance(event, UserActionEvent):
        return _followed(copy(view), event)
    return None


def _requested(positioned: Positioned, event: UserActionRequested) -> ActionView:
    return ActionView(
        request=positioned.recorded.originator_id,
        action=event.action,
        subject=event.subject,
        message=event.message,
        form=event.form,
        job=event.job,
        path=event.path,
        shared=event.shared,
        opened_at=event.at,
    )


def _followed(view: ActionView, event: UserActionEvent) -> ActionView:
    match event:
        case UserActionReminded():
            view.reminders = event.number
        case UserActionAnswered():
            view.state, view.ended_at = "answered", event.at
            view.by, view.data = event.by, event.data
        case UserActionWithdrawn():
            view.state, view.ended_at, view.reason = "withdrawn", event.at, event.why
    return view
