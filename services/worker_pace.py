"""How many orders a worker holds: little more than it has slots, or what it does in a moment.

Orders in hand cannot go to a worker that is free, so there should be few of them; but each that is
done costs a round trip to the broker until the next one comes, so where steps are short there must
be as many as are done meanwhile.
"""

from __future__ import annotations

AHEAD_SECONDS = 0.05  # of work; some round trips to the broker
PREFETCH_MAX = 1_000
LOOK_SECONDS = 0.05
GROWTH_MIN = 1.25  # below it, another prefetch is not worth the telling
PATIENCE_SECONDS = 1.0  # before orders are held back that are not done so fast any more


class Pace:
    """Chooses the prefetch by the rate at which orders are done."""

    def __init__(self, slots: int) -> None:
        """Begin with little more than the slots."""
        self.prefetch = self._least = 2 * slots + 2
        self._since = 0.0
        self._done = 0
        self._slow_since: float | None = None

    def look(self, done: int, now: float) -> bool:
        """Say whether the prefetch has changed, `done` orders having been done in all by `now`."""
        seconds = now - self._since
        if seconds < LOOK_SECONDS:
            return False
        rate = (done - self._done) / seconds
        self._since, self._done = now, done
        wanted = min(max(self._least, int(rate * AHEAD_SECONDS)), PREFETCH_MAX)
        return self._change(wanted, now)

    def _change(self, wanted: int, now: float) -> bool:
        grows = wanted >= GROWTH_MIN * self.prefetch
        if grows or 2 * wanted > self.prefetch or self.prefetch == self._least:
            self._slow_since = None
        elif self._slow_since is None:
            self._slow_since = now
        slow = self._slow_since is not None and now - self._slow_since >= PATIENCE_SECONDS
        if grows or slow:
            self.prefetch, self._slow_since = wanted, None
        return grows or slow
