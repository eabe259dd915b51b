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

from warrener.domain.definition.model import Budget, Rate, RetryRule
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
    deadline: datetime | None = None  # of the tree, kept with its root
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


# --- steps (a fan-out item is a step, too) -----------------------------------------------------


class StepEvent(Event, frozen=True, kw_only=True):
    """Base of the events of a step's stream. `path` is the path inside `job`."""

    job: UUID
    path: str


class Held(msgspec.Struct, frozen=True):
    """A limit that an attempt holds a slot or took a token of: its name and evaluated key."""

    name: str
    key: str


class StepReleased(StepEvent, frozen=True, kw_only=True, omit_defaults=True):
    """An order for this attempt goes to the broker."""

    attempt: int
    token: str
    endpoint: str
    queue: str
    args: Payload
    limits: tuple[Held, ...] = ()


class StepStarted(StepEvent, frozen=True, kw_only=True):
    """A worker's beat said that the attempt runs."""

    attempt: int
    worker: str


class StepProgressed(StepEvent, frozen=True, kw_only=True, omit_defaults=True):
    """An attempt has come on by a tenth or more since the last such event."""

    attempt: int
    worker: str
    progress: float  # share from 0 to 1
    note: str | None = None


class StepParked(StepEvent, frozen=True, kw_only=True, omit_defaults=True):
    """Only a person can help: the step waits for the answer to a request, and holds nothing."""

    attempt: int
    request: UUID  # stream of the user action
    until: datetime | None = None  # end of patience
    worker: str | None = None


class StepReadied(StepEvent, frozen=True, kw_only=True, omit_defaults=True):
    """A begun step may go out again: a person answered, or asked for it, or patience ended."""

    by: str = ""
    reason: str = ""
    answer: Payload | None = None


class StepRenewed(StepEvent, frozen=True, kw_only=True):
    """A new generation of a step begins in the stream of the old one."""

    generation: int


class StepOpened(StepEvent, frozen=True, kw_only=True, omit_defaults=True):
    """A fan-out was opened over `items`, a child job was started, or a wait or sleep has begun."""

    items: Payload | None = None
    count: int | None = None
    child: UUID | None = None
    signal: str | None = None
    until: datetime | None = None  # end of the sleep, or of patience with the wait
    request: UUID | None = None  # stream of the user action, of a wait with a form


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


class StepSkipped(StepEvent, frozen=True, kw_only=True):
    """The step was begun and is passed over, as its definition says for this case."""

    reason: str


class StepCancelled(StepEvent, frozen=True, kw_only=True, omit_defaults=True):
    """The step was begun and will not be finished. `attempt` is the one that was out, if any."""

    reason: str = ""
    attempt: int | None = None


# --- user actions: one stream for each request ---------------------------------------------------


class UserActionEvent(Event, frozen=True, kw_only=True):
    """Base of the events of a user action's stream."""


class UserActionRequested(UserActionEvent, frozen=True, kw_only=True, omit_defaults=True):
    """A person is asked for help; all steps that name the same `subject` wait for one answer."""

    action: str
    subject: str  # the `cause` that endpoints name
    message: str = ""
    form: Payload | None = None  # JSON Schema of the answer
    job: UUID  # of the step that asked first
    path: str
    shared: bool = True  # with all steps that name the subject; a `wait:` has its own


class UserActionReminded(UserActionEvent, frozen=True, kw_only=True):
    """Nobody has answered yet: those who were told are told again."""

    number: int  # of the reminder, from 1


class UserActionAnswered(UserActionEvent, frozen=True, kw_only=True, omit_defaults=True):
    """A person answered; every step that waits goes on."""

    by: str = ""
    reason: str = ""
    data: Payload


class UserActionWithdrawn(UserActionEvent, frozen=True, kw_only=True):
    """No step waits for the answer any more."""

    why: str


# --- limits: one stream for each name ----------------------------------------------------------


class LimitChanged(Event, frozen=True, kw_only=True, omit_defaults=True):
    """A limit is not what definitions say of it; None leaves a part as they say."""

    by: str = ""
    reason: str = ""
    name: str
    slots: int | None = None
    rate: Rate | None = None
    burst: int | None = None


# --- the fleet: one stream ---------------------------------------------------------------------


class FleetChanged(Event, frozen=True, kw_only=True, omit_defaults=True):
    """Workers came or went: the slots that serve each queue now, and the endpoints they know."""

    slots: dict[str, int] = {}
    endpoints: tuple[str, ...] = ()
