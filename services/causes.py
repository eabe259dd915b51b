"""What the cause of an event says, in words, and which events led to it.

A cause names a message (`report:`, `beat:`, `command:` and its id), a timer (`timer:STEP/ATTEMPT`,
`timer:JOB/deadline`, `timer:REQUEST/reminder`), or what the controller does of itself (`recovery`,
`flow`, `fleet`, `take-over`). `release:` stands before what made a step ready that goes out, or
else gave it room; `release:time` says that time alone did.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any, Final
from uuid import UUID

import msgspec

from warrener.domain.events import RELEASE, Event, JobStarted, JobSubmitted, Recorded
from warrener.domain.ids import split_path, step_id
from warrener.domain.ports import Positioned
from warrener.domain.step_events import (
    StepEvent,
    StepOpened,
    StepReadied,
    StepReleased,
    StepRenewed,
    StepRetryScheduled,
)
from warrener.projections.history import job_of
from warrener.services.partial_log import PartialLog
from warrener.services.shapes import HistoryLine
from warrener.services.tree_queries import history_line

_UUID: Final = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_REPORT = re.compile(rf"report:({_UUID})/(\d+)/\w+")
_BEAT = re.compile(rf"beat:(?:.+/)?({_UUID})/(\d+)/\w+", re.DOTALL)
_TIMER = re.compile(rf"timer:({_UUID})/(\d+|deadline|reminder)")
_OWN: Final = {
    "recovery": "recovery after a start",
    "time": "time gave room, or a start",
    "flow": "a look at the flow",
    "fleet": "what workers announced, or their silence",
    "take-over": "a reactor took the log over",
}
PATHS_KEPT_MAX: Final = 1_000
_READIED = (StepReadied, StepRenewed, StepRetryScheduled)

Paths = Callable[[UUID], str | None]  # the path of a step in its own job
Wanted = Callable[[Event], bool]


class Cause(msgspec.Struct, frozen=True):
    """A cause taken apart: `about` is the step, job or request that a report or timer is about.

    `what` is the number of an attempt, `deadline` or `reminder`; of a command its message id.
    `released` says that it led to a release.
    """

    kind: str  # report | beat | command | timer | one of our own | unknown
    about: UUID | None = None
    what: str = ""
    released: bool = False

    @property
    def attempt(self) -> int:
        """Return the number of the attempt that it is about, 0 if it is about none."""
        return int(self.what) if self.what.isdigit() and self.kind != "command" else 0


def cause_of(text: str) -> Cause:
    """Take a cause apart; one of no known form is `unknown`."""
    if text.startswith(RELEASE):
        return msgspec.structs.replace(cause_of(text.removeprefix(RELEASE)), released=True)
    if text == "release":  # as it was recorded once
        return Cause("time", released=True)
    if text in _OWN:
        return Cause(text)
    for kind, form in (("report", _REPORT), ("beat", _BEAT), ("timer", _TIMER)):
        found = form.fullmatch(text)
        if found is not None:
            return Cause(kind, UUID(found[1]), found[2])
    kind, colon, name = text.partition(":")
    if kind in ("report", "beat", "command") and colon and name:
        return Cause(kind, None, name)  # the sender chose an id of its own
    return Cause("unknown", None, text)


def paths_of(last: Callable[[UUID], Recorded | None]) -> Paths:
    """Return what finds the path of a step by the last event of its stream; it keeps some."""

    @lru_cache(PATHS_KEPT_MAX)
    def path(step: UUID) -> str | None:
        found = last(step)
        event = None if found is None else found.event
        return event.path if isinstance(event, StepEvent) else None

    return path


def in_words(text: str, data: dict[str, Any], paths: Paths) -> str:
    """Return a cause for people; `data` are those of its event."""
    cause = cause_of(text)
    if cause.released and cause.kind == "time":
        return "goes out once there was room"
    told = _told(cause, data, paths)
    return f"goes out after {told}" if cause.released else told


def _told(cause: Cause, data: dict[str, Any], paths: Paths) -> str:
    if cause.kind in _OWN:
        return _OWN[cause.kind]
    if cause.kind == "command":
        by = data.get("by")
        return f"command {cause.what}" + (f" by {by}" if by and not cause.released else "")
    if cause.about is None:
        return cause.what if cause.kind == "unknown" else f"{cause.kind} {cause.what}"
    path = paths(cause.about) or str(cause.about)
    if cause.kind == "timer":
        return f"timer: {_due(cause, path)}"
    by = data.get("worker")
    worker = f" by worker {by}" if by and not cause.released else ""
    kind = "report" if cause.kind == "report" else "sign of life"
    return f"{kind} of attempt {cause.what} of {path}{worker}"


def _due(cause: Cause, path: str) -> str:
    if cause.what == "deadline":
        return "the deadline of the job has passed"
    if cause.what == "reminder":
        return "people were to be reminded"
    return f"attempt {cause.what} of {path} was due" if cause.attempt else f"{path} was due"


# --- what led to an event ------------------------------------------------------------------------


def chain(log: PartialLog, event: Positioned) -> Iterator[Positioned]:
    """Yield an event, what led to it, what led to that, and so on up to a command from outside.

    Such is the order that a report is about, or what made a step ready. It ends as well where the
    log tells no more. Each comes before the one that it led to.
    """
    current: Positioned | None = event
    while current is not None:
        yield current
        current = _Before(log, current).led()


def told_chain(log: PartialLog, event: Positioned) -> Iterator[HistoryLine]:
    """Yield such a chain as users see it, with paths from the root of the tree."""
    for each in chain(log, event):
        yield history_line(each, _above(log, job_of(each)))


def _above(log: PartialLog, job: UUID | None) -> str:
    """Return where a job is below its root."""
    parts: list[str] = []
    while job is not None:
        first = next(iter(log.stream(job)), None)
        event = None if first is None else first.event
        parent = event.parent if isinstance(event, JobSubmitted) else None
        job = None if parent is None else parent.job
        parts += [] if parent is None else [parent.path]
    return "/".join(reversed(parts))


class _Before:
    """The events of a log before one of them."""

    def __init__(self, log: PartialLog, at: Positioned) -> None:
        self._log = log
        self._at = at
        self._event = at.recorded.event
        self._stream = at.recorded.originator_id

    def led(self) -> Positioned | None:
        """Return the one that led to it."""
        event, cause = self._event, cause_of(self._event.cause)
        if isinstance(event, StepReleased):
            return self._readied(event)
        if isinstance(event, JobStarted):
            return self._first(self._stream, _any)
        if isinstance(event, JobSubmitted):
            return None if event.parent is None else self._last(event.parent.step, _any)
        told = None if cause.about is None else self._told(cause, cause.about)
        job = job_of(self._at)
        return told or (None if job is None else self._asked(job) or self._previous(job))

    def _readied(self, event: StepReleased) -> Positioned | None:
        """Return what made a step ready: its own event, that of its job, or of its fan-out."""
        name, index = split_path(event.path)
        own = self._last(self._stream, lambda each: isinstance(each, _READIED))
        if index is None:
            above = self._last(event.job, lambda each: name in getattr(each, "readied", ()))
        else:
            fan_out = step_id(event.job, name)
            above = self._last(fan_out, lambda each: isinstance(each, StepOpened))
        found = [each for each in (own, above) if each is not None]
        return max(found, key=lambda each: each.position, default=None)

    def _told(self, cause: Cause, about: UUID) -> Positioned | None:
        """Return what a report or a timer did to the step that it is about.

        For that itself: the order that a report is about, or what a timer waited for.
        """
        same = self._event.cause.removeprefix(RELEASE)
        found = self._last(about, lambda each: each.cause == same)
        if cause.released or (found is not None and about != self._stream):
            return found
        if cause.what == "deadline":
            return self._first(about, _any)
        if cause.kind == "timer":
            return self._last(about, _any)
        return self._last(about, lambda each: _is_order(each, cause.attempt))

    def _asked(self, job: UUID) -> Positioned | None:
        """Return what a command did first, to the job of the event or to those above it."""
        above: UUID | None = job
        while above is not None:
            found = self._first(above, lambda each: each.cause == self._event.cause)
            if found is not None:
                return found
            submitted = self._first(above, _any)
            event = None if submitted is None else submitted.recorded.event
            parent = event.parent if isinstance(event, JobSubmitted) else None
            above = None if parent is None else parent.job
        return None

    def _previous(self, job: UUID) -> Positioned | None:
        """Return what happened before to the step of the event, or to its job."""
        return self._last(self._stream, _any) or self._last(job, _any)

    def _first(self, stream: UUID, wanted: Wanted) -> Positioned | None:
        return next(self._found(stream, wanted), None)

    def _last(self, stream: UUID, wanted: Wanted) -> Positioned | None:
        return max(self._found(stream, wanted), key=lambda each: each.position, default=None)

    def _found(self, stream: UUID, wanted: Wanted) -> Iterator[Positioned]:
        for each in self._log.stream(stream):
            position = self._log.position(stream, each.originator_version)
            if position is None or position >= self._at.position:
                return
            if wanted(each.event):
                yield Positioned(position, each)


def _any(_event: Event) -> bool:
    return True


def _is_order(event: Event, attempt: int) -> bool:
    return isinstance(event, StepReleased) and event.attempt == attempt
