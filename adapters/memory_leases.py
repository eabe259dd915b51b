"""Leases in memory, for parties in one process."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from threading import Lock

from warrener.domain.ports import Lease


class MemoryLeases:
    """Keeps who holds which partition, and who is there."""

    def __init__(self) -> None:
        """Begin with all partitions free."""
        self._lock = Lock()
        self._held: dict[int, Lease] = {}
        self._last: dict[int, tuple[str, int]] = {}  # who had it last, and its epoch
        self._members: dict[str, datetime] = {}

    def take(self, partition: int, holder: str, now: datetime, seconds: float) -> int:
        """Take or keep the lease until `now + seconds`; return its epoch, 0 if it is another's."""
        with self._lock:
            known = self._held.get(partition)
            if known is not None and known.holder != holder and known.until > now:
                return 0
            before, epoch = self._last.get(partition, ("", 0))
            epoch += before != holder or epoch == 0
            self._held[partition] = Lease(holder, now + timedelta(seconds=seconds), epoch)
            self._last[partition] = (holder, epoch)
            return epoch

    def give_up(self, partition: int, holder: str) -> None:
        """Let go of the lease, if it is the holder's."""
        with self._lock:
            known = self._held.get(partition)
            if known is not None and known.holder == holder:
                del self._held[partition]

    def holder(self, partition: int) -> tuple[str, datetime] | None:
        """Return who took the lease last and until when, None if nobody did or it was given up."""
        found = self._held.get(partition)
        return None if found is None else (found.holder, found.until)

    def all(self) -> dict[int, Lease]:
        """Return the leases that somebody took and did not give up, run out or not."""
        with self._lock:
            return dict(sorted(self._held.items()))

    def announce(self, member: str, now: datetime, seconds: float) -> None:
        """Say that somebody is there until `now + seconds`, whether it holds a lease or not."""
        with self._lock:
            self._members = {name: until for name, until in self._members.items() if until > now}
            self._members[member] = now + timedelta(seconds=seconds)

    def withdraw(self, member: str) -> None:
        """Somebody is there no longer."""
        with self._lock:
            self._members.pop(member, None)

    def members(self, now: datetime) -> Sequence[str]:
        """Return who is there, by name."""
        with self._lock:
            return sorted(name for name, until in self._members.items() if until > now)

    def close(self) -> None:
        """Nothing to release."""
