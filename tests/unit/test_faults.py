"""Faults come from the random source alone, and do what they say."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from random import Random

import pytest
from support.events import run_of

from warrener.adapters.clock import VirtualClock
from warrener.adapters.faults import (
    Crash,
    CrashAt,
    CrashPoints,
    Faults,
    FaultyBroker,
    FaultyEventStore,
)
from warrener.adapters.memory import MemoryBroker
from warrener.adapters.memory_events import MemoryEventStore
from warrener.domain.errors import Conflict, StoreUnavailable
from warrener.domain.ports import Channel, Outgoing

START = datetime(2030, 1, 1, tzinfo=UTC)
COUNT = 200


class Setting:
    """A channel with faults that sends to itself."""

    def __init__(self, faults: Faults, seed: int = 1) -> None:
        self.clock = VirtualClock(START)
        self.broker = FaultyBroker(MemoryBroker(), self.clock, Random(seed), faults)
        self.channel: Channel = self.broker.channel()
        self.channel.declare("work")
        self.channel.consume("work", 10_000)

    def send(self, count: int = COUNT) -> list[int]:
        """Send messages 0 to count - 1 in one batch; return what comes at once."""
        self.channel.publish([Outgoing("work", b"", f"{n}") for n in range(count)], 1)
        return self.take()

    def take(self) -> list[int]:
        poll = self.channel.poll(10_000)
        self.confirmed = list(poll.confirmed)
        return [int(delivery.message_id) for delivery in poll.deliveries]


def test_without_faults_everything_comes_in_order() -> None:
    assert Setting(Faults()).send() == list(range(COUNT))


def test_a_dropped_message_is_lost_though_its_batch_is_confirmed() -> None:
    setting = Setting(Faults(drop=0.3))

    found = setting.send()

    assert found == sorted(set(found))
    assert 0 < len(found) < COUNT
    assert setting.confirmed == [1]


def test_a_message_lost_before_it_was_confirmed_leaves_its_batch_unconfirmed() -> None:
    setting = Setting(Faults(unconfirmed=0.3))

    found = setting.send()

    assert 0 < len(found) < COUNT
    assert setting.confirmed == []


def test_a_duplicated_message_comes_up_to_six_times() -> None:
    counts = Counter(Setting(Faults(duplicate=0.5)).send())

    assert counts.keys() == set(range(COUNT))
    assert set(counts.values()) == {1, 2, 3, 4, 5, 6}


def test_a_reordered_batch_is_whole() -> None:
    found = Setting(Faults(reorder=1.0)).send()

    assert found != list(range(COUNT))
    assert sorted(found) == list(range(COUNT))


def test_a_delayed_message_comes_when_the_clock_says_so() -> None:
    setting = Setting(Faults(delay=0.5, delay_seconds_max=10.0))
    early = setting.send()
    due = setting.broker.next_due()
    assert due is not None
    assert due > START

    assert setting.take() == []
    setting.clock.set(due)
    first = setting.take()
    setting.clock.advance(10)
    late = setting.take()

    assert len(first) == 1
    assert sorted([*early, *first, *late]) == list(range(COUNT))
    assert late != sorted(late)
    assert setting.broker.next_due() is None


def test_the_same_seed_gives_the_same_faults() -> None:
    faults = Faults(drop=0.1, unconfirmed=0.1, duplicate=0.2, reorder=0.5, delay=0.2)

    assert Setting(faults, seed=5).send() == Setting(faults, seed=5).send()
    assert Setting(faults, seed=5).send() != Setting(faults, seed=6).send()


def test_a_world_that_is_well_again_has_no_faults() -> None:
    faults = Faults(drop=1.0, unconfirmed=1.0, duplicate=1.0, reorder=1.0, delay=1.0, crash=1.0)
    setting = Setting(faults)

    faults.none()

    assert setting.send() == list(range(COUNT))
    CrashPoints(Random(1), faults)("before-commit")


def test_a_store_that_is_down_writes_nothing() -> None:
    log = MemoryEventStore()

    with pytest.raises(StoreUnavailable):
        FaultyEventStore(log, Random(1), Faults(store_down=1.0)).commit(run_of(1, 1, 2), {})

    assert log.head() == 0


def test_a_false_conflict_writes_nothing() -> None:
    log = MemoryEventStore()

    with pytest.raises(Conflict):
        FaultyEventStore(log, Random(1), Faults(conflict=1.0)).commit(run_of(1, 1, 2), {})

    assert log.head() == 0


def test_a_commit_of_unknown_outcome_is_written_and_found_when_tried_again() -> None:
    log = MemoryEventStore()
    faults = Faults(outcome_unknown=1.0)
    store = FaultyEventStore(log, Random(1), faults)

    with pytest.raises(StoreUnavailable):
        store.commit(run_of(1, 1, 2), {})
    faults.none()

    assert store.commit(run_of(1, 1, 2), {}) == 2
    assert (log.head(), store.head()) == (2, 2)


def test_crashes_are_drawn_from_the_source_and_counted() -> None:
    points = CrashPoints(Random(3), Faults(crash=0.5))
    crashes = 0
    for _ in range(100):
        try:
            points("before-commit")
        except Crash:
            crashes += 1

    assert 0 < crashes < 100
    assert points.crashes == crashes


def test_a_crash_at_a_chosen_pass_of_a_point_comes_once() -> None:
    crash = CrashAt("after-commit", passes=2)
    for point in ("before-commit", "after-commit", "before-commit"):
        crash(point)

    with pytest.raises(Crash, match="after-commit"):
        crash("after-commit")

    crash("after-commit")


def test_a_crash_is_not_caught_by_what_catches_errors() -> None:
    assert not issubclass(Crash, Exception)
