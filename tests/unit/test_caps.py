"""Limits with reserved names: they bound orders of all kinds once they are set, live."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

import msgspec
import pytest
from support.driving import START, Driver
from support.ready import queued
from support.situations import CALL, Estate

from warrener.domain import caps
from warrener.domain.definition.check import check
from warrener.domain.definition.model import JobDefinition, Rate
from warrener.domain.flow.orders import AGEING_SECONDS, AGEING_TURNS
from warrener.domain.ids import job_id
from warrener.domain.limit_state import SPARE_ENTRIES, Waiter, Waiters
from warrener.domain.messages import CancelJob, ChangeLimit, RunStep
from warrener.domain.step_events import Held, StepReleased
from warrener.services.submission import Source, submission

FAN = {"call": "work", "for_each": list(range(6))}


def definition(name: str, steps: dict[str, Any]) -> JobDefinition:
    return msgspec.convert({"job": name, "steps": steps}, JobDefinition)


FANNED = definition("fanned", {"fan": FAN})
PAIR = definition("pair", {"a": {"call": "work"}, "b": {"call": "work", "queue": "slow"}})


def capped(name: str, **parts: Any) -> Driver:
    driver = Driver()
    assert driver.command(ChangeLimit(name=name, **parts)) is None
    return driver


def out(driver: Driver) -> list[tuple[UUID, str]]:
    """Return what is out: orders whose steps have not ended."""
    steps = driver.controller.memory.steps
    return [(order.job, order.path) for order in driver.orders if order.step in steps]


def first_out(driver: Driver) -> RunStep:
    steps = driver.controller.memory.steps
    return next(order for order in driver.orders if order.step in steps)


def reload(driver: Driver, *jobs: UUID) -> None:
    driver.controller.forget()
    assert not driver.controller.recover(jobs, driver.now)
    driver.handle("")


# --- what they bound -----------------------------------------------------------------------------


def test_a_cap_on_roots_bounds_each_tree_of_jobs_for_itself() -> None:
    driver = capped("@root", slots=2)
    parent = definition("parent", {"below": {"job": "fanned"}, "own": {"call": "work"}})

    first = driver.submit(parent, {}, {"fanned": FANNED}, key="first")
    driver.submit(parent, {}, {"fanned": FANNED}, key="second")

    assert len(out(driver)) == 4  # those of child jobs included
    held = {each.limits for each in released(driver)}
    assert (Held("@root", str(first)),) in held
    assert len(held) == 2


def test_a_cap_on_a_job_name_bounds_all_jobs_of_that_name_together() -> None:
    driver = capped("@job:fanned", slots=2)

    driver.submit(FANNED, {}, key="first")
    driver.submit(FANNED, {}, key="second")
    driver.submit(PAIR, {}, key="other")

    assert len(out(driver)) == 2 + 2


def test_a_cap_on_a_stage_bounds_that_step_only() -> None:
    driver = capped("@step:pair/a", slots=1)

    driver.submit(PAIR, {}, key="first")
    driver.submit(PAIR, {}, key="second")

    assert sorted(path for _, path in out(driver)) == ["a", "b", "b"]


def test_a_cap_on_a_queue_bounds_its_orders_whatever_they_are_for() -> None:
    driver = capped("@queue:slow", slots=1)

    driver.submit(PAIR, {}, key="first")
    driver.submit(PAIR, {}, key="second")

    assert sorted(path for _, path in out(driver)) == ["a", "a", "b"]


def test_a_cap_may_be_a_rate() -> None:
    driver = capped("@job:fanned", rate=Rate(2, 1))

    driver.submit(FANNED, {})
    assert len(driver.orders) == 1
    for _ in range(3):
        driver.wait(0.5)

    assert len(driver.orders) == 4


def released(driver: Driver) -> list[StepReleased]:
    events = [each.recorded.event for each in driver.store.read(0, driver.store.head())]
    return [event for event in events if isinstance(event, StepReleased)]


# --- live changes --------------------------------------------------------------------------------


def test_what_is_out_already_counts_when_a_cap_is_set() -> None:
    driver = Driver()
    driver.submit(FANNED, {}, key="first")
    assert len(out(driver)) == 6
    assert driver.command(ChangeLimit(name="@job:fanned", slots=2)) is None
    driver.submit(FANNED, {}, key="second")

    for left in (5, 4, 3, 2):
        driver.succeed(first_out(driver))
        assert len(out(driver)) == left

    driver.succeed(first_out(driver))
    assert len(out(driver)) == 2  # the first that lets another one out
    assert len(driver.orders) == 7


def test_what_was_out_before_a_cap_was_set_counts_after_a_restart_too() -> None:
    driver = Driver()
    first = driver.submit(FANNED, {}, key="first")
    assert driver.command(ChangeLimit(name="@job:fanned", slots=2)) is None
    second = driver.submit(FANNED, {}, key="second")

    reload(driver, first, second)
    for _ in range(4):
        driver.succeed(first_out(driver))

    assert len(driver.orders) == 6
    driver.succeed(first_out(driver))
    assert len(driver.orders) == 7


def test_a_limit_that_gets_its_first_slots_counts_what_is_out() -> None:
    driver = Driver()
    rated = {**FAN, "limits": [{"name": "api", "rate": [100, 1], "burst": 4}]}
    driver.submit(definition("rated", {"fan": rated}), {})
    driver.wait(1)
    count = len(out(driver))
    assert count > 2
    assert driver.command(ChangeLimit(name="api", slots=2)) is None
    driver.submit(definition("rated", {"fan": rated}), {}, key="second")

    while len(out(driver)) > 2:
        driver.wait(1)
        assert len(driver.orders) == count
        driver.succeed(first_out(driver))
    driver.wait(1)
    driver.succeed(first_out(driver))

    assert len(driver.orders) == count + 1


def test_a_cap_that_is_raised_or_taken_away_lets_those_out_that_wait() -> None:
    driver = capped("@root", slots=1)
    driver.submit(FANNED, {})
    assert len(out(driver)) == 1

    driver.command(ChangeLimit(name="@root", slots=3))
    assert len(out(driver)) == 3
    driver.command(ChangeLimit(name="@root"))
    assert len(out(driver)) == 6


def test_a_cap_that_is_lowered_lets_nothing_out_before_enough_has_ended() -> None:
    driver = capped("@root", slots=4)
    driver.submit(FANNED, {})

    driver.command(ChangeLimit(name="@root", slots=1))
    for left in (3, 2, 1, 1, 1, 0):
        driver.succeed(first_out(driver))
        assert len(out(driver)) == left


def test_steps_that_nobody_set_a_cap_for_are_recorded_without_one() -> None:
    driver = Driver()
    driver.submit(FANNED, {})

    assert {event.limits for event in released(driver)} == {()}


def test_a_step_under_a_cap_that_is_cancelled_gives_its_slot_back() -> None:
    driver = capped("@job:fanned", slots=6)
    first = driver.submit(FANNED, {}, key="first")
    driver.submit(FANNED, {}, key="second")

    driver.command(CancelJob(job=first))

    assert {job for job, _ in out(driver)} != {first}
    assert len(out(driver)) == 6


# --- names ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["@root", "@jobs", "@jobs:a", "@job:a", "@step:a/b", "@queue:q", "api", "api/7"]
)
def test_limits_that_there_are_can_be_changed(name: str) -> None:
    assert caps.problem(name) == ""


@pytest.mark.parametrize(
    "name", ["@", "@roots", "@root:a", "@job", "@job:", "@step:a", "@step:/b", "@step:a/", "@queue"]
)
def test_an_unknown_reserved_name_is_refused_with_those_that_there_are(name: str) -> None:
    said = Driver().command(ChangeLimit(name=name, slots=1))

    assert said is not None
    assert said.startswith(f"cannot change limit {name}: it is no limit; those")
    assert "@queue:NAME" in said


def test_a_definition_must_not_use_a_reserved_name() -> None:
    job = definition("bad", {"a": {"call": "work", "limits": [{"name": "@root", "slots": 1}]}})

    (problem,) = check(job)

    assert problem.message == "the name @root is reserved"
    assert "warrener limits @root --set slots=50" in problem.hint


# --- who goes next -------------------------------------------------------------------------------


def test_a_step_of_a_high_priority_passes_others_at_a_full_limit() -> None:
    driver = capped("@queue:default", slots=1)
    one = definition("one", {"a": {"call": "work"}})
    for number in range(4):
        driver.handle("submit", submission(Source(one), {}, key=f"low-{number}", priority=0))
        driver.now += timedelta(seconds=1)
    driver.handle("submit", submission(Source(one), {}, key="high", priority=5))

    order = first_out(driver)
    driver.succeed(order)

    assert first_out(driver).job == job_id("high")


def test_who_becomes_ready_when_a_slot_is_free_does_not_take_it_from_a_better_place() -> None:
    driver = capped("@queue:default", slots=1)
    two = definition("two", {"a": {"call": "work"}, "b": {"call": "work", "after": ["a"]}})
    one = definition("one", {"a": {"call": "work"}})
    driver.handle("submit", submission(Source(two), {}, key="low"))
    driver.handle("submit", submission(Source(one), {}, key="high", priority=5))

    driver.succeed(first_out(driver))  # now b of the first is ready, too

    assert first_out(driver).job == job_id("high")


def waiter(number: int, seconds: float, priority: int) -> Waiter:
    since = START + timedelta(seconds=seconds)
    return Waiter(queued(number, since=since), place=(0, -priority))


def test_every_so_manieth_let_through_is_the_one_that_has_waited_longest() -> None:
    waiters = Waiters()
    waiters.add(waiter(1, 0, priority=0))
    now = START + timedelta(seconds=AGEING_SECONDS)
    taken = []
    for number in range(2, 2 + AGEING_TURNS):
        waiters.add(waiter(number, number, priority=5))
        taken.append(waiters.take(now))

    assert [each.queued.ready.job.int for each in taken] == [*range(2, 1 + AGEING_TURNS), 1]
    assert [each.aged for each in taken] == [False] * (AGEING_TURNS - 1) + [True]


def test_nobody_passes_others_for_having_waited_a_short_time() -> None:
    waiters = Waiters()
    waiters.add(waiter(1, 0, priority=0))
    now = START + timedelta(seconds=AGEING_SECONDS - 1)
    for number in range(2, 2 + 2 * AGEING_TURNS):
        waiters.add(waiter(number, number, priority=5))
        assert waiters.take(now).queued.ready.job.int == number


def test_of_the_same_place_who_has_waited_longer_goes_first_even_if_added_later() -> None:
    waiters = Waiters()
    waiters.add(waiter(1, 5, priority=0))
    waiters.add(waiter(2, 3, priority=0))

    assert waiters.next(START) == waiter(2, 3, priority=0)
    assert [each.queued.ready.job.int for each in (waiters.take(START), waiters.take(START))] == [
        2,
        1,
    ]


def test_who_waits_for_a_queue_without_room_is_passed_by_those_of_other_queues() -> None:
    waiters = Waiters()
    blocked = Waiter(queued(1, queue="deserted"), place=(0, -9))
    waiters.add(blocked)
    waiters.add(waiter(2, 1, priority=0))
    served = {"default"}.__contains__

    assert waiters.next(START, served) == waiters.take(START, served) == waiter(2, 1, priority=0)
    assert waiters.next(START, served) is None
    assert waiters.take(START) == blocked
    assert not waiters


def test_those_who_were_let_through_for_their_age_leave_nothing_behind() -> None:
    waiters = Waiters()
    now = START + timedelta(days=1)
    for number in range(1_000):
        waiters.add(waiter(2 * number, number, priority=0))
        waiters.add(waiter(2 * number + 1, number, priority=5))
        for _ in range(2):
            waiters.take(now)
    waiters.add(waiter(0, 0, priority=-1))
    for number in range(10_000):  # the one of the lowest place goes for its age, now and then
        waiters.add(waiter(number, number + 1, priority=-1 - number))
        waiters.take(now)

    (line,) = waiters._lines.values()
    assert len(waiters) == 1
    assert len(line.by_place) <= 2 + SPARE_ENTRIES
    assert len(line.by_age) <= 2 + SPARE_ENTRIES


def test_a_queue_that_nobody_serves_does_not_hold_back_others_at_the_same_limit() -> None:
    driver = Driver(slots=lambda queue: 0 if queue == "deserted" else 4)
    assert driver.command(ChangeLimit(name="@job:one", slots=0)) is None
    for key, queue in (("d1", "deserted"), ("d2", "deserted"), ("s", "default")):
        driver.submit(definition("one", {"a": {"call": "work", "queue": queue}}), {}, key=key)
        driver.now += timedelta(seconds=1)

    assert driver.command(ChangeLimit(name="@job:one", slots=1)) is None
    assert [job for job, _ in out(driver)] == [job_id("d1")]  # and more its queue does not take
    assert driver.command(ChangeLimit(name="@job:one", slots=2)) is None

    assert [job for job, _ in out(driver)] == [job_id("d1"), job_id("s")]


def test_a_step_of_low_priority_does_not_starve_at_a_limit() -> None:
    driver = capped("@queue:default", slots=1)
    one = definition("one", {"a": {"call": "work"}})
    driver.handle("submit", submission(Source(one), {}, key="busy", priority=9))
    driver.handle("submit", submission(Source(one), {}, key="low", priority=0))
    driver.now += timedelta(seconds=AGEING_SECONDS)

    for number in range(3 * AGEING_TURNS):
        driver.handle("submit", submission(Source(one), {}, key=f"high-{number}", priority=9))
        driver.succeed(first_out(driver))

    assert job_id("low") in {order.job for order in driver.orders}


def test_nor_does_it_if_others_become_ready_just_when_a_slot_is_free() -> None:
    driver = capped("@queue:default", slots=1)
    names = [f"s{number}" for number in range(3 * AGEING_TURNS)]
    after = dict(zip(names[1:], names, strict=False))
    steps = {
        name: {"call": "work", **({"after": [after[name]]} if name in after else {})}
        for name in names
    }
    one = definition("one", {"a": {"call": "work"}})
    driver.handle("submit", submission(Source(definition("long", steps)), {}, key="h", priority=9))
    driver.handle("submit", submission(Source(one), {}, key="low", priority=0))
    driver.now += timedelta(seconds=AGEING_SECONDS)

    for _ in range(2 * AGEING_TURNS):
        driver.succeed(first_out(driver))

    assert job_id("low") in {order.job for order in driver.orders}


# --- why -----------------------------------------------------------------------------------------


def test_why_tells_of_a_cap_and_of_those_that_were_out_before_it_was_set() -> None:
    driver = Estate()
    first = driver.begin({"a": CALL}, key="first")
    assert driver.command(ChangeLimit(name="@queue:default", slots=1, by="ada")) is None
    second = driver.begin({"b": CALL}, key="second")

    why = driver.why(second, "b")

    assert why.waiting.kind == "limit"
    assert "limit @queue:default, as set at" in why.waiting.sentence
    assert "1 of 1 slots" in why.waiting.sentence
    assert [each.id for each in why.waiting.blockers] == [driver.order("a").step]
    assert str(first) in why.waiting.sentence
