"""What users ask about what jobs share: requests for people, the fleet."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any
from uuid import UUID

import msgspec

from warrener.domain.errors import UsageError
from warrener.domain.payloads import Payload
from warrener.projections.control_views import (
    ACTIONS,
    FLEET,
    ActionView,
    FleetView,
)
from warrener.projections.ports import ActionFilter, ViewStore
from warrener.services.control_shapes import ActionLine, Fleet, Waiter
from warrener.services.places import HEX, PREFIX_MIN
from warrener.services.shapes import format_time, optional_time

WAITERS_NAMED_MAX = 20
NAMED_IN_ERRORS = 3


class ControlQueries:
    """Answers from the read models; `value` gives the JSON value of a payload."""

    def __init__(
        self, views: ViewStore, value: Callable[[Payload], Any], partitions: int = 1
    ) -> None:
        self._views = views
        self._partitions = range(partitions)
        self._value = value

    def actions(self, cause: str | None, state: str | None, limit: int) -> list[ActionLine]:
        """Return requests for people, the newest first.

        Of open ones about the same cause, one for each partition that has steps waiting for it, the
        newest stands for all: one answer goes to them all.
        """
        wanted = ActionFilter(state=state, subject=cause, limit=limit)
        lines: dict[object, ActionLine] = {}
        for view in self._views.find_actions(wanted):
            same = view.subject if view.shared and view.state == "open" else view.request
            line = self._line(view)
            lines[same] = _together(lines[same], line) if same in lines else line
        return list(lines.values())

    def find_action(self, text: str) -> ActionLine:
        """Return the request with this id or start of one, or the open one about this cause."""
        open_ones = self._views.find_actions(ActionFilter(state="open", subject=text, limit=1))
        if open_ones:
            return self._line(open_ones[0])
        digits = text.strip().lower().replace("-", "")
        found = self._starting_with(digits) if HEX.fullmatch(digits) else []
        if len(digits) < PREFIX_MIN or not found:
            raise UsageError(f"there is no user action {text!r}: {self._known()}")
        if len(found) > 1:
            raise UsageError(f"{text!r} is the start of several user actions: {_listed(found)}")
        view: ActionView = self._views.load({ACTIONS: found})[ACTIONS][found[0]]
        return self._line(view)

    def fleet(self) -> Fleet | None:
        """Return what workers offer, None if none has come yet."""
        heard: Iterable[FleetView] = self._views.load({FLEET: self._partitions})[FLEET].values()
        found = max(heard, key=lambda view: view.since, default=None)
        if found is None:
            return None
        since = format_time(found.since)
        return Fleet(slots=found.slots, endpoints=found.endpoints, since=since)

    def _line(self, view: ActionView) -> ActionLine:
        waiters = self._views.waiters(view.request, WAITERS_NAMED_MAX)
        return ActionLine(
            request=view.request,
            action=view.action,
            cause=view.subject,
            message=view.message,
            form=None if view.form is None else self._value(view.form),
            state=view.state,
            steps=waiters.steps,
            jobs=waiters.jobs,
            waiting=tuple(
                Waiter(
                    job=step.job,
                    path=step.path,
                    since=optional_time(step.since),
                    until=optional_time(step.until),
                )
                for step in waiters.first
            ),
            opened_at=format_time(view.opened_at),
            expires_at=optional_time(waiters.until),
            reminders=view.reminders,
            ended_at=optional_time(view.ended_at),
            by=view.by,
            data=None if view.data is None else self._value(view.data),
            reason=view.reason,
        )

    def _starting_with(self, digits: str) -> list[UUID]:
        low, high = UUID(digits.ljust(32, "0")), UUID(digits.ljust(32, "f"))
        return list(self._views.actions_between(low, high, NAMED_IN_ERRORS))

    def _known(self) -> str:
        newest = self._views.find_actions(ActionFilter(state="open", limit=NAMED_IN_ERRORS))
        if not newest:
            return "none is open"
        return f"open are {_listed(view.request for view in newest)}"


def _together(newer: ActionLine, older: ActionLine) -> ActionLine:
    """Return one line for two requests that one answer goes to."""
    return msgspec.structs.replace(
        newer,
        steps=newer.steps + older.steps,
        jobs=newer.jobs + older.jobs,
        waiting=(*newer.waiting, *older.waiting)[:WAITERS_NAMED_MAX],
        opened_at=min(newer.opened_at, older.opened_at),
        expires_at=min(filter(None, (newer.expires_at, older.expires_at)), default=None),
        reminders=max(newer.reminders, older.reminders),
    )


def _listed(requests: Iterable[UUID]) -> str:
    return ", ".join(str(request) for request in requests)
