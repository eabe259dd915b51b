"""A part of a log, held in memory: the events of one tree of jobs and what they refer to.

Events keep the positions that they have in the whole log, so that there are gaps between them.
What reads a store reads a part of one with it: queries, `why`, the controller's own code.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from uuid import UUID

from warrener.domain.errors import Conflict, StoredDataError
from warrener.domain.events import Recorded, roots_of
from warrener.domain.ports import Positioned

BEFORE_ALL = 0  # position of an event that is known to be there before those that are held


def no_blob(name: str) -> bytes:
    """Return no blob: raises `StoredDataError`."""
    raise StoredDataError(f"blob {name} is not in the store")


class PartialLog:
    """An `EventStore` of some events of another one; it takes none.

    A stream may lack events at its beginning, never in its middle or at its end.
    """

    partition = 0

    def __init__(
        self, events: Iterable[Positioned], blob: Callable[[str], bytes] = no_blob
    ) -> None:
        """Take the events in any order, each once or more; `blob` gives a blob by its hash."""
        found = {each.position: each.recorded for each in events}
        self._positions = sorted(found)
        self._events = [
            Positioned(position, found[position], self.partition) for position in self._positions
        ]
        self._streams: dict[UUID, list[Positioned]] = {}
        for each in self._events:
            self._streams.setdefault(each.recorded.originator_id, []).append(each)
        self._blob = blob

    def commit(
        self,
        events: Sequence[Recorded],  # noqa: ARG002
        blobs: Mapping[str, bytes],  # noqa: ARG002
        published: int = 0,  # noqa: ARG002
        after: int | None = None,  # noqa: ARG002
    ) -> int:
        """Refuse: it is a copy of what happened elsewhere."""
        raise Conflict("a part of a log takes no events")

    def published(self) -> int:
        """Return the last position: nothing is ever sent from here."""
        return self.head()

    def stream(self, stream: UUID, after_version: int = 0) -> Iterable[Recorded]:
        """Return the events of one stream in order of version."""
        held = self._streams.get(stream, ())
        return [each.recorded for each in held if each.recorded.originator_version > after_version]

    def last(self, stream: UUID) -> Recorded | None:
        """Return the newest event of one stream."""
        held = self._streams.get(stream)
        return held[-1].recorded if held else None

    def position(self, stream: UUID, version: int) -> int | None:
        """Return the position of one event of a stream, None if there is none.

        It is `BEFORE_ALL` of those that the stream lacks at its beginning.
        """
        held = self._streams.get(stream)
        if not held:
            return None
        place = version - held[0].recorded.originator_version
        if place < 0:
            return BEFORE_ALL if version > 0 else None
        return held[place].position if place < len(held) else None

    def read(self, after_position: int, limit: int) -> Sequence[Positioned]:
        """Return up to `limit` events after a position, in order."""
        first = bisect_right(self._positions, after_position)
        return self._events[first : first + max(0, limit)]

    def head(self) -> int:
        """Return the last position, 0 without events."""
        return self._positions[-1] if self._positions else 0

    def open_roots(self) -> Iterable[UUID]:
        """Return the root jobs that have not ended."""
        return roots_of(each.recorded for each in self._events)[0]

    def blob(self, name: str) -> bytes:
        """Return a blob by its hash; raises `StoredDataError`."""
        return self._blob(name)

    def epoch(self) -> int:
        """Return 0: it was never restored."""
        return 0

    def close(self) -> None:
        """Nothing to release."""
