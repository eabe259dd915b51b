"""Tokens in the SQLite file of the log: whoever has the file may do everything anyway."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import Lock

import msgspec
from eventsourcing.persistence import PersistenceError

from warrener.adapters.sqlite_file import SqliteFile, identity
from warrener.domain.errors import Conflict, StoreUnavailable
from warrener.domain.tokens import TOKENS_MAX, AccessToken

_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS access_tokens (name TEXT PRIMARY KEY, doc BLOB NOT NULL)"
    " WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS access_secret"
    " (id INTEGER PRIMARY KEY CHECK (id = 1), secret BLOB NOT NULL)",
)
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(AccessToken).decode


class SqliteTokens:
    """Keeps tokens; what was written is on the disk when a call returns. Threads may share it.

    Where the file is another one by now, such as one that was restored, that one counts: a token
    that is not in it lets nobody in.
    """

    def __init__(self, path: str) -> None:
        """Open the file at this path; raises `StoreUnavailable`."""
        self._path = path
        self._lock = Lock()
        self._file = _opened(path)
        self._is = self._identity()

    def add(self, token: AccessToken) -> None:
        """Keep a token."""
        with _translated(), self._now().writing() as db:
            (count,) = db.execute("SELECT COUNT(*) FROM access_tokens").fetchone()
            if count >= TOKENS_MAX:
                raise Conflict(f"there are {count} tokens already")
            row = (token.name, _encode(token))
            if db.execute("INSERT OR IGNORE INTO access_tokens VALUES (?, ?)", row).rowcount == 0:
                raise Conflict(f"there is a token {token.name!r} already")

    def all(self) -> Sequence[AccessToken]:
        """Return all tokens by name."""
        with _translated(), self._now().reading() as db:
            rows = db.execute("SELECT doc FROM access_tokens ORDER BY name").fetchall()
        return [_decode(row[0]) for row in rows]

    def remove(self, name: str) -> bool:
        """Forget a token; say whether there was one."""
        with _translated(), self._now().writing() as db:
            found = db.execute("DELETE FROM access_tokens WHERE name = ?", (name,))
            return found.rowcount > 0

    def secret(self, fresh: bytes) -> bytes:
        """Return the secret."""
        with _translated(), self._now().writing() as db:
            db.execute("INSERT OR IGNORE INTO access_secret VALUES (1, ?)", (fresh,))
            return bytes(db.execute("SELECT secret FROM access_secret").fetchone()[0])

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._file.close()

    def _now(self) -> SqliteFile:
        """Return the file that is at the path now, opened anew if it is another one."""
        with self._lock:
            found = self._identity()
            if found != self._is:
                before, self._file, self._is = self._file, _opened(self._path), found
                before.close()
            return self._file

    def _identity(self) -> tuple[int, int]:
        try:
            return identity(self._path)
        except OSError as error:
            reason = error.strerror or str(error)
            raise StoreUnavailable(f"the store {self._path} cannot be opened: {reason}") from error


def _opened(path: str) -> SqliteFile:
    file = SqliteFile(path)
    with _translated(), file.writing() as db:
        for statement in _SCHEMA:
            db.execute(statement)
    return file


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except PersistenceError as error:
        raise StoreUnavailable(f"the tokens cannot be used: {error}") from error
