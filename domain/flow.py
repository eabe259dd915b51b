"""Release: ready steps wait here, in the controller, and go out late and few at a time.

A policy orders the backlog of one queue; `ReleaseWindow` says how many orders may be out. The
queue's backlog is a list of ranges, so that a fan-out of any size costs one entry.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Protocol
from uuid import UUID

import msgspec

from warrener.domain.ids import item_path

LOOK_AHEAD_SECONDS = 0.25
RATE_INTERVAL_SECONDS = 0.05
WINDOW_MAX = 1_000


class Ready(msgspec.Struct, frozen=True):
    """A step that may run: a named one (`index` None) or an item of a fan-out."""

    job: UUID
    step: str
    index: int | None = None

    @property
    def path(self) -> str:
        """Return the path of the step in its job."""
        return self.step if self.index is None else item_path(self.step, self.index)


class ReleasePolicy(Protocol):
    """Orders the backlog of one queue. Entries may be stale: the controller checks what it takes.

    Obligations: `take` returns each entry added exactly once and None when nothing is left; the
    same calls in the same order give the same answers.
    """

    def add(self, ready: Ready) -> None:
        """Add one step."""
        ...

    def add_items(self, job: UUID, step: str, start: int, stop: int) -> None:
        """Add the items of a fan-out from `start` up to and without `stop`."""
        ...

    def take(self) -> Ready | None:
        """Return the next step to release and forget it."""
        ...

    def __len__(self) -> int:
        """Return how many steps wait."""
        ...


class Fifo:
    """First in, first out."""

    def __init__(self) -> None:
        """Begin with an empty backlog."""
        self._ranges: deque[tuple[UUID, str, int | None, int]] = deque()
        self._count = 0

    def add(self, ready: Ready) -> None:
        """Add one step."""
        stop = 0 if ready.index is None else ready.index + 1
        self._ranges.append((ready.job, ready.step, ready.index, stop))
        self._count += 1

    def add_items(self, job: UUID, step: str, start: int, stop: int) -> None:
        """Add the items of a fan-out from `start` up to and without `stop`."""
        if start < stop:
            self._ranges.append((job, step, start, stop))
            self._count += stop - start

    def take(self) -> Ready | None:
        """Return the next step to release and forget it."""
        if not self._ranges:
            return None
        job, step, start, stop = self._ranges.popleft()
        self._count -= 1
        if start is not None and start + 1 < stop:
            self._ranges.appendleft((job, step, start + 1, stop))
        return Ready(job, step, start)

    def __len__(self) -> int:
        """Return how many steps wait."""
        return self._count


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


class _Lane(msgspec.Struct):
    policy: ReleasePolicy
    window: ReleaseWindow


class Flow:
    """The backlog and the release window of every queue."""

    def __init__(
        self,
        slots: Callable[[str], int],
        policy: Callable[[], ReleasePolicy] = Fifo,
        window_max: int = WINDOW_MAX,
    ) -> None:
        """Take the number of slots of a queue and the policy to order each backlog with.

        No window grows beyond `window_max` orders.
        """
        self._slots = slots
        self._policy = policy
        self._window_max = window_max
        self._lanes: dict[str, _Lane] = {}

    def add(self, queue: str, ready: Ready) -> None:
        """A step became ready."""
        self._lane(queue).policy.add(ready)

    def add_items(self, queue: str, job: UUID, step: str, start: int, stop: int) -> None:
        """Items of a fan-out became ready."""
        self._lane(queue).policy.add_items(job, step, start, stop)

    def take(self) -> Ready | None:
        """Return the next step to release, None if no queue has both room and a ready step."""
        for lane in self._lanes.values():
            if lane.window.room and len(lane.policy):
                return lane.policy.take()
        return None

    def has_room(self, queue: str) -> bool:
        """Say whether an order of this queue may go out."""
        return self._lane(queue).window.room > 0

    def can_take(self) -> bool:
        """Say whether `take` would give a step."""
        return any(lane.window.room and len(lane.policy) for lane in self._lanes.values())

    def released(self, queue: str) -> None:
        """An order of this queue went out."""
        self._lane(queue).window.released()

    def completed(self, queue: str, now: datetime) -> None:
        """An order of this queue was answered, or will never be."""
        self._lane(queue).window.completed(now)

    def out(self, queue: str) -> int:
        """Return how many orders of this queue are out."""
        lane = self._lanes.get(queue)
        return 0 if lane is None else lane.window.out

    def held_back(self, queue: str) -> int:
        """Return how many ready steps of this queue are held back."""
        lane = self._lanes.get(queue)
        return 0 if lane is None else len(lane.policy)

    def waiting(self) -> dict[str, int]:
        """Return how many ready steps each queue holds back."""
        return {queue: len(lane.policy) for queue, lane in self._lanes.items()}

    def _lane(self, queue: str) -> _Lane:
        lane = self._lanes.get(queue)
        if lane is None:
            lane = _Lane(
                self._policy(), ReleaseWindow(partial(self._slots, queue), self._window_max)
            )
            self._lanes[queue] = lane
        return lane
