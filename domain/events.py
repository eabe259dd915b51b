"""Facts that the log keeps. Each has a stable name and version; stored events only ever gain.

`at` is the time of the decision and `cause` names what led to it (`report:<message id>`,
`timer:<step>/<attempt>`, `command:<message id>`), both given to the core from outside. What goes
out has `release:` before what made it ready or gave it room.
A step that never started (skipped, not needed, upstream failed) is told by its job's events alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Literal, TypeVar
from uuid import UUID

import msgspec

from warrener.domain.definition.model import Budget, RetryRule
from warrener.domain.payloads import Payload

RELEASE = "release:"


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


class EventPruned(Event, frozen=True, kw_only=True):
    """Stands in the log for an event of a job that was archived; `at` and `cause` are its own.

    `digest` is the SHA-256 of the event, in hexadecimal, for the chain of hashes.
    """

    topic: str
    digest: str
    job: UUID  # the root of the tree that it belongs to
    archive: str  # the id of the archive that has it


class Recorded(msgspec.Struct, frozen=True):
    """An event at its place in its stream, as the store takes and gives it.

    The two originator fields have the names that the `eventsourcing` library asks for.
    """

    originator_id: UUID
    originator_version: int
    event: Event


E = TypeVar("E", bound=Event)


def event_of(recorded: Recorded | None, kind: type[E]) -> E | None:
    """Return an event, None if there is none or it is of another kind."""
    event = None if recorded is None else recorded.event
    return event if isinstance(event, kind) else None


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
    deadline: datetime | None = None  # of the tree, kept with its root
    selection: Selection | None = None
    given: dict[str, GivenStep] = {}
    traceparent: str | None = None  # span of whoever submitted it


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
    caught: dict[str, str] = {}  # failed step -> step that answers for it
    heard: dict[str, str] = {}  # key of a kept signal that a step took -> the signal's name
    cleaning: tuple[UUID, ...] = ()  # cancelled child jobs that still clean up
    cleaned: tuple[UUID, ...] = ()  # those that have ended since
    closing: bool = False  # everything but the clean-up has ended


class JobSteered(JobEvent, frozen=True, kw_only=True, omit_defaults=True):
    """Base of what people ask for about a job: who, and why."""

    by: str = ""
    reason: str = ""


class JobPaused(JobSteered, frozen=True, kw_only=True, omit_defaults=True):
    """Nothing more of the job and of what is below it goes out."""


class JobResumed(JobSteered, frozen=True, kw_only=True, omit_defaults=True):
    """The job goes on."""


class JobCancelling(JobSteered, frozen=True, kw_only=True, omit_defaults=True):
    """The job is being stopped; what still runs is told."""


class JobOverdue(JobEvent, frozen=True, kw_only=True):
    """The job's deadline has passed: what has not ended is cancelled, and the job fails."""

    deadline: datetime


class JobSignalled(JobSteered, frozen=True, kw_only=True, omit_defaults=True):
    """A signal came. `step` waited for it; without one it is kept for the next that does."""

    name: str
    key: str
    data: Payload
    step: str | None = None


class JobRerun(JobSteered, frozen=True, kw_only=True, omit_defaults=True):
    """A new generation of `step` and of all below it begins; `steps` names them all.

    What was recorded of the steps above it stays as it is.
    """

    generation: int
    step: str
    steps: tuple[str, ...]
    key: str
    below: dict[str, int] = {}  # final states of the steps of child jobs, no longer counted


class JobAdjusted(JobSteered, frozen=True, kw_only=True, omit_defaults=True):
    """Parameters of a step were changed while the job runs; None leaves one as it is."""

    step: str
    window: int | None = None
    tolerated: int | None = None  # items that may fail
    retry: tuple[RetryRule, ...] | None = None


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
    """Return the root jobs that events leave open, and the jobs that they leave ended."""
    is_open: dict[UUID, bool] = {}
    for recorded in events:
        event = recorded.event
        submitted = isinstance(event, JobSubmitted) and event.parent is None
        if submitted or isinstance(event, JobRerun):
            is_open[recorded.originator_id] = True
        elif isinstance(event, JobEnded):
            is_open[recorded.originator_id] = False
    opened = [job for job, still in is_open.items() if still]
    return opened, [job for job, still in is_open.items() if not still]
