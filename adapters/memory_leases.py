"""Leases in memory, for parties in one process."""

from __future__ import annotations

from datetime import datetime, timedelta
from threading import Lock


class MemoryLeases:
    """Keeps who holds which partition."""

    def __init__(self) -> None:
        """Begin with all partitions free."""
        self._lock = Lock()
        self._held: dict[int, tuple[str, datetime]] = {}

    def take(self, partition: int, holder: str, now: datetime, seconds: float) -> bool:
        """Take or keep the lease until `now + seconds`; say whether it is the holder's now."""
        with self._lock:
            known = self._held.get(partition)
            if known is not None and known[0] != holder and known[1] > now:
                return False
            self._held[partition] = (holder, now + timedelta(seconds=seconds))
            return True

    def give_up(self, partition: int, holder: str) -> None:
        """Let go of the lease, if it is the holder's."""
        with self._lock:
            if self._held.get(partition, ("",))[0] == holder:
                del self._held[partition]

    def holder(self, partition: int) -> tuple[str, datetime] | None:
        """Return who took the lease last and until when, None if nobody did or it was given up."""
        return self._held.get(partition)

    def close(self) -> None:
        """Nothing to release."""
