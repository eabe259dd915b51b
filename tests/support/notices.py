"""Notifications, and histories with requests for help."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

from support.histories import START, History, definition

from warrener.domain import ids
from warrener.domain.control_events import (
    UserActionAnswered,
    UserActionReminded,
    UserActionRequested,
    UserActionWithdrawn,
)
from warrener.domain.errors import NotificationError
from warrener.domain.notices import REQUESTED, Notification
from warrener.domain.payloads import NULL, Payload

FORM = {"type": "object", "required": ["token"], "properties": {"token": {"type": "string"}}}


def notification(**fields: Any) -> Notification:
    """Return a request for help, with other fields if wanted."""
    given: dict[str, Any] = {
        "id": UUID(int=7),
        "event": REQUESTED,
        "at": START,
        "job": UUID(int=1),
        "root": UUID(int=1),
        "name": "report",
        "path": "load",
        "request": UUID(int=9),
        "action": "reconnect",
        "cause": "facebook:a",
        "message": "Reconnect your page",
    }
    return Notification(**{**given, **fields})


class Requests:
    """Writes requests for help into a history."""

    def __init__(self, history: History | None = None) -> None:
        self.history = history or History()
        self._made = 0

    def job(self, key: str = "k", **more: Any) -> UUID:
        return self.history.submit(definition(), key=key, **more)

    def ask(self, job: UUID, form: Any = FORM, message: str = "Reconnect your page") -> UUID:
        self._made += 1
        request = ids.user_action_id(ids.step_id(job, "load"), self._made)
        payload = None if form is None else Payload(json.dumps(form))
        self.history.write(
            request,
            UserActionRequested,
            action="reconnect",
            subject="facebook:a",
            message=message,
            form=payload,
            job=job,
            path="load",
        )
        return request

    def remind(self, request: UUID, number: int) -> None:
        self.history.write(request, UserActionReminded, number=number)

    def answer(self, request: UUID) -> None:
        self.history.write(request, UserActionAnswered, data=NULL, by="ada")

    def withdraw(self, request: UUID) -> None:
        self.history.write(request, UserActionWithdrawn, why="the job was cancelled")


class KeptNotifier:
    """A notifier that keeps what it is told, and fails as it is told to."""

    def __init__(self, name: str = "kept", *failures: NotificationError | Exception | None) -> None:
        self.name = name
        self.told: list[Notification] = []
        self.tries: list[Notification] = []
        self.failures = list(failures)

    def tell(self, notification: Notification) -> None:
        self.tries.append(notification)
        failure = self.failures.pop(0) if self.failures else None
        if failure is not None:
            raise failure
        self.told.append(notification)
