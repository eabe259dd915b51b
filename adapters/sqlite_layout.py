"""The tables of the log in a SQLite file: made where they are missing, and brought up to date.

Stores of version 1 keep no commits: their events get links when the store is opened, in commits of
a bounded size, because where the old ones began is not known.
"""

from __future__ import annotations

import sqlite3
from typing import Any, Final
from uuid import UUID, uuid5

from eventsourcing.persistence import StoredEvent

from warrener.adapters.sqlite_file import SqliteFile
from warrener.domain.errors import StoredDataError
from warrener.domain.ids import NAMESPACE
from warrener.domain.stored import NO_LINK, StoredRow, link

SCHEMA_VERSION: Final = 2
MIGRATED_EVENTS: Final = 500  # in a commit that is made of the events of an older store

_COMMITS: Final = (
    "CREATE TABLE log_commits (last INTEGER PRIMARY KEY, link BLOB NOT NULL)",
    "CREATE TABLE log_meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID",
    "CREATE TABLE log_archives (id TEXT PRIMARY KEY, doc BLOB NOT NULL)",
)
SCHEMA: Final = (
    "CREATE TABLE log_schema (version INTEGER NOT NULL)",
    """CREATE TABLE log_events (
        position INTEGER PRIMARY KEY AUTOINCREMENT,
        originator_id BLOB NOT NULL,
        originator_version INTEGER NOT NULL,
        topic TEXT NOT NULL,
        state BLOB NOT NULL,
        UNIQUE (originator_id, originator_version)
    )""",
    """CREATE TRIGGER log_events_are_dense BEFORE INSERT ON log_events
    WHEN NEW.originator_version > 1 AND NOT EXISTS (
        SELECT 1 FROM log_events WHERE originator_id = NEW.originator_id
        AND originator_version = NEW.originator_version - 1
    )
    BEGIN SELECT RAISE(ABORT, 'the version before is missing'); END""",
    "CREATE TABLE log_open_roots (job BLOB PRIMARY KEY, position INTEGER NOT NULL) WITHOUT ROWID",
    "CREATE TABLE log_blobs (name TEXT PRIMARY KEY, data BLOB NOT NULL)",
    """CREATE TABLE log_tracking (
        application_name TEXT PRIMARY KEY, notification_id INTEGER NOT NULL
    ) WITHOUT ROWID""",
    *_COMMITS,
)


def prepare(file: SqliteFile, *, create: bool) -> None:
    """Make the tables if they are missing, bring older ones up to date, refuse newer ones.

    Raises `StoredDataError` if a newer version of Warrener made them.
    """
    version = _version(file)
    if version == SCHEMA_VERSION or (version is None and not create):
        return
    if version is None or version < SCHEMA_VERSION:
        with file.writing() as db:
            version = _version(file, db)  # another process may have been first
            if version is None:
                _make(db)
            elif version < SCHEMA_VERSION:
                _migrate(db)
        return
    raise StoredDataError(
        f"the store {file.path} was made by a newer version of Warrener"
        f" (its tables have version {version}, known here is {SCHEMA_VERSION}): upgrade"
    )


def stored_row(row: tuple[Any, ...]) -> StoredRow:
    """Return an event from its four columns, of their proper types."""
    stream, version, topic, state = row
    return StoredRow(_stream(stream), version, topic, state)


def linked_row(stored: StoredEvent) -> StoredRow:
    """Return an event that is about to be written, as its link takes it."""
    key = stored.originator_id
    stream = key if isinstance(key, UUID) else _stream(key)
    return StoredRow(stream, stored.originator_version, stored.topic, stored.state)


def _stream(key: Any) -> UUID:
    """Return the id of a stream; one that is no UUID, as the library allows, gets one made."""
    if isinstance(key, bytes) and len(key) == 16:
        return UUID(bytes=key)
    return uuid5(NAMESPACE, f"stream/{key}")


def _make(db: sqlite3.Connection) -> None:
    for statement in SCHEMA:
        db.execute(statement)
    db.execute("INSERT INTO log_schema VALUES (?)", (SCHEMA_VERSION,))


def _migrate(db: sqlite3.Connection) -> None:
    """Give the events of a store of version 1 their links."""
    for statement in _COMMITS:
        db.execute(statement)
    cursor = db.execute(
        "SELECT position, originator_id, originator_version, topic, state FROM log_events"
        " ORDER BY position"
    )
    before = NO_LINK
    while found := cursor.fetchmany(MIGRATED_EVENTS):
        before = link(before, found[0][0], (stored_row(row[1:]) for row in found))
        db.execute("INSERT INTO log_commits VALUES (?, ?)", (found[-1][0], before))
    db.execute("UPDATE log_schema SET version = ?", (SCHEMA_VERSION,))


def _version(file: SqliteFile, db: sqlite3.Connection | None = None) -> int | None:
    """Return the version of the tables found, None if there are none."""
    if db is None:
        with file.reading() as reader:
            return _version(file, reader)
    known = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'log_schema'"
    if db.execute(known).fetchone() is None:
        return None
    row = db.execute("SELECT version FROM log_schema").fetchone()
    return None if row is None else int(row[0])
