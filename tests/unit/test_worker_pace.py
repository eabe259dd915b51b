"""A worker holds as many orders as it does in a moment, and few where steps are long."""

from __future__ import annotations

import pytest
from support.by_hand import WORK, HandChannel, HandRunner
from support.endpoints_orders import SteppingClock, order

from warrener.services.worker import Worker
from warrener.services.worker_pace import (
    AHEAD_SECONDS,
    LOOK_SECONDS,
    PATIENCE_SECONDS,
    PREFETCH_MAX,
    Pace,
)

SLOTS = 4
LEAST = 2 * SLOTS + 2


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def paced(pace, rate, seconds, clock=None, done=0):
    """Let orders be done at a rate for some time; return the changes of the prefetch."""
    clock = clock or Clock()
    changes = []
    pace.look(done, clock.now)
    for _ in range(round(seconds / LOOK_SECONDS)):
        clock.now += LOOK_SECONDS
        done += round(rate * LOOK_SECONDS)
        if pace.look(done, clock.now):
            changes.append(pace.prefetch)
    return changes


def test_a_worker_begins_with_little_more_than_its_slots():
    assert Pace(SLOTS).prefetch == LEAST


def test_long_steps_leave_it_at_that():
    assert paced(Pace(SLOTS), rate=20, seconds=5) == []


def test_short_steps_have_as_many_orders_held_as_are_done_in_a_moment():
    pace = Pace(SLOTS)

    assert paced(pace, rate=4_000, seconds=1) == [4_000 * AHEAD_SECONDS]


def test_there_is_a_most():
    pace = Pace(SLOTS)

    paced(pace, rate=1_000_000, seconds=1)

    assert pace.prefetch == PREFETCH_MAX


def test_a_short_lull_changes_nothing_and_a_longer_one_does():
    pace, clock = Pace(SLOTS), Clock()
    paced(pace, 4_000, 1, clock)

    assert paced(pace, 0, PATIENCE_SECONDS / 2, clock, 4_000) == []
    assert paced(pace, 0, 2 * PATIENCE_SECONDS, clock, 4_000) == [LEAST]


def test_small_changes_of_the_rate_are_not_worth_the_telling():
    pace, clock = Pace(SLOTS), Clock()
    paced(pace, 4_000, 1, clock)

    assert paced(pace, 4_400, 1, clock, 4_000) == []
    assert paced(pace, 2_800, 3, clock, 8_400) == []


@pytest.fixture
def channel():
    return HandChannel()


def test_the_channel_is_told_and_what_is_too_much_goes_back(channel):
    clock, runner = Clock(), HandRunner(slots=1_000)
    worker = Worker(channel, runner, ["default"], SLOTS, name="w", clock=SteppingClock(), seconds=clock)  # noqa: E501  # fmt: skip
    for tag in range(1, 101):
        channel.deliver(tag, order("any", _path=f"short-{tag}"))
    while runner.running or channel.incoming:
        worker.turn()
        for task in list(runner.running):
            runner.finish(task)
    worker.turn()
    channel.confirm_all()
    worker.turn()
    clock.now += LOOK_SECONDS
    worker.turn()
    assert channel.consumed[WORK] == 100

    runner.slots = 0  # from now on steps are long
    for tag in range(101, 151):
        channel.deliver(tag, order("any", _path=f"long-{tag}"))
    for _ in range(4):
        clock.now += PATIENCE_SECONDS
        worker.turn()

    assert channel.consumed[WORK] == LEAST
    assert channel.rejected == [(tag, True) for tag in range(150, 100 + LEAST, -1)]
