"""Positions of readers of the log, in the SQLite file of the log.

They are not among the read models: those are emptied and folded anew at any time, and nobody wants
to be told everything again because of that.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from eventsourcing.persistence import PersistenceError

from warrener.adapters.sqlite_file import SqliteFile
from warrener.domain.errors import StoreUnavailable

_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS log_positions"
    " (reader TEXT PRIMARY KEY, position INTEGER NOT NULL) WITHOUT ROWID"
)


class SqlitePositions:
    """Keeps how far each reader has come; a save is on the disk when it returns."""

    def __init__(self, path: str) -> None:
        """Open the file at this path; raises `StoreUnavailable`."""
        self._file = SqliteFile(path)
        with _translated(), self._file.writing() as db:
            db.execute(_SCHEMA)

    def get(self, name: str) -> int | None:
        """Return the position of a reader, None if it never saved one."""
        sql = "SELECT position FROM log_positions WHERE reader = ?"
        with _translated(), self._file.reading() as db:
            row = db.execute(sql, (name,)).fetchone()
        return None if row is None else int(row[0])

    def save(self, name: str, position: int) -> None:
        """Set the position of a reader."""
        with _translated(), self._file.writing() as db:
            db.execute("REPLACE INTO log_positions VALUES (?, ?)", (name, position))

    def close(self) -> None:
        """Close the file."""
        self._file.close()


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except PersistenceError as error:
        raise StoreUnavailable(f"the positions cannot be used: {error}") from error
