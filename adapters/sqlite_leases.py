"""Leases in the SQLite file of the log, for reactors on one machine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from eventsourcing.persistence import PersistenceError

from warrener.adapters.sqlite_file import SqliteFile
from warrener.domain.errors import StoreUnavailable
from warrener.domain.ports import Lease

_SCHEMA = (
    # `until` is empty once the lease was given up: who had it and its epoch stay known
    "CREATE TABLE IF NOT EXISTS log_holders (role TEXT NOT NULL, partition INTEGER NOT NULL,"
    " holder TEXT NOT NULL, until TEXT NOT NULL, epoch INTEGER NOT NULL,"
    " PRIMARY KEY (role, partition)) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS log_members (role TEXT NOT NULL, member TEXT NOT NULL,"
    " until TEXT NOT NULL, PRIMARY KEY (role, member)) WITHOUT ROWID",
)
_TAKE = (
    "INSERT INTO log_holders VALUES (?, ?, ?, ?, 1) ON CONFLICT (role, partition) DO UPDATE"
    " SET epoch = epoch + (holder != excluded.holder), holder = excluded.holder,"
    " until = excluded.until WHERE holder = excluded.holder OR until <= ? RETURNING epoch"
)


class SqliteLeases:
    """Keeps who holds which partition; times are kept as RFC 3339 text in UTC, which sorts.

    Leases of different roles, such as `reactor` and `projector`, do not touch each other.
    """

    def __init__(self, path: str, role: str = "reactor") -> None:
        """Open the file at this path; raises `StoreUnavailable`."""
        self._file = SqliteFile(path)
        self._role = role
        with _translated(), self._file.writing() as db:
            for statement in _SCHEMA:
                db.execute(statement)

    def take(self, partition: int, holder: str, now: datetime, seconds: float) -> int:
        """Take or keep the lease until `now + seconds`; return its epoch, 0 if it is another's."""
        until = _text(now + timedelta(seconds=seconds))
        values = (self._role, partition, holder, until, _text(now))
        with _translated(), self._file.writing() as db:
            row = db.execute(_TAKE, values).fetchone()
            return row[0] if row else 0

    def give_up(self, partition: int, holder: str) -> None:
        """Let go of the lease, if it is the holder's."""
        sql = "UPDATE log_holders SET until = '' WHERE role = ? AND partition = ? AND holder = ?"
        with _translated(), self._file.writing() as db:
            db.execute(sql, (self._role, partition, holder))

    def holder(self, partition: int) -> tuple[str, datetime] | None:
        """Return who took the lease last and until when, None if nobody did or it was given up."""
        found = self.all().get(partition)
        return None if found is None else (found.holder, found.until)

    def all(self) -> dict[int, Lease]:
        """Return the leases that somebody took and did not give up, run out or not."""
        sql = (
            "SELECT partition, holder, until, epoch FROM log_holders"
            " WHERE role = ? AND until != '' ORDER BY partition"
        )
        with _translated(), self._file.reading() as db:
            rows = db.execute(sql, (self._role,)).fetchall()
        return {row[0]: Lease(row[1], datetime.fromisoformat(row[2]), row[3]) for row in rows}

    def announce(self, member: str, now: datetime, seconds: float) -> None:
        """Say that somebody is there until `now + seconds`, whether it holds a lease or not."""
        row = (self._role, member, _text(now + timedelta(seconds=seconds)))
        with _translated(), self._file.writing() as db:
            db.execute(
                "DELETE FROM log_members WHERE role = ? AND until <= ?", (row[0], _text(now))
            )
            db.execute("REPLACE INTO log_members VALUES (?, ?, ?)", row)

    def withdraw(self, member: str) -> None:
        """Somebody is there no longer."""
        with _translated(), self._file.writing() as db:
            db.execute(
                "DELETE FROM log_members WHERE role = ? AND member = ?", (self._role, member)
            )

    def members(self, now: datetime) -> Sequence[str]:
        """Return who is there, by name."""
        sql = "SELECT member FROM log_members WHERE role = ? AND until > ? ORDER BY member"
        with _translated(), self._file.reading() as db:
            return [row[0] for row in db.execute(sql, (self._role, _text(now))).fetchall()]

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
