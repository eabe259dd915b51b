"""Asks why something does not run, in the present and about the past."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from uuid import UUID

import msgspec

from warrener.domain import ids
from warrener.domain import job as jobs
from warrener.domain.definition.model import JobDefinition
from warrener.domain.events import DefinitionStored, JobSubmitted
from warrener.domain.plan import Plan, build_plan
from warrener.domain.ports import EventStore
from warrener.domain.step_events import StepOpened
from warrener.projections.why.model import Place
from warrener.services.log_at import LogAt
from warrener.services.shapes import Why
from warrener.services.why import LogPast, Moment, ask, locate, moment_at


def why(
    store: EventStore, job: UUID, path: str = "", *, now: datetime, at: int | datetime | None = None
) -> Why:
    """Return the answer about a job or a step, at a time or a position."""
    past = LogPast(store, moment_at(store, at, now))
    return ask(past, locate(past, job, path or None))


def why_at(store: EventStore, place: Place, moment: Moment) -> Why:
    """Return the answer about a place at a moment."""
    return ask(LogPast(store, moment), place)


def places(log: EventStore, position: int) -> Iterator[Place]:
    """Yield every job, step and item that is there at a position."""
    then = LogAt(log, position)
    for positioned in then.read(0, position):
        recorded = positioned.recorded
        if not isinstance(recorded.event, JobSubmitted):
            continue
        job = recorded.originator_id
        yield Place(job)
        for name in plan_of(then, recorded.event.definition).steps:
            yield Place(job, name)
            for index in range(_count(then, job, name)):
                yield Place(job, ids.item_path(name, index))


def _count(log: EventStore, job: UUID, name: str) -> int:
    state = jobs.project(None, log.stream(job))
    if state is None or state.step(name) == "pending":
        return 0
    opened = [each.event for each in log.stream(ids.step_id(job, name))]
    counts = [event.count or 0 for event in opened if isinstance(event, StepOpened)]
    return counts[-1] if counts else 0


def plan_of(log: EventStore, content_hash: str) -> Plan:
    """Return the plan of a stored definition."""
    last = log.last(ids.definition_id(content_hash))
    assert last is not None
    assert isinstance(last.event, DefinitionStored)
    return build_plan(msgspec.json.decode(last.event.json, type=JobDefinition))
