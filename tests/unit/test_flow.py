"""Late release: orders, ranges, the window, and what passes others."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.ready import QUEUE, START, queued, standing

from warrener.domain.flow.backlog import SPARE_ENTRIES
from warrener.domain.flow.lane import ACCRUED_SECONDS_MAX, PRIORITIES_MAX, STAGES_KEPT_MAX
from warrener.domain.flow.lanes import Flow
from warrener.domain.flow.line import REASONS_TOLD_MAX
from warrener.domain.flow.orders import AGEING_SECONDS, AGEING_TURNS, ORDERS
from warrener.domain.flow.ready import Queued, Ready, Stage
from warrener.domain.flow.settings import FlowSettings
from warrener.domain.flow.usage import KEYS_KEPT_MAX
from warrener.domain.flow.window import LOOK_AHEAD_SECONDS, WINDOW_MAX, ReleaseWindow

MANY = 10_000


def seconds(count: float) -> datetime:
    return START + timedelta(seconds=count)


def flow_by(policy: str, slots: int = MANY, **settings: object) -> Flow:
    return Flow(lambda _: slots, FlowSettings(policy=policy, **settings), window_max=10**9)  # type: ignore[arg-type]


def drain(flow: Flow, now: datetime = START) -> list[Queued]:
    taken = []
    while (each := flow.take(now)) is not None:
        taken.append(each)
    return taken


def names(taken: Iterable[Queued]) -> list[str]:
    return [each.ready.path for each in taken]


def served(flow: Flow, rounds: int, cost: float = 1.0) -> list[str]:
    """Serve one step after the other; return their fairness keys."""
    keys = []
    for _ in range(rounds):
        taken = flow.take(START)
        assert taken is not None
        step = uuid4()
        flow.released(step, taken, START)
        flow.measured(step, cost, succeeded=True)
        flow.completed(step, START)
        keys.append(taken.standing.fair)
    return keys


# --- what waits ----------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", ORDERS)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5), st.integers(0, 2)), max_size=20))
def test_every_step_is_given_once_whatever_the_policy(
    policy: str, ranges: list[tuple[int, int, int]]
) -> None:
    flow = flow_by(policy)
    expected = []
    for number, (start, size, kind) in enumerate(ranges):
        job = queued(number).ready.job
        stands = standing("map", root=number, priority=kind, fair=f"key{kind}")
        flow.add_items(job, "map", stands, START, items=range(start, start + size))
        expected += [Ready(job, "map", index) for index in range(start, start + size)]

    assert sorted(map(str, flow.backlog())) == sorted(map(str, expected))
    assert sorted(str(each.ready) for each in drain(flow)) == sorted(map(str, expected))
    assert flow.waiting().get(QUEUE, 0) == 0


def test_fifo_gives_what_became_ready_first_across_stages() -> None:
    flow = flow_by("fifo")
    flow.add(queued(1, "first"))
    flow.add_items(queued(2).ready.job, "map", standing("map"), START, items=range(2))
    flow.add(queued(1, "last"))

    assert names(drain(flow)) == ["first", "map[0]", "map[1]", "last"]


def test_a_fan_out_of_any_size_is_one_entry() -> None:
    flow = flow_by("finish-first")
    flow.add_items(queued(1).ready.job, "map", standing("map"), START, items=range(10**9))

    assert flow.waiting() == {QUEUE: 10**9}
    assert names([flow.take(START) or queued()]) == ["map[0]"]


def test_finish_first_finishes_the_oldest_job_and_its_last_steps() -> None:
    flow = flow_by("finish-first")
    for number in (2, 1):
        flow.add(queued(number, "first", submitted_at=seconds(number), remaining=2))
        flow.add(queued(number, "last", submitted_at=seconds(number), remaining=0))
        child = queued(9, "below", root=number, submitted_at=seconds(number), depth=1, remaining=5)
        flow.add(child)

    taken = drain(flow)

    assert names(taken) == ["below", "last", "first"] * 2
    assert [each.standing.root.int for each in taken] == [1, 1, 1, 2, 2, 2]


def test_deadline_goes_by_the_earliest_and_takes_none_for_an_hour() -> None:
    flow = flow_by("deadline")
    flow.add(queued(1, "none"))
    flow.add(queued(2, "late", deadline=seconds(7_200)))
    flow.add(queued(3, "soon", deadline=seconds(60)))

    assert names(drain(flow)) == ["soon", "none", "late"]


def test_a_higher_priority_goes_first_except_by_fifo() -> None:
    for policy, first in (("finish-first", "high"), ("fair", "high"), ("fifo", "low")):
        flow = flow_by(policy)
        flow.add(queued(1, "low", priority=-1))
        flow.add(queued(2, "high", priority=3))
        assert names(drain(flow))[0] == first


@pytest.mark.parametrize("policy", ["finish-first", "fair", "weighted"])
def test_a_small_key_shares_equally_with_one_that_has_much(policy: str) -> None:
    flow = flow_by(policy)
    flow.add_items(queued(1).ready.job, "a", standing(fair="big"), START, items=range(1_000))
    served(flow, 500)
    flow.add_items(queued(2).ready.job, "a", standing(root=2, fair="small"), START, items=range(10))

    assert served(flow, 20).count("small") in (9, 10)


def test_shares_follow_weights_and_the_time_used_not_the_number_of_steps() -> None:
    flow = flow_by("fair", weights={"heavy": 3.0})
    for root, fair in ((1, "heavy"), (2, "light")):
        stands = standing(fair, root=root, fair=fair)
        flow.add_items(queued(root).ready.job, fair, stands, START, items=range(MANY))
    assert served(flow, 400).count("heavy") == pytest.approx(300, abs=3)

    flow = flow_by("fair")
    costs = {"quick": 1.0, "slow": 4.0}
    used = dict.fromkeys(costs, 0.0)
    for root, fair in enumerate(costs):
        stands = standing(fair, root=root, fair=fair)
        flow.add_items(queued(root).ready.job, fair, stands, START, items=range(MANY))
    for _ in range(500):
        taken = flow.take(START)
        assert taken is not None
        step, key = uuid4(), taken.standing.fair
        flow.released(step, taken, START)
        flow.measured(step, costs[key], succeeded=True)
        flow.completed(step, START)
        used[key] += costs[key]
    assert used["quick"] == pytest.approx(used["slow"], rel=0.05)


def test_weighted_gives_twice_as_much_to_each_step_of_priority() -> None:
    flow = flow_by("weighted")
    for root, priority in ((1, 0), (2, 1)):
        stands = standing(root=root, fair=f"key{root}", priority=priority)
        flow.add_items(queued(root).ready.job, "a", stands, START, items=range(MANY))

    assert served(flow, 300).count("key2") == pytest.approx(200, abs=3)


def test_who_has_waited_long_passes_others_now_and_then() -> None:
    flow = flow_by("finish-first")
    flow.add(queued(1, "low", priority=-5))
    high = standing("high", root=2, priority=5)
    flow.add_items(queued(2).ready.job, "high", high, START, items=range(MANY))
    rounds = 3 * AGEING_TURNS

    assert "low" not in names(flow.take(seconds(1)) or queued() for _ in range(rounds))
    late = seconds(AGEING_SECONDS + 1)
    assert names(flow.take(late) or queued() for _ in range(AGEING_TURNS)).count("low") == 1


def test_a_key_that_used_much_and_passes_others_does_not_set_back_new_keys() -> None:
    flow = flow_by("finish-first")
    flow.add_items(queued(1).ready.job, "a", standing(fair="big"), START, items=range(1_000))
    served(flow, 100)
    served(flow, 1, cost=1_000.0)
    late = seconds(AGEING_SECONDS + 1)
    for number, key in ((2, "small"), (3, "new")):
        stands = standing(root=number, fair=key)
        flow.add_items(queued(number).ready.job, "a", stands, late, items=range(MANY))
        for _ in range(AGEING_TURNS):  # once it is big's turn, though it has had more than others
            taken = flow.take(late)
            assert taken is not None
            flow.released(uuid4(), taken, late)

    assert served(flow, 100).count("new") >= 45


def test_keys_that_used_their_share_and_are_gone_are_forgotten() -> None:
    flow = flow_by("fair")
    flow.add(queued(1, fair="greedy"))
    served(flow, 1, cost=10.0)
    for number in range(2 * KEYS_KEPT_MAX + 10):  # each is a key of its own, as jobs may be
        flow.add(queued(number + 2))
        served(flow, 1)

    usage = flow._lanes[QUEUE]._usage
    assert len(usage._times) <= KEYS_KEPT_MAX + 10
    assert usage.time("greedy") >= 10.0


def test_what_goes_out_for_its_age_leaves_nothing_behind() -> None:
    flow = flow_by("finish-first")
    late = seconds(AGEING_SECONDS)
    high = standing("a", root=2, priority=5)
    flow.add_items(queued(2).ready.job, "a", high, late, items=range(MANY))
    for number in range(1_000):
        flow.add(queued(number + 3, priority=0))
        for _ in range(AGEING_TURNS):
            flow.take(late)

    (line,) = flow._lanes[QUEUE]._lines.values()
    assert line.backlog.count == MANY - 1_000 * (AGEING_TURNS - 1)
    assert line.backlog._tiers[0]._size <= SPARE_ENTRIES


def test_each_step_with_a_priority_of_its_own_goes_in_its_turn() -> None:
    flow = flow_by("finish-first")
    given = [number * 7_919 % 1_000 for number in range(1_000)]
    for number in given:
        flow.add(queued(number + 1, priority=number))

    assert [each.standing.priority for each in drain(flow)] == sorted(given, reverse=True)


@pytest.mark.parametrize("policy", ORDERS)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4), st.integers(0, 2)), max_size=60))
def test_places_that_are_remembered_are_those_that_would_be_found(
    policy: str, ops: list[tuple[int, int, int]]
) -> None:
    flow = flow_by(policy)
    lines = flow._lane(QUEUE)._lines
    for number, (stage, key, kind) in enumerate(ops):
        new = queued(number + 1, f"s{stage}", fair=f"key{key}", priority=kind == 2)
        flow.add(new)
        if kind:
            taken, step = flow.take(seconds(number)), uuid4()
            assert taken is not None
            flow.released(step, taken, START)
            if key:  # less than was thought, or more
                flow.measured(step, key / 2, succeeded=True)
                flow.completed(step, START)
        for line in lines.values():
            known = line.backlog.place()
            line.backlog._place = None
            assert line.backlog.place() == known


def test_other_settings_order_anew_what_waits() -> None:
    flow = flow_by("fifo")
    flow.add(queued(1, "old", submitted_at=seconds(9)))
    flow.add(queued(2, "young", submitted_at=seconds(1)))

    flow.use(FlowSettings(policy="finish-first"))

    assert names(drain(flow)) == ["young", "old"]


def test_settings_that_make_no_other_order_leave_all_keys_what_they_used() -> None:
    flow = flow_by("finish-first")
    for root, key in ((1, "greedy"), (2, "modest")):
        stands = standing(root=root, fair=key)
        flow.add_items(queued(root).ready.job, "a", stands, START, items=range(100))
        served(flow, 1, cost=1_000.0 if key == "greedy" else 1.0)

    flow.use(FlowSettings(policy="finish-first", mode="observe", bound_seconds=5.0))

    assert set(served(flow, 20)) == {"modest"}


def test_an_unknown_policy_is_taken_for_the_default() -> None:
    flow = flow_by("one-that-is-not-installed")
    flow.add(queued(1, "first", remaining=1))
    flow.add(queued(1, "last", remaining=0))

    assert names(drain(flow)) == ["last", "first"]


def test_of_many_priorities_only_some_are_counted_apart() -> None:
    flow = flow_by("finish-first")
    for number in range(3 * PRIORITIES_MAX):
        flow.add(queued(number + 1, priority=number * 1_000))
        served(flow, 1)

    (sample,) = flow.sample(START, lambda _: True).queues
    assert len(sample.served) == len(sample.worked) == PRIORITIES_MAX
    assert sum(sample.served.values()) == sum(sample.worked.values()) == 3 * PRIORITIES_MAX
    assert sample.served[0] == 1
    assert sample.served[(PRIORITIES_MAX - 1) * 1_000] == 2 * PRIORITIES_MAX + 1


def test_a_clock_that_jumps_ahead_puts_nobody_into_debt_for_that_time() -> None:
    flow = flow_by("finish-first")
    stands = standing(fair="hit")
    flow.add_items(queued(1).ready.job, "a", stands, START, items=range(1_000))
    step, taken = uuid4(), flow.take(START)
    assert taken is not None
    flow.released(step, taken, START)

    flow.sample(seconds(86_400), lambda _: True)
    flow.completed(step, seconds(86_400))  # it timed out

    (sample,) = flow.sample(START, lambda _: True).queues
    assert sample.stages[0].busy_seconds <= 1.0 + ACCRUED_SECONDS_MAX
    others = standing(root=2, fair="other")
    flow.add_items(queued(2).ready.job, "a", others, START, items=range(1_000))
    assert "hit" in served(flow, 100)


def test_who_runs_for_long_is_charged_for_it_by_and_by() -> None:
    flow = flow_by("finish-first")
    flow.add_items(queued(1).ready.job, "a", standing(fair="long"), START, items=range(1_000))
    taken = flow.take(START)
    assert taken is not None
    flow.released(uuid4(), taken, START)
    for minute in range(1, 11):
        flow.sample(seconds(60 * minute), lambda _: True)

    stands = standing(root=2, fair="other")
    flow.add_items(queued(2).ready.job, "a", stands, START, items=range(1_000))
    assert set(served(flow, 500)) == {"other"}


def test_no_wait_is_shorter_than_nothing_when_the_clock_was_set_back() -> None:
    flow = flow_by("finish-first")
    for number in range(3):
        flow.add(queued(number + 1))
    for back, reason in ((5, ""), (6, "rate api/key")):
        taken = flow.take(seconds(-back))
        assert taken is not None
        if reason:
            flow.hold(taken, reason)
        else:
            flow.released(uuid4(), taken, seconds(-back))

    (stage,) = flow.sample(seconds(-7), lambda _: True).queues[0].stages
    assert (stage.wait_p50, stage.held_wait, stage.oldest_wait) == (0.0, 0.0, 0.0)


# --- measures ------------------------------------------------------------------------------------


def test_a_throttled_stage_has_no_more_out_and_keeps_its_steps() -> None:
    flow = flow_by("fifo")
    flow.add_items(queued(1).ready.job, "flood", standing("flood"), START, items=range(10))
    flow.add(queued(1, "other"))
    flow.measures.throttled[Stage(QUEUE, "job", "flood")] = 2

    out = []
    while (taken := flow.take(START)) is not None:
        out.append(uuid4())
        flow.released(out[-1], taken, START)

    assert len(out) == 3
    assert not flow.can_take()
    flow.completed(out[0], START)
    assert flow.can_take()


def test_a_floor_a_drain_and_a_boost_let_steps_pass_others() -> None:
    def flooded() -> Flow:
        flow = flow_by("fifo")
        flow.add_items(
            queued(1).ready.job, "flood", standing("flood", remaining=1), START, items=range(100)
        )
        flow.add_items(queued(1).ready.job, "last", standing("last"), START, items=range(100))
        return flow

    last = Stage(QUEUE, "job", "last")
    flow = flooded()
    flow.measures.floors[last] = 2
    first = [flow.take(START) or queued()]
    flow.released(uuid4(), first[0], START)
    first.append(flow.take(START) or queued())
    flow.released(uuid4(), first[1], START)
    first.append(flow.take(START) or queued())
    assert [each.ready.step for each in first] == ["last", "last", "flood"]

    flow = flooded()
    flow.measures.drained.add(QUEUE)
    assert {each.ready.step for each in drain(flow)[:100]} == {"last"}

    flow = flooded()
    flow.measures.boosted.add(last)
    assert [each.ready.step for each in drain(flow)[:10]].count("last") == 5


# --- windows -------------------------------------------------------------------------------------


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
        flow.add(queued(1, f"slow{number}", queue="slow"))
    flow.add(queued(1, "fast", queue="fast"))

    taken = []
    while (each := flow.take(START)) is not None:
        flow.released(uuid4(), each, START)
        taken.append(each.ready.step)

    assert sorted(taken) == ["fast", "slow0", "slow1"]
    assert flow.waiting() == {"slow": 1, "fast": 0}


# --- figures -------------------------------------------------------------------------------------


def test_a_sample_has_what_waits_what_is_held_and_what_is_out() -> None:
    flow = flow_by("fifo", slots=1)
    flow.add_items(queued(1).ready.job, "a", standing(), START, items=range(5))
    taken = flow.take(START)
    held = flow.take(START)
    assert taken is not None
    assert held is not None
    step = uuid4()
    flow.released(step, taken, seconds(2))
    flow.hold(held, "slots api/1")

    sample = flow.sample(seconds(9), lambda ready: ready.index != 2)

    (queue,) = sample.queues
    (stage,) = queue.stages
    assert (queue.queue, queue.slots, queue.out, queue.served) == (QUEUE, 1, 1, {0: 1})
    assert (stage.ready, stage.held, stage.out, stage.running) == (2, {"slots api/1": 1}, 1, 1)
    assert (stage.oldest_wait, stage.arrived, stage.released, stage.wait_p50) == (9.0, 5, 1, 2.0)
    flow.measured(step, 4.0, succeeded=False)
    flow.completed(step, seconds(9))
    flow.add_again(held, "slots api/1")
    again = flow.sample(seconds(9), lambda _: True).queues[0].stages[0]
    assert (again.ended, again.failed, again.busy_seconds, again.service_seconds) == (1, 1, 4, 4)
    assert (again.arrived, again.ready, again.held) == (5, 3, {})


def test_what_is_let_go_at_once_waits_no_more() -> None:
    flow = flow_by("finish-first")
    flow.add(queued(1))
    taken = flow.take(START)
    assert taken is not None
    flow.hold(taken, "slots api/null")
    assert flow.waits()

    flow.let_go(taken, "slots api/null")

    assert not flow.waits()


def test_stages_of_which_nothing_is_left_are_forgotten_beyond_some() -> None:
    flow = flow_by("fifo")
    flow.add(queued(1, "waits", name="kept"))
    for number in range(3 * STAGES_KEPT_MAX):
        flow.add(queued(2, "a", name=f"job{number}"))
        taken = flow.take(START)
        assert taken is not None
        step = uuid4()
        flow.released(step, taken, START)
        flow.completed(step, START)

    stages = flow.sample(START, lambda _: True).queues[0].stages
    assert len(stages) <= STAGES_KEPT_MAX
    assert sum(stage.ready for stage in stages) == 1


def test_of_too_many_keys_of_a_limit_a_sample_has_the_sum() -> None:
    flow = flow_by("fifo")
    for number in range(REASONS_TOLD_MAX + 1):
        flow.hold(queued(number), f"slots api/{number}")
    flow.hold(queued(99), "paused")

    assert flow.sample(START, lambda _: True).queues[0].stages[0].held == {
        "slots api": REASONS_TOLD_MAX + 1,
        "paused": 1,
    }
