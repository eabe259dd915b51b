"""Read models in SQLite: a file of their own, or the same file as the log.

Documents are rows of JSON beside the columns that queries look at. The journal is write-ahead and
a commit does not wait for the disk: what a power cut takes is folded from the log again.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from threading import RLock
from typing import Any, TypeVar
from uuid import UUID

import msgspec

from warrener.adapters import sqlite_generations as generations
from warrener.adapters.sqlite_answers import DECODERS, SqliteAnswers
from warrener.adapters.sqlite_queries import label_rows
from warrener.adapters.sqlite_tables import TABLES, marks
from warrener.domain.errors import Conflict, StoreUnavailable
from warrener.projections.attempt_views import ATTEMPTS, TRACKS
from warrener.projections.ports import (
    Documents,
    StoppedModel,
    ViewStore,
    Wanted,
)
from warrener.projections.views import HISTORY, JOBS, ROOTS, STEPS

V = TypeVar("V")
BUSY_SECONDS = 30.0
_ENCODER = msgspec.json.Encoder()
_DECODE_STOPPED = msgspec.json.Decoder(StoppedModel).decode


class SqliteViewStore(SqliteAnswers):
    """A `ViewStore` over one SQLite file (`:memory:` keeps nothing). Threads may share it."""

    def __init__(self, path: str) -> None:
        self._lock = RLock()
        with _translated():
            self._db = sqlite3.connect(
                path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
            )
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = NORMAL")
            if not generations.is_laid_out(self._db):
                self._lay_out()
            self._opened = generations.layout(self._db).generation
        self._building = False
        self._begun: dict[int, int] = {}  # partition -> generation whose positions were read

    def close(self) -> None:
        """Close the file."""
        if self._building:  # it has the connection of another store
            return
        with self._lock, _translated():
            self._db.close()

    def reset(self) -> None:
        """Drop all tables of the views and make them anew."""
        with self._transaction():
            self._opened = generations.empty(self._db, self._opened if self._building else 0)

    def fresh(self) -> ViewStore:
        """Return an empty store of the next generation, in tables beside the others."""
        with self._transaction():
            return self._of(generations.build(self._db))

    def switch(self, fresh: ViewStore) -> None:
        """Give the tables that were built the names of the others."""
        if not isinstance(fresh, SqliteViewStore):
            raise TypeError("only what `fresh` returned can be switched to")
        with self._transaction():
            generations.switch(self._db, fresh._opened)
        with self._lock, _translated():
            generations.drop_outlived(self._db)

    def positions(self, partition: int = 0) -> dict[str, int]:
        """Return the position in a partition's log of every read model that has one."""
        with self._lock, _translated():
            seen = self._opened if self._building else generations.layout(self._db).generation
        self._begun[partition] = seen
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
            self._check_generation(partition)
            found = self._execute(
                "SELECT position FROM view_positions WHERE model = ? AND partition = ?",
                (model, partition),
            ).fetchone()
            if (found[0] if found else 0) != after:
                raise Conflict(f"read model {model} is not at position {after} any more")
            for table, views in changes.items():
                self._write(table, views, partition)
            row = (model, partition, position)
            self._execute("REPLACE INTO view_positions VALUES (?, ?, ?)", row)
            passed = "DELETE FROM view_stopped WHERE model = ? AND partition = ? AND position <= ?"
            self._execute(passed, row)

    def stop(self, stopped: StoppedModel) -> None:
        """Keep that a model has stopped in a partition."""
        row = (stopped.model, stopped.partition, stopped.position, _ENCODER.encode(stopped))
        with self._transaction():
            self._check_generation(stopped.partition)
            self._execute("REPLACE INTO view_stopped VALUES (?, ?, ?, ?)", row)

    def stopped(self) -> Sequence[StoppedModel]:
        """Return the models that have stopped, by model and partition."""
        sql = "SELECT doc FROM view_stopped ORDER BY model, partition"
        return [_DECODE_STOPPED(row[0]) for row in self._rows(sql)]

    def forget(self, partition: int, positions: Mapping[str, int]) -> None:
        """Forget all of one partition in one transaction, if it is where the caller has seen it."""
        with self._transaction():
            self._check_generation(partition)
            if self.positions(partition) != dict(positions):
                raise Conflict(f"the read models of partition {partition} have moved on")
            jobs = "(SELECT job FROM view_jobs WHERE partition = ?)"
            self._execute(f"DELETE FROM view_labels WHERE job IN {jobs}", (partition,))
            owned = [name for name, table in TABLES.items() if not table.shared]
            for name in (*owned, "positions", "stopped"):
                self._execute(f"DELETE FROM view_{name} WHERE partition = ?", (partition,))

    def forget_jobs(self, jobs: Sequence[UUID]) -> None:
        """Forget what is kept of jobs that were pruned, also in what is being built."""
        with self._transaction():
            for store in (self, *self._beside()):
                store._forget_jobs(jobs)

    def _forget_jobs(self, jobs: Sequence[UUID]) -> None:
        known = self._load(JOBS, jobs).values()
        self._db.executemany(
            self._named("DELETE FROM view_labels WHERE label = ? AND job = ?"),
            [(row[0], row[-1]) for view in known for row in label_rows(view)],
        )
        for table in (JOBS, STEPS, ATTEMPTS, TRACKS, ROOTS, HISTORY):
            sql = self._named(f"DELETE FROM view_{table} WHERE job = ?")
            self._db.executemany(sql, [(job.bytes,) for job in jobs])

    def _beside(self) -> Iterator[SqliteViewStore]:
        """Yield what is being built beside this store."""
        building = generations.layout(self._db).building
        if building and not self._building:
            yield self._of(building)

    def _of(self, building: int) -> SqliteViewStore:
        """Return a generation that is being built, over the same connection."""
        store = copy(self)
        store._opened, store._building, store._begun = building, True, {}
        return store

    def _load(self, table: str, keys: Iterable[Any]) -> dict[Any, Any]:
        sql, key_row = self._named(TABLES[table].select(table)), TABLES[table].key_row
        decode, execute = DECODERS[table].decode, self._db.execute
        found = {}
        for key in keys:
            row = execute(sql, key_row(key)).fetchone()
            if row is not None:
                found[key] = decode(row[0])
        return found

    def _write(self, table: str, views: Mapping[Any, Any], partition: int) -> None:
        row, owner = TABLES[table].row, (partition,) if TABLES[table].adds_partition else ()
        self._db.executemany(
            self._named(TABLES[table].upsert(table)),
            ((*row(view), *owner, _ENCODER.encode(view)) for view in views.values()),
        )
        if table == JOBS:
            self._db.executemany(
                self._named(f"REPLACE INTO view_labels VALUES ({marks(5)})"),
                (entry for view in views.values() for entry in label_rows(view)),
            )

    def _rows(self, sql: str, values: Sequence[Any] = ()) -> list[Any]:
        with self._lock, _translated():
            return self._execute(sql, values).fetchall()

    def _execute(self, sql: str, values: Sequence[Any] = ()) -> sqlite3.Cursor:
        return self._db.execute(self._named(sql), values)

    def _named(self, sql: str) -> str:
        """Return a statement with the names that the tables of this generation have."""
        return sql.replace("view_", generations.NEXT) if self._building else sql

    def _check_generation(self, partition: int) -> None:
        """Raise `Conflict` if another generation has come since positions were read."""
        begun = self._begun.get(partition, self._opened)
        generations.check_generation(self._db, begun, building=self._building)

    def _lay_out(self) -> None:
        with self._transaction():
            if not generations.is_laid_out(self._db):
                generations.lay_out(self._db)

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
