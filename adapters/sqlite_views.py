"""Read models in SQLite: a file of their own, or the same file as the log.

Documents are rows of JSON beside the columns that queries look at. The journal is write-ahead and
a commit does not wait for the disk: what a power cut takes is folded from the log again.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from threading import RLock
from typing import Any, TypeVar
from uuid import UUID

import msgspec

from warrener.adapters.sqlite_queries import (
    WAITERS,
    WAITERS_FIRST,
    action_query,
    job_query,
    label_rows,
    timeline_query,
)
from warrener.adapters.sqlite_tables import SCHEMA, SCHEMA_VERSION, TABLES, marks, moment
from warrener.domain.errors import Conflict, StoreUnavailable
from warrener.projections.attempt_views import ATTEMPTS, TRACKS, AttemptView
from warrener.projections.control_views import ACTIONS, LIMITS, ActionView, LimitView
from warrener.projections.ports import (
    ActionFilter,
    Documents,
    JobFilter,
    StoppedModel,
    Waiters,
    Wanted,
)
from warrener.projections.views import HISTORY, JOBS, ROOTS, STEPS, HistoryView, JobView, StepView

V = TypeVar("V")
BUSY_SECONDS = 30.0
_ENCODER = msgspec.json.Encoder()
_DECODE_STOPPED = msgspec.json.Decoder(StoppedModel).decode
_DECODERS = {name: msgspec.json.Decoder(table.type) for name, table in TABLES.items()}


class SqliteViewStore:
    """A `ViewStore` over one SQLite file (`:memory:` keeps nothing). Threads may share it."""

    def __init__(self, path: str) -> None:
        self._lock = RLock()
        with _translated():
            self._db = sqlite3.connect(
                path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
            )
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = NORMAL")
        self._prepare()

    def close(self) -> None:
        """Close the file."""
        with self._lock, _translated():
            self._db.close()

    def reset(self) -> None:
        """Drop all tables of the views and make them anew."""
        with self._transaction():
            self._recreate()

    def positions(self, partition: int = 0) -> dict[str, int]:
        """Return the position in a partition's log of every read model that has one."""
        sql = "SELECT model, position FROM view_positions WHERE partition = ?"
        return dict(self._rows(sql, (partition,)))

    def load(self, wanted: Wanted) -> Documents:
        """Return the documents under these keys."""
        with self._lock, _translated():
            return {table: self._load(table, keys) for table, keys in wanted.items()}

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
        """Write a batch of one read model in one transaction."""
        with self._transaction():
            found = self._db.execute(
                "SELECT position FROM view_positions WHERE model = ? AND partition = ?",
                (model, partition),
            ).fetchone()
            if (found[0] if found else 0) != after:
                raise Conflict(f"read model {model} is not at position {after} any more")
            for table, views in changes.items():
                self._write(table, views, partition)
            row = (model, partition, position)
            self._db.execute("REPLACE INTO view_positions VALUES (?, ?, ?)", row)
            passed = "DELETE FROM view_stopped WHERE model = ? AND partition = ? AND position <= ?"
            self._db.execute(passed, row)

    def stop(self, stopped: StoppedModel) -> None:
        """Keep that a model has stopped in a partition."""
        row = (stopped.model, stopped.partition, stopped.position, _ENCODER.encode(stopped))
        with self._transaction():
            self._db.execute("REPLACE INTO view_stopped VALUES (?, ?, ?, ?)", row)

    def stopped(self) -> Sequence[StoppedModel]:
        """Return the models that have stopped, by model and partition."""
        sql = "SELECT doc FROM view_stopped ORDER BY model, partition"
        return [_DECODE_STOPPED(row[0]) for row in self._rows(sql)]

    def forget(self, partition: int, positions: Mapping[str, int]) -> None:
        """Forget all of one partition in one transaction, if it is where the caller has seen it."""
        with self._transaction():
            if self.positions(partition) != dict(positions):
                raise Conflict(f"the read models of partition {partition} have moved on")
            jobs = "(SELECT job FROM view_jobs WHERE partition = ?)"
            self._db.execute(f"DELETE FROM view_labels WHERE job IN {jobs}", (partition,))
            owned = [name for name, table in TABLES.items() if not table.shared]
            for name in (*owned, "positions", "stopped"):
                self._db.execute(f"DELETE FROM view_{name} WHERE partition = ?", (partition,))

    def forget_jobs(self, jobs: Sequence[UUID]) -> None:
        """Forget what is kept of jobs that were pruned, in one transaction."""
        keys = [(job.bytes,) for job in jobs]
        with self._transaction():
            known = self._load(JOBS, jobs).values()
            self._db.executemany(
                "DELETE FROM view_labels WHERE label = ? AND job = ?",
                [(row[0], row[-1]) for view in known for row in label_rows(view)],
            )
            for table in (JOBS, STEPS, ATTEMPTS, TRACKS, ROOTS, HISTORY):
                self._db.executemany(f"DELETE FROM view_{table} WHERE job = ?", keys)

    def find_jobs(self, wanted: JobFilter) -> Sequence[JobView]:
        """Return matching jobs, the newest first."""
        sql, values = job_query(wanted)
        return self._views(JOBS, sql, values)

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
        sql, values = action_query(wanted)
        return self._views(ACTIONS, sql, values)

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

    def _prepare(self) -> None:
        """Make the tables, or make them anew if they were laid out by another version."""
        if self._version() == SCHEMA_VERSION:
            return
        with self._transaction():
            if self._version() != SCHEMA_VERSION:
                self._recreate()

    def _version(self) -> int | None:
        """Return the version of the layout found, None in a file without views."""
        known = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'view_schema'"
        if not self._rows(known):
            return None
        found: list[tuple[int]] = self._rows("SELECT version FROM view_schema")
        return found[0][0] if found else None

    def _recreate(self) -> None:
        tables = self._db.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name GLOB 'view_*'"
        ).fetchall()
        for (table,) in tables:
            self._db.execute(f'DROP TABLE "{table}"')
        for statement in SCHEMA.split(";"):
            self._db.execute(statement)
        self._db.execute("INSERT INTO view_schema VALUES (?)", (SCHEMA_VERSION,))

    def _load(self, table: str, keys: Iterable[Any]) -> dict[Any, Any]:
        sql, key_row = TABLES[table].select(table), TABLES[table].key_row
        decode, execute = _DECODERS[table].decode, self._db.execute
        found = {}
        for key in keys:
            row = execute(sql, key_row(key)).fetchone()
            if row is not None:
                found[key] = decode(row[0])
        return found

    def _write(self, table: str, views: Mapping[Any, Any], partition: int) -> None:
        row, owner = TABLES[table].row, (partition,) if TABLES[table].adds_partition else ()
        self._db.executemany(
            TABLES[table].upsert(table),
            ((*row(view), *owner, _ENCODER.encode(view)) for view in views.values()),
        )
        if table == JOBS:
            self._db.executemany(
                f"REPLACE INTO view_labels VALUES ({marks(5)})",
                (entry for view in views.values() for entry in label_rows(view)),
            )

    def _views(self, table: str, sql: str, values: Sequence[Any]) -> list[Any]:
        decode: Callable[[bytes], Any] = _DECODERS[table].decode
        return [decode(row[0]) for row in self._rows(sql, values)]

    def _rows(self, sql: str, values: Sequence[Any] = ()) -> list[Any]:
        with self._lock, _translated():
            return self._db.execute(sql, values).fetchall()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._lock, _translated():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise


@contextmanager
def _translated() -> Iterator[None]:
    """Turn errors of the driver into ours."""
    try:
        yield
    except sqlite3.Error as error:
        raise StoreUnavailable(f"the read models cannot be used: {error}") from error
