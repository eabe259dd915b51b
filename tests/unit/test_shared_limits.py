"""Limits that partitions share: what a controller asks for, and what it lets out by the answer."""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.driving import START
from support.fleet import Fleet
from support.ready import queued
from support.scale import scaled

from warrener import endpoint
from warrener.adapters.clock import VirtualClock
from warrener.adapters.memory_limit_shares import MemoryLimitShares
from warrener.domain.definition.model import JobDefinition, Limit, Rate
from warrener.domain.errors import UsageError
from warrener.domain.limit_shares import Ask, Share, ShareKey
from warrener.domain.limit_state import Claim, Waiter
from warrener.domain.limits import Limits
from warrener.domain.step_events import Held, StepReleased, StepSucceeded
from warrener.services.endpoints import Registry
from warrener.services.limit_balance import LimitBalance

REGISTRY = Registry()
SLOTS = Limit(name="api", slots=3)
HELD = Held("api", "null")
KEY = ShareKey(HELD, "slots")
BURST = ShareKey(HELD, "burst")


@endpoint("t.nap", registry=REGISTRY)
def nap() -> None:
    time.sleep(0.01)


def claim(limit: Limit) -> Claim:
    return Claim(limit, Held(limit.name, "null"))


def waiter(number: int) -> Waiter:
    return Waiter(queued(number))


def shared(**changes: Any) -> Limits:
    return Limits(changes.get, shared=True)


def grant(limits: Limits, units: dict[ShareKey, Share], now: datetime = START) -> None:
    asked = limits.asks(now)
    limits.accept(asked, {key: units[key] for key in asked if key in units}, now)


def any_room(_queue: str) -> bool:
    return True


# --- slots ---------------------------------------------------------------------------------------


def test_nothing_goes_out_before_it_was_granted_and_no_more_than_that() -> None:
    limits, claims = shared(), [claim(SLOTS)]
    assert limits.blocker(claims, START) == HELD
    limits.wait(HELD, waiter(1), claims)
    assert limits.ask_soon

    assert limits.asks(START) == {KEY: Ask(3, held=0, wanted=1)}
    grant(limits, {KEY: Share(1)})

    assert limits.next_due(START, any_room) == START
    assert list(limits.freed(START, any_room)) == [waiter(1)]
    limits.take(UUID(int=1), claims, START)
    assert limits.blocker(claims, START) == HELD
    assert limits.asks(START) == {KEY: Ask(3, held=1, wanted=1)}


def test_units_that_are_taken_back_are_free_once_attempts_have_ended() -> None:
    limits, claims = shared(), [claim(SLOTS)]
    limits.blocker(claims, START)
    grant(limits, {KEY: Share(2)})
    for number in (1, 2):
        limits.take(UUID(int=number), claims, START)

    grant(limits, {KEY: Share(1)})
    limits.give_back(UUID(int=1))
    assert limits.blocker(claims, START) == HELD
    limits.give_back(UUID(int=2))

    assert limits.blocker(claims, START) is None


def test_a_grant_from_when_there_was_more_is_worth_nothing() -> None:
    limits, claims = shared(), [claim(SLOTS)]
    limits.blocker(claims, START)
    grant(limits, {KEY: Share(2)})

    fewer = [claim(Limit(name="api", slots=2))]

    assert limits.blocker(fewer, START) == HELD
    grant(limits, {KEY: Share(1)})
    assert limits.blocker(fewer, START) is None


def test_what_is_held_after_a_load_is_asked_for_with_the_slots_that_there_are() -> None:
    limits = shared()

    limits.hold(UUID(int=1), (HELD,), [SLOTS])

    assert limits.asks(START) == {KEY: Ask(3, held=1, wanted=1)}


def test_a_limit_that_nobody_uses_is_given_back_and_not_asked_for_again() -> None:
    limits, claims = shared(), [claim(SLOTS)]
    limits.blocker(claims, START)
    grant(limits, {KEY: Share(2)})

    assert limits.asks(START) == {KEY: Ask(3)}
    limits.accept({KEY: Ask(3)}, {KEY: Share(0)}, START)
    limits.asks(START)

    assert limits.asks(START) == {}


def test_who_waits_for_one_limit_wants_the_others_too_that_had_room_for_it() -> None:
    other = Limit(name="other", slots=1)
    limits, claims = shared(), [claim(other), claim(SLOTS)]
    assert limits.blocker(claims, START) == HELD  # in the order of names, for everybody
    grant(limits, {KEY: Share(1)})
    assert limits.blocker(claims, START) == Held("other", "null")
    limits.wait(Held("other", "null"), waiter(1), claims)

    asks = limits.asks(START)

    assert asks[KEY] == Ask(3, wanted=1, spent=False)  # its turn is not over before it could go
    assert asks[ShareKey(Held("other", "null"), "slots")].wanted == 1


def test_who_waits_once_more_wants_only_what_it_had_room_for_then() -> None:
    other = Limit(name="other", slots=1)
    limits, claims = shared(), [claim(other), claim(SLOTS)]
    limits.blocker(claims, START)
    grant(limits, {KEY: Share(1)})
    limits.blocker(claims, START)
    limits.wait(Held("other", "null"), waiter(1), claims)
    grant(limits, {KEY: Share(1), ShareKey(Held("other", "null"), "slots"): Share(1)})
    (freed,) = limits.freed(START, any_room)

    limits.wait(HELD, freed, claims)

    asks = limits.asks(START)
    assert (asks[KEY].wanted, asks[ShareKey(Held("other", "null"), "slots")].wanted) == (1, 0)
    list(limits.freed(START, any_room))
    assert limits.asks(START)[KEY].wanted == 0


def test_slots_are_kept_at_hand_for_who_cannot_wait_until_they_are_given_back() -> None:
    limits, claims = shared(), [claim(SLOTS)]

    limits.reserve(claims, 2, START)

    assert limits.ask_soon
    assert limits.asks(START) == {KEY: Ask(3, wanted=2)}
    grant(limits, {KEY: Share(2)})
    assert limits.blocker(claims, START) is None
    limits.give_reserves_back()
    assert limits.ask_soon
    assert limits.asks(START) == {KEY: Ask(3)}


# --- rates ---------------------------------------------------------------------------------------


def test_a_part_of_a_bucket_is_filled_at_a_part_of_the_rate() -> None:
    rated = Limit(name="api", rate=Rate(4, 1), burst=4)
    limits, claims = shared(), [claim(rated)]
    limits.blocker(claims, START)
    limits.wait(HELD, waiter(1), claims)
    assert limits.asks(START) == {BURST: Ask(4, wanted=4, fill=1.0)}

    grant(limits, {BURST: Share(1, 0.0)})

    due = limits.next_due(START, any_room)
    assert due is not None
    assert (due - START).total_seconds() == pytest.approx(1.0, abs=0.001)


class Partition:
    """One controller's limits, with what it lets out."""

    def __init__(self, number: int, shares: MemoryLimitShares, limit: Limit) -> None:
        self.number, self.shares, self.limit = number, shares, limit
        self.epoch, self.steps = 1, 0
        self.limits = shared()

    def balance(self, now: datetime) -> None:
        asks = self.limits.asks(now)
        for key, entry in self.shares.of(self.number).items():
            asks.setdefault(key, Ask(entry.total, fill=entry.fill))
        granted = self.shares.balance(self.number, self.epoch, asks, now.timestamp())
        self.limits.accept(asks, granted, now)

    def crash(self) -> None:
        self.epoch += 1
        self.limits = shared()

    def release(self, now: datetime) -> bool:
        claims = [claim(self.limit)]
        if self.limits.blocker(claims, now) is not None:
            self.limits.wait(HELD, waiter(1), claims)
            list(self.limits.freed(now, any_room))
            self.limits.wait(HELD, waiter(1), claims)
            return False
        self.steps += 1
        step = UUID(int=self.steps)
        self.limits.take(step, claims, now)
        self.limits.give_back(step)
        return True


moves = st.lists(
    st.tuples(
        st.sampled_from(["release", "release", "balance", "balance", "crash", "idle"]),
        st.integers(0, 2),
        st.sampled_from([0.0, 0.05, 0.4, 3.0, 7.0]),
    ),
    max_size=150,
)


@settings(max_examples=scaled(300), deadline=None)
@given(moves, st.integers(1, 4), st.sampled_from([0.2, 1.0, 6.0]))
def test_partitions_together_let_out_no_more_than_one_bucket_would(ops, burst, per_second):
    shares, now = MemoryLimitShares(), START
    limit = Limit(name="api", rate=Rate(per_second, 1), burst=burst)
    partitions = [Partition(number, shares, limit) for number in range(3)]
    tokens, at = float(burst), START  # of one bucket for all

    for op, number, seconds in ops:
        now += timedelta(seconds=seconds)
        partition = partitions[number]
        if op == "balance":
            partition.balance(now)
        elif op == "crash":
            partition.crash()
        elif op == "idle":
            for waiting in list(partition.limits.freed(now, any_room)):
                assert waiting
        elif partition.release(now):
            tokens = min(burst, tokens + (now - at).total_seconds() * per_second) - 1
            at = now
            assert tokens >= -1e-3


# --- asking --------------------------------------------------------------------------------------


def test_several_partitions_need_a_place_where_they_share_limits() -> None:
    with pytest.raises(UsageError, match="3 partitions"):
        LimitBalance(None, 3, VirtualClock(START))

    assert not LimitBalance(None, 1, VirtualClock(START)).shared


def test_reactors_over_several_partitions_keep_a_limit_together() -> None:
    limited = {"call": "t.nap", "limits": [{"name": "api", "slots": 2}]}
    steps = {f"s{number}": limited for number in range(3)}
    job = msgspec.convert({"job": "limited", "steps": steps}, JobDefinition)
    with Fleet(REGISTRY, partitions=4) as fleet:
        fleet.reactor("r1")
        fleet.reactor("r2")
        for name in "abc":
            fleet.worker(name)
        client = fleet.client()

        jobs = [client.submit(job, {}, key=f"k{number}") for number in range(8)]
        states = {client.wait(each, timeout_seconds=60).state for each in jobs}

    assert states == {"succeeded"}
    assert len({each for each in fleet.stores if each.head()}) > 1
    assert 1 <= most_out(fleet) <= 2


def most_out(fleet: Fleet) -> int:
    """Return how many orders were out at once, by the times in the logs of all partitions."""
    changes: list[tuple[datetime, int]] = []
    for store in fleet.stores:
        for positioned in store.read(0, 100_000):
            event = positioned.recorded.event
            if isinstance(event, StepReleased):
                changes.append((event.at, 1))
            elif isinstance(event, StepSucceeded):
                changes.append((event.at, -1))
    out = most = 0
    for _, change in sorted(changes):
        out += change
        most = max(most, out)
    return most
