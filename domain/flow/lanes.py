"""The flow: ready steps wait here, in the controller, and go out late and few at a time.

Every queue has a lane: a backlog for each stage, ordered by a policy, and a window that says how
many orders may be out. What is released, answered and held back is counted here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from functools import partial
from uuid import UUID

from warrener.domain.flow.figures import PAUSED, FlowSample, QueueSample
from warrener.domain.flow.lane import Lane
from warrener.domain.flow.orders import ORDERS, Order
from warrener.domain.flow.ready import Queued, Ready, Standing
from warrener.domain.flow.settings import DEFAULT_SETTINGS, FlowSettings, Measures
from warrener.domain.flow.window import WINDOW_MAX, ReleaseWindow

OnAnswer = Callable[[str, float, float, datetime], None]  # queue, waited, served, now


def _told_nobody(queue: str, waited: float, served: float, now: datetime) -> None:
    """Do nothing."""


class Flow:
    """The backlog and the release window of every queue."""

    def __init__(
        self,
        slots: Callable[[str], int],
        settings: FlowSettings = DEFAULT_SETTINGS,
        window_max: int = WINDOW_MAX,
        *,
        orders: Mapping[str, Order] = ORDERS,
        on_answer: OnAnswer = _told_nobody,
    ) -> None:
        """Take the number of slots of a queue and what people have set.

        No window grows beyond `window_max` orders. A policy that is not among `orders` is taken for
        the default: whoever wrote it is not installed here. `on_answer` hears how long orders have
        waited at the broker.
        """
        self._on_answer = on_answer
        self.settings = settings
        self.measures = Measures()
        self._slots = slots
        self._window_max = window_max
        self.orders = orders
        self._revision = 0
        self._lanes: dict[str, Lane] = {}
        self._lane_of: dict[int, Lane] = {}  # orders that are out, by the numbers of their steps
        self._held = 0  # by anything but people

    def use(self, settings: FlowSettings) -> None:
        """Go on by other settings; what waits is ordered anew if they make another order."""
        known, self.settings = self.settings, settings
        if (known.policy, known.weights) == (settings.policy, settings.weights):
            return
        self._revision += 1
        for lane in self._lanes.values():
            lane.reorder(self._order(), settings.weights)

    # --- what waits ------------------------------------------------------------------------------

    def add(self, queued: Queued) -> None:
        """A step became ready."""
        self._lane(queued.queue).add(queued)

    def add_items(
        self, job: UUID, step: str, standing: Standing, since: datetime, *, items: range
    ) -> None:
        """Items of a fan-out became ready."""
        if items:
            first = Queued(Ready(job, step, items.start), standing, since)
            self._lane(standing.stage.queue).add(first, len(items))

    def add_again(self, queued: Queued, reason: str) -> None:
        """What was held back for a reason may go out again."""
        lane = self._lane(queued.queue)
        self.let_go(queued, reason)
        lane.add(queued, again=True)

    def let_go(self, queued: Queued, reason: str) -> None:
        """What was held back for a reason goes out at once, before all others."""
        self._lane(queued.queue).let_go(queued, reason)
        self._held -= reason != PAUSED

    def hold(self, queued: Queued, reason: str) -> None:
        """A step that was taken is held back for a reason: it waits elsewhere."""
        self._lane(queued.queue).hold(queued, reason)
        self._held += reason != PAUSED

    def place(self, standing: Standing) -> tuple[object, ...]:
        """Return what orders those who wait elsewhere, the smallest first.

        Those who waited before other settings were made come before the others.
        """
        order = self._order()
        tier = 0 if order.tier is None else -order.tier(standing)
        return self._revision, tier, *order.rank(standing)

    def take(self, now: datetime) -> Queued | None:
        """Return the next step to release, None if no queue has both room and a ready step."""
        for lane in self._lanes.values():
            if lane.waiting and lane.window.room:
                taken = lane.take(now, self.measures)
                if taken is not None:
                    return taken
        return None

    def has_room(self, queue: str) -> bool:
        """Say whether an order of this queue may go out."""
        return self._lane(queue).window.room > 0

    def can_take(self) -> bool:
        """Say whether `take` would give a step."""
        return any(
            lane.waiting and lane.window.room and lane.may_take(self.measures)
            for lane in self._lanes.values()
        )

    # --- what is out -----------------------------------------------------------------------------

    def released(self, step: UUID, queued: Queued, at: datetime, *, again: bool = False) -> None:
        """An order for a step went out; `again` says that this is only learnt now."""
        lane = self._lane_of[step.int] = self._lane(queued.queue)
        lane.release(step.int, queued, at, again=again)

    def measured(self, step: UUID, seconds: float, *, succeeded: bool) -> None:
        """The attempt of a step has taken so many seconds of a worker."""
        lane = self._lane_of.get(step.int)
        if lane is not None:
            lane.measure(step.int, seconds, succeeded=succeeded)

    def completed(self, step: UUID, now: datetime) -> None:
        """The order for a step was answered, or will never be."""
        lane = self._lane_of.pop(step.int, None)
        if lane is not None:
            waited, served = lane.complete(step.int, now)
            if served is not None:
                self._on_answer(lane.queue, waited, served, now)

    # --- figures ---------------------------------------------------------------------------------

    def out(self, queue: str) -> int:
        """Return how many orders of this queue are out."""
        lane = self._lanes.get(queue)
        return 0 if lane is None else lane.window.out

    def held_back(self, queue: str) -> int:
        """Return how many ready steps of this queue wait here."""
        lane = self._lanes.get(queue)
        return 0 if lane is None else lane.waiting

    def waiting(self) -> dict[str, int]:
        """Return how many ready steps of each queue wait here."""
        return {queue: lane.waiting for queue, lane in self._lanes.items()}

    def waits(self) -> bool:
        """Say whether a ready step waits for anything but people, or an order for any worker."""
        if self._held > 0 or any(lane.waiting for lane in self._lanes.values()):
            return True
        return any(
            lane.window.out and not self._slots(queue) for queue, lane in self._lanes.items()
        )

    def at_rest(self) -> bool:
        """Say whether nothing is out."""
        return not self._lane_of

    def backlog(self) -> Iterator[Ready]:
        """Yield all ready steps that wait here, in no order."""
        for lane in self._lanes.values():
            yield from lane.backlog()

    def sample(self, now: datetime, is_ready: Callable[[Ready], bool]) -> FlowSample:
        """Return the figures of all queues; entries that are not ready any more are left out."""
        samples: list[QueueSample] = []
        for queue, lane in self._lanes.items():
            samples.append(lane.sample(self._slots(queue), now, is_ready))
        return FlowSample(at=now, queues=tuple(samples))

    def _order(self) -> Order:
        return self.orders.get(self.settings.policy) or ORDERS[DEFAULT_SETTINGS.policy]

    def _lane(self, queue: str) -> Lane:
        lane = self._lanes.get(queue)
        if lane is None:
            window = ReleaseWindow(partial(self._slots, queue), self._window_max)
            lane = self._lanes[queue] = Lane(queue, window, self._order(), self.settings.weights)
        return lane
