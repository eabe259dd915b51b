"""A world of its own: the real reactor, a broker and workers under faults, on a virtual clock.

Everything follows from one seed. Time passes only when nobody has anything to do.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import count
from random import Random
from typing import Any
from uuid import UUID

import msgspec

from warrener.adapters.clock import VirtualClock
from warrener.adapters.faults import Crash, CrashPoints, Faults, FaultyBroker, FaultyEventStore
from warrener.adapters.memory import MemoryBroker
from warrener.adapters.memory_events import MemoryEventStore
from warrener.domain import ids
from warrener.domain.errors import StoreUnavailable
from warrener.domain.events import Error
from warrener.domain.flow.lanes import Flow
from warrener.domain.messages import RunStep, StepReport
from warrener.domain.ports import Delivery, Outgoing
from warrener.domain.topology import orders_queue, results_queue
from warrener.services.controller import Controller
from warrener.services.reactor import Reactor
from warrener.services.submission import Source, submission
from warrener.services.turn import Chance

START = datetime(2030, 1, 1, tzinfo=UTC)
INBOX = results_queue()
TURNS_MAX = 20_000
RESTART_SECONDS = 5.0

Answer = Callable[[RunStep, Random], tuple[str, Any]]  # -> outcome, and result or error code


class World:
    """One reactor and some workers, with faults that end when `heal` is called."""

    inboxes: tuple[str, ...] = (INBOX,)

    def __init__(
        self,
        seed: int,
        answer: Answer,
        faults: Faults,
        workers: int = 3,
        log: MemoryEventStore | None = None,
    ) -> None:
        self.random = Random(seed)
        self.faults = faults
        self.forgetful = bool(faults.drop)  # the broker loses what it confirmed
        self.clock = VirtualClock(START)
        self.log = log or MemoryEventStore()
        self.store = FaultyEventStore(self.log, self.random, faults)
        self.memory_broker = MemoryBroker()
        self.broker = FaultyBroker(self.memory_broker, self.clock, self.random, faults)
        self.points = CrashPoints(self.random, faults)
        self.roots: list[UUID] = []
        self.restarts = 0
        self.client = self.broker.channel()
        self.client.declare(orders_queue("default"))
        self.start_reactor()
        names = [f"worker-{number}" for number in range(workers)]
        self.workers: list[Any] = [SimulatedWorker(self, answer, name) for name in names]

    def start_reactor(self) -> None:
        """Start the reactor, as after a crash: everything it knows comes from the log."""
        self.reactor = self.new_reactor()

    def new_reactor(self) -> Reactor:
        """Return a reactor that has taken over what the log holds."""
        reactor = Reactor(
            self.new_controller(),
            self.store,
            self.broker.channel(),
            self.clock,
            inboxes=self.inboxes,
            exclusive=True,
            isolates_faults=False,
            at_point=self.points,
        )
        if self.forgetful:
            reactor.own([root for root in self.roots if self.log.last(root) is not None])
        else:
            reactor.take_over()
        return reactor

    def new_controller(self) -> Controller:
        """Return a controller with nothing in memory."""
        chance = Chance(lambda: f"{self.random.getrandbits(128):032x}", self.random.random)
        return Controller(self.store, lambda: Flow(lambda _: 4), chance, INBOX)

    def submit(self, source: Source, params: dict[str, Any], key: str) -> UUID:
        """Ask for a job, as often as it takes until it is in the log."""
        job = ids.job_id(key)
        self.roots.append(job)
        body = msgspec.json.encode(submission(source, params, key=key))
        while self.log.last(job) is None:
            self.client.publish([Outgoing(INBOX, body, f"submit/{key}")])
            for _ in range(10):
                self.turn()
                self.pass_time()
        return job

    def turn(self) -> bool:
        """Let everybody do what there is to do; say whether there was anything."""
        try:
            busy = self.reactor.turn() is not None
        except (Crash, StoreUnavailable):
            self.restart()
            busy = True
        for worker in self.workers:
            busy = worker.turn() or busy
        return busy

    def restart(self) -> None:
        """End the reactor as a kill would, and start another."""
        self.restarts += 1
        self.reactor.close()
        self.clock.advance(RESTART_SECONDS)
        self.start_reactor()

    def pass_time(self) -> None:
        """Go to the next moment at which anything is due, a second at most."""
        due = [self.reactor.controller.next_due(self.clock.now()), self.broker.next_due()]
        due += [worker.next_due() for worker in self.workers]
        moments = [moment for moment in due if moment is not None]
        limit = self.clock.now() + timedelta(seconds=1)
        self.clock.set(max(self.clock.now(), min([*moments, limit])))

    def open_roots(self) -> list[UUID]:
        """Return the root jobs that have not ended."""
        return [root for root in self.roots if root in self.reactor.controller.memory.jobs]

    def run(self, faulty_turns: int) -> None:
        """Go on with faults for a number of turns, then without them until every job has ended."""
        for turn in range(TURNS_MAX):
            if turn == faulty_turns:
                self.faults.none()
                self.restart()  # sends again what the broker lost
            if turn > faulty_turns and not self.open_roots():
                return
            if not self.turn():
                self.pass_time()
        raise AssertionError(f"not done after {TURNS_MAX} turns: {self.open_roots()}")


class SimulatedWorker:
    """Takes orders, works on them for a random time, and now and then dies with them."""

    def __init__(self, world: World, answer: Answer, name: str) -> None:
        self.name = name
        self._world = world
        self._answer = answer
        self._order = count()
        self._work: list[tuple[datetime, int, Delivery]] = []
        self._join()

    def turn(self) -> bool:
        """Take orders, and report what is done."""
        world = self._world
        if world.random.random() < world.faults.crash / 4:
            self._channel.close()
            self._work.clear()
            self._join()
        deliveries = self._channel.poll(2).deliveries
        for delivery in deliveries:
            done = world.clock.now() + timedelta(seconds=world.random.expovariate(1.0))
            heapq.heappush(self._work, (done, next(self._order), delivery))
        finished = False
        while self._work and self._work[0][0] <= world.clock.now():
            self._report(heapq.heappop(self._work)[2])
            finished = True
        return bool(deliveries) or finished

    def next_due(self) -> datetime | None:
        """Return when the next piece of work is done."""
        return self._work[0][0] if self._work else None

    def _join(self) -> None:
        self._channel = self._world.broker.channel()
        self._channel.consume(orders_queue("default"), 2)

    def _report(self, delivery: Delivery) -> None:
        order = msgspec.json.decode(delivery.body, type=RunStep)
        outcome, value = self._answer(order, self._world.random)
        now = self._world.clock.now()
        succeeded = outcome == "succeeded"
        report = StepReport(
            job=order.job,
            step=order.step,
            attempt=order.attempt,
            token=order.token,
            worker=self.name,
            outcome=outcome,
            result=msgspec.Raw(msgspec.json.encode(value) if succeeded else b"null"),
            error=None if succeeded else Error(code=value, message=value),
            started_at=now,
            ended_at=now,
        )
        name = ids.message_id(order.step, order.attempt, "report")
        self._channel.publish([Outgoing(order.reply_to, msgspec.json.encode(report), name)])
        self._channel.ack([delivery.tag])
