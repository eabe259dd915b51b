"""What partitions have been granted of their limits, in memory, for parties in one process."""

from __future__ import annotations

from collections.abc import Mapping
from threading import Lock

from warrener.domain.limit_shares import Ask, Entry, Share, ShareKey, balance


class MemoryLimitShares:
    """Keeps one entry for each limit with a key that is in use."""

    def __init__(self) -> None:
        """Begin with nothing granted."""
        self._lock = Lock()
        self._entries: dict[ShareKey, Entry] = {}

    def balance(
        self, partition: int, epoch: int, asks: Mapping[ShareKey, Ask], now: float
    ) -> Mapping[ShareKey, Share]:
        """Ask for the shares of a partition whose lease has this epoch."""
        shares: dict[ShareKey, Share] = {}
        with self._lock:
            for key, ask in asks.items():
                entry, shares[key] = balance(self._entries.get(key), partition, epoch, ask, now)
                if entry is None:
                    self._entries.pop(key, None)
                else:
                    self._entries[key] = entry
        return shares

    def of(self, partition: int) -> Mapping[ShareKey, Entry]:
        """Return the entries in which a partition has a part."""
        with self._lock:
            return {key: each for key, each in self._entries.items() if partition in each.parts}

    def all(self) -> Mapping[ShareKey, Entry]:
        """Return all entries."""
        with self._lock:
            return dict(self._entries)

    def close(self) -> None:
        """Nothing to release."""
