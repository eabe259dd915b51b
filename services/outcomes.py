"""How a job ended, read from the log."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from warrener.domain import job as jobs
from warrener.domain.errors import UnknownJob, UsageError
from warrener.domain.events import Error, JobEnded, JobSubmitted, Recorded
from warrener.domain.ports import EventStore
from warrener.domain.states import JOB_ENDED
from warrener.services.active_job import read_payload
from warrener.services.logs import refuse_pruned
from warrener.services.people import Awaited


class Outcome(msgspec.Struct, frozen=True):
    """How a job ended; `steps` counts the steps of its whole tree by state.

    One that cannot go on without people has not ended; `waiting` says what it waits for.
    """

    job: UUID
    name: str
    version: int
    state: str
    result: Any
    error: Error | None
    steps: dict[str, int]
    elapsed_seconds: float
    waiting: tuple[Awaited, ...] = ()


def outcome(store: EventStore, job: UUID) -> Outcome:
    """Return how a job ended, from the log."""
    found = so_far(store, job)
    if found.state not in JOB_ENDED:
        raise UsageError(f"job {job} has not ended: it is {found.state}")
    return found


def so_far(store: EventStore, job: UUID, waiting: tuple[Awaited, ...] = ()) -> Outcome:
    """Return how a job stands, from the log; `waiting` is what it waits for."""
    events = list(store.stream(job))
    refuse_pruned(job, next(iter(events), None))
    state = jobs.project(None, events)
    if state is None or not isinstance(events[0].event, JobSubmitted):
        raise UnknownJob(f"no job {job} in the store")
    last = events[-1].event
    return Outcome(
        job=job,
        name=state.name,
        version=events[0].event.version,
        state=state.state,
        result=read_payload(state.result, store),
        error=state.error,
        steps=last.steps if isinstance(last, JobEnded) else state.totals(),
        elapsed_seconds=_seconds(events[0], last.at),
        waiting=waiting,
    )


def _seconds(first: Recorded, end: datetime) -> float:
    return (end - first.event.at).total_seconds()
