"""Facts that the log keeps. Each has a stable name and version; stored events only ever gain.

`at` is the time of the decision and `cause` names what led to it (`report:<message id>`,
`timer:<step>/<attempt>`, `command:<message id>`), both given to the core from outside.
A step that never started (skipped, not needed, upstream failed) is told by its job's events alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Literal
from uuid import UUID

import msgspec

from warrener.domain.definition.model import Budget
from warrener.domain.payloads import Payload


class Error(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Why a step or a job failed, as users see it."""

    code: str
    message: str
    type: str | None = None  # class name of the exception
    attempt: int | None = None
    traceback: str | None = None
    path: str | None = None  # of the step that failed, seen from the job that has this error


ERROR_CHARACTERS_MAX = 2_000
TRACEBACK_CHARACTERS_MAX = 16 * 1024


def bounded(error: Error) -> Error:
    """Return an error that came from outside, cut to a length that an event can have."""
    return Error(
        code=error.code[:100] or "error",
        message=error.message[:ERROR_CHARACTERS_MAX],
        type=error.type and error.type[:200],
        attempt=error.attempt,
        traceback=error.traceback and error.traceback[-TRACEBACK_CHARACTERS_MAX:],
        path=error.path and error.path[:ERROR_CHARACTERS_MAX],
    )


class Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Base of all events."""

    at: datetime
    cause: str


class Recorded(msgspec.Struct, frozen=True):
    """An event at its place in its stream, as the store takes and gives it.

    The two originator fields have the names that the `eventsourcing` library asks for.
    """

    originator_id: UUID
    originator_version: int
    event: Event


# --- definitions: one stream each, one event -------------------------------------------------


class DefinitionStored(Event, frozen=True, kw_only=True):
    """A definition was stored; `json` is its canonical text and `hash` the hash of that text."""

    name: str
    version: int
    hash: str
    json: str


# --- jobs --------------------------------------------------------------------------------------


class Parent(msgspec.Struct, frozen=True):
    """The step that started a child job."""

    job: UUID
    step: UUID
    path: str  # of the step in its own job


class Selection(msgspec.Struct, frozen=True):
    """A part of a job that is run alone."""

    mode: Literal["only", "upto", "downstream"]
    step: str


class GivenStep(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a step that is not run again is taken to have given."""

    state: str
    result: Payload | None = None
    error: Error | None = None


class JobEvent(Event, frozen=True, kw_only=True):
    """Base of the events of a job's stream."""


class JobSubmitted(JobEvent, frozen=True, kw_only=True, omit_defaults=True):
    """A job was accepted. `library` pins the definitions of all sub-jobs: name -> hash."""

    name: str
    version: int
    definition: str  # content hash
    params: Payload
    params_digest: str
    root: UUID
    parent: Parent | None = None
    depth: int = 0
    key: str | None = None
    labels: dict[str, str] = {}
    priority: int = 0
    fair: str | None = None
    library: dict[str, str] = {}
    budget: Budget = Budget()  # of the tree, set by the root
    selection: Selection | None = None
    given: dict[str, GivenStep] = {}


class JobStarted(JobEvent, frozen=True, kw_only=True):
    """The first decision about the job's steps was made."""


class FanOut(msgspec.Struct, frozen=True, omit_defaults=True):
    """The shape of an opened fan-out."""

    count: int
    window: int | None = None  # items in flight at most
    tolerated: int = 0  # items that may fail


class JobAdvanced(JobEvent, frozen=True, kw_only=True, omit_defaults=True):
    """One step of progress: everything one batch decided about the job's steps, by step name."""

    edges: dict[str, dict[str, bool]] = {}  # step -> dependency -> required?
    readied: dict[str, tuple[str, ...]] = {}  # step -> dependencies not ended at the decision
    fan_outs: dict[str, FanOut] = {}  # fan-out opened
    children: dict[str, UUID] = {}  # step -> child job it waits for
    begun: dict[str, int] = {}  # fan-out -> items begun so far, in index order
    settled: dict[str, str] = {}  # step -> final state
    items: dict[str, dict[str, tuple[int, ...]]] = {}  # fan-out -> final state -> item indexes
    below: dict[str, int] = {}  # final states of all steps of the child jobs that ended


class JobCancelling(JobEvent, frozen=True, kw_only=True, omit_defaults=True):
    """The job is being stopped; what still runs is told."""

    reason: str = ""


class JobEnded(JobEvent, frozen=True, kw_only=True, omit_defaults=True):
    """Base of the three ends. `steps` counts the steps of the whole subtree by final state."""

    steps: dict[str, int] = {}


class JobSucceeded(JobEnded, frozen=True, kw_only=True, omit_defaults=True):
    """Every step ended and no failure is left."""

    result: Payload | None = None


class JobFailed(JobEnded, frozen=True, kw_only=True):
    """Every step ended and a failure is left."""

    error: Error


class JobCancelled(JobEnded, frozen=True, kw_only=True, omit_defaults=True):
    """The job was stopped."""

    reason: str = ""


def roots_of(events: Iterable[Recorded]) -> tuple[list[UUID], list[UUID]]:
    """Return the root jobs that events submit, and the jobs that they end."""
    opened, ended = [], []
    for recorded in events:
        event = recorded.event
        if isinstance(event, JobSubmitted) and event.parent is None:
            opened.append(recorded.originator_id)
        elif isinstance(event, JobEnded):
            ended.append(recorded.originator_id)
    return opened, ended


# --- steps (a fan-out item is a step, too) -----------------------------------------------------


class StepEvent(Event, frozen=True, kw_only=True):
    """Base of the events of a step's stream. `path` is the path inside `job`."""

    job: UUID
    path: str


class StepReleased(StepEvent, frozen=True, kw_only=True):
    """An order for this attempt goes to the broker."""

    attempt: int
    token: str
    endpoint: str
    queue: str
    args: Payload


class StepStarted(StepEvent, frozen=True, kw_only=True):
    """A worker's beat said that the attempt runs."""

    attempt: int
    worker: str


class StepOpened(StepEvent, frozen=True, kw_only=True, omit_defaults=True):
    """A fan-out was opened over `items`, or a child job was started."""

    items: Payload | None = None
    count: int | None = None
    child: UUID | None = None


class StepSucceeded(StepEvent, frozen=True, kw_only=True, omit_defaults=True):
    """The step's result is known. Fan-outs, sub-jobs and `set` steps have no attempt or worker."""

    result: Payload | None = None
    attempt: int | None = None
    worker: str | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None


class StepRetryScheduled(StepEvent, frozen=True, kw_only=True, omit_defaults=True):
    """The attempt failed; the next one is due at `due`, by retry rule number `rule`."""

    attempt: int
    error: Error
    due: datetime
    rule: int
    worker: str | None = None


class StepFailed(StepEvent, frozen=True, kw_only=True, omit_defaults=True):
    """The step failed for good."""

    error: Error
    attempt: int | None = None
    worker: str | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None


class StepCancelled(StepEvent, frozen=True, kw_only=True, omit_defaults=True):
    """The step was begun and will not be finished. `attempt` is the one that was out, if any."""

    reason: str = ""
    attempt: int | None = None
