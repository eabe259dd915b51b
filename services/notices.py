"""From events of the log to what people are told."""

from __future__ import annotations

import json
import shlex
from collections.abc import Collection, Mapping
from typing import Any, Final
from uuid import UUID, uuid5

import msgspec

from warrener.domain.control_events import (
    UserActionAnswered,
    UserActionReminded,
    UserActionRequested,
    UserActionWithdrawn,
)
from warrener.domain.events import Event, JobFailed, JobSubmitted, Recorded, event_of
from warrener.domain.notices import FAILED, REMINDED, REQUESTED, Notification
from warrener.domain.payloads import Payload
from warrener.domain.ports import EventStore

JOBS_REMEMBERED_MAX: Final = 1_000
FIELDS_MAX: Final = 20
_EVENTS: Final[Mapping[type[Event], str]] = {
    UserActionRequested: REQUESTED,
    UserActionReminded: REMINDED,
    JobFailed: FAILED,
}
_SETTLED: Final = (UserActionAnswered, UserActionWithdrawn)


class Notices:
    """Makes notifications of the events that people want to be told of."""

    def __init__(self, store: EventStore, wanted: Collection[str]) -> None:
        """`wanted` has names of events such as `user_action.requested`."""
        self._store = store
        self._wanted = frozenset(kind for kind, name in _EVENTS.items() if name in wanted)
        self._jobs: dict[UUID, JobSubmitted | None] = {}

    def concerns(self, recorded: Recorded) -> bool:
        """Say whether an event is of a kind that is wanted."""
        return type(recorded.event) in self._wanted

    def of(self, recorded: Recorded) -> Notification | None:
        """Return what to tell of an event, None if nobody needs to know any more.

        That is so for requests that are settled, reminders with a later one after them, failures
        of jobs that have been begun anew, and failures below a root job.
        """
        stream, event = recorded.originator_id, recorded.event
        last = self._store.last(stream)
        if isinstance(event, JobFailed):
            is_news = last is None or last.originator_version == recorded.originator_version
            return self._failure(recorded, event) if is_news else None
        if last is not None and isinstance(last.event, _SETTLED):
            return None
        if isinstance(event, UserActionRequested):
            return self._request(recorded, event, 0)
        if isinstance(event, UserActionReminded):
            if last is not None and last.originator_version > recorded.originator_version:
                return None
            first = next(iter(self._store.stream(stream)), None)
            if first is not None and isinstance(first.event, UserActionRequested):
                return self._request(recorded, first.event, event.number)
        return None

    def _request(
        self, recorded: Recorded, request: UserActionRequested, reminder: int
    ) -> Notification | None:
        job = None if request.job is None else self._job(request.job)
        if job is None and request.job is not None:
            return None
        form = _form(request.form)
        return Notification(
            id=notification_id(recorded),
            event=_EVENTS[type(recorded.event)],
            at=recorded.event.at,
            job=request.job,
            root=job.root if job else None,
            name=job.name if job else "",
            path=request.path or None,
            labels=job.labels if job else {},
            request=recorded.originator_id,
            action=request.action,
            cause=request.subject,
            message=request.message,
            form=form,
            reminder=reminder,
            answer=answer_command(recorded.originator_id, form),
        )

    def _failure(self, recorded: Recorded, event: JobFailed) -> Notification | None:
        job = self._job(recorded.originator_id)
        if job is None or job.parent is not None:
            return None
        return Notification(
            id=notification_id(recorded),
            event=FAILED,
            at=event.at,
            job=recorded.originator_id,
            root=job.root,
            name=job.name,
            labels=job.labels,
            error=msgspec.structs.replace(event.error, traceback=None),  # may show values
        )

    def _job(self, job: UUID) -> JobSubmitted | None:
        if job not in self._jobs:
            if len(self._jobs) >= JOBS_REMEMBERED_MAX:
                self._jobs.clear()
            self._jobs[job] = event_of(next(iter(self._store.stream(job)), None), JobSubmitted)
        return self._jobs[job]


def notification_id(recorded: Recorded) -> UUID:
    """Return the id of what is told of an event: the same at every try, in every process."""
    return uuid5(recorded.originator_id, f"notification/{recorded.originator_version}")


def answer_command(request: UUID, form: Mapping[str, Any] | None) -> str:
    """Return the command that answers a request, for people to complete.

    Where values are to be filled in it has dots, which no answer is: as it stands it is refused.
    """
    command = f"warrener answer {request}"
    if form is None:
        return command
    properties = form.get("properties")
    names = list(properties)[:FIELDS_MAX] if isinstance(properties, dict) else []
    fields = ", ".join(f"{json.dumps(name)}: ..." for name in names)
    return f"{command} --data {shlex.quote(f'{{{fields}}}') if fields else '...'}"


def _form(payload: Payload | None) -> dict[str, Any] | None:
    """Return a form; one that is so large that the log keeps it apart is not told."""
    if payload is None or payload.json is None:
        return None
    form = msgspec.json.decode(payload.json)
    return form if isinstance(form, dict) else None
