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
from support.world import START, SimulatedWorker

from warrener.adapters.clock import VirtualClock
from warrener.adapters.faults import Crash, CrashPoints, Faults, FaultyBroker, FaultyEventStore
from warrener.adapters.memory import MemoryBroker
from warrener.adapters.memory_events import MemoryEventStore
from warrener.adapters.memory_limit_shares import MemoryLimitShares
from warrener.domain.control_events import LimitChanged
from warrener.domain.definition.model import JobDefinition, Rate
from warrener.domain.errors import Conflict, StoreUnavailable
from warrener.domain.events import Recorded
from warrener.domain.flow.lanes import Flow
from warrener.domain.ids import job_id
from warrener.domain.limit_shares import Ask, Entry, Share, ShareKey
from warrener.domain.messages import ChangeLimit, RunStep
from warrener.domain.ports import Outgoing
from warrener.domain.step_events import Held, StepEvent, StepProgressed, StepReleased, StepStarted
from warrener.domain.topology import inbox_queue, orders_queue, results_queue
from warrener.services.controller import Controller
from warrener.services.limit_balance import LimitBalance
from warrener.services.reactor import Reactor
from warrener.services.submission import Source, submission
from warrener.services.turn import Chance

TURNS_MAX = 60_000
TICK_SECONDS = 0.1
FREEZING = ("before-commit", "before-balance", "after-balance")


class Exceeded(AssertionError):
    """More went out than a limit lets."""


class Ledger:
    """Counts what is out over all partitions, and the tokens of one bucket for each rate.

    A change counts from when the last partition has heard of it; until then, the highest does.
    """

    def __init__(self, partitions: int, limits: Sequence[Mapping[str, Any]]) -> None:
        self.out: dict[Held, set[object]] = {}
        self.most: dict[Held, int] = {}
        self.released: dict[int, int] = {}
        self._defined = {limit["name"]: limit for limit in limits}
        self._changes: list[dict[str, LimitChanged]] = [{} for _ in range(partitions)]
        self._buckets: dict[Held, tuple[float, datetime]] = {}

    def committed(self, partition: int, events: Sequence[Recorded]) -> None:
        for recorded in events:
            event = recorded.event
            if isinstance(event, LimitChanged):
                for held in self.out:
                    self._refill(held, event.at)
                self._changes[partition][event.name] = event
            elif isinstance(event, StepReleased):
                self.released[partition] = self.released.get(partition, 0) + 1
                for held in event.limits:
                    self._release(held, recorded.originator_id, event.at)
            elif isinstance(event, StepEvent) and not isinstance(
                event, StepStarted | StepProgressed
            ):
                for steps in self.out.values():
                    steps.discard(recorded.originator_id)

    def _release(self, held: Held, step: object, at: datetime) -> None:
        slots = self._most(held.name, "slots")
        steps = self.out.setdefault(held, set())
        steps.add(step)
        self.most[held] = max(self.most.get(held, 0), len(steps))
        if slots is not None and len(steps) > slots:
            raise Exceeded(f"{len(steps)} of {slots} slots of {held} are out")
        if self._most(held.name, "rate") is not None:
            tokens = self._refill(held, at) - 1
            self._buckets[held] = (tokens, at)
            if tokens < -1e-3:
                raise Exceeded(f"{held}: {tokens} tokens")

    def _refill(self, held: Held, at: datetime) -> float:
        rate, bursts = self._most(held.name, "rate"), self._known(held.name, "burst")
        burst = float(max(bursts))
        if rate is None or min(bursts) < burst:  # no rate for somebody, or buckets that do not fit
            self._buckets.pop(held, None)
            return burst
        tokens, since = self._buckets.get(held, (burst, at))
        passed = max(0.0, (at - since).total_seconds())
        self._buckets[held] = (min(burst, tokens + passed * rate), max(at, since))
        return self._buckets[held][0]

    def _most(self, name: str, what: str) -> Any:
        """Return the highest of what partitions know, None if one of them knows no bound."""
        values = self._known(name, what)
        return None if None in values else max(values)

    def _known(self, name: str, what: str) -> list[Any]:
        """Return what each partition knows, a rate in tokens a second."""
        values = [self._defined[name].get(what)] * len(self._changes)
        for place, changes in enumerate(self._changes):
            change = changes.get(name)
            changed = None if change is None else getattr(change, what)
            values[place] = values[place] if changed is None else changed
        if what == "rate":
            return [None if value is None else _per_second(value) for value in values]
        return [value or 1 for value in values] if what == "burst" else values


def _per_second(rate: Rate | Sequence[float]) -> float:
    count, seconds = (rate.count, rate.seconds) if isinstance(rate, Rate) else rate
    return count / seconds


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
            busy = reactor.turn() is not None
        except (Crash, StoreUnavailable, Conflict):
            if self.epoch == before:
                self.crash()
            busy = True
        if self.epoch != before:  # somebody took over meanwhile
            reactor.close()
            self.woken = False
        return busy

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
        self.submitted: list[tuple[Side, UUID]] = []
        for partition in range(partitions):
            self.sides.append(Side(self, partition))
        self.workers = [SimulatedWorker(self, _answer, f"w{n}") for n in range(4)]

    def logs(self) -> list[CountedLog]:
        return [side.log for side in self.sides]

    def submit(self, partition: int, key: str, steps: int) -> None:
        """Submit a job whose steps come under the limits, some under several."""
        made: dict[str, Any] = {}
        for number in range(steps):
            count = self.random.randint(1, len(self.limits))
            under = self.random.sample(list(self.limits), count)
            made[f"s{number}"] = {"call": "work", "limits": [dict(each) for each in under]}
        definition = msgspec.convert({"job": "limited", "steps": made}, JobDefinition)
        body = msgspec.json.encode(submission(Source(definition), {}, key=key))
        self.client.publish([Outgoing(inbox_queue(partition), body, f"submit/{key}")])
        self.submitted.append((self.sides[partition], job_id(key)))

    def change(self, **changes: Any) -> None:
        """Change a limit: partitions hear of it at different times."""
        body = msgspec.json.encode(ChangeLimit(**changes))
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
            self.step()
        raise AssertionError(f"not done after {TURNS_MAX} turns: {self.shares.all()}")

    def is_done(self) -> bool:
        """Say whether all that was submitted is in a log, and has ended."""
        if any(side.log.last(job) is None for side, job in self.submitted):
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
