"""What a controller knows of one limit with one key: who holds it, who waits, and its bucket.

Where partitions share the limit it counts with the units that its own has been granted.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec

from warrener.domain.definition.model import Limit, Rate
from warrener.domain.flow.orders import AGEING_SECONDS, AGEING_TURNS
from warrener.domain.flow.ready import Queued
from warrener.domain.limit_shares import Ask, Share, Unit
from warrener.domain.step_events import Held

TICK_SECONDS = 0.001
LOOK_AHEAD_SECONDS_MAX = 365 * 86_400.0  # a bucket that fills more slowly is looked at again then
SPARE_ENTRIES = 64  # of those who have gone already, before the others are moved together
HAIR = 1e-6  # what rounding may take from a whole token


class Waiter(msgspec.Struct, frozen=True):
    """A ready step that is held back, for a `reason`; the one with the smallest place goes first.

    `passed` are other limits that it comes under as well and that had room for it. Who is `aged`
    was let through because it has waited longest, and is to be passed by nobody.
    """

    queued: Queued
    reason: str = ""
    place: tuple[Any, ...] = ()
    passed: tuple[Held, ...] = ()
    aged: bool = False

    @property
    def queue(self) -> str:
        """Return the queue that its order goes to."""
        return self.queued.queue


class Claim(msgspec.Struct, frozen=True):
    """A limit that a step comes under, and its key there."""

    limit: Limit
    held: Held


class Waiters:
    """Those who wait for a limit. The smallest place goes first, then who has waited longer.

    Nobody waits for ever: every `AGEING_TURNS`th of those let through is the one that has waited
    longest, once that is longer than `AGEING_SECONDS`.
    """

    def __init__(self) -> None:
        """Begin with nobody."""
        self._waiting: dict[int, Waiter] = {}
        self._by_place: list[tuple[tuple[Any, ...], datetime, int]] = []
        self._by_age: list[tuple[datetime, int]] = []
        self._added = self._let_through = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def __iter__(self) -> Iterator[Waiter]:
        return iter(self._waiting.values())

    def add(self, waiter: Waiter) -> None:
        """Add somebody."""
        self._added += 1
        self._waiting[self._added] = waiter
        since = waiter.queued.since
        heapq.heappush(self._by_place, (waiter.place, since, self._added))
        heapq.heappush(self._by_age, (since, self._added))
        if len(self._by_age) > 2 * len(self._waiting) + SPARE_ENTRIES:
            self._by_age = [each for each in self._by_age if each[-1] in self._waiting]
            heapq.heapify(self._by_age)

    def next(self, now: datetime) -> Waiter:
        """Return who goes next."""
        return self._waiting[self._next(now)[0]]

    def take(self, now: datetime) -> Waiter:
        """Take away who goes next; it is `aged` if it is its turn for having waited longest."""
        number, aged = self._next(now)
        self._let_through += 1
        waiter = self._waiting.pop(number)
        return msgspec.structs.replace(waiter, aged=True) if aged else waiter

    def _next(self, now: datetime) -> tuple[int, bool]:
        self._drop_gone(self._by_place)
        first = self._by_place[0][-1]
        if (self._let_through + 1) % AGEING_TURNS:
            return first, False
        self._drop_gone(self._by_age)
        since, oldest = self._by_age[0]
        aged = (now - since).total_seconds() >= AGEING_SECONDS
        return (oldest, True) if aged else (first, False)

    def _drop_gone(self, heap: list[Any]) -> None:
        while heap[0][-1] not in self._waiting:
            heapq.heappop(heap)


class Bucket(msgspec.Struct):
    """The tokens of a rate at a time."""

    tokens: float
    at: datetime


class Grant(msgspec.Struct, frozen=True):
    """Units that a partition may hold; they were granted it of `total`."""

    units: int
    total: int


class LimitState(msgspec.Struct):
    """What is known of one limit with one key; `limit` is `defined` as people have set it."""

    defined: Limit
    limit: Limit
    holders: dict[UUID, None] = {}
    bucket: Bucket | None = None
    waiters: Waiters = msgspec.field(default_factory=Waiters)
    passed: int = 0  # who wait elsewhere, and had room here
    grants: dict[Unit, Grant] | None = None  # None: nobody else has a part of it
    used: bool = False  # since it was last asked for
    fresh: set[Unit] = set()  # more of these was granted, and nothing has gone out since
    spare: int = 0  # slots to have in reserve, for what cannot wait

    @property
    def shared(self) -> bool:
        """Say whether other partitions have a part of it."""
        return self.grants is not None

    @property
    def burst(self) -> int:
        """Return the size of the bucket of a rate."""
        return self.limit.burst or 1

    def units(self, unit: Unit) -> int:
        """Return what may be held. Of a grant from when there was more, nobody knows how much."""
        total = (self.limit.slots or 0) if unit == "slots" else self.burst
        if self.grants is None:
            return total
        grant = self.grants.get(unit)
        return 0 if grant is None or grant.total > total else min(grant.units, total)

    def room(self, now: datetime, quiet_since: datetime | None) -> float:
        """Return how many more orders go out now."""
        room = float("inf")
        if self.limit.slots is not None:
            room = float(self.units("slots") - len(self.holders))
        if self.limit.rate is not None:
            room = min(room, self.refill(now, quiet_since).tokens + HAIR)
        return room

    def refill(self, now: datetime, quiet_since: datetime | None) -> Bucket:
        """Return the bucket with the tokens of the time that has passed.

        A new one is full, or was empty at `quiet_since`. Where the limit is shared it is empty: its
        tokens come with its units.
        """
        rate, size = self.limit.rate, float(self.units("burst"))
        assert rate is not None
        if self.bucket is None:
            self.bucket = Bucket(size, now)
            if self.grants is not None:
                self.bucket = Bucket(0.0, now)
            elif quiet_since is not None:
                self.bucket = Bucket(0.0, min(quiet_since, now))
        bucket = self.bucket
        passed = max(0.0, (now - bucket.at).total_seconds())
        tokens = bucket.tokens + passed * rate.count / rate.seconds * (size / self.burst)
        bucket.tokens, bucket.at = min(size, tokens), max(now, bucket.at)
        return bucket

    def room_at(self, now: datetime, quiet_since: datetime | None) -> datetime | None:
        """Return when a bucket has a token for somebody who does not wait for a slot."""
        rate, units = self.limit.rate, self.units("burst")
        full = self.limit.slots is not None and len(self.holders) >= self.units("slots")
        if rate is None or full or not units:
            return None
        missing = 1.0 - HAIR - self.refill(now, quiet_since).tokens
        if missing <= 0:
            return now
        wait_seconds = missing * rate.seconds / rate.count * (self.burst / units)
        wait_seconds = max(wait_seconds, TICK_SECONDS)
        return now + timedelta(seconds=min(wait_seconds, LOOK_AHEAD_SECONDS_MAX))

    # --- sharing ---------------------------------------------------------------------------------

    @property
    def wanted(self) -> int:
        """Return how many could go out at once if there were room."""
        return len(self.holders) + len(self.waiters) + self.passed + self.spare

    @property
    def in_use(self) -> bool:
        """Say whether somebody needs it, or something of it is ours."""
        granted = any(grant.units for grant in (self.grants or {}).values())
        return bool(self.wanted or granted)

    @property
    def lacks(self) -> bool:
        """Say whether nothing can go out before more is granted."""
        slots, rate = self.limit.slots, self.limit.rate
        return (slots is not None and slots > 0 and not self.units("slots")) or (
            rate is not None and not self.units("burst")
        )

    def asks(self, now: datetime) -> dict[Unit, Ask]:
        """Return what to ask for; of a limit that has no such units any more, nothing."""
        assert self.grants is not None
        found: dict[Unit, Ask] = {unit: Ask(0) for unit in self.grants}
        if self.limit.slots is not None:
            waits = bool(self.passed or self.limit.rate is not None)  # for more than a slot
            found["slots"] = Ask(
                self.limit.slots,
                held=len(self.holders),
                wanted=self.wanted,
                spent=not (waits and "slots" in self.fresh),
            )
        if self.limit.rate is not None:
            found["burst"] = self._ask_for_burst(self.limit.rate, now)
        return found

    def _ask_for_burst(self, rate: Rate, now: datetime) -> Ask:
        """Ask for all of a bucket that is used, but not before there is a slot to go with it."""
        tokens = self.refill(now, None).tokens
        used = self.waiters or self.passed or self.used or self.spare
        wanted = used and (self.limit.slots is None or self.units("slots"))
        return Ask(
            self.burst,
            wanted=self.burst if wanted else 0,
            tokens=tokens,
            fill=rate.count / rate.seconds / self.burst,
            spent="burst" not in self.fresh or (tokens >= 1 and not self.passed),
        )

    def accept(self, unit: Unit, share: Share, total: int, now: datetime) -> bool:
        """Take what was granted; say whether it is more than before."""
        assert self.grants is not None
        before = self.units(unit)
        self.grants[unit] = Grant(share.units, total)
        grown = self.units(unit) > before
        if grown:
            self.fresh.add(unit)
        if unit == "burst" and share.units != before:
            self.bucket = Bucket(share.tokens, now)
        return grown
