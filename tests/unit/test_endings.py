"""How a job comes to its end: failures that are caught, compensation, clean-up, deadlines."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import msgspec
import pytest
from support.driving import Driver

from warrener.domain.definition.model import JobDefinition
from warrener.domain.events import JobOverdue
from warrener.domain.messages import CancelJob, PauseJob, ResumeJob


def definition(name: str = "trip", **fields: Any) -> JobDefinition:
    return msgspec.convert({"job": name, **fields}, JobDefinition)


def started(steps: dict[str, Any], **fields: Any) -> tuple[Driver, UUID]:
    driver = Driver()
    return driver, driver.submit(definition(steps=steps, **fields), {})


def arguments(driver: Driver, path: str) -> Any:
    return msgspec.json.decode(driver.order(path).args)


def paths(driver: Driver) -> list[str]:
    return [order.path for order in driver.orders]


# --- catch --------------------------------------------------------------------------------------

CAUGHT = {
    "ship": {"call": "ship", "catch": [{"on": "late", "go": "later"}, {"go": "give_up"}]},
    "later": {"call": "later", "with": {"code": "${{ steps.ship.error.code }}"}},
    "give_up": {"call": "give_up"},
    "tell": {"call": "tell", "with": {"shipped": "${{ steps.ship.result }}"}},
}


def test_a_caught_failure_counts_and_reads_as_the_step_that_caught_it():
    driver, job = started(CAUGHT, result="${{ steps.ship.result }}")

    driver.fail(driver.order("ship"), "late")
    assert arguments(driver, "later") == {"code": "late"}
    assert "tell" not in paths(driver)
    driver.succeed(driver.order("later"), "tomorrow")
    assert arguments(driver, "tell") == {"shipped": "tomorrow"}
    driver.succeed(driver.order("tell"))

    state = driver.job(job)
    assert state.state == "succeeded"
    assert state.result.json == '"tomorrow"'
    assert (state.steps["ship"], state.steps["give_up"]) == ("failed", "not_needed")


def test_a_handler_is_not_needed_where_nothing_fails():
    driver, job = started(CAUGHT)

    driver.succeed(driver.order("ship"), "today")
    driver.succeed(driver.order("tell"))

    steps = driver.job(job).steps
    assert (steps["later"], steps["give_up"]) == ("not_needed", "not_needed")
    assert driver.job(job).state == "succeeded"


def test_the_first_rule_that_matches_decides_who_answers():
    driver, job = started(CAUGHT)

    driver.fail(driver.order("ship"), "lost")

    assert paths(driver) == ["ship", "give_up"]
    assert driver.job(job).steps["later"] == "not_needed"


def test_a_handler_that_fails_fails_the_job_with_its_own_error():
    driver, job = started(CAUGHT)

    driver.fail(driver.order("ship"), "late")
    driver.fail(driver.order("later"), "worse")

    state = driver.job(job)
    assert (state.state, state.error.code, state.error.path) == ("failed", "worse", "later")
    assert state.steps["tell"] == "upstream_failed"


def test_a_handler_may_be_answered_for_itself():
    steps = {
        "a": {"call": "a", "catch": [{"go": "b"}]},
        "b": {"call": "b", "catch": [{"go": "c"}]},
        "c": {"call": "c"},
        "d": {"call": "d", "with": {"a": "${{ steps.a.result }}"}},
    }
    driver, job = started(steps)

    driver.fail(driver.order("a"))
    driver.fail(driver.order("b"))
    driver.succeed(driver.order("c"), 3)

    assert arguments(driver, "d") == {"a": 3}
    driver.succeed(driver.order("d"))
    assert driver.job(job).state == "succeeded"


def test_an_expression_that_fails_and_a_fan_out_are_caught_too():
    steps = {
        "odd": {
            "call": "odd",
            "with": {"n": "${{ params.missing }}"},
            "catch": [{"on": "expression-error", "go": "first"}],
        },
        "many": {
            "call": "many",
            "for_each": [1, 2],
            "catch": [{"on": "items-failed", "go": "second"}],
        },
        "first": {"set": 1},
        "second": {"set": 2},
    }
    driver, job = started(steps, result=["${{ steps.odd.result }}", "${{ steps.many.result }}"])

    driver.fail(driver.order("many[0]"))

    state = driver.job(job)
    assert (state.state, state.result.json) == ("succeeded", "[1,2]")


def test_a_caught_failure_does_not_stop_a_job_that_stops_at_the_first_one():
    driver, job = started({**CAUGHT, "other": {"call": "other"}}, on_failure="stop")

    driver.fail(driver.order("ship"), "late")
    assert driver.job(job).step("other") == "ready"
    driver.fail(driver.order("later"))

    assert driver.job(job).step("other") == "cancelled"
    assert driver.job(job).state == "failed"


# --- compensation and clean-up ------------------------------------------------------------------

BOOKED = {
    "flight": {"call": "flight", "with": {"to": "Oslo"}, "compensate": "flight.undo"},
    "hotel": {"call": "hotel", "after": ["flight"], "compensate": "hotel.undo"},
    "pay": {"call": "pay", "after": ["hotel"], "compensate": "pay.undo"},
    "clean": {"call": "clean", "always": True, "with": {"paid": "${{ steps.pay.result }}"}},
}


def test_what_succeeded_is_undone_in_reverse_order_and_then_cleaned_up():
    driver, job = started(BOOKED)
    driver.succeed(driver.order("flight"), "F1")
    driver.succeed(driver.order("hotel"), "H1")

    driver.fail(driver.order("pay"), "no-money")
    assert arguments(driver, "hotel.compensate") == {"input": {}, "result": "H1"}
    assert driver.order("hotel.compensate").endpoint == "hotel.undo"
    assert "flight.compensate" not in paths(driver)
    assert driver.job(job).state == "running"
    driver.succeed(driver.order("hotel.compensate"))
    assert arguments(driver, "flight.compensate") == {"input": {"to": "Oslo"}, "result": "F1"}
    assert "clean" not in paths(driver)
    driver.succeed(driver.order("flight.compensate"))
    assert arguments(driver, "clean") == {"paid": None}
    driver.succeed(driver.order("clean"))

    state = driver.job(job)
    assert (state.state, state.error.code) == ("failed", "no-money")
    assert state.steps["pay.compensate"] == "not_needed"


def test_a_job_that_succeeds_undoes_nothing_and_cleans_up():
    driver, job = started(BOOKED)
    for path in ("flight", "hotel", "pay", "clean"):
        driver.succeed(driver.order(path), path)

    assert paths(driver) == ["flight", "hotel", "pay", "clean"]
    assert arguments(driver, "clean") == {"paid": "pay"}
    assert driver.job(job).state == "succeeded"


def test_a_compensation_that_fails_does_not_keep_the_others_from_running():
    driver, job = started(BOOKED)
    driver.succeed(driver.order("flight"))
    driver.succeed(driver.order("hotel"))
    driver.fail(driver.order("pay"))

    driver.fail(driver.order("hotel.compensate"), "stuck")
    driver.succeed(driver.order("flight.compensate"))
    driver.succeed(driver.order("clean"))

    state = driver.job(job)
    assert (state.state, state.error.code) == ("failed", "work-failed")
    assert state.steps["hotel.compensate"] == "failed"


def test_a_cancelled_job_is_undone_and_cleaned_up_before_it_ends():
    driver, job = started(BOOKED)
    driver.succeed(driver.order("flight"), "F1")

    driver.command(CancelJob(job=job, by="ada", reason="no holiday"))
    assert driver.job(job).state == "cancelling"
    driver.succeed(driver.order("flight.compensate"))
    driver.command(CancelJob(job=job))  # what cleans up goes on
    driver.succeed(driver.order("clean"))

    assert driver.job(job).state == "cancelled"
    assert driver.job(job).steps["hotel"] == "cancelled"


def test_clean_up_that_fails_fails_the_job_and_undoes_nothing():
    driver, job = started(BOOKED)
    for path in ("flight", "hotel", "pay"):
        driver.succeed(driver.order(path))

    driver.fail(driver.order("clean"), "dirty")

    state = driver.job(job)
    assert (state.state, state.error.code, state.error.path) == ("failed", "dirty", "clean")
    assert paths(driver)[-1] == "clean"


def test_clean_up_steps_wait_for_each_other_and_for_nothing_else():
    steps = {
        "work": {"call": "work"},
        "first": {"call": "first", "always": True},
        "second": {"call": "second", "always": True, "after": ["first"]},
    }
    driver, job = started(steps)

    driver.fail(driver.order("work"))
    assert paths(driver) == ["work", "first"]
    driver.fail(driver.order("first"), "first")
    driver.succeed(driver.order("second"))

    assert driver.job(job).state == "failed"
    assert driver.job(job).error.code == "work-failed"


CHILD = {"job": "child", "steps": {"work": {"call": "work"}, "tidy": {"call": "t", "always": True}}}
PARENT = {"below": {"job": "child"}, "last": {"call": "last", "always": True}}


def test_a_cancelled_child_cleans_up_before_its_parent_does():
    driver = Driver()
    child = msgspec.convert(CHILD, JobDefinition)
    job = driver.submit(definition(steps=PARENT), {}, {"child": child})

    driver.command(CancelJob(job=job))
    assert paths(driver) == ["work", "tidy"]
    assert driver.job(job).state == "cancelling"
    driver.succeed(driver.order("tidy"))
    assert paths(driver) == ["work", "tidy", "last"]
    driver.succeed(driver.order("last"))

    state = driver.job(job)
    assert state.state == "cancelled"
    assert state.totals() == {"cancelled": 2, "succeeded": 2}


def test_a_sub_job_is_undone_with_its_params_and_its_result():
    driver = Driver()
    child = msgspec.convert(
        {"job": "child", "steps": {"w": {"call": "w"}}, "result": "${{ steps.w.result }}"},
        JobDefinition,
    )
    steps = {
        "below": {"job": "child", "with": {"n": 1}, "compensate": "undo"},
        "then": {"call": "then", "after": ["below"]},
    }
    driver.submit(definition(steps=steps), {}, {"child": child})

    driver.succeed(driver.order("w"), "made")
    driver.fail(driver.order("then"))

    assert arguments(driver, "below.compensate") == {"input": {"n": 1}, "result": "made"}


# --- deadlines ----------------------------------------------------------------------------------


def test_a_job_that_is_late_is_stopped_undone_cleaned_up_and_fails():
    driver, job = started(BOOKED, deadline=60.0)
    driver.succeed(driver.order("flight"))

    driver.wait(59)
    assert driver.job(job).state == "running"
    batch = driver.wait(1)
    driver.succeed(driver.order("flight.compensate"))
    driver.succeed(driver.order("clean"))

    assert isinstance(batch.events[0].event, JobOverdue)
    assert driver.job(job).step("hotel") == "cancelled"
    assert (driver.job(job).state, driver.job(job).error.code) == ("failed", "deadline-exceeded")


def test_a_deadline_ends_a_pause():
    driver, job = started({"a": {"call": "a"}}, deadline=60.0)
    driver.command(PauseJob(job=job))

    driver.wait(60)

    assert driver.job(job).state == "failed"


def test_a_paused_job_ends_only_once_it_is_resumed():
    driver, job = started({"a": {"call": "a"}})
    driver.command(PauseJob(job=job, by="ada", reason="look at it first"))

    driver.succeed(driver.order("a"))
    assert driver.job(job).state == "paused"
    driver.command(ResumeJob(job=job, by="ada"))

    assert driver.job(job).state == "succeeded"


@pytest.mark.parametrize("stage", ["main", "undoing", "cleaning"])
def test_a_restart_in_any_stage_goes_on_where_it_stood(stage: str):
    driver, job = started(BOOKED)
    driver.succeed(driver.order("flight"), "F1")
    if stage != "main":
        driver.fail(driver.order("hotel"))
    if stage == "cleaning":
        driver.succeed(driver.order("flight.compensate"))

    driver.controller.forget()
    assert driver.controller.recover([job], driver.now) == {}
    driver.handle("")
    if stage == "main":
        driver.fail(driver.order("hotel"))
    if stage != "cleaning":
        driver.succeed(driver.order("flight.compensate"))
    driver.succeed(driver.order("clean"))

    assert driver.job(job).state == "failed"
    assert sorted(paths(driver)) == sorted(["flight", "hotel", "flight.compensate", "clean"])
