"""The simulation: events in the order of their times, on a virtual clock.

The release of steps and the limits are those that controllers use, `Flow` and `Limits`. What is
left out are events, the store, and the time that a controller itself takes.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from itertools import count
from typing import Final
from uuid import UUID

from warrener.domain.control_events import LimitChanged
from warrener.domain.flow.lanes import Flow
from warrener.domain.flow.orders import ORDERS
from warrener.domain.flow.orders import Order as ReleaseOrder
from warrener.domain.flow.ready import Queued, Ready, Standing
from warrener.domain.flow.settings import DEFAULT_SETTINGS, FlowSettings
from warrener.domain.flow.window import WINDOW_MAX
from warrener.domain.limit_state import Claim, Waiter
from warrener.domain.limits import Limits
from warrener.domain.simulation.agenda import NEVER, Agenda, as_seconds
from warrener.domain.simulation.crews import Crew, Crews, Order
from warrener.domain.simulation.intake import Intake, Intaken
from warrener.domain.simulation.progress import Progress
from warrener.domain.simulation.record import Record
from warrener.domain.simulation.trace import TraceJob

ROUND_TRIP_SECONDS: Final = 0.004
STUCK_SECONDS: Final = 3_600.0  # if nothing happens for so long, and nothing is due, nothing will
UNBOUNDED: Final = 10**9

Hook = Callable[["Simulation"], None]


def _no_limits(_: str) -> Sequence[Claim]:
    return ()


class Simulation:
    """A load, a fleet and settings; `run` plays it to its end, or up to `until`.

    An order reaches the broker half a `round_trip` after its release, and its answer the controller
    half a `round_trip` after its end; a worker begins with the next one after a `hand_over`.
    `on_tick` is called in every second in which steps wait for their release or for a worker.
    `eager` releases all that is ready at once: what has to wait does so in the broker's queues.

    `caps` gives limits that steps come under beside their own, `intake` those of jobs by name.

    `on_tick` and what `call` plans may do anything: read `flow`, `limits`, `record` and `open`,
    change `flow.measures` and the settings (`flow.use`), and let workers come, go, vanish and
    become slow (`crews`).
    """

    def __init__(
        self,
        jobs: Iterable[TraceJob],
        crews: Iterable[Crew],
        settings: FlowSettings = DEFAULT_SETTINGS,
        *,
        round_trip: float = ROUND_TRIP_SECONDS,
        hand_over: float = 0.0,
        on_tick: Hook | None = None,
        limit_changes: Callable[[str], LimitChanged | None] = lambda _: None,
        orders: Mapping[str, ReleaseOrder] = ORDERS,
        caps: Callable[[Standing], Sequence[Claim]] | None = None,
        intake: Intaken = _no_limits,
        eager: bool = False,
        until: float = NEVER,
    ) -> None:
        """Take jobs in the order of their submission."""
        ids = count(1)
        self.record = Record()
        self.limits = Limits(limit_changes)
        self._agenda = Agenda()
        self.crews = Crews(self._agenda, round_trip / 2, hand_over, self._lose)
        window_max = UNBOUNDED if eager else WINDOW_MAX
        self.flow = Flow(self._slots, settings, window_max, orders=orders)
        self._progress = Progress(self._agenda, self.flow, self.record, ids, self._job_ended)
        self.open = self._progress.open
        self.intake = Intake(self._agenda, self.flow, self.limits, self._progress, intake)
        self._caps = caps
        self._eager = eager
        self._jobs: Iterator[TraceJob] = iter(jobs)
        self._ids = ids
        self._on_tick = on_tick
        self._until = until
        self._may_take_more = False
        self._limited = False  # whether any limit was met yet
        self._limits_due = NEVER
        self._ticking = False
        self._leaving = 0
        self._happened_at = 0.0
        for crew in crews:
            self._plan(crew)

    @property
    def now(self) -> float:
        """Return the seconds since the begin."""
        return self._agenda.now

    @property
    def at(self) -> datetime:
        """Return the time."""
        return self._agenda.at

    def call(self, at: float, what: Callable[[], None]) -> None:
        """Plan a call for a time, in seconds since the begin."""
        self._agenda.call(at, what)

    def stop(self) -> None:
        """Play no further."""
        self._until = self.now

    # --- the loop --------------------------------------------------------------------------------

    def run(self) -> Record:
        """Play everything; return what was recorded."""
        agenda, crews, progress = self._agenda, self.crews, self._progress
        heap, reports = agenda.heap, crews.reports
        coming = next(self._jobs, None)
        while coming is not None or progress.open or self.intake.waiting:
            next_job = NEVER if coming is None else coming.at
            next_report = reports[0][0] if reports else NEVER
            due = min(next_job, next_report, heap[0][0] if heap else NEVER)
            if due > self._until or (next_job == NEVER and self._is_stuck(due)):
                break
            if due == next_report:
                agenda.set(due)
                while reports and reports[0][0] <= due:
                    self._take_report(reports.popleft()[1])
            elif due == next_job:
                assert coming is not None
                agenda.set(due)
                self.intake.submit(coming)
                self._tick_later()
                coming = next(self._jobs, None)
            else:
                what = heapq.heappop(heap)[2]
                if type(what) is Order:
                    crews.end_work(what, due)
                    continue
                agenda.set(due)
                what()
            if self._may_take_more:
                self._may_take_more = False
                self.intake.look()
            self._release_all()
        self._finish()
        return self.record

    def _is_stuck(self, due: float) -> bool:
        """Say whether nothing but ticks has happened for long, and nothing else is planned."""
        if self.crews.reports or len(self._agenda.heap) > self._ticking + self._leaving:
            self._happened_at = due
        return due > self._happened_at + STUCK_SECONDS

    def _finish(self) -> None:
        self.crews.count_slots()
        self.record.shares.close_interval(self._weights())
        self.record.finish(self.now, self.crews.slot_seconds, self._progress.open_max)

    def _job_ended(self, job: UUID) -> None:
        self.intake.ended(job)
        self._may_take_more = True

    def _plan(self, crew: Crew) -> None:
        slots = crew.workers * crew.slots
        self.call(crew.since, partial(self.crews.change, crew.queues, slots))
        if crew.until is not None:
            self._leaving += 1
            self.call(crew.until, partial(self._leave, crew.queues, slots))

    def _leave(self, queues: tuple[str, ...], slots: int) -> None:
        self._leaving -= 1
        self.crews.change(queues, -slots)

    # --- answers ---------------------------------------------------------------------------------

    def _take_report(self, order: Order) -> None:
        run, seconds = order.run, order.seconds
        self.flow.measured(order.step, seconds, succeeded=run.succeeded)
        self._complete(order, seconds)
        self._progress.answered(order)

    def _lose(self, order: Order) -> None:
        """The controller learns that an order is lost."""
        self._complete(order, 0.0)
        self._progress.again(order)

    def _complete(self, order: Order, seconds: float) -> None:
        self.flow.completed(order.step, self._agenda.at)
        if self._limited:
            self.limits.give_back(order.step)
        self.record.served(order.job.key, order.run.seconds, seconds)

    # --- release, as `services.release` has it ---------------------------------------------------

    def _release_all(self) -> None:
        at, went_on = self._agenda.at, True
        while went_on:
            went_on = self._limited and self._try_again()
            while (queued := self.flow.take(at)) is not None:
                self._release(queued)
                went_on = True

    def _release(self, queued: Queued) -> None:
        ready, at = queued.ready, self._agenda.at
        job = self._progress.open[ready.job]
        shape = job.trace.shape
        place = shape.places[ready.step]
        step = shape.steps[place]
        claims = step.claims
        if ready.index is not None and step.item_claims:
            claims = step.item_claims[ready.index]
        if self._caps is not None:
            claims = (*claims, *self._caps(queued.standing))
        step_id = UUID(int=next(self._ids))
        if claims:
            self._limited = True
            blocker = self.limits.blocker(claims, at)
            if blocker is not None:
                reason = self.limits.reason(blocker)
                self.flow.hold(queued, reason)
                waiter = Waiter(queued, reason, self.flow.place(queued.standing))
                self.limits.wait(blocker, waiter, claims)
                return
            self.limits.take(step_id, claims, at)
        self.flow.released(step_id, queued, at)
        self.crews.publish(Order(step_id, queued, job, place, job.run(place, ready.index)))

    def _try_again(self) -> bool:
        """Let those try again for whom a limit has room now; say whether there are any."""
        freed = list(self.limits.freed(self.at, self.flow.has_room))
        for waiter in freed:
            if waiter.aged:
                self.flow.let_go(waiter.queued, waiter.reason)
                self._release(waiter.queued)
            else:
                self.flow.add_again(waiter.queued, waiter.reason)
        if not freed:
            self._look_when_there_is_room()
        return bool(freed)

    def _look_when_there_is_room(self) -> None:
        due = self.limits.next_due(self.at, self.flow.has_room)
        seconds = NEVER if due is None else as_seconds(due)
        if due is not None and not self.now < self._limits_due <= seconds:
            self._limits_due = seconds
            self.call(seconds, _nothing)

    def _slots(self, queue: str) -> int:
        return UNBOUNDED if self._eager else self.crews.slots.get(queue, 0)

    # --- every second ----------------------------------------------------------------------------

    def _tick_later(self) -> None:
        if not self._ticking:
            self._ticking = True
            self.call(float(int(self.now) + 1), self._tick)

    def _tick(self) -> None:
        self._ticking = False
        if not self.open and not self.intake.waiting:
            return
        self._tick_later()
        self._may_take_more = True
        if not self._somebody_waits():
            return
        if self.record.wants_sample(self.now):
            self._sample()
        if self._on_tick is not None:
            self._on_tick(self)

    def _somebody_waits(self) -> bool:
        if self.limits.waiting() or self.crews.lying() or self.intake.waiting:
            return True
        return any(self.flow.waiting().values())

    def _sample(self) -> None:
        eager, self._eager = self._eager, False  # that is a matter of windows alone
        sample = self.flow.sample(self.at, _always)
        self._eager = eager
        oldest = next(iter(self.open.values()), None)
        age = 0.0 if oldest is None else self.now - oldest.trace.at
        lying = self.crews.lying_since()
        lies = 0.0 if lying is None else (self.at - lying).total_seconds()
        self.record.sample(self.now, sample, self.crews.running, age, lies)
        self.record.shares.close_interval(self._weights())

    def _weights(self) -> list[float]:
        weights = self.flow.settings.weights
        return [weights.get(name, 1.0) for name in self.record.keys.names] if weights else []


def _nothing() -> None:
    """Only wake up."""


def _always(_: Ready) -> bool:
    return True
