"""Every error Warrener raises, in three levels: the root, what kind it is, what happened.

The command line maps the kinds to exit codes: `UsageError` is 2, `ServiceUnavailable` is 4.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec


class WarrenerError(Exception):
    """Root of all errors of this package."""


class UsageError(WarrenerError):
    """What the user gave cannot be used: a definition, a parameter, an id, a setting."""


class ServiceUnavailable(WarrenerError):
    """Something Warrener stands on (store, broker) cannot be reached or does not work."""


class Busy(ServiceUnavailable):
    """No job is taken in now: as many are open as may be. Try again after `retry_after` seconds."""

    def __init__(self, message: str, retry_after: int) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """One fault in a definition: where it is, what is wrong, what to do about it.

    `line` counts from 1; it is None where the definition has no text (the Python face may set it
    to the line of the traced function).
    """

    message: str
    hint: str = ""
    file: str = ""
    line: int | None = None
    path: str = ""  # place inside the definition, such as `steps.merge.with.posts`

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.file and self.line else self.file
        head = ": ".join(part for part in (place, self.path, self.message) if part)
        return f"{head} ({self.hint})" if self.hint else head


class DefinitionError(UsageError):
    """A job definition is not valid; carries every problem found, not only the first."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class ParameterError(UsageError):
    """The parameters of a job do not fit its definition."""


class UnknownJob(UsageError):
    """No job has this id in the store."""


class PrunedJob(UnknownJob):
    """The job was pruned: what is left of it is in an archive."""


class ExpressionError(WarrenerError):
    """An expression failed on the values it was given; the step fails with `expression-error`."""


class PayloadError(WarrenerError):
    """A payload is not acceptable JSON: too deep, too large a number, too many bytes, not JSON."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class StoreUnavailable(ServiceUnavailable):
    """The event store cannot be opened, read or written."""


class CommitTooLarge(WarrenerError):
    """What is to be written at once is more than the store takes at once; nothing was written."""


class BrokerUnavailable(ServiceUnavailable):
    """The broker cannot be reached."""


class TracesDelayed(ServiceUnavailable):
    """Whoever keeps traces did not take some; trying again may help."""


class Conflict(WarrenerError):
    """Somebody else wrote the same version of a stream first; load again and decide anew."""


class StoredDataError(WarrenerError):
    """Something read from the store is not what this version of Warrener can have written.

    Of an event, `event` is the name of its type, without the version.
    """

    def __init__(self, message: str, *, event: str = "") -> None:
        super().__init__(message)
        self.event = event


class NotificationError(WarrenerError):
    """A notification was not delivered, as far as is known."""


class NotificationDelayed(NotificationError):
    """Trying again may help, in `after` seconds if the other side said so."""

    def __init__(self, message: str, after: float | None = None) -> None:
        super().__init__(message)
        self.after = after


class NotificationRefused(NotificationError):
    """Trying again cannot help: the other side, or a rule of ours, refuses it."""


class EndpointError(WarrenerError):
    """Base of what an endpoint raises to tell the controller what to do."""


class RetryLater(EndpointError):
    """The endpoint asks to be called again after `after` seconds."""

    def __init__(self, after: float, code: str = "retry-later", message: str = "") -> None:
        super().__init__(message or f"asked to be called again after {after} s")
        self.after = after
        self.code = code


class PermanentError(EndpointError):
    """The endpoint failed in a way that trying again cannot mend."""

    def __init__(self, code: str, message: str = "") -> None:
        super().__init__(message or code)
        self.code = code


class UserActionRequired(EndpointError):
    """Only a person can help; the step waits for the answer and holds no slot meanwhile."""

    def __init__(
        self,
        action: str,
        *,
        cause: str | None = None,
        message: str = "",
        form: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message or action)
        self.action = action
        self.cause = cause or action
        self.message = message
        self.form = form
