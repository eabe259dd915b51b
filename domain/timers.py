"""When something is due about a step that began, though nobody says a word."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Literal

import msgspec

from warrener.domain.definition.model import Timeout
from warrener.domain.events import Error
from warrener.domain.step import OUT, Step

Kind = Literal["retry", "patience", "sleep", "queue", "run", "beat", "total"]

_NO_TIMEOUT = Timeout()
_CODES: dict[Kind, str] = {
    "queue": "queue-timeout",
    "run": "run-timeout",
    "beat": "worker-lost",
    "total": "total-timeout",
}
TIMEOUT_CODES = frozenset(_CODES.values())


class Due(msgspec.Struct, frozen=True, order=True):
    """The next thing that time alone brings about a step."""

    at: datetime
    kind: Kind


def next_due(step: Step, timeout: Timeout | None, heard_at: datetime | None) -> Due | None:
    """Return what is due next about a step, None if time changes nothing about it."""
    return min(all_due(step, timeout, heard_at), default=None)


def all_due(step: Step, timeout: Timeout | None, heard_at: datetime | None) -> list[Due]:
    """Return all that time will bring about a step as it is now.

    `heard_at` is the last sign of life of the attempt that is out, if it was heard of at all.
    """
    timeout = timeout or _NO_TIMEOUT
    found = _due(step.begun_at, timeout.total, "total")
    if step.state in OUT and step.started_at is None:
        found += _due(step.released_at, timeout.queue, "queue")
    elif step.state in OUT:
        found += _due(step.started_at, timeout.run, "run")
        found += _due(heard_at, timeout.beat, "beat")
    elif step.until is not None:
        found.append(Due(step.until, _until(step)))
    return found


def _until(step: Step) -> Kind:
    """Return what the time `until` means for a step that is not out."""
    if step.state == "retrying":
        return "retry"
    return "sleep" if step.state == "waiting" and step.signal is None else "patience"


def _due(since: datetime | None, seconds: float | None, kind: Kind) -> list[Due]:
    return (
        [] if since is None or seconds is None else [Due(since + timedelta(seconds=seconds), kind)]
    )


def timeout_error(kind: Kind, timeout: Timeout) -> Error:
    """Return the error of a step that one of the four timeouts has ended."""
    seconds = getattr(timeout, kind)
    said = {
        "queue": "no worker has said within {} that it runs the attempt",
        "run": "the attempt has run for more than {}",
        "beat": "nothing was heard of the worker for {}",
        "total": "the step has taken more than {} with all its attempts",
    }
    return Error(code=_CODES[kind], message=said[kind].format(f"{seconds:g} s"))
