"""The broker and the workers of a simulation: queues of orders, and who serves them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from functools import partial
from typing import Final
from uuid import UUID

import msgspec

from warrener.domain.flow.ready import Queued, Stage
from warrener.domain.simulation.agenda import Agenda
from warrener.domain.simulation.open_job import OpenJob
from warrener.domain.simulation.trace import DEFAULT_QUEUE, Attempt

LOST_SECONDS: Final = 15.0  # until the controller takes the orders of vanished workers for lost


class Crew(msgspec.Struct, frozen=True, kw_only=True):
    """Workers that serve the same queues, from `since` to `until` seconds after the begin."""

    workers: int
    queues: tuple[str, ...] = (DEFAULT_QUEUE,)
    slots: int = 1
    since: float = 0.0
    until: float | None = None


class Order:
    """An order: on its way, at a worker of a `pool`, or answered. It takes `seconds`."""

    __slots__ = ("job", "place", "pool", "queued", "ready_at", "run", "seconds", "step")

    def __init__(self, step: UUID, queued: Queued, job: OpenJob, place: int, run: Attempt) -> None:
        self.step = step
        self.queued = queued
        self.job = job
        self.place = place
        self.run = run
        self.ready_at = 0.0  # a worker can have it from then on
        self.seconds = 0.0
        self.pool: Pool | None = None


class Line:
    """The orders of one queue at the broker, first in, first out."""

    __slots__ = ("name", "orders", "pools")

    def __init__(self, name: str) -> None:
        self.name = name
        self.orders: deque[Order] = deque()
        self.pools: list[Pool] = []


class Pool:
    """The slots of all workers that serve the same queues, and the orders that they work on."""

    __slots__ = ("lines", "running", "total")

    def __init__(self, lines: Sequence[Line]) -> None:
        self.lines = tuple(lines)
        self.total = 0
        self.running: dict[Order, None] = {}

    def next_order(self) -> Order | None:
        """Take the order that lies longest in the queues that are served here."""
        if len(self.lines) == 1:
            orders = self.lines[0].orders
            return orders.popleft() if orders else None
        filled = [line for line in self.lines if line.orders]
        if not filled:
            return None
        return min(filled, key=lambda line: line.orders[0].ready_at).orders.popleft()


class Crews:
    """All workers, and the broker before them. `slots` are those that are there, by queue.

    `reports` are answers on their way, with the times at which they are known. `half_trip` is what
    an order takes on its way, and an answer on its; `hand_over` is what a slot takes from one order
    to the next. `slowness` are factors of what attempts take, `running` counts those that workers
    have.
    """

    def __init__(
        self, agenda: Agenda, half_trip: float, hand_over: float, lose: Callable[[Order], None]
    ) -> None:
        """Begin with nobody; `lose` is called for orders that are lost."""
        self.slots: dict[str, int] = {}
        self.total = 0
        self.slot_seconds = 0.0  # of all workers that were there
        self.half_trip = half_trip
        self.hand_over = hand_over
        self.slowness: dict[Stage, float] = {}
        self.running: dict[Stage, int] = {}
        self.reports: deque[tuple[float, Order]] = deque()
        self._agenda = agenda
        self._lose = lose
        self._lines: dict[str, Line] = {}
        self._pools: dict[tuple[str, ...], Pool] = {}
        self._counted_at = 0.0

    # --- who is there ----------------------------------------------------------------------------

    def present(self) -> dict[tuple[str, ...], int]:
        """Return the slots that are there, by the queues that they serve."""
        return {queues: pool.total for queues, pool in self._pools.items() if pool.total}

    def change(self, queues: Iterable[str], slots: int) -> None:
        """Slots come that serve these queues, or go as soon as they are free."""
        self.count_slots()
        pool = self._pool(queues)
        change = max(slots, -pool.total)
        pool.total += change
        self.total += change
        for line in pool.lines:
            self.slots[line.name] = self.slots.get(line.name, 0) + change
        self._feed(pool)

    def move(self, slots: int, queues: Iterable[str], to: Iterable[str]) -> None:
        """Let slots that serve some queues serve others, from their next order on."""
        queues = tuple(queues)
        moved = min(slots, self._pool(queues).total)
        self.change(queues, -moved)
        self.change(to, moved)

    def vanish(self, slots: int, queues: Iterable[str]) -> None:
        """Slots are gone, with what they work on; that is known to be lost later."""
        queues = tuple(queues)
        pool = self._pool(queues)
        gone = min(slots, pool.total)
        lost = round(len(pool.running) * gone / pool.total) if pool.total else 0
        for _ in range(lost):
            order, _ = pool.running.popitem()
            self.running[order.queued.standing.stage] -= 1
            order.pool = None
            self._agenda.call(self._agenda.now + LOST_SECONDS, partial(self._lose, order))
        self.change(queues, -gone)

    def lying(self) -> bool:
        """Say whether orders lie in a queue."""
        return any(line.orders for line in self._lines.values())

    def lying_since(self) -> datetime | None:
        """Return since when the first order of a queue waits, at the longest."""
        heads = (line.orders[0] for line in self._lines.values() if line.orders)
        return min((order.queued.since for order in heads), default=None)

    def count_slots(self) -> None:
        """Count the time of all workers up to now."""
        now = self._agenda.now
        self.slot_seconds += self.total * (now - self._counted_at)
        self._counted_at = now

    def _pool(self, queues: Iterable[str]) -> Pool:
        key = tuple(sorted(set(queues)))
        found = self._pools.get(key)
        if found is None:
            found = self._pools[key] = Pool([self._line(queue) for queue in key])
            for line in found.lines:
                line.pools.append(found)
        return found

    def _line(self, queue: str) -> Line:
        found = self._lines.get(queue)
        if found is None:
            found = self._lines[queue] = Line(queue)
        return found

    # --- orders ----------------------------------------------------------------------------------

    def publish(self, order: Order) -> None:
        """An order goes out."""
        line = self._line(order.queued.standing.stage.queue)
        order.ready_at = self._agenda.now + self.half_trip
        if not line.orders:
            for pool in line.pools:
                if len(pool.running) < pool.total:
                    self._start(order, pool, order.ready_at)
                    return
        line.orders.append(order)

    def end_work(self, order: Order, now: float) -> None:
        """A worker is done with an order: it tells, and takes the next."""
        pool = order.pool
        if pool is None:
            return  # the worker has vanished
        del pool.running[order]
        self.running[order.queued.standing.stage] -= 1
        known_at, reports = now + self.half_trip, self.reports
        if reports and reports[-1][0] > known_at:
            known_at = reports[-1][0]  # none overtakes another
        reports.append((known_at, order))
        if len(pool.running) < pool.total:
            following = pool.next_order()
            if following is not None:
                self._start(following, pool, max(now + self.hand_over, following.ready_at))

    def _start(self, order: Order, pool: Pool, at: float) -> None:
        seconds, stage = order.run.seconds, order.queued.standing.stage
        if self.slowness:
            seconds *= self.slowness.get(stage, 1.0)
        order.pool, order.seconds = pool, seconds
        if order.job.began_at is None:
            order.job.began_at = at
        pool.running[order] = None
        self.running[stage] = self.running.get(stage, 0) + 1
        self._agenda.plan(at + seconds, order)

    def _feed(self, pool: Pool) -> None:
        """Let free slots take what lies there."""
        while len(pool.running) < pool.total:
            order = pool.next_order()
            if order is None:
                return
            self._start(order, pool, max(self._agenda.now, order.ready_at))
