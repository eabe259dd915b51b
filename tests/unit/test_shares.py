"""How daemons share partitions: fairly, soon after each change, and never one twice."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from warrener.adapters.memory_leases import MemoryLeases
from warrener.domain.errors import StoreUnavailable
from warrener.domain.ports import Lease
from warrener.services.shares import LEASE_SECONDS, LOOK_SECONDS, Change, PartitionShare

START = datetime(2030, 1, 1, tzinfo=UTC)
STEP_SECONDS = 0.05


class Group:
    """Members that refresh by turns on one virtual clock; those in `frozen` do not."""

    def __init__(self, partitions: int, *names: str) -> None:
        self.now = START
        self.partitions = partitions
        self.leases = MemoryLeases()
        self.shares: dict[str, PartitionShare] = {}
        self.frozen: set[str] = set()
        self.moves = 0
        for name in names:
            self.join(name)

    def join(self, name: str) -> None:
        self.shares[name] = PartitionShare(self.leases, name, self.partitions)

    def run(self, seconds: float) -> None:
        """Let everybody refresh for a while, and check after each turn that none is held twice."""
        for _ in range(round(seconds / STEP_SECONDS)):
            self.now += timedelta(seconds=STEP_SECONDS)
            for name, share in self.shares.items():
                if name not in self.frozen:
                    change = share.refresh(self.now)
                    self.moves += len(change.taken)
                    for partition in change.surplus:
                        share.give_up(partition)
            self.check()

    def check(self) -> None:
        awake = [share for name, share in self.shares.items() if name not in self.frozen]
        held = [partition for share in awake for partition in share.held]
        assert len(held) == len(set(held))

    def counts(self) -> dict[str, int]:
        return {name: len(share.held) for name, share in self.shares.items()}

    def covered(self) -> bool:
        awake = [share for name, share in self.shares.items() if name not in self.frozen]
        return {each for share in awake for each in share.held} == set(range(self.partitions))

    def seconds_until_covered(self, at_most: float) -> float:
        began = self.now
        while not self.covered():
            assert (self.now - began).total_seconds() < at_most, self.counts()
            self.run(STEP_SECONDS)
        return (self.now - began).total_seconds()


def test_one_alone_takes_everything_at_once() -> None:
    group = Group(16, "a")

    group.run(STEP_SECONDS)

    assert list(group.shares["a"].held) == list(range(16))


def test_who_comes_later_gets_its_share_within_a_second() -> None:
    group = Group(16, "a")
    group.run(5)
    group.join("b")

    group.run(1)

    assert group.counts() == {"a": 8, "b": 8}
    assert group.covered()


@pytest.mark.parametrize("members", [1, 2, 3, 4, 5, 7, 16])
@pytest.mark.parametrize("partitions", [1, 4, 16])
def test_shares_differ_by_one_at_most_and_stay_where_they_are(
    partitions: int, members: int
) -> None:
    group = Group(partitions, *(f"member-{n:02}" for n in range(members)))
    group.run(3)
    assert max(group.counts().values()) - min(group.counts().values()) <= 1
    assert group.covered()
    before = group.moves

    group.run(30)

    assert group.moves == before


@pytest.mark.parametrize("partitions", [4, 5, 16])
def test_one_by_one_they_join_and_all_have_a_share(partitions: int) -> None:
    group = Group(partitions, "member-0")

    for number in range(1, 5):
        group.run(2)
        group.join(f"member-{number}")
        group.run(2)

        counts = group.counts().values()
        assert max(counts) - min(counts) <= 1, group.counts()
        assert group.covered()


def test_with_one_partition_the_others_stand_by_whatever_their_names() -> None:
    group = Group(1, "b")
    group.run(1)
    group.join("a")
    group.join("c")

    group.run(20)

    assert group.counts() == {"a": 0, "b": 1, "c": 0}
    assert group.moves == 1


def test_who_leaves_hands_its_share_over_in_less_than_a_second() -> None:
    group = Group(16, "a", "b", "c")
    group.run(3)

    group.shares.pop("b").give_up_all()

    assert group.seconds_until_covered(1.0) < 1.0
    assert group.counts() == {"a": 8, "c": 8}


def test_a_killed_ones_share_is_taken_over_in_less_than_ten_seconds() -> None:
    group = Group(16, "a", "b", "c")
    group.run(3)

    group.shares.pop("c")
    seconds = group.seconds_until_covered(10.0)

    assert LEASE_SECONDS / 2 < seconds < 10.0
    group.run(1)
    assert group.counts() == {"a": 8, "b": 8}


def test_a_frozen_one_that_wakes_knows_at_once_what_it_has_lost() -> None:
    group = Group(4, "a", "b")
    group.run(3)
    before = tuple(group.shares["a"].held)
    group.frozen.add("a")
    group.run(10)
    assert list(group.shares["b"].held) == [0, 1, 2, 3]

    change = group.shares["a"].refresh(group.now)

    assert change == Change(taken=(), lost=before, surplus=())
    group.frozen.clear()
    group.run(1)
    assert group.counts() == {"a": 2, "b": 2}


def test_one_that_slept_a_little_keeps_what_it_had() -> None:
    group = Group(4, "a")
    group.run(1)
    share = group.shares["a"]

    change = share.refresh(group.now + timedelta(seconds=100))

    assert change == Change()
    assert len(share.held) == 4


def test_what_was_anothers_in_between_is_lost_and_taken_anew() -> None:
    group = Group(2, "a")
    group.run(1)
    later = group.now + timedelta(seconds=20)
    group.leases.take(1, "b", later, LEASE_SECONDS)
    group.leases.give_up(1, "b")

    change = group.shares["a"].refresh(later + timedelta(seconds=1))

    assert change == Change(taken=(1,), lost=(1,), surplus=())
    assert group.shares["a"].held == {0: 1, 1: 3}


def test_a_lease_that_another_took_is_noticed_at_the_next_look() -> None:
    group = Group(1, "a")
    group.run(1)
    stolen = group.now + timedelta(seconds=LEASE_SECONDS + 1)
    group.leases.take(0, "b", stolen, LEASE_SECONDS)

    change = group.shares["a"].refresh(group.now + timedelta(seconds=LOOK_SECONDS))

    assert change.lost == (0,)


def test_between_looks_the_store_is_not_asked() -> None:
    asked = Counting()
    share = PartitionShare(asked, "a", 4)
    share.refresh(START)
    before = asked.calls

    share.refresh(START + timedelta(seconds=LOOK_SECONDS / 2))

    assert asked.calls == before


def test_a_clock_that_goes_back_does_not_let_leases_run_out() -> None:
    group = Group(4, "a")
    group.run(1)
    back = START - timedelta(hours=1)

    group.shares["a"].refresh(back)

    assert group.shares["a"].holds(0, back)
    assert group.leases.all()[0].until == back + timedelta(seconds=LEASE_SECONDS)


def test_a_clock_that_leaps_ahead_costs_nothing_if_nobody_else_took_over() -> None:
    group = Group(4, "a", "b")
    group.run(2)

    group.now += timedelta(hours=1)
    group.run(1)

    assert group.counts() == {"a": 2, "b": 2}
    assert group.covered()


def test_a_lease_is_held_only_for_as_long_as_it_lasts() -> None:
    group = Group(1, "a")
    group.run(STEP_SECONDS)
    share = group.shares["a"]

    assert share.holds(0, group.now + timedelta(seconds=LEASE_SECONDS - 0.1))
    assert not share.holds(0, group.now + timedelta(seconds=LEASE_SECONDS))
    assert not share.holds(1, group.now)


def test_one_started_again_under_its_name_has_its_share_back_at_once() -> None:
    group = Group(4, "a", "b")
    group.run(2)
    before = list(group.shares["a"].held)

    group.join("a")
    group.run(STEP_SECONDS)

    assert list(group.shares["a"].held) == before


def test_a_surplus_is_named_until_it_is_given_up_and_is_renewed_meanwhile() -> None:
    group = Group(2, "a")
    group.run(1)
    share, now = group.shares["a"], group.now
    seen: list[tuple[int, ...]] = []

    for _ in range(200):
        now += timedelta(seconds=STEP_SECONDS)
        group.leases.announce("b", now, LEASE_SECONDS)
        seen.append(share.refresh(now).surplus)

    assert set(seen[10:]) == {(1,)}
    assert group.leases.all()[1].until > now
    share.give_up(1)
    assert list(share.held) == [0]
    assert share.refresh(now + timedelta(seconds=1)) == Change()


def test_what_was_taken_before_trouble_is_told_after_it() -> None:
    troubled = Counting(fails_at_take=3)
    share = PartitionShare(troubled, "a", 4)

    with pytest.raises(StoreUnavailable):
        share.refresh(START)
    change = share.refresh(START + timedelta(seconds=STEP_SECONDS))

    assert change.taken == (0, 1, 2, 3)


def test_what_was_lost_before_anybody_was_told_of_it_is_not_told() -> None:
    troubled = Counting(fails_at_take=2)
    share = PartitionShare(troubled, "a", 2)
    with pytest.raises(StoreUnavailable):
        share.refresh(START)
    later = START + timedelta(seconds=LEASE_SECONDS)
    troubled.take(0, "b", later, LEASE_SECONDS)

    change = share.refresh(later + timedelta(seconds=1))

    assert change == Change(taken=(1,), lost=(), surplus=())


def test_what_was_given_up_for_somebody_is_not_taken_back_before_it_is_there() -> None:
    group = Group(4, "a", "b")
    group.run(2)
    share, now = group.shares["a"], group.now + timedelta(seconds=1)
    group.leases.announce("c", now, LEASE_SECONDS)
    (surplus,) = share.refresh(now).surplus
    share.give_up(surplus)

    change = share.refresh(now + timedelta(seconds=1))

    assert change == Change()
    assert len(share.held) == 1


def test_what_was_taken_without_our_knowing_is_ours_all_the_same() -> None:
    group = Group(2, "a")
    group.leases.take(1, "a", START, LEASE_SECONDS)  # the answer was lost on its way

    group.run(STEP_SECONDS)

    assert list(group.shares["a"].held) == [0, 1]


def test_who_gave_up_all_is_no_member_until_it_refreshes_again() -> None:
    group = Group(2, "a", "b")
    group.run(1)
    group.shares["a"].give_up_all()
    assert list(group.leases.members(group.now)) == ["b"]

    group.shares["a"].refresh(group.now)

    assert list(group.leases.members(group.now)) == ["a", "b"]


class Counting(MemoryLeases):
    """Leases that count what they are asked, and fail at one of the takes."""

    def __init__(self, fails_at_take: int = 0) -> None:
        super().__init__()
        self.calls = 0
        self._takes_left = fails_at_take

    def take(self, partition: int, holder: str, now: datetime, seconds: float) -> int:
        self.calls += 1
        self._takes_left -= 1
        if self._takes_left == 0:
            raise StoreUnavailable("gone for a moment")
        return super().take(partition, holder, now, seconds)

    def all(self) -> dict[int, Lease]:
        self.calls += 1
        return super().all()

    def members(self, now: datetime) -> Sequence[str]:
        self.calls += 1
        return super().members(now)


def test_leases_are_kept_in_the_midst_of_work_and_what_is_lost_is_told_later() -> None:
    leases = MemoryLeases()
    share = PartitionShare(leases, "a", 2, lease_seconds=6.0)
    share.refresh(START)
    for second in range(1, 30):
        share.keep(START + timedelta(seconds=second))
    assert share.holds(0, START + timedelta(seconds=30))
    assert leases.take(0, "b", START + timedelta(seconds=30), 6.0) == 0

    assert leases.take(0, "b", START + timedelta(seconds=60), 60.0)
    share.keep(START + timedelta(seconds=61))

    assert share.refresh(START + timedelta(seconds=61)).lost == (0,)
