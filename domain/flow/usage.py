"""How much of the workers' time each fairness key has had: fair queueing by start times.

A key's virtual time is what it was charged, divided by its weight; the smallest goes next. A key
that had nothing to do meanwhile begins at the time of the others: what it did not use is gone.
"""

from __future__ import annotations

from heapq import nlargest

KEYS_KEPT_MAX = 4_000  # of which nothing waits: beyond that, the least that was used is forgiven


class Usage:
    """The virtual times of the keys of one queue."""

    def __init__(self) -> None:
        """Begin with nothing used."""
        self._times: dict[str, float] = {}
        self._waiting: dict[str, int] = {}  # key -> entries of backlogs that wait
        self._now = 0.0  # of the key that was served last
        self._look_at_size = 2 * KEYS_KEPT_MAX

    def time(self, key: str) -> float:
        """Return the virtual time of a key."""
        return self._times.get(key, self._now)

    def arrive(self, key: str) -> None:
        """An entry of a key waits now."""
        before = self._waiting.get(key, 0)
        if not before:
            self._times[key] = max(self._times.get(key, self._now), self._now)
        self._waiting[key] = before + 1

    def leave(self, key: str) -> None:
        """An entry of a key waits no more."""
        left = self._waiting.get(key, 0) - 1
        if left > 0:
            self._waiting[key] = left
            return
        self._waiting.pop(key, None)
        if self._times.get(key, 0.0) <= self._now:
            self._times.pop(key, None)  # as good as a new one

    def serve(self, key: str) -> None:
        """A step of a key goes out: time has come to that of the key."""
        self._now = max(self._now, self._times.get(key, self._now))

    def charge(self, key: str, seconds: float) -> None:
        """A key has used so many weighted seconds; less than nothing gives some back."""
        if key in self._times or seconds > 0:
            self._times[key] = self._times.get(key, self._now) + seconds
        if len(self._times) > self._look_at_size:
            self._forget_past()

    def _forget_past(self) -> None:
        """Forget keys of which nothing waits, those first that time has come to or nearly has."""
        times, waiting = self._times, self._waiting
        gone = ((time, key) for key, time in times.items() if key not in waiting)
        kept = nlargest(KEYS_KEPT_MAX, (each for each in gone if each[0] > self._now))
        self._times = {key: times[key] for key in waiting} | {key: time for time, key in kept}
        self._look_at_size = 2 * max(KEYS_KEPT_MAX, len(self._times))
