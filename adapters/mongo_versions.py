"""Versions of streams: dense, each taken once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from threading import Lock
from typing import Final
from uuid import UUID

from eventsourcing.persistence import IntegrityError

from warrener.domain.stored import StoredRow

STREAMS_KNOWN_MAX: Final = 10_000


class Versions:
    """Checks versions before they are written, and remembers those that are known to be there.

    What is there stays there, so that what is remembered is never wrong, at most too low.
    """

    def __init__(self, last_version: Callable[[UUID], int | None]) -> None:
        """Take what looks the last version of a stream up in the log."""
        self._last_version = last_version
        self._known: dict[UUID, int] = {}
        self._lock = Lock()

    def check(self, rows: Sequence[StoredRow]) -> None:
        """Raise `IntegrityError` if a version is taken, or the one before it is missing."""
        inside: dict[UUID, int] = {}
        for row in rows:
            before = inside.get(row.stream)
            if before is None:
                self._check_first(row)
            elif row.version != before + 1:
                raise _refused(row)
            inside[row.stream] = row.version

    def note(self, rows: Iterable[StoredRow]) -> None:
        """These events are in the log."""
        newest: dict[UUID, int] = {}
        for row in rows:
            newest[row.stream] = max(row.version, newest.get(row.stream, 0))
        with self._lock:
            for stream, version in newest.items():
                known = self._known.pop(stream, 0)  # what was used last is forgotten last
                self._known[stream] = max(version, known)
            while len(self._known) > STREAMS_KNOWN_MAX:
                del self._known[next(iter(self._known))]

    def _check_first(self, row: StoredRow) -> None:
        """Check the first version of a stream in a commit against those in the log.

        A stream begins with 0 or 1; whether somebody else began it the unique keys tell.
        """
        known = self._known.get(row.stream)
        if known is not None and known >= row.version:
            raise _refused(row)
        if row.version < 0:
            raise _refused(row)
        if row.version > 1 and known != row.version - 1:
            last = self._last_version(row.stream)
            if last != row.version - 1:
                raise _refused(row)


def _refused(row: StoredRow) -> IntegrityError:
    return IntegrityError(
        f"version {row.version} of stream {row.stream} is taken, or the one before is missing"
    )
