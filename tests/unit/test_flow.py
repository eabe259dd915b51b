"""Late release: order, ranges and the window."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from warrener.domain.flow import LOOK_AHEAD_SECONDS, WINDOW_MAX, Fifo, Flow, Ready, ReleaseWindow

JOB = UUID(int=1)
START = datetime(2030, 1, 1, tzinfo=UTC)


def drain(policy: Fifo) -> list[Ready]:
    taken = []
    while (ready := policy.take()) is not None:
        taken.append(ready)
    return taken


def test_steps_and_items_leave_in_the_order_in_which_they_came() -> None:
    policy = Fifo()
    policy.add(Ready(JOB, "first"))
    policy.add_items(JOB, "map", 0, 2)
    policy.add(Ready(JOB, "map", 7))

    assert drain(policy) == [
        Ready(JOB, "first"),
        Ready(JOB, "map", 0),
        Ready(JOB, "map", 1),
        Ready(JOB, "map", 7),
    ]


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5))))
def test_a_backlog_counts_what_it_holds_and_gives_each_entry_once(
    ranges: list[tuple[int, int]],
) -> None:
    policy = Fifo()
    for start, size in ranges:
        policy.add_items(JOB, "map", start, start + size)

    counted = len(policy)
    taken = drain(policy)

    assert counted == len(taken) == sum(size for _, size in ranges)
    assert len(policy) == 0


def test_a_fan_out_of_any_size_is_one_entry() -> None:
    policy = Fifo()
    policy.add_items(JOB, "map", 0, 10**9)

    assert len(policy._ranges) == 1


def test_a_window_keeps_twice_the_slots_out_at_first() -> None:
    window = ReleaseWindow(lambda: 3)
    for _ in range(6):
        window.released()

    assert window.room == 0


def test_a_window_widens_with_the_measured_rate_and_narrows_again() -> None:
    window = ReleaseWindow(lambda: 2)
    sizes = []
    for milliseconds in (1, 500):  # 1,000 steps a second, then 2
        for tick in range(1_000):
            window.released()
            window.completed(START + timedelta(milliseconds=milliseconds * tick))
        sizes.append(window.size)

    assert 0.8 <= sizes[0] / (1_000 * LOOK_AHEAD_SECONDS) <= 1.2
    assert sizes[1] == 4


def test_a_window_is_bounded_and_survives_a_clock_that_jumps_back() -> None:
    window = ReleaseWindow(lambda: 1)
    for tick in range(100_000):
        window.released()
        window.completed(START - timedelta(microseconds=tick))

    assert 2 <= window.size <= WINDOW_MAX


def test_a_full_queue_does_not_hold_back_another_one() -> None:
    flow = Flow(lambda queue: 1)
    for number in range(3):
        flow.add("slow", Ready(JOB, f"slow{number}"))
    flow.add("fast", Ready(JOB, "fast"))

    taken = []
    while (ready := flow.take()) is not None:
        flow.released("fast" if ready.step == "fast" else "slow")
        taken.append(ready.step)

    assert taken == ["slow0", "slow1", "fast"]
    assert flow.waiting() == {"slow": 1, "fast": 0}
