"""The log as it was at a position: a store that shows nothing that came later, and takes nothing.

What reads a store reads the past with it, the controller's own code as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from uuid import UUID

from warrener.domain.errors import Conflict
from warrener.domain.events import Recorded, roots_of
from warrener.domain.ports import EventStore, Positioned

PAGE_EVENTS = 1_000


class LogAt:
    """An `EventStore` that ends at a position of another one."""

    def __init__(self, store: EventStore, position: int) -> None:
        """Take the store, which stays open, and the last position that is shown."""
        self._store = store
        self._position = position
        self._lengths: dict[UUID, int] = {}

    def commit(
        self,
        events: Sequence[Recorded],  # noqa: ARG002
        blobs: Mapping[str, bytes],  # noqa: ARG002
        published: int = 0,  # noqa: ARG002
        after: int | None = None,  # noqa: ARG002
    ) -> int:
        """Refuse: what was is not changed."""
        raise Conflict(f"the log as it was at position {self._position} takes no events")

    def published(self) -> int:
        """Return how far everything was sent at most."""
        return min(self._store.published(), self._position)

    def stream(self, stream: UUID, after_version: int = 0) -> Iterable[Recorded]:
        """Return the events of one stream that were there."""
        count = self._length(stream) - after_version
        return islice(self._store.stream(stream, after_version), max(0, count))

    def last(self, stream: UUID) -> Recorded | None:
        """Return the newest event of one stream that was there."""
        length = self._length(stream)
        newest = self._store.last(stream)
        if newest is None or newest.originator_version <= length:
            return newest
        return next(iter(self._store.stream(stream, length - 1)), None) if length else None

    def position(self, stream: UUID, version: int) -> int | None:
        """Return the position of one event, None if it was not there."""
        return self._store.position(stream, version) if version <= self._length(stream) else None

    def read(self, after_position: int, limit: int) -> Sequence[Positioned]:
        """Return up to `limit` events of the log after a position, in order."""
        count = min(limit, self._position - after_position)
        found = self._store.read(after_position, count) if count > 0 else ()
        return [each for each in found if each.position <= self._position]  # there may be gaps

    def head(self) -> int:
        """Return the position."""
        return self._position

    def open_roots(self) -> Iterable[UUID]:
        """Return the root jobs that had not ended; reads the whole log up to the position."""
        found: dict[UUID, None] = {}
        after = 0
        while page := self.read(after, PAGE_EVENTS):
            opened, ended = roots_of(positioned.recorded for positioned in page)
            found.update(dict.fromkeys(opened))
            for job in ended:
                found.pop(job, None)
            after = page[-1].position
        return list(found)

    def blob(self, name: str) -> bytes:
        """Return a blob by its hash."""
        return self._store.blob(name)

    def epoch(self) -> int:
        """Return how often the log was restored from a backup."""
        return self._store.epoch()

    def close(self) -> None:
        """Do nothing: the store belongs to somebody else."""

    def _length(self, stream: UUID) -> int:
        """Return how many events of a stream were there, found by halving."""
        known = self._lengths.get(stream)
        if known is None:
            newest = self._store.last(stream)
            low, high = 0, 0 if newest is None else newest.originator_version
            if high and self._was_there(stream, high):
                low = high  # the common case: nothing has been added since
            while low < high:
                middle = (low + high + 1) // 2
                low, high = (middle, high) if self._was_there(stream, middle) else (low, middle - 1)
            known = self._lengths[stream] = low
        return known

    def _was_there(self, stream: UUID, version: int) -> bool:
        position = self._store.position(stream, version)
        return position is not None and position <= self._position
