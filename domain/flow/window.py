"""How many orders of a queue may be out."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

LOOK_AHEAD_SECONDS = 0.25
RATE_INTERVAL_SECONDS = 0.05
WINDOW_MAX = 4_000


class ReleaseWindow:
    """How many orders of one queue may be out: the slots, and what they finish in a round trip.

    Twice the slots at least, so that a slot that falls free finds its next order waiting; more
    where steps are short, by the measured rate of completion times `LOOK_AHEAD_SECONDS`. One order
    may be out even where no slot is known, for a worker that does not announce itself.
    """

    def __init__(self, slots: Callable[[], int], size_max: int = WINDOW_MAX) -> None:
        """Take what tells the present number of slots; no rate is known yet."""
        self._slots = slots
        self._size_max = size_max
        self.out = 0
        self._rate = 0.0
        self._since: datetime | None = None
        self._completed = 0

    @property
    def size(self) -> int:
        """Return the present size of the window."""
        return min(self._size_max, max(1, 2 * self._slots(), int(self._rate * LOOK_AHEAD_SECONDS)))

    @property
    def room(self) -> int:
        """Return how many more orders may go out."""
        return max(0, self.size - self.out)

    def released(self) -> None:
        """An order went out."""
        self.out += 1

    def completed(self, now: datetime) -> None:
        """An order was answered, or will never be."""
        self.out -= 1
        self._completed += 1
        if self._since is None:
            self._since = now
        elapsed = (now - self._since).total_seconds()
        if elapsed >= RATE_INTERVAL_SECONDS or elapsed < 0:
            measured = self._completed / elapsed if elapsed > 0 else self._rate
            self._rate = (self._rate + measured) / 2 if self._rate else measured
            self._since, self._completed = now, 0
