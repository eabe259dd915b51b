"""Read models in memory, for tests and for runs that keep nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from warrener.domain.errors import Conflict
from warrener.projections.attempt_views import ATTEMPTS, TRACKS, AttemptView, TrackView
from warrener.projections.control_views import (
    ACTIONS,
    FLEET,
    LIMITS,
    ActionView,
    FleetView,
    LimitView,
)
from warrener.projections.ports import (
    ActionFilter,
    Documents,
    JobCursor,
    JobFilter,
    StoppedModel,
    ViewStore,
    Waiters,
    Wanted,
)
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

_TYPES: dict[str, type[View]] = {
    DEFINITIONS: DefinitionView,
    JOBS: JobView,
    STEPS: StepView,
    ROOTS: RootView,
    HISTORY: HistoryView,
    ACTIONS: ActionView,
    LIMITS: LimitView,
    FLEET: FleetView,
    ATTEMPTS: AttemptView,
    TRACKS: TrackView,
}


class _Kept:
    """One generation."""

    def __init__(self) -> None:
        self.positions: dict[tuple[str, int], int] = {}
        self.tables: dict[str, dict[Any, bytes]] = {table: {} for table in _TYPES}
        self.owners: dict[tuple[str, Any], int] = {}  # table and key -> partition
        self.stopped: dict[tuple[str, int], StoppedModel] = {}


class MemoryViewStore:
    """A `ViewStore` over dictionaries. It keeps encoded documents, so none is shared by accident.

    Queries look at every document: it is meant for small stores.
    """

    def __init__(self) -> None:
        self._generation = 0
        self._begun: dict[int, int] = {}  # partition -> generation whose positions were read
        self._building: MemoryViewStore | None = None
        self._outlived = False
        self.reset()

    def reset(self) -> None:
        """Forget all documents and positions."""
        self._kept = _Kept()
        self._generation += 1

    def fresh(self) -> ViewStore:
        """Return an empty store of the next generation."""
        if self._building is not None:
            self._building._outlived = True
        self._building = MemoryViewStore()
        return self._building

    def switch(self, fresh: ViewStore) -> None:
        """Take over what was built."""
        if fresh is not self._building or not isinstance(fresh, MemoryViewStore):
            raise Conflict("another rebuild of the read models has begun, or this one has ended")
        self._kept, self._building = fresh._kept, None
        self._generation += 1
        fresh._outlived = True

    def close(self) -> None:
        """Do nothing."""

    def positions(self, partition: int = 0) -> dict[str, int]:
        """Return the position in a partition's log of every read model that has one."""
        self._begun[partition] = self._generation
        return self._positions_in(partition)

    def tables(self) -> dict[str, dict[Any, View]]:
        """Return everything that is kept, for comparing two stores."""
        return {
            table: {key: _decode(table, data) for key, data in kept.items()}
            for table, kept in self._kept.tables.items()
        }

    def load(self, wanted: Wanted) -> Documents:
        """Return the documents under these keys."""
        return {
            table: {
                key: _decode(table, self._kept.tables[table][key])
                for key in keys
                if key in self._kept.tables[table]
            }
            for table, keys in wanted.items()
        }

    def save(
        self,
        model: str,
        after: int,
        position: int,
        changes: Documents,
        partition: int = 0,
        *,
        loaded: Documents | None = None,  # noqa: ARG002  (a batch is written whole)
    ) -> None:
        """Write a batch of one read model."""
        self._check_generation(partition)
        if self._kept.positions.get((model, partition), 0) != after:
            raise Conflict(f"read model {model} is not at position {after} any more")
        for table, views in changes.items():
            self._kept.tables[table].update(
                {key: msgspec.msgpack.encode(view) for key, view in views.items()}
            )
            if table != DEFINITIONS:
                self._kept.owners.update(dict.fromkeys(((table, key) for key in views), partition))
        self._kept.positions[model, partition] = position
        known = self._kept.stopped.get((model, partition))
        if known is not None and known.position <= position:
            del self._kept.stopped[model, partition]

    def stop(self, stopped: StoppedModel) -> None:
        """Keep that a model has stopped in a partition."""
        self._check_generation(stopped.partition)
        self._kept.stopped[stopped.model, stopped.partition] = stopped

    def stopped(self) -> Sequence[StoppedModel]:
        """Return the models that have stopped, by model and partition."""
        return [stopped for _, stopped in sorted(self._kept.stopped.items())]

    def forget(self, partition: int, positions: Mapping[str, int]) -> None:
        """Forget all of one partition, if it is where the caller has seen it."""
        self._check_generation(partition)
        if self._positions_in(partition) != dict(positions):
            raise Conflict(f"the read models of partition {partition} have moved on")
        for model in positions:
            del self._kept.positions[model, partition]
        self._kept.stopped = {
            key: at for key, at in self._kept.stopped.items() if key[1] != partition
        }
        gone = [place for place, owner in self._kept.owners.items() if owner == partition]
        for table, key in gone:
            del self._kept.tables[table][key], self._kept.owners[table, key]

    def find_jobs(self, wanted: JobFilter) -> Sequence[JobView]:
        """Return matching jobs, the newest first."""
        found = [view for view in self._all(JOBS) if _matches(view, wanted)]
        found.sort(key=lambda view: (view.submitted_at, view.job), reverse=True)
        return found[: wanted.limit]

    def jobs_between(self, low: UUID, high: UUID, limit: int) -> Sequence[UUID]:
        """Return ids of jobs from `low` to `high`."""
        return sorted(job for job in self._kept.tables[JOBS] if low <= job <= high)[:limit]

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
        return sorted(found for found in self._kept.tables[ACTIONS] if low <= found <= high)[:limit]

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

    def _check_generation(self, partition: int) -> None:
        """Raise `Conflict` if another generation has come since positions were read."""
        if self._outlived or self._begun.get(partition, self._generation) != self._generation:
            raise Conflict("the read models were built anew: read their positions again")

    def _positions_in(self, partition: int) -> dict[str, int]:
        positions = self._kept.positions.items()
        return {model: position for (model, of), position in positions if of == partition}

    def _all(self, table: str) -> Iterator[Any]:
        return (_decode(table, data) for data in self._kept.tables[table].values())


def _decode(table: str, data: bytes) -> View:
    return msgspec.msgpack.decode(data, type=_TYPES[table])


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
