"""Leases in the SQLite file of the log, for reactors on one machine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from eventsourcing.persistence import PersistenceError

from warrener.adapters.sqlite_file import SqliteFile
from warrener.domain.errors import StoreUnavailable

_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS log_leases"
    " (partition INTEGER PRIMARY KEY, holder TEXT NOT NULL, until TEXT NOT NULL)"
)
_TAKE = (
    "INSERT INTO log_leases VALUES (?, ?, ?) ON CONFLICT (partition) DO UPDATE"
    " SET holder = excluded.holder, until = excluded.until"
    " WHERE holder = excluded.holder OR until <= ?"
)


class SqliteLeases:
    """Keeps who holds which partition; times are kept as RFC 3339 text in UTC, which sorts."""

    def __init__(self, path: str) -> None:
        """Open the file at this path; raises `StoreUnavailable`."""
        self._file = SqliteFile(path)
        with _translated(), self._file.writing() as db:
            db.execute(_SCHEMA)

    def take(self, partition: int, holder: str, now: datetime, seconds: float) -> bool:
        """Take or keep the lease until `now + seconds`; say whether it is the holder's now."""
        until = _text(now + timedelta(seconds=seconds))
        with _translated(), self._file.writing() as db:
            done = db.execute(_TAKE, (partition, holder, until, _text(now)))
            return done.rowcount == 1

    def give_up(self, partition: int, holder: str) -> None:
        """Let go of the lease, if it is the holder's."""
        sql = "DELETE FROM log_leases WHERE partition = ? AND holder = ?"
        with _translated(), self._file.writing() as db:
            db.execute(sql, (partition, holder))

    def holder(self, partition: int) -> tuple[str, datetime] | None:
        """Return who took the lease last and until when, None if nobody did or it was given up."""
        sql = "SELECT holder, until FROM log_leases WHERE partition = ?"
        with _translated(), self._file.reading() as db:
            row = db.execute(sql, (partition,)).fetchone()
        return None if row is None else (row[0], datetime.fromisoformat(row[1]))

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _text(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="microseconds")


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except PersistenceError as error:
        raise StoreUnavailable(f"the leases cannot be used: {error}") from error
