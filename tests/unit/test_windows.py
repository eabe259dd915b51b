"""Partitions of one reactor share the slots of the workers."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from uuid import UUID, uuid4

from hypothesis import given
from hypothesis import strategies as st
from support.ready import queued

from warrener.domain.fleet import Fleet
from warrener.domain.flow.lanes import Flow
from warrener.domain.messages import WorkerState
from warrener.services.windows import SharedWindows

NOW = datetime(2030, 1, 1, tzinfo=UTC)
QUEUE = "work"


def fleet(slots: int) -> Fleet:
    found = Fleet()
    found.hear(
        WorkerState(
            worker="w",
            host="h",
            pid=1,
            endpoints=(),
            queues=(QUEUE,),
            slots=slots,
            busy=0,
            beat_seconds=5.0,
        ),
        NOW,
    )
    return found


class Partitions:
    def __init__(self, count: int, slots: int) -> None:
        self.windows = SharedWindows()
        self.flows: list[Flow] = []
        self.slots: list[Callable[[str], int]] = []
        for partition in range(count):
            self.slots.append(self.windows.add(partition, fleet(slots)))
            self.flows.append(Flow(self.slots[-1]))
            self.windows.use(partition, self.flows[-1])

    def backlog(self, partition: int, steps: int) -> None:
        for number in range(steps):
            self.flows[partition].add(queued(number, queue=QUEUE))

    def release(self, partition: int) -> int:
        """Let as much out as there is room for, as a turn does; return how much that was."""
        self.windows.begin_round()
        flow, count = self.flows[partition], 0
        while (taken := flow.take(NOW)) is not None:
            flow.released(uuid4(), taken, NOW)
            count += 1
        return count


def test_a_partition_alone_has_all_slots() -> None:
    alone = Partitions(1, slots=12)

    assert alone.slots[0](QUEUE) == 12


def test_partitions_without_work_leave_their_part_to_the_others() -> None:
    many = Partitions(16, slots=12)
    many.backlog(3, 1_000)

    assert many.release(3) == 24


def test_a_partition_that_comes_later_gets_its_part_at_once() -> None:
    two = Partitions(2, slots=12)
    two.backlog(0, 1_000)
    assert two.release(0) == 24
    two.backlog(1, 1_000)

    assert two.release(1) == 12

    for step in list(two.flows[0]._lane_of):
        two.flows[0].completed(UUID(int=step), NOW)
        two.release(0)
    assert two.flows[0].out(QUEUE) == 12


def test_a_partition_that_is_lost_takes_no_part() -> None:
    two = Partitions(2, slots=12)
    two.backlog(0, 1_000)
    two.release(0)
    two.windows.remove(0)

    assert two.slots[1](QUEUE) == 12


@given(st.lists(st.tuples(st.integers(0, 7), st.integers(0, 60)), max_size=20), st.integers(1, 40))
def test_together_they_let_out_little_more_than_the_slots_take(
    work: list[tuple[int, int]], slots: int
) -> None:
    parts = Partitions(8, slots)

    for partition, steps in work:
        parts.backlog(partition, steps)
        parts.release(partition)

    busy = {partition for partition, steps in work if steps}
    out = sum(flow.out(QUEUE) for flow in parts.flows)
    assert out <= 2 * slots + sum(2 * -(-slots // (1 + rank)) for rank in range(1, len(busy)))
    for partition in busy:
        flow = parts.flows[partition]
        assert flow.out(QUEUE) > 0
