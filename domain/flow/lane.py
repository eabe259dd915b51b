"""The lane of a queue: what waits for its release, by stage, and what is out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import count, islice
from typing import TypeVar

import msgspec

from warrener.domain.flow.backlog import Backlog, Entry
from warrener.domain.flow.figures import QueueSample, smoothed
from warrener.domain.flow.line import StageLine, seconds_of
from warrener.domain.flow.orders import AGEING_SECONDS, AGEING_TURNS, Order
from warrener.domain.flow.ready import Queued, Ready, Stage, Standing
from warrener.domain.flow.settings import Measures
from warrener.domain.flow.usage import Usage
from warrener.domain.flow.window import ReleaseWindow

SMOOTHING = 0.05  # weight of the newest in the moving mean of all stages
UNKNOWN_SECONDS = 1.0  # what a step is taken to cost before any was measured
STAGES_KEPT_MAX = 1_000  # beyond these, stages of which nothing waits or is out are forgotten
OLD_LOOKED_AT_MAX = 10_000  # entries that are ready no more, dropped in one sample
ACCRUED_SECONDS_MAX = 60.0  # charged from look to look: more may be a clock that was set
PRIORITIES_MAX = 50  # that are counted apart; others count with the nearest of them

N = TypeVar("N", int, float)


class Out(msgspec.Struct, eq=False):
    """An order that is out: what its key was charged for it, in seconds, and what it took."""

    line: StageLine
    standing: Standing
    at: datetime
    charged: float
    seconds: float | None = None


class Lane:
    """The lane of one queue."""

    def __init__(
        self, queue: str, window: ReleaseWindow, order: Order, weights: Mapping[str, float]
    ) -> None:
        """Begin with nothing."""
        self.queue = queue
        self.window = window
        self.waiting = 0
        self._order = order
        self._weights = weights
        self._usage = Usage()
        self._numbers = count()
        self._lines: dict[Stage, StageLine] = {}
        self._out: dict[int, Out] = {}  # by the numbers of their steps, the oldest first
        self._served: dict[int, int] = {}  # by priority
        self._worked: dict[int, float] = {}
        self._turn = 0
        self._service_seconds: float | None = None  # of all stages, a moving mean

    def reorder(self, order: Order, weights: Mapping[str, float]) -> None:
        """Order what waits anew."""
        self._order, self._weights = order, weights
        self._usage = Usage()
        lines = list(self._lines.values())
        aged = sorted(each for line in lines for each in line.backlog.by_age())
        for line in lines:
            line.backlog = Backlog(order, self._usage, self._numbers)
        for _, _, entry in aged:
            self._lines[entry.standing.stage].backlog.add(entry)

    # --- what waits ------------------------------------------------------------------------------

    def add(self, queued: Queued, items: int = 1, *, again: bool = False) -> None:
        """A step became ready, or so many items from it on."""
        standing = queued.standing
        line = self._line(standing)
        line.backlog.add(Entry(queued.ready, standing, queued.since, count=items))
        line.remaining, line.endpoint = standing.remaining, standing.endpoint
        self.waiting += items
        if not again:
            line.counts.arrived += items

    def hold(self, queued: Queued, reason: str) -> None:
        """A step that was taken waits elsewhere."""
        self._line(queued.standing).hold(queued.since, reason)

    def let_go(self, queued: Queued, reason: str) -> None:
        """A step waits elsewhere no more."""
        self._line(queued.standing).let_go(queued.since, reason)

    def may_take(self, measures: Measures) -> bool:
        """Say whether a step waits whose stage may have more orders out."""
        return any(line.backlog.count for line in self._open_lines(measures))

    def take(self, now: datetime, measures: Measures) -> Queued | None:
        """Take the step that goes next, None if measures let none out."""
        self._turn += 1
        taken = self._pass_others(now, measures) or self._in_order(measures)
        if taken is not None:
            self.waiting -= 1
        return taken

    def _open_lines(self, measures: Measures) -> Iterator[StageLine]:
        throttled = measures.throttled
        if not throttled:
            yield from self._lines.values()
            return
        for stage, line in self._lines.items():
            if stage in throttled and line.out >= throttled[stage]:
                continue
            yield line

    def _in_order(self, measures: Measures) -> Queued | None:
        best: StageLine | None = None
        best_place: tuple[object, ...] | None = None
        drained = self.queue in measures.drained
        for line in self._open_lines(measures):
            place: tuple[object, ...] | None = line.backlog.place() if line.backlog.count else None
            if place is None:
                continue
            if drained:
                place = (line.backlog.remaining(), *place)
            if best_place is None or place < best_place:
                best, best_place = line, place
        return None if best is None else best.backlog.take()

    def _pass_others(self, now: datetime, measures: Measures) -> Queued | None:
        """Take a step that may pass others: for a floor, a boost, or its age."""
        for stage, floor in measures.floors.items():
            line = self._lines.get(stage)
            if line is not None and line.out < floor and line.backlog.place() is not None:
                return line.backlog.take(in_turn=False)
        if measures.boosted and self._turn % 2 == 0:
            boosted = [line for stage, line in self._lines.items() if stage in measures.boosted]
            return self._oldest(boosted)
        if self._order.ages and self._turn % AGEING_TURNS == 0:
            return self._oldest(list(self._open_lines(measures)), before=now)
        return None

    def _oldest(self, lines: list[StageLine], before: datetime | None = None) -> Queued | None:
        """Take what has waited longest, if it became ready long before a time."""
        found = [(entry, line) for line in lines if (entry := line.backlog.oldest()) is not None]
        if not found:
            return None
        entry, line = min(found, key=lambda each: each[0].since)
        if before is not None and (before - entry.since).total_seconds() < AGEING_SECONDS:
            return None
        return line.backlog.take_oldest()

    # --- what is out -----------------------------------------------------------------------------

    def release(self, step: int, queued: Queued, at: datetime, *, again: bool = False) -> None:
        """An order for a step went out; `again` says that this is only learnt now."""
        standing = queued.standing
        line = self._line(standing)
        seconds = line.counts.service_seconds or self._service_seconds or UNKNOWN_SECONDS
        self._out[step] = Out(line, standing, at, seconds)
        self._charge(standing, seconds)
        self.window.released()
        line.out += 1
        if again:
            return
        line.counts.released += 1
        line.counts.waits.append(seconds_of(at - queued.since))
        _count(self._served, standing.priority, 1)

    def measure(self, step: int, seconds: float, *, succeeded: bool) -> None:
        """The attempt of a step has taken so many seconds of a worker."""
        out = self._out[step]
        out.seconds = seconds
        out.line.counts.measure(seconds, succeeded=succeeded)
        _count(self._worked, out.standing.priority, seconds)
        self._service_seconds = smoothed(self._service_seconds, seconds, SMOOTHING)

    def complete(self, step: int, now: datetime) -> tuple[float, float | None]:
        """The order for a step was answered, or will never be.

        Return how long it has waited for a slot, and run, in seconds; None if nobody knows.
        """
        out = self._out.pop(step)
        self.window.completed(now)
        out.line.out -= 1
        out.line.counts.ended += 1
        seconds = out.seconds
        if seconds is None:
            lost = max(out.charged, 0.0)
            out.line.counts.lose(lost)
            _count(self._worked, out.standing.priority, lost)
            return 0.0, None  # what was charged stays
        self._charge(out.standing, seconds - out.charged)
        return (now - out.at).total_seconds() - seconds, seconds

    def _accrue(self, running: Sequence[Out], now: datetime) -> None:
        """Charge for those that run for longer than was thought."""
        for out in running:
            over = (now - out.at).total_seconds() - out.charged
            over = min(over, ACCRUED_SECONDS_MAX)
            if over > 0:
                out.charged += over
                self._charge(out.standing, over)

    def _charge(self, standing: Standing, seconds: float) -> None:
        order = self._order
        if order.key is None:
            return
        weight = 1.0 if order.weight is None else order.weight(standing, self._weights)
        self._usage.charge(order.key(standing), seconds / weight)

    # --- figures ---------------------------------------------------------------------------------

    def backlog(self) -> Iterator[Ready]:
        """Yield all ready steps that wait here."""
        for line in self._lines.values():
            for _, _, entry in line.backlog.by_age():
                if entry.index is None:
                    yield Ready(entry.job, entry.step)
                    continue
                for index in range(entry.index, entry.index + entry.left):
                    yield Ready(entry.job, entry.step, index)

    def sample(self, slots: int, now: datetime, is_ready: Callable[[Ready], bool]) -> QueueSample:
        """Return the figures of the queue; what is ready no more is left out of them."""
        running = list(islice(self._out.values(), slots))  # queues are first in, first out
        self._accrue(running, now)
        busy = Counter(id(out.line) for out in running)
        stages = tuple(
            line.sample(stage, busy[id(line)], now, self._oldest_ready(line, is_ready))
            for stage, line in self._lines.items()
        )
        return QueueSample(
            queue=self.queue,
            slots=slots,
            window=self.window.size,
            out=self.window.out,
            stages=stages,
            served=dict(self._served),
            worked=dict(self._worked),
        )

    def _oldest_ready(self, line: StageLine, is_ready: Callable[[Ready], bool]) -> Entry | None:
        """Return what has waited longest, and drop what was before it and is ready no more."""
        for _ in range(OLD_LOOKED_AT_MAX):
            entry = line.backlog.oldest()
            if entry is None or is_ready(Ready(entry.job, entry.step, entry.index)):
                return entry
            line.backlog.take_oldest()
            self.waiting -= 1
        return None

    def _line(self, standing: Standing) -> StageLine:
        line = self._lines.get(standing.stage)
        if line is None:
            if len(self._lines) >= STAGES_KEPT_MAX:
                self._forget_idle()
            backlog = Backlog(self._order, self._usage, self._numbers)
            line = self._lines[standing.stage] = StageLine(backlog, standing.remaining)
        return line

    def _forget_idle(self) -> None:
        lines = self._lines.items()
        self._lines = {s: each for s, each in lines if each.backlog.count or each.out or each.held}


def _count(counts: dict[int, N], priority: int, more: N) -> None:
    """Count something of a priority."""
    if priority not in counts and len(counts) >= PRIORITIES_MAX:
        priority = min(counts, key=lambda known: (abs(known - priority), known))
    counts[priority] = counts[priority] + more if priority in counts else more
