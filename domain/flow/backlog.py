"""The ready steps of one stage, in an order of release."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from datetime import datetime
from typing import Any
from uuid import UUID

from warrener.domain.flow.orders import Order
from warrener.domain.flow.ready import Queued, Ready, Standing
from warrener.domain.flow.usage import Usage

SPARE_ENTRIES = 64  # of those taken already, before the others are moved together

Place = tuple[int, float, tuple[Any, ...]]  # tier (the highest first), virtual time, rank


class Entry:
    """A ready step (`index` None), or items of a fan-out that are taken from the front."""

    __slots__ = ("index", "job", "left", "since", "standing", "step")

    def __init__(
        self, ready: Ready, standing: Standing, since: datetime, *, count: int = 1
    ) -> None:
        self.job: UUID = ready.job
        self.step = ready.step
        self.index = ready.index
        self.left = count
        self.standing = standing
        self.since = since

    def take(self) -> Queued:
        """Return the next step and leave it out from now on."""
        ready = Ready(self.job, self.step, self.index)
        self.left -= 1
        if self.index is not None:
            self.index += 1
        return Queued(ready, self.standing, self.since)


Aged = tuple[datetime, int, Entry]  # since when it waits, its number in the queue, and what


class Backlog:
    """The ready steps of one stage; all stages of a queue share `usage` and `numbers`."""

    def __init__(self, order: Order, usage: Usage, numbers: Iterator[int]) -> None:
        """Begin with nothing."""
        self.order = order
        self._usage = usage
        self._numbers = numbers
        self.count = 0
        self._tiers: dict[int, _Tier] = {}
        self._tops: list[int] = []  # the tiers, negated, the highest first
        self._by_age: list[Aged] = []
        self._place: Place | None = None  # the last one found: mostly it still is
        self._key = ""  # of the step that it is of

    def add(self, entry: Entry) -> None:
        """Add a step, or a range of items."""
        order, standing = self.order, entry.standing
        tier = 0 if order.tier is None else order.tier(standing)
        key = "" if order.key is None else order.key(standing)
        number = next(self._numbers)
        self._place = None
        self.count += entry.left
        if order.key is not None:
            self._usage.arrive(key)
        found = self._tiers.get(tier)
        if found is None:
            found = self._tiers[tier] = _Tier(self._usage if order.key is not None else None)
            heapq.heappush(self._tops, -tier)
        found.add(key, order.rank(standing), number, entry)
        heapq.heappush(self._by_age, (entry.since, number, entry))
        if len(self._by_age) > 2 * self.count + SPARE_ENTRIES:
            self._by_age = [each for each in self._by_age if each[2].left]
            heapq.heapify(self._by_age)

    def place(self) -> Place | None:
        """Return the place of the step that goes next, to compare with other stages."""
        known = self._place
        charged = self.order.key is not None
        if known is None or (charged and self._usage.time(self._key) != known[1]):
            known = self._place = self._find_place()
        return known

    def _find_place(self) -> Place | None:
        while self._tops:
            top = self._tops[0]
            found = self._tiers[-top].first()
            if found is not None:
                self._key = self._tiers[-top].key()
                return top, *found
            del self._tiers[-top]
            heapq.heappop(self._tops)
        return None

    def remaining(self) -> int:
        """Return how many steps remain after the one that goes next; it must be there."""
        return self._tiers[-self._tops[0]].entry().standing.remaining

    def take(self, *, in_turn: bool = True) -> Queued:
        """Take the step that goes next; `place` must have found one.

        Not `in_turn` is who passes others: by that, time has not come to that of its key.
        """
        entry = self._tiers[-self._tops[0]].entry()
        if in_turn and self.order.key is not None:
            self._usage.serve(self.order.key(entry.standing))
        return self._take(entry)

    def oldest(self) -> Entry | None:
        """Return what has waited longest."""
        while self._by_age and not self._by_age[0][2].left:
            heapq.heappop(self._by_age)
        return self._by_age[0][2] if self._by_age else None

    def take_oldest(self) -> Queued | None:
        """Take what has waited longest, which may pass others."""
        entry = self.oldest()
        return None if entry is None else self._take(entry)

    def by_age(self) -> Iterator[Aged]:
        """Yield all that waits, in no order."""
        return (each for each in self._by_age if each[2].left)

    def _take(self, entry: Entry) -> Queued:
        self.count -= 1
        self._place = None
        if self.order.key is not None and entry.left == 1:
            self._usage.leave(self.order.key(entry.standing))
        return entry.take()


class _Tier:
    """The steps of one tier: those of each key by rank, and the keys by their virtual times."""

    def __init__(self, usage: Usage | None) -> None:
        self._usage = usage  # None: all have one key
        self._keys: dict[str, list[tuple[tuple[Any, ...], datetime, int, Entry]]] = {}
        self._turns: list[tuple[float, str]] = []
        self._size = 0  # of all heaps, with what others have taken
        self._size_max = SPARE_ENTRIES

    def add(self, key: str, rank: tuple[Any, ...], number: int, entry: Entry) -> None:
        heap = self._keys.get(key)
        if heap is None:
            heap = self._keys[key] = []
            heapq.heappush(self._turns, (self._time(key), key))
        heapq.heappush(heap, (rank, entry.since, number, entry))
        self._size += 1
        if self._size > self._size_max:
            self._tidy()

    def first(self) -> tuple[float, tuple[Any, ...]] | None:
        """Return virtual time and rank of what goes next; None if nothing is left."""
        turns = self._turns
        while turns:
            time, key = turns[0]
            heap = self._keys[key]
            while heap and not heap[0][3].left:
                heapq.heappop(heap)
                self._size -= 1
            if not heap:
                del self._keys[key]
                heapq.heappop(turns)
                continue
            now = self._time(key)
            if now != time:  # it was charged since
                heapq.heapreplace(turns, (now, key))
                if now > time:
                    continue
            rank, since, number, _ = heap[0]
            return now, (*rank, since, number)
        return None

    def entry(self) -> Entry:
        """Return what goes next; `first` has found it."""
        return self._keys[self._turns[0][1]][0][3]

    def key(self) -> str:
        """Return the key of what goes next; `first` has found it."""
        return self._turns[0][1]

    def _tidy(self) -> None:
        """Leave out what was taken for its age, once there may be as much of it as of the rest."""
        for key, heap in list(self._keys.items()):
            left = [each for each in heap if each[3].left]
            if len(left) < len(heap):
                heapq.heapify(left)
                self._keys[key] = left
        self._size = sum(map(len, self._keys.values()))
        self._size_max = 2 * self._size + SPARE_ENTRIES

    def _time(self, key: str) -> float:
        return 0.0 if self._usage is None else self._usage.time(key)
