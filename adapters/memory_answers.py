"""The questions to the read models in memory: each looks at every document."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from warrener.projections.attempt_views import ATTEMPTS, TRACKS, AttemptView, TrackView
from warrener.projections.control_views import (
    ACTIONS,
    FLEET,
    LIMITS,
    ActionView,
    FleetView,
    LimitView,
)
from warrener.projections.flow_views import (
    FLOW,
    FLOW_POINTS,
    INCIDENTS,
    FlowPointView,
    FlowView,
    IncidentView,
)
from warrener.projections.ports import (
    ActionFilter,
    IncidentFilter,
    JobCursor,
    JobFilter,
    StoppedModel,
    Waiters,
)
from warrener.projections.total_views import TOTALS, TotalView
from warrener.projections.views import (
    DEFINITIONS,
    HISTORY,
    JOBS,
    ROOTS,
    STEPS,
    DefinitionView,
    HistoryView,
    JobView,
    RootView,
    StepView,
    View,
)

TYPES: dict[str, type[View]] = {
    DEFINITIONS: DefinitionView,
    JOBS: JobView,
    STEPS: StepView,
    ROOTS: RootView,
    HISTORY: HistoryView,
    ACTIONS: ActionView,
    LIMITS: LimitView,
    FLEET: FleetView,
    FLOW: FlowView,
    FLOW_POINTS: FlowPointView,
    INCIDENTS: IncidentView,
    ATTEMPTS: AttemptView,
    TRACKS: TrackView,
    TOTALS: TotalView,
}


class Kept:
    """One generation."""

    def __init__(self) -> None:
        self.positions: dict[tuple[str, int], int] = {}
        self.tables: dict[str, dict[Any, bytes]] = {table: {} for table in TYPES}
        self.owners: dict[tuple[str, Any], int] = {}  # table and key -> partition
        self.stopped: dict[tuple[str, int], StoppedModel] = {}


class MemoryAnswers:
    """The queries of a `ViewStore`, over one generation of documents."""

    _kept: Kept

    def find_jobs(self, wanted: JobFilter) -> Sequence[JobView]:
        """Return matching jobs, the newest first."""
        found = [view for view in self._all(JOBS) if _matches(view, wanted)]
        found.sort(key=lambda view: (view.submitted_at, view.job), reverse=True)
        return found[: wanted.limit]

    def count_jobs(self, wanted: JobFilter) -> int:
        """Return how many jobs match, at most the limit."""
        return len(self.find_jobs(wanted))

    def jobs_between(self, low: UUID, high: UUID, limit: int) -> Sequence[UUID]:
        """Return ids of jobs from `low` to `high`."""
        return sorted(job for job in self._keys(JOBS) if low <= job <= high)[:limit]

    def children(self, parent: UUID, after: JobView | None, limit: int) -> Sequence[JobView]:
        """Return jobs that a job started, in order."""
        found = [view for view in self._all(JOBS) if view.parent and view.parent.job == parent]
        found.sort(key=JobView.place)
        if after is not None:
            found = [view for view in found if view.place() > after.place()]
        return found[:limit]

    def named_steps(self, job: UUID) -> Sequence[StepView]:
        """Return the documents of a job's steps that are no items."""
        return [view for view in self._all(STEPS) if view.job == job and view.item is None]

    def items(
        self, fan_out: StepView, *, state: str | None = None, after: int = -1, limit: int = 100
    ) -> Sequence[StepView]:
        """Return items of a fan-out, by index."""
        found: dict[int, StepView] = {
            view.item: view
            for view in self._all(STEPS)
            if (view.job, view.name) == fan_out.key
            and view.item is not None
            and view.born >= fan_out.born
        }
        return [
            view
            for index, view in sorted(found.items())
            if index > after and state in (None, view.state)
        ][:limit]

    def slowest(self, root: UUID, limit: int, offset: int = 0) -> Sequence[StepView]:
        """Return the steps of a tree that ran longest."""
        found = [
            view for view in self._all(STEPS) if view.root == root and view.seconds is not None
        ]
        found.sort(key=lambda view: (-(view.seconds or 0.0), view.job, view.path))
        return found[offset : offset + limit]

    def attempts(
        self, job: UUID, path: str, *, after: int = -1, limit: int = 100
    ) -> Sequence[AttemptView]:
        """Return attempts of a step by number."""
        found = [view for view in self._all(ATTEMPTS) if view.key[:2] == (job, path)]
        found.sort(key=lambda view: view.attempt)
        return [view for view in found if view.attempt > after][:limit]

    def timeline(
        self, *, job: UUID | None, root: UUID | None, after: AttemptView | None, limit: int
    ) -> Sequence[AttemptView]:
        """Return attempts of one job or of the tree under one root, in order of time."""
        found = [
            view
            for view in self._all(ATTEMPTS)
            if job in (None, view.job) and root in (None, view.root)
        ]
        found.sort(key=AttemptView.place)
        if after is not None:
            found = [view for view in found if view.place() > after.place()]
        return found[:limit]

    def find_actions(self, wanted: ActionFilter) -> Sequence[ActionView]:
        """Return matching requests, the newest first."""
        found = [
            view
            for view in self._all(ACTIONS)
            if wanted.state in (None, view.state) and wanted.subject in (None, view.subject)
        ]
        found.sort(key=lambda view: (view.opened_at, view.request), reverse=True)
        return found[: wanted.limit]

    def actions_between(self, low: UUID, high: UUID, limit: int) -> Sequence[UUID]:
        """Return ids of requests from `low` to `high`."""
        return sorted(found for found in self._keys(ACTIONS) if low <= found <= high)[:limit]

    def waiters(self, request: UUID, limit: int) -> Waiters:
        """Return who waits for the answer to a request."""
        found = [view for view in self._all(STEPS) if view.request == request]
        found.sort(key=lambda view: view.key)
        ends = [view.until for view in found if view.until is not None]
        jobs = {view.job for view in found}
        return Waiters(len(found), len(jobs), min(ends, default=None), tuple(found[:limit]))

    def limits(self, limit: int) -> Sequence[LimitView]:
        """Return limits that were changed, by name and partition."""
        return sorted(self._all(LIMITS), key=lambda view: view.key)[:limit]

    def totals(self, *, of_steps: bool, limit: int) -> Sequence[TotalView]:
        """Return totals of jobs or of steps by name, those with most first."""
        found = [
            view for view in self._all(TOTALS) if view.is_of_steps == of_steps and view.weight >= 0
        ]
        found.sort(key=lambda view: (-view.weight, view.job, view.step, view.partition))
        return found[:limit]

    def find_incidents(self, wanted: IncidentFilter) -> Sequence[IncidentView]:
        """Return matching incidents, the newest first."""
        found = [
            view
            for view in self._all(INCIDENTS)
            if wanted.state in (None, view.state)
            and (wanted.since is None or view.opened_at >= wanted.since)
        ]
        found.sort(key=lambda view: (view.opened_at, view.incident), reverse=True)
        return found[: wanted.limit]

    def incidents_between(self, low: UUID, high: UUID, limit: int) -> Sequence[UUID]:
        """Return ids of incidents from `low` to `high`."""
        return sorted(found for found in self._keys(INCIDENTS) if low <= found <= high)[:limit]

    def history(
        self, *, job: UUID | None, root: UUID | None, after: int, limit: int
    ) -> Sequence[HistoryView]:
        """Return positions that belong to one job or to the tree under one root."""
        found = [
            view
            for view in self._all(HISTORY)
            if view.position > after and job in (None, view.job) and root in (None, view.root)
        ]
        return sorted(found, key=lambda view: view.position)[:limit]

    def _keys(self, table: str) -> Iterable[Any]:
        return self._kept.tables[table]

    def _all(self, table: str) -> Iterator[Any]:
        return (decode(table, data) for data in self._kept.tables[table].values())


def decode(table: str, data: bytes) -> View:
    """Return a document from its bytes."""
    return msgspec.msgpack.decode(data, type=TYPES[table])


def _place(cursor: JobCursor) -> tuple[datetime, UUID]:
    return cursor.submitted_at, cursor.job


def _matches(view: JobView, wanted: JobFilter) -> bool:
    return (
        wanted.state in (None, view.state)
        and wanted.name in (None, view.name)
        and (wanted.since is None or view.submitted_at >= wanted.since)
        and (wanted.until is None or view.submitted_at < wanted.until)
        and (wanted.after is None or (view.submitted_at, view.job) < _place(wanted.after))
        and not (wanted.roots_only and view.parent)
        and wanted.labels.items() <= view.labels.items()
    )
