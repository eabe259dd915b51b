"""What a controller knows of one limit with one key: who holds it, who waits, and its bucket.

Where partitions share the limit it counts with the units that its own has been granted.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from itertools import chain
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


def _anywhere(_: str) -> bool:
    """Say that there is room in every queue."""
    return True


class Waiters:
    """Those who wait for a limit. The smallest place goes first, then who has waited longer.

    Nobody waits for ever: every `AGEING_TURNS`th of those let through is the one that has waited
    longest, once that is longer than `AGEING_SECONDS`. Who waits for a queue without room is passed
    by those of other queues.
    """

    def __init__(self) -> None:
        """Begin with nobody."""
        self._lines: dict[str, _Line] = {}  # by queue
        self._added = self._let_through = 0

    def __len__(self) -> int:
        return sum(len(line.waiting) for line in self._lines.values())

    def __bool__(self) -> bool:
        return bool(self._lines)

    def __iter__(self) -> Iterator[Waiter]:
        return chain.from_iterable(line.waiting.values() for line in self._lines.values())

    def add(self, waiter: Waiter) -> None:
        """Add somebody."""
        self._added += 1
        line = self._lines.get(waiter.queue)
        if line is None:
            line = self._lines[waiter.queue] = _Line()
        line.add(waiter, self._added)

    def next(self, now: datetime, has_room: Callable[[str], bool] = _anywhere) -> Waiter | None:
        """Return who goes next, None if there is nobody whose queue has room."""
        found = self._next(now, has_room)
        return None if found is None else found[0].waiting[found[1]]

    def take(self, now: datetime, has_room: Callable[[str], bool] = _anywhere) -> Waiter | None:
        """Take away who goes next; it is `aged` if it is its turn for having waited longest."""
        found = self._next(now, has_room)
        if found is None:
            return None
        line, number, aged = found
        self._let_through += 1
        waiter = line.waiting.pop(number)
        if not line.waiting:
            del self._lines[waiter.queue]
        return msgspec.structs.replace(waiter, aged=True) if aged else waiter

    def let_go(self, queue: str) -> Iterable[Waiter]:
        """Take away all of a queue; return them."""
        line = self._lines.pop(queue, None)
        return () if line is None else line.waiting.values()

    def _next(
        self, now: datetime, has_room: Callable[[str], bool]
    ) -> tuple[_Line, int, bool] | None:
        lines = [line for queue, line in self._lines.items() if has_room(queue)]
        if not lines:
            return None
        if not (self._let_through + 1) % AGEING_TURNS:
            line = min(lines, key=_Line.oldest)
            since, oldest = line.oldest()
            if (now - since).total_seconds() >= AGEING_SECONDS:
                return line, oldest, True
        line = min(lines, key=_Line.first)
        return line, line.first()[-1], False


class _Line:
    """Those of one queue, never nobody; each has a number."""

    __slots__ = ("by_age", "by_place", "waiting")

    def __init__(self) -> None:
        self.waiting: dict[int, Waiter] = {}
        self.by_place: list[tuple[tuple[Any, ...], datetime, int]] = []
        self.by_age: list[tuple[datetime, int]] = []

    def add(self, waiter: Waiter, number: int) -> None:
        self.waiting[number] = waiter
        since = waiter.queued.since
        heapq.heappush(self.by_place, (waiter.place, since, number))
        heapq.heappush(self.by_age, (since, number))
        self._tidy(self.by_place)
        self._tidy(self.by_age)

    def first(self) -> tuple[tuple[Any, ...], datetime, int]:
        self._drop_gone(self.by_place)
        return self.by_place[0]

    def oldest(self) -> tuple[datetime, int]:
        self._drop_gone(self.by_age)
        return self.by_age[0]

    def _tidy(self, heap: list[Any]) -> None:
        if len(heap) > 2 * len(self.waiting) + SPARE_ENTRIES:
            heap[:] = [each for each in heap if each[-1] in self.waiting]
            heapq.heapify(heap)

    def _drop_gone(self, heap: list[Any]) -> None:
        while heap[0][-1] not in self.waiting:
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
        if bucket.at == now:  # as for most of those that go out in one turn
            bucket.tokens = min(size, bucket.tokens)
            return bucket
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
