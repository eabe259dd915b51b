"""New generations that begin in odd moments: in the same turn, while paused, after a restart."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

import msgspec
from support.driving import Driver

from warrener.domain.definition.model import JobDefinition
from warrener.domain.events import JobEnded
from warrener.domain.ids import job_id, step_id
from warrener.domain.messages import PauseJob, RerunJob, ResumeJob, RetryJob
from warrener.domain.payloads import Payload
from warrener.domain.step_events import StepSucceeded
from warrener.services.submission import Source, submission

CHILD = msgspec.convert({"job": "child", "steps": {"a": {"call": "work"}}}, JobDefinition)


def definition(steps: dict[str, Any], **head: Any) -> JobDefinition:
    return msgspec.convert({"job": "again", "steps": steps, **head}, JobDefinition)


def rerun(job: UUID, step: str, key: str = "again") -> RerunJob:
    return RerunJob(job=job, step=step, key=key)


def totals(driver: Driver, job: UUID) -> dict[str, int]:
    last = driver.store.last(job)
    assert last is not None
    assert isinstance(last.event, JobEnded)
    return last.event.steps


def test_a_step_that_needs_no_worker_begins_anew_in_the_turn_in_which_it_ended() -> None:
    driver = Driver()
    steps = {"a": {"set": {"x": 1}}, "b": {"call": "work", "after": ["a"]}}
    job = job_id("key")

    driver.handle("1", submission(Source(definition(steps), {}), {}, key="key"), rerun(job, "a"))
    driver.succeed(driver.order("b"))

    assert driver.job(job).state == "succeeded"
    assert driver.step(job, "a").generation == 2


def test_what_ended_in_the_turn_in_which_the_job_did_is_read_by_a_new_generation() -> None:
    driver = Driver()
    read = {"set": {"x": "${{ steps.a.result }}"}}
    job = driver.submit(definition({"a": {"call": "work"}, "b": read}), {})
    _, report = driver.report(driver.order("a"), "succeeded", b"7")

    driver.handle("1", report, rerun(job, "b"))

    last = driver.store.last(step_id(job, "b"))
    assert last is not None
    assert isinstance(last.event, StepSucceeded)
    assert last.event.result == Payload(json='{"x":7}')
    assert driver.step(job, "b").generation == 2


def test_a_paused_job_is_resumed_before_parts_of_it_begin_anew() -> None:
    driver = Driver()
    job = driver.submit(definition({"a": {"call": "work"}, "b": {"call": "work"}}), {})
    driver.succeed(driver.order("a"))
    driver.command(PauseJob(job=job))

    assert driver.command(rerun(job, "a")) == (
        f"cannot rerun {job}/a: it is paused: resume it first"
    )

    driver.command(ResumeJob(job=job))
    assert driver.command(rerun(job, "a")) is None
    assert [order.path for order in driver.orders] == ["a", "b", "a"]


def test_the_deadline_of_a_job_that_ended_before_a_restart_holds_for_a_new_generation() -> None:
    driver = Driver()
    job = driver.submit(definition({"a": {"call": "work"}}, deadline=60.0), {})
    driver.succeed(driver.order("a"))
    driver.controller.forget()
    driver.command(rerun(job, "a"))

    driver.wait(61.0)

    error = driver.job(job).error
    assert error is not None
    assert error.code == "deadline-exceeded"


def test_steps_of_child_jobs_are_counted_once_whatever_began_anew_in_between() -> None:
    driver = Driver()
    child = {"job": "child", "with": {"n": "${{ steps.a.result }}"}}
    each = {"job": "child", "for_each": "${{ [1, 2] }}", "with": {"n": "${{ item + 2 }}"}}
    steps = {
        "a": {"call": "first"},
        "b": {**child, "when": "${{ steps.a.result == 1 }}"},
        "c": {**each, "when": "${{ steps.a.result == 1 }}", "after": ["a"]},
    }
    job = driver.submit(definition(steps), {}, {"child": CHILD})
    driver.succeed(driver.order("a"), 1)
    for order in [order for order in driver.orders if order.path == "a"][1:]:
        driver.succeed(order)
    assert totals(driver, job) == {"succeeded": 8}

    for key in ("two", "three"):  # the child jobs do not begin again
        driver.command(rerun(job, "a", key))
        driver.succeed(driver.order("a"), 2)

        assert totals(driver, job) == {"succeeded": 1, "skipped": 2}


def test_a_job_that_ends_and_begins_anew_in_one_turn_is_open() -> None:
    driver = Driver()
    job = driver.submit(definition({"a": {"call": "work"}}), {})
    name, report = driver.report(driver.order("a"), "succeeded")

    driver.handle(name, report, rerun(job, "a"))

    assert driver.job(job).state == "running"
    assert list(driver.store.open_roots()) == [job]


def test_a_child_job_of_which_a_part_began_anew_is_loaded_once_after_a_restart() -> None:
    driver = Driver()
    child = msgspec.convert(
        {"job": "child", "steps": {"a": {"call": "work"}, "b": {"call": "work"}}}, JobDefinition
    )
    job = driver.submit(definition({"c": {"job": "child"}}), {}, {"child": child})
    driver.succeed(driver.order("a"))
    driver.command(rerun(driver.order("a").job, "a"))

    driver.controller.forget()
    driver.controller.recover(driver.store.open_roots(), driver.now)

    assert driver.controller.flow.out("default") == 2
    driver.succeed(driver.order("a"))
    driver.succeed(driver.order("b"))
    assert driver.job(job).state == "succeeded"


def test_a_deadline_holds_for_what_begins_anew_after_it_though_the_clock_was_set_back() -> None:
    driver = Driver()
    steps = {"a": {"call": "work"}, "z": {"call": "clean", "always": True}}
    job = driver.submit(definition(steps, deadline=60.0), {})
    driver.succeed(driver.order("a"))
    driver.wait(60.0)  # what cleans up goes on
    driver.now -= timedelta(hours=1)
    driver.command(rerun(job, "a"))

    driver.wait(3600.0)

    assert driver.job(job).overdue


def test_a_child_job_that_has_cleaned_up_for_its_successor_gives_its_room_in_the_budget_back() -> (
    None
):
    driver = Driver()
    steps = {"work": {"call": "work"}, "tidy": {"call": "tidy", "always": True}}
    child = msgspec.convert({"job": "child", "steps": steps}, JobDefinition)
    top = {"a": {"call": "first"}, "below": {"job": "child", "after": ["a"]}}
    job = driver.submit(definition(top, budget={"steps": 5}), {}, {"child": child})
    driver.succeed(driver.order("a"))
    driver.command(rerun(job, "a"))
    driver.succeed(driver.order("tidy"))

    driver.succeed(driver.order("a"))

    assert driver.job(job).step("below") == "waiting"
    assert len([order for order in driver.orders if order.path == "work"]) == 2


def test_a_job_of_which_a_part_cannot_begin_anew_is_left_as_it_is() -> None:
    driver = Driver()
    steps = {
        "a": {"call": "work", "compensate": "undo"},
        "x": {"call": "x", "after": ["a"]},
    }
    child = msgspec.convert({"job": "child", "steps": steps}, JobDefinition)
    top = {"first": {"call": "first"}, "below": {"job": "child"}}
    job = driver.submit(definition(top, on_failure="continue"), {}, {"child": child})
    driver.fail(driver.order("first"))
    driver.succeed(driver.order("a"))
    driver.fail(driver.order("x"))  # now a is undone
    orders = len(driver.orders)

    refused = driver.command(RetryJob(job=job))

    assert refused is not None
    assert "a above it was undone" in refused
    assert driver.job(job).generation == 1
    assert len(driver.orders) == orders
