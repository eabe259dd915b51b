"""When a reactor asks for its shares of limits, and what it does before."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import pytest
from support.world import START

from warrener.adapters.clock import VirtualClock
from warrener.adapters.memory import MemoryBroker
from warrener.adapters.memory_events import MemoryEventStore
from warrener.adapters.memory_limit_shares import MemoryLimitShares
from warrener.domain.control_events import LogTaken
from warrener.domain.definition.model import JobDefinition
from warrener.domain.errors import Conflict
from warrener.domain.events import Recorded
from warrener.domain.flow.lanes import Flow
from warrener.domain.ids import limit_id
from warrener.domain.limit_shares import Ask, Share, ShareKey
from warrener.domain.ports import Outgoing
from warrener.domain.step_events import Held
from warrener.services.controller import Controller
from warrener.services.limit_balance import BALANCE_SECONDS, SOON_SECONDS, LimitBalance
from warrener.services.reactor import Reactor
from warrener.services.submission import Source, submission
from warrener.services.turn import Chance

KEY = ShareKey(Held("api", "null"), "slots")
LIMITED = {"call": "work", "limits": [{"name": "api", "slots": 2}]}


class CountingShares(MemoryLimitShares):
    """Remembers what was asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[Mapping[ShareKey, Ask]] = []

    def balance(
        self, partition: int, epoch: int, asks: Mapping[ShareKey, Ask], now: float
    ) -> Mapping[ShareKey, Share]:
        self.asked.append(asks)
        return super().balance(partition, epoch, asks, now)


class Party:
    """One partition with its reactor, and the clock."""

    def __init__(self, partitions: int = 2) -> None:
        self.clock = VirtualClock(START)
        self.log = MemoryEventStore()
        self.broker = MemoryBroker()
        self.shares = CountingShares()
        self.partitions = partitions
        self.client = self.broker.channel()
        self.start()

    def start(self) -> None:
        """Let a reactor begin, as after a crash."""
        chance = Chance(lambda: "0" * 32, lambda: 0.5)
        shared = self.partitions > 1
        controller = Controller(
            self.log, lambda: Flow(lambda _: 9), chance, "results", shares_limits=shared
        )
        self.balance = LimitBalance(self.shares, self.partitions, self.clock)
        self.reactor = Reactor(
            controller,
            self.log,
            self.broker.channel(),
            self.clock,
            inboxes=["results", "inbox"],
            exclusive=True,
        )
        self.reactor.take_over()

    def submit(self, steps: int) -> None:
        document = {"job": "j", "steps": {f"s{n}": LIMITED for n in range(steps)}}
        source = Source(msgspec.convert(document, JobDefinition))
        body = msgspec.json.encode(submission(source, {}, key="k"))
        self.client.publish([Outgoing("inbox", body, "submit")])

    def round(self, epoch: int = 1) -> int:
        """Do one round; return for how many limits something was asked."""
        before = len(self.shares.asked)
        self.balance.look_after(0, epoch, self.reactor)
        self.reactor.turn()
        return sum(len(asks) for asks in self.shares.asked[before:])

    def out(self) -> int:
        return len(self.reactor.controller.memory.steps)

    def taken(self) -> int:
        return sum(isinstance(each.recorded.event, LogTaken) for each in self.log.read(0, 1000))


def test_with_one_partition_nothing_is_asked_and_limits_are_counted_alone() -> None:
    party = Party(partitions=1)
    party.submit(3)

    assert [party.round() for _ in range(3)] == [0, 0, 0]

    assert party.out() == 2
    assert party.shares.all() == {}


def test_where_no_limit_is_in_use_nothing_is_asked_or_written() -> None:
    party = Party()

    for _ in range(50):
        party.clock.advance(SOON_SECONDS)
        assert party.round() == 0

    assert party.log.head() == 0


def test_who_waits_asks_soon_and_who_has_what_there_is_once_a_second() -> None:
    party = Party()
    party.round()
    party.submit(3)
    party.round()
    assert party.out() == 0

    party.clock.advance(SOON_SECONDS)
    assert party.round() == 1
    assert party.out() == 2

    asked = 0
    for _ in range(30):
        party.clock.advance(SOON_SECONDS)
        asked += party.round()
    assert asked == pytest.approx(30 * SOON_SECONDS / BALANCE_SECONDS, abs=1)


def test_who_was_granted_nothing_asks_again_and_again_but_not_all_the_time() -> None:
    party = Party()
    party.shares.balance(1, 1, {KEY: Ask(2, held=2, wanted=2)}, 0.0)
    party.submit(1)
    party.round()

    asked = 0
    for _ in range(100):
        party.clock.advance(SOON_SECONDS / 10)
        asked += party.round()

    assert party.out() == 0
    assert asked == pytest.approx(10, abs=1)


def test_the_next_reactor_counts_what_is_out_and_gives_back_the_rest() -> None:
    party = Party()
    party.shares.balance(0, 1, {KEY: Ask(2, wanted=2)}, 0.0)
    other = ShareKey(Held("other", "null"), "slots")
    party.shares.balance(0, 1, {other: Ask(5, wanted=5)}, 0.0)
    party.submit(1)
    party.round(epoch=2)
    party.clock.advance(SOON_SECONDS)
    party.round(epoch=2)
    assert party.out() == 1

    party.start()
    party.round(epoch=3)

    part = party.shares.all()[KEY].parts[0]
    assert (part.epoch, part.granted) == (3, 1)
    assert other not in party.shares.all()


def test_before_a_reactor_first_asks_nobody_else_can_write_by_an_older_state() -> None:
    party = Party()
    party.submit(1)
    party.round()
    assert party.taken() == 0  # what it has written itself is enough
    party.start()
    assert party.round() == 0  # nothing is out, and nobody has come to the limit yet
    head = party.log.head()

    party.clock.advance(SOON_SECONDS)
    assert party.round() == 1

    assert party.taken() == 1
    stale = Recorded(limit_id("x"), 1, LogTaken(at=START, cause="x"))
    with pytest.raises(Conflict):
        party.log.commit([stale], {}, after=head)


def test_a_reactor_that_finds_something_new_in_the_log_loads_before_it_asks() -> None:
    party = Party()
    party.submit(1)
    party.round()
    party.start()
    party.round()
    party.log.commit([Recorded(limit_id("x"), 1, LogTaken(at=START, cause="x"))], {})
    before = party.reactor.controller.memory

    party.clock.advance(SOON_SECONDS)
    assert party.round() == 0

    assert party.reactor.controller.memory is not before
    assert party.round() == 1
    assert party.out() == 1
