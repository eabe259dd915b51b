"""Asks for the shares of limits that the partitions of one reactor process may use.

Nothing is asked where a store has one partition, or where no limit is in use.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec

from warrener.domain.errors import UsageError
from warrener.domain.limit_shares import Ask, LimitShares, ShareKey
from warrener.domain.limits import Limits
from warrener.domain.ports import Clock
from warrener.services.reactor import Reactor

BALANCE_SECONDS = 1.0
SOON_SECONDS = 0.1  # while somebody waits, or what was granted is of no more use


class _Asked(msgspec.Struct):
    """When shares were asked for last, and for which limits: a reload makes new ones."""

    limits: Limits
    all_at: datetime
    soon_at: datetime


class LimitBalance:
    """Keeps what each partition may hold of its limits up to date. Belongs to one thread."""

    def __init__(self, shares: LimitShares | None, partitions: int, clock: Clock) -> None:
        """Take what keeps the shares; None does for one partition, which shares with nobody."""
        if shares is None and partitions > 1:
            raise UsageError(f"{partitions} partitions need a place where they share limits")
        self._shares = shares if partitions > 1 else None
        self._clock = clock
        self._asked: dict[int, _Asked] = {}

    @property
    def shared(self) -> bool:
        """Say whether limits are shared with other partitions."""
        return self._shares is not None

    @property
    def ask_soon(self) -> bool:
        """Say whether there is something to ask for within `SOON_SECONDS`."""
        return any(asked.limits.ask_soon for asked in self._asked.values())

    def look_after(self, partition: int, epoch: int, reactor: Reactor) -> None:
        """Ask for what is due, and let the reactor's controller count with it.

        After `StoreUnavailable` nobody knows what was granted: the reactor must not go on.
        """
        if self._shares is None:
            return
        now, limits = self._clock.now(), reactor.controller.memory.limits
        asked = self._asked.get(partition)
        if asked is None or asked.limits is not limits:
            self._begin(self._shares, partition, epoch, reactor)
        elif _is_due(asked.all_at, now, BALANCE_SECONDS):
            asked.all_at = asked.soon_at = now
            self._ask(partition, epoch, reactor, limits.asks(now))
        elif limits.ask_soon and _is_due(asked.soon_at, now, SOON_SECONDS):
            asked.soon_at = now
            self._ask(partition, epoch, reactor, limits.asks(now, soon=True))

    def forget(self, partition: int) -> None:
        """A partition is no longer worked on here."""
        self._asked.pop(partition, None)

    def clear(self) -> None:
        """No partition is."""
        self._asked.clear()

    def _begin(self, shares: LimitShares, partition: int, epoch: int, reactor: Reactor) -> None:
        """Ask for all that is in use after a load, and give back what was granted before it."""
        now, limits = self._clock.now(), reactor.controller.memory.limits
        asks = limits.asks(now)
        for key, entry in shares.of(partition).items():
            asks.setdefault(key, Ask(entry.total, fill=entry.fill))
        if self._ask(partition, epoch, reactor, asks):
            self._asked[partition] = _Asked(limits, now, now)

    def _ask(self, partition: int, epoch: int, reactor: Reactor, asks: dict[ShareKey, Ask]) -> bool:
        """Say whether there was an answer for all that was asked for.

        What is held must be all that is out: nothing may land in the log behind our back.
        """
        if not asks:
            return True
        assert self._shares is not None
        limits = reactor.controller.memory.limits
        reactor.settle()
        if reactor.controller.memory.limits is not limits:
            return False  # loaded again: it holds something else now
        granted = self._shares.balance(partition, epoch, asks, self._clock.now().timestamp())
        limits.accept(asks, granted, self._clock.now())
        return len(granted) == len(asks)


def _is_due(last: datetime, now: datetime, seconds: float) -> bool:
    """Say whether it is time again; it is, too, if the clock went back."""
    return now < last or now >= last + timedelta(seconds=seconds)
