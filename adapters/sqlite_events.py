"""The log in SQLite: recorders of the `eventsourcing` library that keep what the log promises.

Positions are a key of their own, counted from 1 without gaps in the order of commits: there is one
writer at a time, and what is rolled back takes its positions with it. Versions of a stream are
dense: one that is taken, or that skips its predecessor, is refused by the file itself.

Tables: `log_events`, `log_commits` (where each ends, its link), `log_blobs` (content-addressed),
`log_tracking` (how far each named reader is), `log_open_roots`, `log_archives`, `log_meta`,
`log_schema`. Read models may live in the same file under names of their own.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Final
from uuid import UUID

from eventsourcing.persistence import (
    AggregateRecorder,
    IntegrityError,
    Notification,
    PersistenceError,
    ProcessRecorder,
    StoredEvent,
    Tracking,
)

from warrener.adapters.codec import EventMapper
from warrener.adapters.sqlite_commits import OUTBOX, SqliteCommits, add_link, note_roots
from warrener.adapters.sqlite_file import SqliteFile
from warrener.adapters.sqlite_layout import linked_row, prepare
from warrener.adapters.subscriptions import Listeners, PollingSubscription
from warrener.domain.errors import StoredDataError, StoreUnavailable

URL_PREFIX: Final = "sqlite:///"

_RAISE_TRACKING: Final = (
    "INSERT INTO log_tracking VALUES (?, ?) ON CONFLICT (application_name) DO UPDATE"
    " SET notification_id = max(notification_id, excluded.notification_id)"
)


def open_sqlite(url_or_path: str) -> SqliteRecorder:
    """Open the log at a path or a `sqlite:///` URL, making the file if it is missing.

    Raises `StoreUnavailable` and `StoredDataError` as `SqliteRecorder` does.
    """
    return SqliteRecorder(url_or_path.removeprefix(URL_PREFIX))


class SqliteAggregateRecorder(AggregateRecorder):
    """Keeps events of streams without a common order: what the library keeps snapshots with."""

    def __init__(self, file: SqliteFile, table: str, *, create_table: bool = True) -> None:
        """Use a table of a file; `table` must not come from outside."""
        self.file = file
        columns = "originator_version, topic, state"
        self._insert = f"INSERT INTO {table} (originator_id, {columns}) VALUES (?, ?, ?, ?)"
        self._select = f"SELECT {columns} FROM {table} WHERE originator_id = ?"
        if create_table:
            with file.writing() as db:
                db.execute(
                    f"CREATE TABLE IF NOT EXISTS {table} (originator_id BLOB,"
                    " originator_version INTEGER, topic TEXT, state BLOB,"
                    " PRIMARY KEY (originator_id, originator_version)) WITHOUT ROWID"
                )

    def insert_events(
        self, stored_events: Sequence[StoredEvent], **_kwargs: Any
    ) -> Sequence[int] | None:
        """Write events in one transaction; raises `IntegrityError` if a version is taken."""
        with self.file.writing() as db:
            db.executemany(self._insert, map(_row, stored_events))
        return None

    def select_events(
        self,
        originator_id: UUID | str,
        *,
        gt: int | None = None,
        lte: int | None = None,
        desc: bool = False,
        limit: int | None = None,
    ) -> Sequence[StoredEvent]:
        """Return events of one stream by version, from above `gt` to `lte`."""
        sql = self._select
        values: list[bytes | str | int] = [_key(originator_id)]
        if gt is not None:
            sql, values = f"{sql} AND originator_version > ?", [*values, gt]
        if lte is not None:
            sql, values = f"{sql} AND originator_version <= ?", [*values, lte]
        sql += f" ORDER BY originator_version {'DESC' if desc else 'ASC'}"
        if limit is not None:
            sql, values = f"{sql} LIMIT ?", [*values, limit]
        with self.file.reading() as db:
            rows = db.execute(sql, values).fetchall()
        return [StoredEvent(originator_id, *row) for row in rows]


class SqliteRecorder(SqliteAggregateRecorder, SqliteCommits, ProcessRecorder):
    """The log of a Warrener store, with its blobs, and the places of those who follow it."""

    def __init__(self, file: SqliteFile | str, *, create_table: bool = True) -> None:
        """Use a file that is open, or open the one at this path (`:memory:` keeps nothing).

        Raises `StoreUnavailable` if it cannot be opened or is no SQLite file, and
        `StoredDataError` if a newer version of Warrener made it.
        """
        opened = SqliteFile(file) if isinstance(file, str) else file
        super().__init__(opened, "log_events", create_table=False)
        self.mapper = EventMapper()
        self._listeners = Listeners()
        try:
            prepare(opened, create=create_table)
        except (PersistenceError, StoredDataError) as error:
            if opened is not file:
                opened.close()
            if isinstance(error, StoredDataError):
                raise
            raise StoreUnavailable(f"the store {opened.path} cannot be used: {error}") from error

    def close(self) -> None:
        """Close the file."""
        self.file.close()

    def alone(self) -> AbstractContextManager[None]:
        """Keep every other writer waiting until the block ends."""
        return self.file.alone()

    def insert_events(
        self,
        stored_events: Sequence[StoredEvent],
        *,
        tracking: Tracking | None = None,
        blobs: Mapping[str, bytes] | None = None,
        opened: Sequence[UUID] = (),
        ended: Sequence[UUID] = (),
        published: int = 0,
        after: int | None = None,
        **_kwargs: Any,
    ) -> Sequence[int]:
        """Write events, blobs and a reader's place in one transaction; return the positions.

        `opened` are root jobs that the events submit, `ended` jobs that they end; `published` is
        the place of the outbox, which only rises. Events that are to go `after` another position
        than the last one are refused with an `IntegrityError`.
        """
        with self.file.writing() as db:
            if blobs:
                db.executemany("INSERT OR IGNORE INTO log_blobs VALUES (?, ?)", blobs.items())
            if tracking is not None:
                _insert_tracking(db, tracking)
            last = self._insert_rows(db, stored_events) if stored_events else 0
            if stored_events and after not in (None, last - len(stored_events)):
                raise IntegrityError(f"the log does not end at position {after}")
            if published:
                db.execute(_RAISE_TRACKING, (OUTBOX, published))
            note_roots(db, last, opened, ended)
        self._listeners.notify()
        return list(range(last - len(stored_events) + 1, last + 1))

    def select_published(self) -> int:
        """Return the place of the outbox."""
        return self.max_tracking_id(OUTBOX) or 0

    def select_open_roots(self) -> Sequence[UUID]:
        """Return the root jobs that were submitted and have not ended, the oldest first."""
        with self.file.reading() as db:
            rows = db.execute("SELECT job FROM log_open_roots ORDER BY position").fetchall()
        return [UUID(bytes=row[0]) for row in rows]

    def select_notifications(
        self,
        start: int | None,
        limit: int,
        stop: int | None = None,
        topics: Sequence[str] = (),
        *,
        inclusive_of_start: bool = True,
    ) -> Sequence[Notification]:
        """Return up to `limit` events of the log from position `start` to `stop`, in order."""
        begin = (start or 0) + (not inclusive_of_start)
        sql = (
            "SELECT position, originator_id, originator_version, topic, state FROM log_events"
            " WHERE position >= ?"
        )
        values: list[Any] = [begin]
        if stop is not None:
            sql, values = f"{sql} AND position <= ?", [*values, stop]
        if topics:
            marks = ", ".join("?" * len(topics))
            sql, values = f"{sql} AND topic IN ({marks})", [*values, *topics]
        with self.file.reading() as db:
            rows = db.execute(f"{sql} ORDER BY position LIMIT ?", [*values, limit]).fetchall()
        return [
            Notification(_stream(stream), version, topic, state, position)
            for position, stream, version, topic, state in rows
        ]

    def max_notification_id(self) -> int | None:
        """Return the last position, None for an empty log."""
        position: int | None = self._value("SELECT MAX(position) FROM log_events")
        return position

    def find_position(self, originator_id: UUID, originator_version: int) -> int | None:
        """Return the position of one event, None if there is none."""
        sql = "SELECT position FROM log_events WHERE originator_id = ? AND originator_version = ?"
        position: int | None = self._value(sql, _key(originator_id), originator_version)
        return position

    def select_blob(self, name: str) -> bytes | None:
        """Return a blob by its name, None if there is none."""
        sql = "SELECT CAST(data AS BLOB) FROM log_blobs WHERE name = ?"
        data: bytes | None = self._value(sql, name)
        return data

    def insert_tracking(self, tracking: Tracking) -> None:
        """Note how far a reader is; raises `IntegrityError` if it is that far already."""
        with self.file.writing() as db:
            _insert_tracking(db, tracking)

    def max_tracking_id(self, application_name: str) -> int | None:
        """Return how far a reader is, None if it has not begun."""
        sql = "SELECT notification_id FROM log_tracking WHERE application_name = ?"
        position: int | None = self._value(sql, application_name)
        return position

    def subscribe(self, gt: int | None = None, topics: Sequence[str] = ()) -> PollingSubscription:
        """Follow the log from above position `gt`, with what other processes write, too."""
        return PollingSubscription(self, self._listeners, gt, topics)

    def _value(self, sql: str, *values: Any) -> Any:
        """Return the first column of the first row, None if there is none."""
        with self.file.reading() as db:
            row = db.execute(sql, values).fetchone()
        return row[0] if row else None

    def _insert_rows(self, db: sqlite3.Connection, stored: Sequence[StoredEvent]) -> int:
        """Write the events of a commit with their link; return the last position."""
        db.executemany(self._insert, map(_row, stored))
        last: int = db.execute("SELECT last_insert_rowid()").fetchone()[0]
        add_link(db, last, [linked_row(each) for each in stored])
        return last


def _insert_tracking(db: sqlite3.Connection, tracking: Tracking) -> None:
    done = db.execute(
        "INSERT INTO log_tracking VALUES (?, ?) ON CONFLICT (application_name) DO UPDATE"
        " SET notification_id = excluded.notification_id"
        " WHERE notification_id < excluded.notification_id",
        (tracking.application_name, tracking.notification_id),
    )
    if done.rowcount != 1:
        raise IntegrityError(
            f"{tracking.application_name} is at position {tracking.notification_id} already"
        )


def _row(stored: StoredEvent) -> tuple[bytes | str, int, str, bytes]:
    return _key(stored.originator_id), stored.originator_version, stored.topic, stored.state


def _key(originator_id: UUID | str) -> bytes | str:
    """Return how an id is stored: a UUID as its 16 bytes."""
    return originator_id.bytes if isinstance(originator_id, UUID) else originator_id


def _stream(key: bytes | str) -> UUID | str:
    return UUID(bytes=key) if isinstance(key, bytes) else key
