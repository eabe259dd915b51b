"""Facts about a step, in a stream of its own; an item of a fan-out is a step, too."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import msgspec

from warrener.domain.events import Error, Event
from warrener.domain.payloads import Payload


class StepEvent(Event, frozen=True, kw_only=True):
    """Base of the events of a step's stream. `path` is the path inside `job`."""

    job: UUID
    path: str


class Held(msgspec.Struct, frozen=True, cache_hash=True):
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
    started_at: datetime | None = None
    ended_at: datetime | None = None


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
