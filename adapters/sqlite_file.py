"""Connections to one SQLite file: one that writes, some that read; `:memory:` has one for both.

Every commit waits for the disk (`synchronous = FULL`, write-ahead journal). Errors of the driver
come out as those of the `eventsourcing` library, which its recorders owe; a file that cannot be
opened is told in our own words. A file that was opened belongs to the process that opened it:
connections must not cross a fork.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from threading import RLock

from eventsourcing import persistence

from warrener.domain.errors import StoreUnavailable

MEMORY = ":memory:"
BUSY_SECONDS = 10.0  # how long to wait for another process or thread that writes
READERS_IDLE_MAX = 4  # connections kept open for the next read
JOURNAL_BYTES_KEPT = 64 * 1024 * 1024
RETRY_SECONDS = 0.01
_WHOLE = ("BEGIN IMMEDIATE", "COMMIT", "ROLLBACK")
_PART = ("SAVEPOINT part", "RELEASE part", "ROLLBACK TO part")  # of what `alone` began


def identity(path: str) -> tuple[int, int]:
    """Return what tells a file from another one that is put in its place; raises `OSError`."""
    found = os.stat(path)
    return found.st_dev, found.st_ino


class SqliteFile:
    """An open SQLite file. Threads may share it; reads do not wait for a commit."""

    def __init__(self, path: str, *, busy_seconds: float = BUSY_SECONDS) -> None:
        """Open the file, or make it in a folder that exists; raises `StoreUnavailable`."""
        self.path = path
        self._busy_seconds = busy_seconds
        self._process = os.getpid()
        self._lock = RLock()  # of the connection that writes
        self._idle: list[sqlite3.Connection] = []
        self._closed = False
        self._alone = False
        try:
            self._writer = self._connect()
        except sqlite3.Error as error:
            raise StoreUnavailable(self._why_not_opened(error)) from error

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Give the connection for one transaction, committed at the end, undone on any error."""
        with _translated():
            self._take_turn()
            try:
                self._check_usable()
                with self._transaction(*(_PART if self._alone else _WHOLE)):
                    yield self._writer
            finally:
                self._lock.release()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep every other writer waiting, so that what is read stays true until it is acted on.

        All that is written meanwhile is one transaction.
        """
        with self.writing():
            self._alone = True
            try:
                yield
            finally:
                self._alone = False

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Give a connection for one statement that reads."""
        with _translated():
            self._check_usable()
            if self.path == MEMORY:
                with self._lock:
                    yield self._writer
                return
            connection = self._idle_reader() or self._connect()
            try:
                yield connection
            finally:
                if self._closed or len(self._idle) >= READERS_IDLE_MAX:
                    connection.close()
                else:
                    self._idle.append(connection)

    def close(self) -> None:
        """Close the connections; a second time does nothing."""
        if self._closed or self._process != os.getpid():
            return
        with self._lock, _translated():
            self._closed = True
            while self._idle:
                self._idle.pop().close()
            self._writer.close()

    @contextmanager
    def _transaction(self, begin: str, commit: str, undo: str) -> Iterator[None]:
        self._writer.execute(begin)
        try:
            yield
            self._writer.execute(commit)
        except BaseException:
            if self._writer.in_transaction:
                self._writer.execute(undo)
            raise

    def _why_not_opened(self, error: sqlite3.Error) -> str:
        folder = os.path.dirname(self.path) or "."
        if self.path != MEMORY and not os.path.isdir(folder):
            return f"the folder {folder} of the store does not exist: make it"
        return f"the store {self.path} cannot be opened: {error}"

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self.path, timeout=self._busy_seconds, isolation_level=None, check_same_thread=False
        )
        try:
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute(f"PRAGMA journal_size_limit = {JOURNAL_BYTES_KEPT}")
            self._use_write_ahead_journal(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _idle_reader(self) -> sqlite3.Connection | None:
        try:
            return self._idle.pop()
        except IndexError:  # asked and taken in one go, for another thread may take the last
            return None

    def _use_write_ahead_journal(self, connection: sqlite3.Connection) -> None:
        """Change the journal; SQLite does not wait here when another process does the same."""
        deadline = time.monotonic() + self._busy_seconds
        while True:
            try:
                with closing(connection.execute("PRAGMA journal_mode = WAL")) as cursor:
                    cursor.fetchone()
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or time.monotonic() > deadline:
                    raise
                time.sleep(RETRY_SECONDS)
            else:
                return

    def _take_turn(self) -> None:
        if not self._lock.acquire(timeout=self._busy_seconds):
            text = f"another thread has been writing for more than {self._busy_seconds} s"
            raise persistence.OperationalError(text)

    def _check_usable(self) -> None:
        if self._closed:
            raise persistence.InterfaceError(f"the store {self.path} is closed")
        if self._process != os.getpid():
            text = f"the store {self.path} was opened in another process: open it here again"
            raise persistence.InterfaceError(text)


@contextmanager
def _translated() -> Iterator[None]:
    """Turn errors of the driver into those of the library."""
    try:
        yield
    except sqlite3.Error as error:
        # Both name their classes after PEP 249.
        kind = getattr(persistence, type(error).__name__, persistence.PersistenceError)
        raise kind(str(error)) from error
