"""Which root jobs of a partition are open, by what its commits say of them.

Each commit carries the jobs that it opened and ended, so that this is as sure as the commit. A
document for each partition sums up those that are open after some position; whoever has read on a
good way from there moves it on. So what it costs to know them follows from how many are open.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from threading import Lock
from typing import Final
from uuid import UUID

from eventsourcing.persistence import PersistenceError

from warrener.adapters.mongo_client import Document, MongoDatabase
from warrener.adapters.mongo_layout import COMMITS, OPEN_ROOTS

FOLD_EVENTS: Final = 2_000  # how far the sum may be behind before it is moved on
WINDOW_EVENTS: Final = 10_000
SUM_BYTES_MAX: Final = 15 * 1024 * 1024  # beyond that the sum stays where it is
_ID_BYTES: Final = 16


class OpenRoots:
    """The open root jobs of one partition, as far as its commits were looked at."""

    def __init__(self, database: MongoDatabase, partition: int) -> None:
        """Take a database that is open; nothing is read yet."""
        self._database = database
        self._partition = partition
        self._lock = Lock()
        self._position: int | None = None  # up to which `_jobs` is right
        self._saved = 0  # the position of the sum in the database
        self._jobs: dict[str, None] = {}  # in the order in which they were opened

    def select(self) -> Sequence[UUID]:
        """Return the jobs that are open, the oldest first."""
        with self._lock:
            self._catch_up()
            self._save_if_far()
            return [UUID(job) for job in self._jobs]

    def floor(self) -> int:
        """Return a position that the log surely has: that of the sum."""
        with self._lock:
            return self._begin()

    def note(self, last: int, count: int, opened: Iterable[UUID], ended: Iterable[UUID]) -> None:
        """A commit was written: so many events up to a position."""
        with self._lock:
            if self._position is None or self._position != last - count:
                return  # it will be read when somebody asks
            self._apply([job.hex for job in opened], [job.hex for job in ended])
            self._position = last
            self._save_if_far()

    def _begin(self) -> int:
        """Read the sum, the first time."""
        if self._position is None:
            with self._database.using() as db:
                found = db[OPEN_ROOTS].find_one({"_id": self._partition}) or {"p": 0, "jobs": b""}
            self._jobs = dict.fromkeys(_unpacked(found["jobs"]))
            self._position = self._saved = found["p"]
        return self._position

    def _catch_up(self) -> None:
        """Read the commits that came since."""
        position = self._begin()
        while commits := self._read(position):
            for commit in commits:
                self._apply(commit.get("opened", ()), commit.get("ended", ()))
                self._position = position = commit["q"]

    def _read(self, after: int) -> list[Document]:
        place = {"$gt": after, "$lte": after + WINDOW_EVENTS}
        fields = {"q": 1, "opened": 1, "ended": 1}
        with self._database.using() as db:
            found = db[COMMITS].find({"k": self._partition, "p": place}, fields)
            return list(found.sort("p"))

    def _apply(self, opened: Iterable[str], ended: Iterable[str]) -> None:
        for job in opened:
            self._jobs.setdefault(job)
        for job in ended:
            self._jobs.pop(job, None)

    def _save_if_far(self) -> None:
        """Move the sum on; if that fails, whoever reads next has more to read."""
        position = self._begin()
        if position - self._saved < FOLD_EVENTS or len(self._jobs) * _ID_BYTES > SUM_BYTES_MAX:
            return
        change = {"$set": {"p": position, "jobs": b"".join(map(bytes.fromhex, self._jobs))}}
        with suppress(PersistenceError), self._database.using() as db:
            before = {"_id": self._partition, "p": {"$lt": position}}
            db[OPEN_ROOTS].update_one(before, change, upsert=True)  # refused if it is further
        self._saved = position


def _unpacked(jobs: bytes) -> Iterable[str]:
    return (jobs[n : n + _ID_BYTES].hex() for n in range(0, len(jobs), _ID_BYTES))
