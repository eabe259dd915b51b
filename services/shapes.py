"""What queries answer: the JSON shapes that users see. Fields may be added, none renamed.

Times are RFC 3339 text in UTC with exactly six decimals; durations are seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec

from warrener.domain import events
from warrener.domain.payloads import Payload
from warrener.projections import views
from warrener.projections.views import Counts

Time = str


def format_time(at: datetime) -> Time:
    """Return a time as `2026-01-02T03:04:05.000000Z`."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def seconds_of(at: Time) -> float:
    """Return a time as seconds since 1970."""
    return datetime.fromisoformat(at).timestamp()


def optional_time(at: datetime | None) -> Time | None:
    """Return a time as text, or None."""
    return None if at is None else format_time(at)


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """Base of all answers; `msgspec.json.encode` gives the fixed JSON."""


class Error(Shape, frozen=True, kw_only=True):
    """Why a step or a job failed; all fields are always there."""

    code: str
    message: str
    type: str | None
    attempt: int | None
    traceback: str | None

    @classmethod
    def of(cls, error: events.Error | None) -> Error | None:
        """Return the shape of a recorded error."""
        if error is None:
            return None
        return cls(
            code=error.code,
            message=error.message,
            type=error.type,
            attempt=error.attempt,
            traceback=error.traceback,
        )


class Progress(Shape, frozen=True, kw_only=True):
    """Steps of a job and everything below it; `total` rises as fan-outs and sub-jobs open."""

    done: int
    total: int


def progress(counts: Counts) -> Progress:
    """Return the progress that counts stand for."""
    return Progress(done=counts.done(), total=counts.total())


class Steered(Shape, frozen=True, kw_only=True):
    """Who asked for something about a job, why, and when."""

    by: str
    reason: str
    at: Time

    @classmethod
    def of(cls, steered: views.Steered | None) -> Steered | None:
        """Return the shape of what a document says."""
        if steered is None:
            return None
        return cls(by=steered.by, reason=steered.reason, at=format_time(steered.at))


class KeptSignal(Shape, frozen=True, kw_only=True):
    """A signal that no step has taken yet."""

    name: str
    key: str
    at: Time
    by: str


class Blocker(Shape, frozen=True, kw_only=True):
    """Something that another thing waits for."""

    kind: str  # step | job | user-action
    id: UUID
    path: str
    state: str
    job: UUID | None = None  # `JOB/PATH` names a step
    since: Time | None = None
    sentence: str = ""
    depth: int = 1  # 1 is directly in the way; the last of a depth leads on to the next


class Waiting(Shape, frozen=True, kw_only=True):
    """Why a step is not running, and what would release it."""

    kind: str
    since: Time | None
    until: Time | None
    sentence: str
    blockers: tuple[Blocker, ...]
    release: str


class Why(Shape, frozen=True, kw_only=True):
    """Why a job, or one of its steps, was in its state at a time and a position of the log.

    `waiting.kind` is `ended` where nothing is waited for any more; the sentence says how it ended.
    """

    job: UUID | None
    step: str | None
    state: str
    waiting: Waiting
    at: Time
    position: int | None


class Step(Shape, frozen=True, kw_only=True):
    """A step of a job; times are those of the newest attempt.

    `progress` is a share from 0 to 1. `until` is the end of a sleep or of patience, `request` the
    id of what a person must answer. `caught_by` is the step that answers for a failure. `window`
    and `tolerated` are those of a fan-out; `adjusted` says who changed them while the job runs.
    """

    id: UUID
    name: str
    path: str
    state: str
    kind: str
    attempts: int
    result: Any
    error: Error | None
    worker: str | None
    ready_at: Time | None
    released_at: Time | None
    started_at: Time | None
    ended_at: Time | None
    waiting: Waiting | None
    items: dict[str, int] | None
    child: UUID | None
    progress: float | None
    note: str | None
    until: Time | None
    request: UUID | None
    signal: str | None
    caught_by: str | None
    generation: int
    reason: str
    window: int | None
    tolerated: int | None
    adjusted: Steered | None


class Show(Shape, frozen=True, kw_only=True):
    """A job with its steps. `counts` covers its subtree; `path` is its place under the root.

    Of the signals that no step has taken yet, the first are in `signals`; `signals_kept` counts
    all. `closing` says that only clean-up is left to do.
    """

    job: UUID
    name: str
    version: int
    definition: str
    state: str
    params: Any
    labels: Mapping[str, str]
    result: Any
    error: Error | None
    reason: str
    parent: UUID | None
    root: UUID
    path: str
    depth: int
    priority: int
    submitted_at: Time
    started_at: Time | None
    ended_at: Time | None
    progress: Progress
    counts: dict[str, int]
    generation: int
    paused: Steered | None
    cancelling: Steered | None
    rerun: Steered | None
    deadline: Time | None
    overdue_at: Time | None
    closing: bool
    signals: tuple[KeptSignal, ...]
    signals_kept: int
    steps: dict[str, Step]


class JobLine(Shape, frozen=True, kw_only=True):
    """One line of a list of jobs."""

    job: UUID
    name: str
    version: int
    state: str
    labels: Mapping[str, str]
    submitted_at: Time
    ended_at: Time | None
    progress: Progress


class TreeNode(msgspec.Struct, kw_only=True):
    """A job with those that it started. `more` says that some of them are left out.

    A superseded job is of an older generation of the step that started it.
    """

    job: UUID
    name: str
    version: int
    state: str
    path: str
    error: Error | None
    submitted_at: Time
    ended_at: Time | None
    progress: Progress
    children: list[TreeNode]
    more: bool
    superseded: bool


class HistoryLine(Shape, frozen=True, kw_only=True):
    """One event. `path` is the place of its job or step below the job that was asked for."""

    position: int
    stream: str
    id: UUID
    path: str
    version: int
    type: str
    at: Time
    cause: str
    data: dict[str, Any]


class SlowStep(Shape, frozen=True, kw_only=True):
    """How long a step ran in its newest attempt; `path` leads down from the job asked for."""

    job: UUID
    path: str
    state: str
    seconds: float
    attempts: int
    worker: str | None


def event_data(event: events.Event) -> dict[str, Any]:
    """Return the fields of an event as JSON values, those left at their defaults left out.

    Payloads appear as their values; one that is kept as a blob as `{"blob": hash, "size": bytes}`.
    """
    data = _plain(event)
    return {name: value for name, value in data.items() if name not in ("at", "cause")}


def _plain(value: Any) -> Any:
    if isinstance(value, Payload):
        if value.json is not None:
            return msgspec.json.decode(value.json)
        return {"blob": value.blob, "size": value.size}
    if isinstance(value, msgspec.Struct):
        return {
            field.encode_name: _plain(getattr(value, field.name))
            for field in msgspec.structs.fields(value)
            if field.required or not _is_default(getattr(value, field.name), field)
        }
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(inner) for inner in value]
    if isinstance(value, datetime):
        return format_time(value)
    return str(value) if isinstance(value, UUID) else value


def _is_default(value: Any, field: msgspec.structs.FieldInfo) -> bool:
    if field.default_factory is not msgspec.NODEFAULT:
        return bool(value == field.default_factory())
    return bool(value == field.default)
