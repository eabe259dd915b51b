"""What people are told: notifications, who tells them, and how far each teller has come."""

from __future__ import annotations

from typing import Any, Final, Protocol
from uuid import UUID

import msgspec

from warrener.domain.events import Error
from warrener.domain.messages import Message, Time

REQUESTED: Final = "user_action.requested"
REMINDED: Final = "user_action.reminded"
FAILED: Final = "job.failed"
KINDS: Final = (REQUESTED, REMINDED, FAILED)


class Notification(Message, frozen=True, kw_only=True, omit_defaults=True, tag="Notification"):
    """One thing that a person is told. `id` is the same however often it is sent.

    The service itself asks people, too: then there is no `job`.
    `request`, `action`, `cause` and `answer` belong to requests for help, `error` to failed jobs.
    """

    id: UUID
    event: str
    at: Time  # of the event that it tells of
    job: UUID | None = None
    root: UUID | None = None
    name: str = ""  # of the job's definition
    path: str | None = None  # of the step, in its job
    labels: dict[str, str] = msgspec.field(default_factory=dict)
    request: UUID | None = None
    action: str | None = None
    cause: str | None = None
    message: str = ""
    form: dict[str, Any] | None = None  # JSON Schema of the answer
    reminder: int = 0  # which reminder this is; 0: the request itself
    answer: str | None = None  # the command that answers
    error: Error | None = None


class Notifier(Protocol):
    """Tells people by one way, such as a webhook or mail.

    Obligations: `tell` returns once the other side has taken the notification; it raises
    `NotificationDelayed` where trying again may help and `NotificationRefused` where it cannot;
    it does either within a bounded time, whatever the other side does. It tries once: how often is
    the caller's business. What it raises can be logged: no secret and no address with one in it.
    The same notification may be told again, and the other side can see that by its `id`.
    """

    @property
    def name(self) -> str:
        """Which way this is: the same in every process, for positions are kept by it."""
        ...

    def tell(self, notification: Notification) -> None:
        """Hand a notification over."""
        ...


class Positions(Protocol):
    """Keeps how far each reader of the log has come.

    Obligations: what `save` has written is there after a crash; the same file or database as the
    log's may be used, so that a copy of the one has the other. Errors are `StoreUnavailable`.
    """

    def get(self, name: str) -> int | None:
        """Return the position of a reader, None if it never saved one."""
        ...

    def save(self, name: str, position: int) -> None:
        """Set the position of a reader."""
        ...

    def close(self) -> None:
        """Release connections."""
        ...
