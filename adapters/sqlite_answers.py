"""The questions to the read models in SQLite."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

import msgspec

from warrener.adapters.sqlite_queries import (
    WAITERS,
    WAITERS_FIRST,
    action_query,
    incident_query,
    job_query,
    timeline_query,
)
from warrener.adapters.sqlite_tables import TABLES, moment
from warrener.projections.attempt_views import ATTEMPTS, AttemptView
from warrener.projections.control_views import ACTIONS, LIMITS, ActionView, LimitView
from warrener.projections.flow_views import INCIDENTS, IncidentView
from warrener.projections.ports import ActionFilter, IncidentFilter, JobFilter, Waiters
from warrener.projections.total_views import TOTALS, TotalView
from warrener.projections.views import HISTORY, JOBS, STEPS, HistoryView, JobView, StepView

DECODERS = {name: msgspec.json.Decoder(table.type) for name, table in TABLES.items()}


class SqliteAnswers:
    """The queries of a `ViewStore`, over whatever runs statements."""

    def _rows(self, sql: str, values: Sequence[Any] = ()) -> list[Any]:
        """Return what a statement finds."""
        raise NotImplementedError

    def find_jobs(self, wanted: JobFilter) -> Sequence[JobView]:
        """Return matching jobs, the newest first."""
        sql, values = job_query(wanted)
        return self._views(JOBS, sql, values)

    def count_jobs(self, wanted: JobFilter) -> int:
        """Return how many jobs match, at most the limit."""
        sql, values = job_query(wanted, "1")
        return int(self._rows(f"SELECT COUNT(*) FROM ({sql})", values)[0][0])

    def jobs_between(self, low: UUID, high: UUID, limit: int) -> Sequence[UUID]:
        """Return ids of jobs from `low` to `high`."""
        sql = "SELECT job FROM view_jobs WHERE job BETWEEN ? AND ? ORDER BY job LIMIT ?"
        return [UUID(bytes=row[0]) for row in self._rows(sql, (low.bytes, high.bytes, limit))]

    def children(self, parent: UUID, after: JobView | None, limit: int) -> Sequence[JobView]:
        """Return jobs that a job started, in order."""
        name, item, job = after.place() if after else ("", -1, UUID(int=0))
        sql = (
            "SELECT doc FROM view_jobs"
            " WHERE parent = ? AND (parent_step, parent_item, job) > (?, ?, ?)"
            " ORDER BY parent_step, parent_item, job LIMIT ?"
        )
        return self._views(JOBS, sql, (parent.bytes, name, item, job.bytes, limit))

    def named_steps(self, job: UUID) -> Sequence[StepView]:
        """Return the documents of a job's steps that are no items."""
        sql = "SELECT doc FROM view_steps WHERE job = ? AND item = -1"
        return self._views(STEPS, sql, (job.bytes,))

    def items(
        self, fan_out: StepView, *, state: str | None = None, after: int = -1, limit: int = 100
    ) -> Sequence[StepView]:
        """Return items of a fan-out, by index."""
        where, values = ("AND state = ? ", (state,)) if state else ("", ())
        sql = (
            f"SELECT doc FROM view_steps WHERE job = ? AND name = ? {where}"
            "AND item >= 0 AND item > ? AND born >= ? ORDER BY item LIMIT ?"
        )
        place = (fan_out.job.bytes, fan_out.path)
        return self._views(STEPS, sql, (*place, *values, after, fan_out.born, limit))

    def slowest(self, root: UUID, limit: int, offset: int = 0) -> Sequence[StepView]:
        """Return the steps of a tree that ran longest."""
        sql = (
            "SELECT doc FROM view_steps WHERE root = ? AND seconds IS NOT NULL"
            " ORDER BY seconds DESC, job, path LIMIT ? OFFSET ?"
        )
        return self._views(STEPS, sql, (root.bytes, limit, offset))

    def attempts(
        self, job: UUID, path: str, *, after: int = -1, limit: int = 100
    ) -> Sequence[AttemptView]:
        """Return attempts of a step by number."""
        sql = (
            "SELECT doc FROM view_attempts WHERE job = ? AND path = ? AND attempt > ?"
            " ORDER BY attempt LIMIT ?"
        )
        return self._views(ATTEMPTS, sql, (job.bytes, path, after, limit))

    def timeline(
        self, *, job: UUID | None, root: UUID | None, after: AttemptView | None, limit: int
    ) -> Sequence[AttemptView]:
        """Return attempts of one job or of the tree under one root, in order of time."""
        return self._views(ATTEMPTS, *timeline_query(job, root, after, limit))

    def find_actions(self, wanted: ActionFilter) -> Sequence[ActionView]:
        """Return matching requests, the newest first."""
        return self._views(ACTIONS, *action_query(wanted))

    def actions_between(self, low: UUID, high: UUID, limit: int) -> Sequence[UUID]:
        """Return ids of requests from `low` to `high`."""
        sql = (
            "SELECT request FROM view_actions WHERE request BETWEEN ? AND ?"
            " ORDER BY request LIMIT ?"
        )
        return [UUID(bytes=row[0]) for row in self._rows(sql, (low.bytes, high.bytes, limit))]

    def waiters(self, request: UUID, limit: int) -> Waiters:
        """Return who waits for the answer to a request."""
        ((steps, jobs, until),) = self._rows(WAITERS, (request.bytes,))
        first = self._views(STEPS, WAITERS_FIRST, (request.bytes, limit))
        return Waiters(int(steps), jobs, None if until is None else moment(until), tuple(first))

    def limits(self, limit: int) -> Sequence[LimitView]:
        """Return limits that were changed, by name and partition."""
        sql = "SELECT doc FROM view_limits ORDER BY name, partition LIMIT ?"
        return self._views(LIMITS, sql, (limit,))

    def totals(self, *, of_steps: bool, limit: int) -> Sequence[TotalView]:
        """Return totals of jobs or of steps by name, those with most first."""
        sql = (
            "SELECT doc FROM view_totals WHERE of_steps = ? AND weight >= 0"
            " ORDER BY weight DESC, job, step, partition LIMIT ?"
        )
        return self._views(TOTALS, sql, (int(of_steps), limit))

    def find_incidents(self, wanted: IncidentFilter) -> Sequence[IncidentView]:
        """Return matching incidents, the newest first."""
        return self._views(INCIDENTS, *incident_query(wanted))

    def incidents_between(self, low: UUID, high: UUID, limit: int) -> Sequence[UUID]:
        """Return ids of incidents from `low` to `high`."""
        sql = (
            "SELECT incident FROM view_incidents WHERE incident BETWEEN ? AND ?"
            " ORDER BY incident LIMIT ?"
        )
        return [UUID(bytes=row[0]) for row in self._rows(sql, (low.bytes, high.bytes, limit))]

    def history(
        self, *, job: UUID | None, root: UUID | None, after: int, limit: int
    ) -> Sequence[HistoryView]:
        """Return positions that belong to one job or to the tree under one root."""
        column, of = ("job", job) if job is not None else ("root", root)
        sql = (
            f"SELECT doc FROM view_history WHERE {column} = ? AND position > ?"
            " ORDER BY position LIMIT ?"
        )
        return self._views(HISTORY, sql, (of.bytes if of else None, after, limit))

    def _views(self, table: str, sql: str, values: Sequence[Any]) -> list[Any]:
        decode: Callable[[bytes], Any] = DECODERS[table].decode
        return [decode(row[0]) for row in self._rows(sql, values)]
