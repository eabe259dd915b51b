"""Partitions of one store with limits in common: real reactors, one broker, a virtual clock.

Everything follows from one seed. What goes out is counted by what the logs say, at each commit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from random import Random
from typing import Any
from uuid import UUID

import msgspec
from support.limits_ledger import Ledger
from support.world import START, SimulatedWorker

from warrener.adapters.clock import VirtualClock
from warrener.adapters.faults import Crash, CrashPoints, Faults, FaultyBroker, FaultyEventStore
from warrener.adapters.memory import MemoryBroker
from warrener.adapters.memory_events import MemoryEventStore
from warrener.adapters.memory_limit_shares import MemoryLimitShares
from warrener.domain.definition.model import JobDefinition
from warrener.domain.errors import Conflict, StoreUnavailable
from warrener.domain.events import Recorded
from warrener.domain.flow.lanes import Flow
from warrener.domain.ids import job_id
from warrener.domain.limit_shares import Ask, Entry, Share, ShareKey
from warrener.domain.messages import ChangeFlow, ChangeLimit, RunStep
from warrener.domain.ports import Outgoing
from warrener.domain.topology import inbox_queue, orders_queue, results_queue
from warrener.services.controller import Controller
from warrener.services.limit_balance import LimitBalance
from warrener.services.reactor import Reactor
from warrener.services.submission import Source, submission
from warrener.services.turn import Chance

TURNS_MAX = 60_000
TICK_SECONDS = 0.1
TURNS_UNTIL_ASKED_AGAIN = 50
FREEZING = ("before-commit", "before-balance", "after-balance")


class CountedLog(MemoryEventStore):
    """The log of a partition; it tells the ledger of each commit."""

    ledger: Ledger

    def commit(
        self,
        events: Sequence[Recorded],
        blobs: Mapping[str, bytes],
        published: int = 0,
        after: int | None = None,
    ) -> int:
        before = self.head()
        position = super().commit(events, blobs, published, after)
        if self.head() > before:
            self.ledger.committed(self.partition, events)
        return position


class FaultyShares:
    """Shares that fail before or after a change, and whose users crash or freeze there."""

    def __init__(self, world: SharedLimits, shares: MemoryLimitShares) -> None:
        self._world, self._shares = world, shares
        self._random, self._faults = world.random, world.faults

    def balance(
        self, partition: int, epoch: int, asks: Mapping[ShareKey, Ask], now: float
    ) -> Mapping[ShareKey, Share]:
        if self._random.random() < self._faults.store_down / 4:
            raise StoreUnavailable("nothing was changed")
        self._world.sides[partition].at_point("before-balance")
        granted = self._shares.balance(partition, epoch, asks, now)
        self._world.sides[partition].at_point("after-balance")
        if self._random.random() < self._faults.outcome_unknown / 4:
            raise StoreUnavailable("all was changed")
        return granted

    def of(self, partition: int) -> Mapping[ShareKey, Entry]:
        return self._shares.of(partition)

    def close(self) -> None:
        """Nothing to release."""


class Side:
    """One partition, with the reactor that works on it just now."""

    def __init__(self, world: SharedLimits, partition: int) -> None:
        self.world, self.partition = world, partition
        self.log = CountedLog(partition=partition)
        self.log.ledger = world.ledger
        self.store = FaultyEventStore(self.log, world.random, world.faults)
        self.epoch = 0
        self.woken = False  # while one that was frozen ends its turn
        self.reactor: Reactor
        self.balance: LimitBalance
        self.begin()

    def begin(self) -> None:
        """Let another reactor take over; a new one knows nothing but the log."""
        world, partition = self.world, self.partition
        self.epoch += 1
        chance = Chance(lambda: f"{world.random.getrandbits(128):032x}", world.random.random)
        controller = Controller(
            self.store,
            lambda: Flow(lambda _: 8),
            chance,
            results_queue(partition),
            shares_limits=True,
        )
        self.balance = LimitBalance(world.faulty_shares, world.count, world.clock)
        self.reactor = Reactor(
            controller,
            self.store,
            world.broker.channel(),
            world.clock,
            inboxes=[results_queue(partition), inbox_queue(partition)],
            exclusive=True,
            isolates_faults=False,
            at_point=self.at_point,
        )
        self.reactor.take_over()

    def turn(self) -> bool:
        """Do one round, as a daemon does; a crash or trouble ends with a new reactor."""
        reactor, before = self.reactor, self.epoch
        try:
            self.balance.look_after(self.partition, self.epoch, reactor)
            self.world.ledger.balanced(self.partition, self.balanced_at(), self.world.clock.now())
            busy = reactor.turn() is not None
        except (Crash, StoreUnavailable, Conflict):
            if self.epoch == before:
                self.crash()
            busy = True
        if self.epoch != before:  # somebody took over meanwhile
            reactor.close()
            self.woken = False
        return busy

    def balanced_at(self) -> datetime | None:
        """Return when all shares were asked for last, None if not since the partition was taken."""
        asked = self.balance._asked.get(self.partition)
        return None if asked is None else asked.all_at

    def crash(self) -> None:
        """End the reactor as a kill would, and let another begin."""
        self.world.crashes += 1
        self.reactor.close()
        self.begin()

    def at_point(self, point: str) -> None:
        """Crash, or freeze for so long that somebody else takes over and works for a while."""
        world = self.world
        world.points(point)
        may_freeze = point in FREEZING and world.awake and not self.woken
        if may_freeze and world.random.random() < world.freeze:
            world.awake = False
            world.frozen += 1
            self.begin()
            for _ in range(world.random.randint(1, 30)):
                world.step()
            world.awake = self.woken = True


class SharedLimits:
    """Some partitions, and workers that take their orders."""

    def __init__(
        self,
        seed: int,
        limits: Sequence[Mapping[str, Any]],
        faults: Faults,
        *,
        partitions: int = 3,
        freeze: float = 0.0,
    ) -> None:
        self.random = Random(seed)
        self.faults, self.limits, self.freeze = faults, limits, freeze
        self.awake = True
        self.frozen = self.crashes = 0
        self.clock = VirtualClock(START)
        self.broker = FaultyBroker(MemoryBroker(), self.clock, self.random, faults)
        self.points = CrashPoints(self.random, faults)
        self.shares = MemoryLimitShares()
        self.faulty_shares = FaultyShares(self, self.shares)
        self.ledger, self.count = Ledger(partitions, limits), partitions
        self.client = self.broker.channel()
        self.client.declare(orders_queue("default"))
        self.sides: list[Side] = []
        self.submitted: list[tuple[Side, UUID, Outgoing]] = []
        for partition in range(partitions):
            self.sides.append(Side(self, partition))
        self.workers = [SimulatedWorker(self, _answer, f"w{n}") for n in range(4)]

    def logs(self) -> list[CountedLog]:
        return [side.log for side in self.sides]

    def submit(self, partition: int, key: str, steps: int) -> None:
        """Submit a job whose steps come under the limits, some under several."""
        made: dict[str, Any] = {}
        for number in range(steps):
            count = self.random.randint(min(1, len(self.limits)), len(self.limits))
            under = self.random.sample(list(self.limits), count)
            made[f"s{number}"] = {"call": "work", "limits": [dict(each) for each in under]}
        definition = msgspec.convert({"job": "limited", "steps": made}, JobDefinition)
        priority = self.random.choice([0, 0, 1])
        body = msgspec.json.encode(submission(Source(definition), {}, key=key, priority=priority))
        message = Outgoing(inbox_queue(partition), body, f"submit/{key}")
        self.client.publish([message])
        self.submitted.append((self.sides[partition], job_id(key), message))

    def submit_again(self) -> None:
        """Submit once more what is in no log: it was refused, perhaps."""
        missing = [each for side, job, each in self.submitted if side.log.last(job) is None]
        self.client.publish(missing)

    def change(self, **changes: Any) -> None:
        """Change a limit: partitions hear of it at different times."""
        self.tell_all(ChangeLimit(**changes))

    def tell_all(self, command: ChangeLimit | ChangeFlow) -> None:
        """Give a command to all partitions, which hear of it at different times."""
        body = msgspec.json.encode(command)
        name = f"change/{self.random.getrandbits(32)}"
        for side in self.random.sample(self.sides, len(self.sides)):
            self.client.publish([Outgoing(inbox_queue(side.partition), body, name)])
            for _ in range(self.random.randint(0, 5)):
                self.step()

    def step(self) -> None:
        """Let everybody do what there is to do; then let time pass."""
        busy = False
        for side in self.random.sample(self.sides, len(self.sides)):
            busy = side.turn() or busy
        for worker in self.workers:
            busy = worker.turn() or busy
        if not busy:
            due = [side.reactor.controller.next_due(self.clock.now()) for side in self.sides]
            due += [worker.next_due() for worker in self.workers] + [self.broker.next_due()]
            tick = self.clock.now() + timedelta(seconds=TICK_SECONDS)
            known = [moment for moment in due if moment is not None]
            self.clock.set(max(self.clock.now(), min([tick, *known])))

    def run(self, faulty_turns: int) -> None:
        """Go on with faults for some turns, and then until every job has ended."""
        for turn in range(TURNS_MAX):
            if turn == faulty_turns:
                self.heal()
            if turn >= faulty_turns and self.is_done():
                return
            if turn % TURNS_UNTIL_ASKED_AGAIN == 0:
                self.submit_again()
            self.step()
        raise AssertionError(f"not done after {TURNS_MAX} turns: {self.shares.all()}")

    def is_done(self) -> bool:
        """Say whether all that was submitted is in a log, and has ended."""
        if any(side.log.last(job) is None for side, job, _ in self.submitted):
            return False
        return not any(list(log.open_roots()) for log in self.logs())

    def heal(self) -> None:
        """End all faults; what was lost is sent again."""
        self.faults.none()
        self.freeze = 0.0
        for side in self.sides:
            side.crash()

    def seconds(self) -> float:
        return (self.clock.now() - START).total_seconds()


def _answer(order: RunStep, random: Random) -> tuple[str, Any]:
    return "succeeded", None
