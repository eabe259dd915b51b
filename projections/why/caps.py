"""Limits with reserved names, as the log tells them: which are set, and which orders are under one.

An order that went out before one was set does not name it, and holds a slot of it all the same.
"""

from __future__ import annotations

from uuid import UUID

from warrener.domain import caps, ids
from warrener.domain.control_events import LimitChanged
from warrener.domain.definition.names import is_reserved
from warrener.domain.events import JobSubmitted, event_of
from warrener.domain.flow.ready import Stage
from warrener.domain.limit_state import Claim
from warrener.domain.step_events import Held, StepReleased
from warrener.projections.why.past import Past
from warrener.projections.why.tales import JobTale


def change_of(past: Past, name: str) -> LimitChanged | None:
    """Return what people have set for a limit, if anything."""
    return event_of(past.last(ids.limit_id(name)), LimitChanged)


def claims_of_step(past: Past, tale: JobTale, path: str) -> list[Claim]:
    """Return the claims of a step beside those of its definition."""
    name, _ = ids.split_path(path)
    names = caps.names_for_step(Stage(tale.planned(path).queue, tale.job.name, name))
    root = tale.job.root or tale.job.id
    return [caps.claim(each, root) for each in names if caps.is_set(change_of(past, each))]


def claims_of_job(past: Past, name: str) -> list[Claim]:
    """Return the claims of a root job by the name of its definition."""
    names = caps.names_for_job(name)
    return [caps.claim(each) for each in names if caps.is_set(change_of(past, each))]


class Orders:
    """Tells which orders are under which of these limits, whatever they name themselves."""

    def __init__(self, past: Past) -> None:
        """Take the log; what is looked up is kept."""
        self._past = past
        self._jobs: dict[UUID, JobSubmitted | None] = {}

    def is_under(self, order: StepReleased, held: Held) -> bool:
        """Say whether an order holds a slot of a limit."""
        if held in order.limits:
            return True
        job = self._submitted(order.job) if is_reserved(held.name) else None
        if job is None:
            return False
        name, _ = ids.split_path(order.path)
        names = caps.names_for_step(Stage(order.queue, job.name, name))
        return held.name in names and held == caps.held_of(held.name, job.root)

    def _submitted(self, job: UUID) -> JobSubmitted | None:
        if job not in self._jobs:
            self._jobs[job] = event_of(next(iter(self._past.stream(job)), None), JobSubmitted)
        return self._jobs[job]
