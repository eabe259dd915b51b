"""The commits of a log in SQLite, whole: what checks, copies and prunes it works with."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final
from uuid import UUID

import msgspec
from eventsourcing.persistence import IntegrityError

from warrener.adapters.sqlite_file import MEMORY, SqliteFile
from warrener.adapters.sqlite_layout import stored_row
from warrener.domain.stored import (
    NO_LINK,
    Archive,
    Measured,
    StoredCommit,
    StoredRow,
    link,
)

OUTBOX: Final = "outbox"  # its name among those who follow the log
EPOCH: Final = "epoch"
_INSERT_ROW: Final = (
    "INSERT INTO log_events (originator_id, originator_version, topic, state) VALUES (?, ?, ?, ?)"
)
_LAST_LINK: Final = "SELECT last, link FROM log_commits ORDER BY last DESC LIMIT 1"


def add_link(db: sqlite3.Connection, last: int, rows: Sequence[StoredRow]) -> bytes:
    """Write the link of a commit whose events were just written, and return it."""
    found = db.execute(_LAST_LINK).fetchone()
    made = link(found[1] if found else NO_LINK, last - len(rows) + 1, rows)
    db.execute("INSERT INTO log_commits VALUES (?, ?)", (last, made))
    return made


def note_roots(
    db: sqlite3.Connection, last: int, opened: Sequence[UUID], ended: Sequence[UUID]
) -> None:
    """Write which jobs a commit left open, and which it left ended."""
    if opened:
        rows = [(job.bytes, last) for job in opened]
        db.executemany("INSERT OR IGNORE INTO log_open_roots VALUES (?, ?)", rows)
    if ended:
        jobs = [(job.bytes,) for job in ended]
        db.executemany("DELETE FROM log_open_roots WHERE job = ?", jobs)


class SqliteCommits:
    """`CommitStore` over an open file."""

    file: SqliteFile

    def select_commits(self, after_position: int, limit: int) -> Sequence[StoredCommit]:
        """Return up to `limit` commits that begin after a position, in order."""
        with self.file.reading() as db:
            start = db.execute(
                "SELECT last FROM log_commits WHERE last <= ? ORDER BY last DESC LIMIT 1",
                (after_position,),
            ).fetchone()
            found = db.execute(
                "SELECT last, CAST(link AS BLOB) FROM log_commits WHERE last > ?"
                " ORDER BY last LIMIT ?",
                (after_position, limit + 1),
            ).fetchall()
            before = start[0] if start else 0
            if found and before < after_position:  # the first one began earlier
                before = found.pop(0)[0]
            found = found[:limit]
            rows = _rows(db, before, found[-1][0]) if found else []
        return _grouped(before, found, rows)

    def insert_commit(
        self, commit: StoredCommit, *, opened: Sequence[UUID] = (), ended: Sequence[UUID] = ()
    ) -> None:
        """Write a commit from elsewhere as the next one; raises `IntegrityError` if it is not."""
        with self.file.writing() as db:
            head = db.execute("SELECT MAX(position) FROM log_events").fetchone()[0] or 0
            if commit.first != head + 1 or not commit.rows:
                raise IntegrityError(
                    f"the commit at {commit.first} does not follow the last position, {head}"
                )
            db.executemany(_INSERT_ROW, map(_columns, commit.rows))
            if add_link(db, commit.last, commit.rows) != commit.link:
                raise IntegrityError(f"the link of the commit at {commit.first} does not hold")
            note_roots(db, commit.last, opened, ended)

    def replace_rows(self, rows: Mapping[int, StoredRow]) -> None:
        """Put other topics and states in the place of events, by position; links stay."""
        with self.file.writing() as db:
            done = db.executemany(
                "UPDATE log_events SET topic = ?, state = ?"
                " WHERE position = ? AND originator_id = ? AND originator_version = ?",
                (
                    (row.topic, row.state, position, row.stream.bytes, row.version)
                    for position, row in rows.items()
                ),
            )
            if done.rowcount != len(rows) and rows:
                raise IntegrityError("other events are at the positions of those to be replaced")

    def select_blob_names(self, after: str, limit: int) -> Sequence[str]:
        """Return names of blobs in order, those after one."""
        sql = "SELECT name FROM log_blobs WHERE name > ? ORDER BY name LIMIT ?"
        with self.file.reading() as db:
            return [row[0] for row in db.execute(sql, (after, limit)).fetchall()]

    def insert_blobs(self, blobs: Mapping[str, bytes]) -> None:
        """Write blobs that are not there yet."""
        with self.file.writing() as db:
            db.executemany("INSERT OR IGNORE INTO log_blobs VALUES (?, ?)", blobs.items())

    def delete_blobs(self, names: Iterable[str]) -> None:
        """Forget blobs that no event needs any more."""
        with self.file.writing() as db:
            db.executemany("DELETE FROM log_blobs WHERE name = ?", ((name,) for name in names))

    def set_published(self, position: int) -> None:
        """Set the place of the outbox, as after a restore."""
        with self.file.writing() as db:
            db.execute("REPLACE INTO log_tracking VALUES (?, ?)", (OUTBOX, position))

    def select_epoch(self) -> int:
        """Return how often this log was restored from a backup."""
        with self.file.reading() as db:
            row = db.execute("SELECT value FROM log_meta WHERE name = ?", (EPOCH,)).fetchone()
        return int(row[0]) if row else 0

    def set_epoch(self, epoch: int) -> None:
        """Set how often it was."""
        with self.file.writing() as db:
            db.execute("REPLACE INTO log_meta VALUES (?, ?)", (EPOCH, epoch))

    def select_archives(self) -> Sequence[Archive]:
        """Return the archives that events were pruned into, oldest first."""
        with self.file.reading() as db:
            rows = db.execute("SELECT doc FROM log_archives").fetchall()
        found = [msgspec.json.decode(row[0], type=Archive) for row in rows]
        return sorted(found, key=lambda archive: (archive.made_at, archive.id))

    def put_archive(self, archive: Archive) -> None:
        """Keep where an archive is, in the place of what was kept of it before."""
        with self.file.writing() as db:
            row = (archive.id, msgspec.json.encode(archive))
            db.execute("REPLACE INTO log_archives VALUES (?, ?)", row)

    def measure(self) -> Measured:
        """Return how much there is."""
        with self.file.reading() as db:
            commits = db.execute("SELECT COUNT(*) FROM log_commits").fetchone()[0]
            blobs = db.execute("SELECT COUNT(*) FROM log_blobs").fetchone()[0]
        return Measured(commits, blobs, _size(self.file.path))


def _rows(db: sqlite3.Connection, after: int, last: int) -> list[tuple[Any, ...]]:
    """Return events with their positions, and columns that somebody changed as what they must be.

    SQLite keeps any type in any column.
    """
    found = db.execute(
        "SELECT position, CAST(originator_id AS BLOB), CAST(originator_version AS INTEGER),"
        " CAST(topic AS BLOB), CAST(state AS BLOB) FROM log_events"
        " WHERE position > ? AND position <= ? ORDER BY position",
        (after, last),
    )
    return [
        (position, stream, version, topic.decode(errors="backslashreplace"), state)
        for position, stream, version, topic, state in found
    ]


def _grouped(
    before: int, found: Sequence[tuple[int, bytes]], rows: Sequence[tuple[Any, ...]]
) -> list[StoredCommit]:
    """Put rows into their commits; where some are missing, a commit is shorter or begins late."""
    lasts = iter(found)
    current = next(lasts, None)
    by_last: dict[int, list[tuple[Any, ...]]] = {last: [] for last, _ in found}
    for row in rows:
        while current is not None and row[0] > current[0]:
            current = next(lasts, None)
        if current is not None:
            by_last[current[0]].append(row)
    commits = []
    for last, made in found:
        own = by_last[last]
        first = own[0][0] if own else before + 1
        commits.append(StoredCommit(first, tuple(stored_row(row[1:]) for row in own), made))
        before = last
    return commits


def _columns(row: StoredRow) -> tuple[bytes, int, str, bytes]:
    return row.stream.bytes, row.version, row.topic, row.state


def _size(path: str) -> int | None:
    """Return how much a file and its journal take on disk."""
    if path == MEMORY:
        return None
    places = (path, f"{path}-wal")
    return sum(os.path.getsize(place) for place in places if os.path.exists(place))
