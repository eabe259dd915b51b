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


class Outcome(msgspec.Struct, frozen=True):
    """How a job ended; `steps` counts the steps of its whole tree by state."""

    job: UUID
    name: str
    version: int
    state: str
    result: Any
    error: Error | None
    steps: dict[str, int]
    elapsed_seconds: float


def outcome(store: EventStore, job: UUID) -> Outcome:
    """Return how a job ended, from the log."""
    events = list(store.stream(job))
    state = jobs.project(None, events)
    if state is None or not isinstance(events[0].event, JobSubmitted):
        raise UnknownJob(f"no job {job} in the store")
    last = events[-1].event
    if state.state not in JOB_ENDED or not isinstance(last, JobEnded):
        raise UsageError(f"job {job} has not ended: it is {state.state}")
    return Outcome(
        job=job,
        name=state.name,
        version=events[0].event.version,
        state=state.state,
        result=read_payload(state.result, store),
        error=state.error,
        steps=last.steps,
        elapsed_seconds=_seconds(events[0], events[-1].event.at),
    )


def _seconds(first: Recorded, end: datetime) -> float:
    return (end - first.event.at).total_seconds()
