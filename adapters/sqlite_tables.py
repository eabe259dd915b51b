"""The tables of the read models in SQLite: layout, and what each keeps beside the document.

Bump `SCHEMA_VERSION` with any change here or in the documents: the views are then built anew.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

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

SCHEMA_VERSION: Final = 7
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Table(msgspec.Struct, frozen=True):
    """A table: its documents, the columns of its key, and the columns that queries look at.

    All but `shared` ones have a column `partition`, set to the one that a document is saved for.
    """

    type: type[View]
    key: tuple[str, ...]
    others: tuple[str, ...]
    row: Callable[[Any], tuple[Any, ...]]  # values of key and other columns
    key_row: Callable[[Any], tuple[Any, ...]]  # key -> values of the key columns
    shared: bool = False

    @property
    def adds_partition(self) -> bool:
        """Say whether the partition comes before the document, not being part of the key."""
        return not self.shared and "partition" not in self.key

    def upsert(self, name: str) -> str:
        """Return the statement that writes a row: key, others, partition unless in the key, doc."""
        others = (*self.others, *(("partition",) if self.adds_partition else ()), "doc")
        columns = (*self.key, *others)
        changed = ", ".join(f"{column} = excluded.{column}" for column in others)
        return (
            f"INSERT INTO view_{name} ({', '.join(columns)}) VALUES ({marks(len(columns))})"
            f" ON CONFLICT ({', '.join(self.key)}) DO UPDATE SET {changed}"
        )

    def select(self, name: str) -> str:
        """Return the statement that reads a document by its key."""
        where = " AND ".join(f"{column} = ?" for column in self.key)
        return f"SELECT doc FROM view_{name} WHERE {where}"


def marks(count: int) -> str:
    """Return so many placeholders."""
    return ", ".join("?" * count)


def microseconds(at: datetime) -> int:
    """Return a time as microseconds since 1970, which sort and compare as numbers."""
    return (at - _EPOCH) // timedelta(microseconds=1)


def moment(at: int) -> datetime:
    """Return the time that so many microseconds since 1970 are."""
    return _EPOCH + timedelta(microseconds=at)


def _job_row(view: JobView) -> tuple[Any, ...]:
    name, item, _ = view.place()
    parent = view.parent.job.bytes if view.parent else None
    at = microseconds(view.submitted_at)
    return view.job.bytes, view.name, view.state, at, parent, name, item


def _step_row(view: StepView) -> tuple[Any, ...]:
    item = -1 if view.item is None else view.item
    request = None if view.request is None else view.request.bytes
    until = None if view.until is None else microseconds(view.until)
    key, place = (view.job.bytes, view.path), (view.name, item, view.state, view.root.bytes)
    return *key, *place, view.seconds, view.born, request, until


def _attempt_row(view: AttemptView) -> tuple[Any, ...]:
    key = (view.job.bytes, view.path, view.attempt)
    return *key, view.root.bytes, microseconds(view.begun_at)


def _action_row(view: ActionView) -> tuple[Any, ...]:
    return view.request.bytes, view.state, view.subject, microseconds(view.opened_at)


def _incident_row(view: IncidentView) -> tuple[Any, ...]:
    return view.incident.bytes, view.state, microseconds(view.opened_at)


TABLES: Final[dict[str, Table]] = {
    DEFINITIONS: Table(
        DefinitionView, ("hash",), (), lambda view: (view.hash,), lambda key: (key,), shared=True
    ),
    JOBS: Table(
        JobView,
        ("job",),
        ("name", "state", "submitted_at", "parent", "parent_step", "parent_item"),
        _job_row,
        lambda key: (key.bytes,),
    ),
    STEPS: Table(
        StepView,
        ("job", "path"),
        ("name", "item", "state", "root", "seconds", "born", "request", "until"),
        _step_row,
        lambda key: (key[0].bytes, key[1]),
    ),
    ROOTS: Table(
        RootView,
        ("job",),
        ("root",),
        lambda view: (view.job.bytes, view.root.bytes),
        lambda key: (key.bytes,),
    ),
    HISTORY: Table(
        HistoryView,
        ("partition", "position"),
        ("job", "root"),
        lambda view: (view.partition, view.position, view.job.bytes, view.root.bytes),
        lambda key: key,
    ),
    ACTIONS: Table(
        ActionView,
        ("request",),
        ("state", "subject", "opened_at"),
        _action_row,
        lambda key: (key.bytes,),
    ),
    LIMITS: Table(LimitView, ("name", "partition"), (), lambda view: view.key, lambda key: key),
    FLEET: Table(FleetView, ("partition",), (), lambda view: (view.key,), lambda key: (key,)),
    FLOW: Table(FlowView, ("partition",), (), lambda view: (view.key,), lambda key: (key,)),
    FLOW_POINTS: Table(
        FlowPointView, ("partition", "slot"), (), lambda view: view.key, lambda key: key
    ),
    INCIDENTS: Table(
        IncidentView,
        ("incident",),
        ("state", "opened_at"),
        _incident_row,
        lambda key: (key.bytes,),
    ),
    ATTEMPTS: Table(
        AttemptView,
        ("job", "path", "attempt"),
        ("root", "begun_at"),
        _attempt_row,
        lambda key: (key[0].bytes, *key[1:]),
    ),
    TRACKS: Table(
        TrackView,
        ("job", "path"),
        (),
        lambda view: (view.job.bytes, view.path),
        lambda key: (key[0].bytes, key[1]),
    ),
    TOTALS: Table(
        TotalView,
        ("partition", "job", "step"),
        ("of_steps", "weight"),
        lambda view: (*view.key, int(view.is_of_steps), view.weight),
        lambda key: key,
    ),
}

SCHEMA: Final = """
CREATE TABLE view_positions (
    model TEXT NOT NULL, partition INTEGER NOT NULL, position INTEGER NOT NULL,
    PRIMARY KEY (model, partition)
) WITHOUT ROWID;

CREATE TABLE view_stopped (
    model TEXT NOT NULL, partition INTEGER NOT NULL, position INTEGER NOT NULL,
    doc BLOB NOT NULL, PRIMARY KEY (model, partition)
);

CREATE TABLE view_definitions (hash TEXT PRIMARY KEY, doc BLOB NOT NULL);

CREATE TABLE view_jobs (
    job BLOB PRIMARY KEY, name TEXT NOT NULL, state TEXT NOT NULL, submitted_at INTEGER NOT NULL,
    parent BLOB, parent_step TEXT NOT NULL, parent_item INTEGER NOT NULL,
    partition INTEGER NOT NULL, doc BLOB NOT NULL
);
CREATE INDEX view_jobs_all ON view_jobs (submitted_at, job);
CREATE INDEX view_jobs_by_state ON view_jobs (state, submitted_at, job);
CREATE INDEX view_jobs_by_name ON view_jobs (name, submitted_at, job);
CREATE INDEX view_roots_all ON view_jobs (submitted_at, job) WHERE parent IS NULL;
CREATE INDEX view_roots_by_state ON view_jobs (state, submitted_at, job) WHERE parent IS NULL;
CREATE INDEX view_roots_by_name ON view_jobs (name, submitted_at, job) WHERE parent IS NULL;
CREATE INDEX view_jobs_by_parent ON view_jobs (parent, parent_step, parent_item, job)
    WHERE parent IS NOT NULL;

CREATE TABLE view_labels (
    label TEXT NOT NULL, state TEXT NOT NULL, top INTEGER NOT NULL, submitted_at INTEGER NOT NULL,
    job BLOB NOT NULL, PRIMARY KEY (label, job)
) WITHOUT ROWID;
CREATE INDEX view_labels_all ON view_labels (label, submitted_at);
CREATE INDEX view_labels_by_state ON view_labels (label, state, submitted_at);
CREATE INDEX view_labels_top ON view_labels (label, top, submitted_at);
CREATE INDEX view_labels_top_by_state ON view_labels (label, top, state, submitted_at);

CREATE TABLE view_steps (
    job BLOB NOT NULL, path TEXT NOT NULL, name TEXT NOT NULL, item INTEGER NOT NULL,
    state TEXT NOT NULL, root BLOB NOT NULL, seconds REAL, born INTEGER NOT NULL, request BLOB,
    until INTEGER, partition INTEGER NOT NULL, doc BLOB NOT NULL, PRIMARY KEY (job, path)
);
CREATE INDEX view_steps_named ON view_steps (job) WHERE item = -1;
CREATE INDEX view_items ON view_steps (job, name, item) WHERE item >= 0;
CREATE INDEX view_items_by_state ON view_steps (job, name, state, item) WHERE item >= 0;
CREATE INDEX view_steps_slowest ON view_steps (root, seconds DESC, job, path)
    WHERE seconds IS NOT NULL;
CREATE INDEX view_waiters ON view_steps (request, job, path, until) WHERE request IS NOT NULL;

CREATE TABLE view_actions (
    request BLOB PRIMARY KEY, state TEXT NOT NULL, subject TEXT NOT NULL,
    opened_at INTEGER NOT NULL, partition INTEGER NOT NULL, doc BLOB NOT NULL
);
CREATE INDEX view_actions_all ON view_actions (opened_at, request);
CREATE INDEX view_actions_by_state ON view_actions (state, opened_at, request);
CREATE INDEX view_actions_by_subject ON view_actions (subject, opened_at, request);
CREATE INDEX view_actions_by_both ON view_actions (subject, state, opened_at, request);

CREATE TABLE view_limits (
    name TEXT NOT NULL, partition INTEGER NOT NULL, doc BLOB NOT NULL, PRIMARY KEY (name, partition)
);

CREATE TABLE view_fleet (partition INTEGER PRIMARY KEY, doc BLOB NOT NULL);

CREATE TABLE view_flow (partition INTEGER PRIMARY KEY, doc BLOB NOT NULL);

CREATE TABLE view_flow_points (
    partition INTEGER NOT NULL, slot INTEGER NOT NULL, doc BLOB NOT NULL,
    PRIMARY KEY (partition, slot)
);

CREATE TABLE view_incidents (
    incident BLOB PRIMARY KEY, state TEXT NOT NULL, opened_at INTEGER NOT NULL,
    partition INTEGER NOT NULL, doc BLOB NOT NULL
);
CREATE INDEX view_incidents_all ON view_incidents (opened_at, incident);
CREATE INDEX view_incidents_by_state ON view_incidents (state, opened_at, incident);

CREATE TABLE view_attempts (
    job BLOB NOT NULL, path TEXT NOT NULL, attempt INTEGER NOT NULL, root BLOB NOT NULL,
    begun_at INTEGER NOT NULL, partition INTEGER NOT NULL, doc BLOB NOT NULL,
    PRIMARY KEY (job, path, attempt)
);
CREATE INDEX view_attempts_of_job ON view_attempts (job, begun_at, path, attempt);
CREATE INDEX view_attempts_of_tree ON view_attempts (root, begun_at, job, path, attempt);

CREATE TABLE view_attempt_tracks (
    job BLOB NOT NULL, path TEXT NOT NULL, partition INTEGER NOT NULL, doc BLOB NOT NULL,
    PRIMARY KEY (job, path)
);

CREATE TABLE view_totals (
    partition INTEGER NOT NULL, job TEXT NOT NULL, step TEXT NOT NULL, of_steps INTEGER NOT NULL,
    weight INTEGER NOT NULL, doc BLOB NOT NULL, PRIMARY KEY (partition, job, step)
);
CREATE INDEX view_totals_by_weight ON view_totals (of_steps, weight DESC, job, step, partition);

CREATE TABLE view_history_roots (
    job BLOB PRIMARY KEY, root BLOB NOT NULL, partition INTEGER NOT NULL, doc BLOB NOT NULL
);

CREATE TABLE view_history (
    partition INTEGER NOT NULL, position INTEGER NOT NULL, job BLOB NOT NULL, root BLOB NOT NULL,
    doc BLOB NOT NULL, PRIMARY KEY (partition, position)
);
CREATE INDEX view_history_by_job ON view_history (job, position);
CREATE INDEX view_history_by_root ON view_history (root, position);
"""
