"""How partitions share a limit: never more than there is, and everybody has a turn."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Struct
from support.scale import scaled

from warrener.domain.limit_shares import TURN_SECONDS, Ask, Entry, Share, balance

OPS = ("want", "release", "release", "end", "balance", "balance", "lost", "crash", "late", "total")


class Side(Struct):
    """What the reactor of one partition believes."""

    epoch: int = 1
    held: int = 0
    waiting: int = 0
    units: int = 0
    units_of: int = 0  # the total with which they were granted
    known: int = 0

    @property
    def may_hold(self) -> int:
        """Return what the units are worth: nothing once there are fewer than when granted."""
        return self.units if self.known >= self.units_of else 0

    def ask(self) -> Ask:
        return Ask(self.known, held=self.held, wanted=self.held + self.waiting)


class Sharing:
    """Partitions that share `total` slots in one entry."""

    def __init__(self, total: int, count: int) -> None:
        self.total = total
        self.now = 0.0
        self.entry: Entry | None = None
        self.sides = [Side(known=total) for _ in range(count)]
        self.late: list[tuple[int, int, Ask]] = []  # what reactors ask that were replaced since

    def balance(self, place: int, *, heard: bool = True) -> None:
        side = self.sides[place]
        self.entry, share = balance(self.entry, place, side.epoch, side.ask(), self.now)
        if heard:
            side.units, side.units_of = share.units, side.known

    def release(self, place: int) -> bool:
        side = self.sides[place]
        if not side.waiting or side.held >= min(side.known, side.may_hold):
            return False
        side.held += 1
        side.waiting -= 1
        known = {each.known for each in self.sides}
        assert self.held() <= max(known), self
        return True

    def held(self) -> int:
        return sum(side.held for side in self.sides)

    def take_over(self, place: int) -> None:
        """Let the next reactor begin, which knows what the log has; the old one is asking yet."""
        side = self.sides[place]
        self.late.append((place, side.epoch, side.ask()))
        self.sides[place] = Side(side.epoch + 1, side.held, side.waiting, known=side.known)

    def do(self, op: str, place: int, amount: int) -> None:
        side = self.sides[place]
        self.now += amount / 4
        if op == "want":
            side.waiting = amount
        elif op == "release":
            self.release(place)
        elif op == "end":
            side.held = max(0, side.held - 1)
        elif op == "balance":
            self.balance(place)
        elif op == "lost":  # the answer never came: it counts anew, as after a start
            self.balance(place, heard=False)
            self.take_over(place)
        elif op == "crash":
            self.take_over(place)
        elif op == "late" and self.late:
            asker, epoch, ask = self.late[amount % len(self.late)]
            self.entry, _ = balance(self.entry, asker, epoch, ask, self.now)
        elif op == "total":
            side.known = amount


steps = st.lists(
    st.tuples(st.sampled_from(OPS), st.integers(0, 3), st.integers(0, 9)), max_size=120
)


@settings(max_examples=scaled(600), deadline=None)
@given(st.integers(0, 5), st.integers(1, 4), steps)
def test_partitions_never_hold_more_than_there_is(total, count, ops):
    sharing = Sharing(total, count)

    for op, place, amount in ops:
        if op != "total":
            sharing.do(op, place % count, amount)
            believed = sum(max(side.held, side.may_hold) for side in sharing.sides)
            assert believed <= total
            assert sum(part.granted for part in _parts(sharing)) <= max(total, sharing.held())


@settings(max_examples=scaled(600), deadline=None)
@given(st.integers(0, 5), st.integers(1, 4), steps)
def test_whatever_totals_they_hear_of_nothing_goes_out_beyond_the_highest(total, count, ops):
    sharing = Sharing(total, count)

    for op, place, amount in ops:
        sharing.do(op, place % count, amount)  # a release beyond is refused there


@settings(max_examples=scaled(300), deadline=None)
@given(st.integers(0, 5), st.integers(1, 4), steps, st.integers(0, 5), st.randoms())
def test_a_change_that_all_have_heard_of_holds_for_all_that_goes_out_from_then_on(
    total, count, ops, after, chosen
):
    sharing = Sharing(total, count)
    for op, place, amount in ops:
        sharing.do(op, place % count, amount)

    for side in sharing.sides:
        side.known, side.waiting = after, 9
    for _ in range(40):
        place = chosen.randrange(count)
        chosen.choice((sharing.balance, sharing.release, sharing.release))(place)


@pytest.mark.parametrize("seconds", [0.3, 4.9, TURN_SECONDS, 2 * TURN_SECONDS, 30.0])
@pytest.mark.parametrize(("total", "count"), [(1, 2), (1, 5), (2, 5), (3, 2), (7, 4), (4, 4)])
def test_everybody_has_a_turn_however_long_attempts_take(total, count, seconds):
    sharing, ends = Sharing(total, count), []
    served, in_use = [0] * count, 0
    for side in sharing.sides:
        side.waiting = 10_000

    turns = int(count * (TURN_SECONDS + seconds + 2)) * 8
    for _ in range(turns):
        sharing.now += 0.5
        for at, place in [each for each in ends if each[0] <= sharing.now]:
            ends.remove((at, place))
            sharing.sides[place].held -= 1
        for place in range(count):
            sharing.balance(place)
            while sharing.release(place):
                served[place] += 1
                ends.append((sharing.now + seconds, place))
        in_use += sharing.held()

    assert in_use > 0.75 * total * turns
    assert min(served) >= 2
    assert min(served) * 3 >= max(served)


@pytest.mark.parametrize("seed", range(20))
def test_all_that_is_wanted_is_granted_if_there_is_enough(seed):
    random = Random(seed)
    sharing = Sharing(20, 4)
    for side in sharing.sides:
        side.waiting = random.randint(0, 5)

    for place in range(4):
        sharing.balance(place)

    assert [side.units for side in sharing.sides] == [side.waiting for side in sharing.sides]


def test_one_that_is_alone_has_all_of_it_and_others_get_their_part_as_soon_as_it_is_free():
    sharing = Sharing(4, 2)
    sharing.sides[0].waiting = 9
    sharing.balance(0)
    while sharing.release(0):
        pass
    sharing.sides[1].waiting = 9

    sharing.balance(1)
    sharing.balance(0)
    sharing.sides[0].held -= 3
    sharing.balance(0)
    sharing.balance(1)

    assert [side.units for side in sharing.sides] == [2, 2]


def test_the_lowest_total_that_a_partition_knows_counts_for_all_of_them():
    sharing = Sharing(3, 2)
    for side in sharing.sides:
        side.waiting = 9
    sharing.sides[1].known = 2  # it has heard of the change, the other has not
    sharing.balance(1)
    sharing.release(1)

    sharing.balance(0)
    assert not sharing.release(0)
    sharing.sides[0].known = 2

    assert sharing.release(1)
    assert not sharing.release(0)


def test_an_entry_that_nobody_has_a_part_in_is_gone():
    entry, share = balance(None, 3, 1, Ask(2, wanted=2), 0.0)
    assert share.units == 2
    assert entry is not None

    assert balance(entry, 3, 1, Ask(2), 1.0) == (None, Share())


def test_a_reactor_of_an_older_epoch_gets_nothing_and_changes_nothing():
    entry, _ = balance(None, 0, 2, Ask(3, held=2, wanted=3), 0.0)

    assert balance(entry, 0, 1, Ask(3, held=3, wanted=3), 1.0) == (entry, Share())
    assert balance(entry, 0, 1, Ask(3), 1.0) == (entry, Share())


def test_units_move_with_their_tokens_and_none_are_made_on_the_way():
    entry, share = balance(None, 0, 1, Ask(4, wanted=4, fill=0.5), 0.0)
    assert share == Share(4, 4.0)  # nobody used it: the bucket is full

    entry, _ = balance(entry, 1, 1, Ask(4, wanted=4, fill=0.5), 0.0)
    entry, share = balance(entry, 0, 1, Ask(4, wanted=4, tokens=3.0, fill=0.5), 0.0)
    assert share == Share(2, 2.0)
    entry, share = balance(entry, 1, 1, Ask(4, wanted=4, fill=0.5), 1.0)

    assert share == Share(2, 2.0)  # 1 that was handed over, and 2 * 0.5 since
    assert entry is not None
    assert entry.left == 0


def test_the_tokens_of_a_reactor_that_crashed_are_lost():
    entry, _ = balance(None, 0, 1, Ask(2, wanted=2, fill=1.0), 0.0)

    entry, share = balance(entry, 0, 2, Ask(2, wanted=2, fill=1.0), 100.0)
    assert share == Share(2, 0.0)
    entry, _ = balance(entry, 0, 2, Ask(2, fill=1.0), 100.0)

    assert entry is not None
    assert (entry.parts, entry.left, entry.full_at) == ({}, 0.0, 101.0)
    assert balance(entry, 1, 1, Ask(2, wanted=1, fill=1.0), 100.5)[1] == Share(1, 1.0)


def test_a_unit_of_a_rate_stays_until_it_was_used_though_its_turn_is_over():
    entry, _ = balance(None, 0, 1, Ask(1, wanted=1, fill=0.01), 1.0)
    entry, _ = balance(entry, 1, 1, Ask(1, wanted=1, fill=0.01), 1.0)
    entry, _ = balance(entry, 0, 1, Ask(1, wanted=1, fill=0.01), 1.0)  # its turn begins
    late = 3 * TURN_SECONDS

    entry, share = balance(entry, 0, 1, Ask(1, wanted=1, fill=0.01, spent=False), late)
    assert share.units == 1
    entry, share = balance(entry, 0, 1, Ask(1, wanted=1, fill=0.01), late)
    assert share.units == 0

    assert balance(entry, 1, 1, Ask(1, wanted=1, fill=0.01), late)[1].units == 1


def _parts(sharing: Sharing):
    return sharing.entry.parts.values() if sharing.entry else ()
