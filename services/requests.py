"""The open requests for people's help, and the steps that wait for each."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

import msgspec

from warrener.domain.control_events import UserActionReminded, UserActionRequested
from warrener.domain.ports import EventStore

REMIND_SECONDS_MIN = 1.0


class Request(msgspec.Struct):
    """An open request. `members` are the steps that wait, with how often each wants a reminder.

    `remind_seconds` is the shortest of those; people are told again as often.
    """

    id: UUID
    asked: UserActionRequested
    told_at: datetime
    version: int = 0
    reminders: int = 0
    members: dict[UUID, float | None] = {}
    remind_seconds: float | None = None

    def join(self, step: UUID, remind_seconds: float | None) -> None:
        """A step waits for the answer."""
        self.members[step] = remind_seconds
        if remind_seconds is not None:
            known = self.remind_seconds
            self.remind_seconds = remind_seconds if known is None else min(known, remind_seconds)

    def leave(self, step: UUID) -> bool:
        """A step waits for the answer no longer; say whether it did."""
        if step not in self.members:
            return False
        wanted = self.members.pop(step)
        if wanted is not None and wanted == self.remind_seconds:
            left = (seconds for seconds in self.members.values() if seconds is not None)
            self.remind_seconds = min(left, default=None)
        return True

    def remind_at(self) -> datetime | None:
        """Return when people are to be told again."""
        if self.remind_seconds is None:
            return None
        return self.told_at + timedelta(seconds=max(self.remind_seconds, REMIND_SECONDS_MIN))


class Requests:
    """The open requests of a controller."""

    def __init__(self) -> None:
        """Begin with none."""
        self.open: dict[UUID, Request] = {}
        self._by_subject: dict[str, UUID] = {}

    def about(self, subject: str) -> Request | None:
        """Return the open request about a cause."""
        found = self._by_subject.get(subject)
        return None if found is None else self.open[found]

    def add(self, request: Request) -> None:
        """Remember an open request."""
        self.open[request.id] = request
        if request.asked.shared:
            self._by_subject.setdefault(request.asked.subject, request.id)

    def remove(self, request: Request) -> None:
        """A request is open no longer."""
        self.open.pop(request.id, None)
        if self._by_subject.get(request.asked.subject) == request.id:
            del self._by_subject[request.asked.subject]


def load_request(store: EventStore, request_id: UUID) -> Request | None:
    """Return a request as the log has it; None if it is answered or withdrawn."""
    request: Request | None = None
    for recorded in store.stream(request_id):
        event = recorded.event
        if isinstance(event, UserActionRequested):
            request = Request(request_id, event, event.at)
        elif request is not None and isinstance(event, UserActionReminded):
            request.reminders, request.told_at = event.number, event.at
        else:
            return None
        request.version = recorded.originator_version
    return request
