"""The index from a job and a tree to the positions of their events; the log keeps the events."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from warrener.domain.events import JobEvent, JobSubmitted
from warrener.domain.ports import Positioned
from warrener.domain.step_events import StepEvent
from warrener.projections.ports import Documents, Wanted
from warrener.projections.views import HISTORY, ROOTS, HistoryView, RootView


def job_of(positioned: Positioned) -> UUID | None:
    """Return the job that an event is about, None if it is about none."""
    event = positioned.recorded.event
    if isinstance(event, StepEvent):
        return event.job
    return positioned.recorded.originator_id if isinstance(event, JobEvent) else None


def wanted(batch: Sequence[Positioned]) -> Wanted:
    """Return the jobs whose roots a batch needs."""
    return {ROOTS: {job for job in map(job_of, batch) if job is not None}}


def fold(batch: Sequence[Positioned], loaded: Documents) -> Documents:
    """Return the positions of a batch by job and root, and the roots of new jobs."""
    known: dict[UUID, RootView] = dict(loaded.get(ROOTS, {}))
    fresh: dict[UUID, RootView] = {}
    rows: dict[tuple[int, int], HistoryView] = {}
    for positioned in batch:
        job, event = job_of(positioned), positioned.recorded.event
        if job is None:
            continue
        if isinstance(event, JobSubmitted) and job not in known:
            known[job] = fresh[job] = RootView(
                position=positioned.position, job=job, root=event.root
            )
        root = known[job].root if job in known else job
        row = HistoryView(
            position=positioned.position, partition=positioned.partition, job=job, root=root
        )
        rows[row.key] = row
    return {ROOTS: fresh, HISTORY: rows}
