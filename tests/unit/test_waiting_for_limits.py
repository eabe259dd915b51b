"""Steps that a limit holds back: who goes when there is room, and when somebody is to look."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
import pytest
from support.driving import START, Driver

from warrener.domain.definition.model import JobDefinition
from warrener.domain.messages import CancelJob

ONE_AT_A_TIME = {"limits": [{"name": "api", "slots": 1}]}
RATED = {"limits": [{"name": "api", "slots": 1, "rate": [10, 1], "burst": 5}]}


def jobs(steps: dict[str, Any]) -> JobDefinition:
    return msgspec.convert({"job": "limited", "steps": steps}, JobDefinition)


def test_room_that_a_cancelled_step_does_not_take_goes_to_the_next() -> None:
    driver = Driver()
    limited = jobs({name: {"call": "work", **ONE_AT_A_TIME} for name in "ab"})
    first = driver.submit(limited, {}, key="first")  # a is out, b waits for its slot
    second = driver.submit(limited, {}, key="second")

    driver.command(CancelJob(job=first))

    assert [(order.job, order.path) for order in driver.orders] == [(first, "a"), (second, "a")]


def test_a_slot_held_before_a_restart_can_be_given_back_after_it() -> None:
    driver = Driver()
    job = driver.submit(jobs({name: {"call": "work", **ONE_AT_A_TIME} for name in "a"}), {})
    driver.controller.forget()
    driver.controller.recover([job], driver.now)

    driver.succeed(driver.order("a"))

    assert driver.job(job).state == "succeeded"


def test_nobody_looks_at_a_rate_while_no_slot_is_free() -> None:
    driver = Driver()
    driver.submit(jobs({name: {"call": "work", **RATED} for name in "ab"}), {})

    assert driver.controller.next_due(driver.now) is None

    driver.succeed(driver.order("a"))

    assert [order.path for order in driver.orders] == ["a", "b"]


def test_a_step_that_its_first_limit_holds_back_has_others_that_nobody_has_come_under_yet() -> None:
    driver = Driver()
    rare = {"name": "rare", "slots": 1, "key": "${{ params.key }}"}
    steps = {"a": {"call": "work", **ONE_AT_A_TIME}}
    driver.submit(jobs(steps), {}, key="first")
    steps = {"a": {"call": "work", "limits": [*ONE_AT_A_TIME["limits"], rare]}}

    second = driver.submit(jobs(steps), {"key": "new"}, key="second")
    driver.succeed(driver.orders[0])

    assert driver.orders[-1].job == second


def test_a_step_goes_as_soon_as_a_rate_has_a_token_for_it_though_nothing_else_happens() -> None:
    driver = Driver()
    rated = {"limits": [{"name": "api", "rate": [1, 10]}]}
    driver.submit(jobs({name: {"call": "work", **rated} for name in "ab"}), {})

    due = driver.controller.next_due(driver.now)
    assert due is not None
    driver.now = due
    assert driver.controller.next_due(driver.now) == driver.now
    driver.handle("")

    assert [order.path for order in driver.orders] == ["a", "b"]
    assert (driver.now - START).total_seconds() == pytest.approx(10.0, abs=0.01)


def test_an_attempt_that_was_due_goes_though_the_clock_is_set_back_while_it_waits() -> None:
    driver = Driver()
    retried = {**ONE_AT_A_TIME, "retry": [{"first": 5.0, "jitter": "none"}]}
    driver.submit(jobs({"a": {"call": "work", **retried}}), {}, key="first")
    driver.submit(jobs({"a": {"call": "work", **ONE_AT_A_TIME}}), {}, key="second")
    driver.fail(driver.orders[0], outcome="failed")  # the second job has the slot now
    driver.wait(5.0)

    driver.now -= timedelta(hours=1)
    driver.succeed(driver.orders[1])
    driver.wait(3600.0)

    assert [order.attempt for order in driver.orders] == [1, 1, 2]
