"""Steering at its edges: hostile messages, repeated commands, deep trees, what was given."""

from __future__ import annotations

import msgspec
import pytest
from support.driving import Driver
from support.steered import definition, paths, raw, restarted, started

from warrener.domain import ids
from warrener.domain.definition.model import JobDefinition, Rate, RetryRule
from warrener.domain.events import GivenStep, JobRerun, Selection
from warrener.domain.messages import (
    AdjustStep,
    AnswerUserAction,
    CancelJob,
    ChangeLimit,
    RerunJob,
    RetryJob,
    SignalJob,
)
from warrener.domain.payloads import Payload
from warrener.domain.ports import Notice
from warrener.services.submission import Part, Source, submission


def test_a_path_or_a_limit_that_makes_no_sense_stops_nobody():
    limit = {"name": "l", "slots": 1}
    driver, job = started({"x": {"call": "x", "for_each": [1, 2, 3], "limits": [limit]}})

    for path in ("a[b]", "]", "[1]", "x[" + "9" * 50 + "]"):
        assert "no such step" in (driver.command(RetryJob(job=job, path=path)) or "")
    for rate in (Rate(1, 1e13), Rate(1e-300, 60), Rate(1, 0)):
        driver.command(ChangeLimit(name="l", rate=rate))
        driver.controller.next_due(driver.now)
        driver.handle("")
    assert len(driver.orders) == 1


def test_a_forged_beat_stops_no_attempt():
    driver, _ = started({"a": {"call": "a"}})
    order = msgspec.structs.replace(driver.order("a"), token="forged")
    told = len(driver.sent)

    driver.beat(order)

    assert driver.sent[told:] == []
    assert driver.controller.ignored == 1


def test_a_deep_tree_is_cancelled_without_recursion():
    child = msgspec.convert(
        {
            "job": "deep",
            "budget": {"depth": 400},
            "params": {"properties": {"n": {"type": "integer"}}},
            "steps": {
                "down": {
                    "job": "deep",
                    "with": {"n": "${{ params.n - 1 }}"},
                    "when": "${{ params.n > 0 }}",
                },
                "leaf": {"call": "leaf", "when": "${{ params.n == 0 }}"},
            },
        },
        JobDefinition,
    )
    driver = Driver()
    job = driver.submit(child, {"n": 300}, {"deep": child})

    assert driver.command(CancelJob(job=job)) is None

    assert driver.job(job).state == "cancelled"
    assert driver.controller.memory.jobs == {}


def test_a_wait_keeps_its_request_to_itself():
    steps = {"w": {"wait": {"for": "go", "form": {"type": "integer"}}}, "a": {"call": "a"}}
    driver, job = started(steps)
    (own,) = driver.requests()

    driver.ask(driver.order("a"), cause=f"{job}/w", form={"type": "string"})

    assert len(driver.requests()) == 2
    (other,) = set(driver.requests()) - {own}
    driver.command(AnswerUserAction(request=other, data=raw("evil")))
    assert driver.step(job, "w").state == "waiting"


def test_a_kept_signal_goes_to_the_first_step_whose_form_it_fits():
    steps = {
        "a": {"call": "a"},
        "one": {"wait": {"for": "go", "form": {"type": "string"}}, "after": ["a"]},
        "two": {"wait": {"for": "go", "form": {"type": "integer"}}, "after": ["a"]},
    }
    driver, job = started(steps)

    driver.command(SignalJob(job=job, name="go", data=raw(7), key="1"))
    driver.succeed(driver.order("a"))

    assert driver.step(job, "one").state == "waiting"
    assert driver.step(job, "two").state == "succeeded"
    assert len(driver.requests()) == 1  # of the one that still waits


@pytest.mark.parametrize("kind", ["answer", "signal", "retry"])
def test_a_command_that_comes_again_after_a_crash_is_answered_as_the_first_time(kind: str):
    driver, job = started({"a": {"call": "a"}, "w": {"wait": {"for": "go"}}})
    driver.ask(driver.order("a"))
    messages = {
        "answer": AnswerUserAction(request=driver.requests()[0], data=raw("yes")),
        "signal": SignalJob(job=job, name="go", key="k"),
        "retry": RetryJob(job=job),
    }
    driver.handle("the command", messages[kind])
    if kind == "signal":
        driver.command(AnswerUserAction(request=driver.requests()[0]))
        driver.succeed(driver.order("a"))
        assert driver.job(job).state == "succeeded"
    restarted(driver)
    head = driver.store.head()

    again = driver.handle("the command", messages[kind])

    assert again.refused == []
    assert driver.store.head() == head


def test_what_was_given_is_begun_anew_by_a_rerun_and_never_undone():
    steps = {
        "a": {"call": "a", "compensate": "undo"},
        "b": {"call": "b", "with": {"v": "${{ steps.a.result }}"}},
    }
    source = Source(definition(steps))
    part = Part(Selection("downstream", "b"), {"a": GivenStep("succeeded", Payload('"OLD"'))})
    driver = Driver()
    driver.handle("s", submission(source, {}, key="key", part=part))
    job = ids.job_id("key")
    driver.fail(driver.order("b"))
    assert paths(driver) == ["b"]  # a is not undone: this job never did it

    driver.command(RerunJob(job=job, step="a", key="k"))
    driver.succeed(driver.order("a"), "NEW")
    restarted(driver)
    driver.fail(driver.order("b"), outcome="failed")
    driver.wait(60)

    assert msgspec.json.decode(driver.order("b").args) == {"v": "NEW"}


@pytest.mark.parametrize("how", ["cancel", "deadline", "stop"])
def test_a_rerun_of_a_stopped_job_takes_up_all_that_was_stopped(how: str):
    head = {"deadline": {"deadline": 10.0}, "stop": {"on_failure": "stop"}}.get(how, {})
    driver, job = started({"a": {"call": "a"}, "b": {"call": "b"}}, **head)
    if how == "cancel":
        driver.command(CancelJob(job=job))
    elif how == "stop":
        driver.fail(driver.order("a"))
    else:
        driver.wait(10)

    driver.command(RerunJob(job=job, step="a", key="k"))

    assert sorted(paths(driver)[2:]) == ["a", "b"]


def test_the_total_time_of_a_sub_job_ends_it_and_what_is_below():
    child = msgspec.convert({"job": "child", "steps": {"w": {"call": "w"}}}, JobDefinition)
    driver = Driver()
    steps = {"below": {"job": "child", "timeout": {"total": 10.0}}}
    job = driver.submit(definition(steps), {}, {"child": child})

    driver.wait(10)

    assert (driver.job(job).state, driver.job(job).error.code) == ("failed", "total-timeout")
    assert driver.controller.memory.steps == {}


def test_changed_retry_rules_count_anew_and_are_checked():
    driver, job = started({"a": {"call": "a", "retry": [{"on": "throttled"}]}})
    for _ in range(6):
        driver.fail(driver.order("a"), "throttled", outcome="failed")
        driver.wait(3600)

    for bad in (RetryRule(max=-5), RetryRule(factor=-3.0), RetryRule(on="x" * 5_000)):
        assert driver.command(AdjustStep(job=job, step="a", retry=(bad,))) is not None
    driver.command(AdjustStep(job=job, step="a", retry=(RetryRule(max=4),)))
    driver.fail(driver.order("a"), "broken", outcome="failed")

    assert driver.step(job, "a").state == "retrying"


def test_reminders_go_on_when_the_job_that_asked_first_has_ended():
    steps = {"a": {"call": "a", "on_user_action": {"remind": 10.0}}}
    driver = Driver()
    first = driver.submit(definition(steps), {}, key="1")
    driver.submit(definition(steps), {}, key="2")
    for order in list(driver.orders):
        driver.ask(order)
    driver.command(CancelJob(job=first))
    told = len(driver.sent)

    driver.wait(10)

    keys = [each.routing_key for each in driver.sent[told:] if isinstance(each, Notice)]
    assert keys == ["user_action.reminded"]


def test_fewer_failures_than_there_are_cannot_be_tolerated_afterwards():
    driver, job = started({"x": {"call": "x", "for_each": [1, 2, 3], "tolerate": 2}})
    driver.fail(driver.orders[0])

    said = driver.command(AdjustStep(job=job, step="x", tolerated=0))

    assert "1 items of x have failed already" in (said or "")


def test_reruns_do_not_use_up_the_budget():
    steps = {"x": {"call": "x", "for_each": [1, 2, 3, 4, 5]}}
    driver, job = started(steps, budget={"steps": 8})

    for turn in range(4):
        for order in driver.orders[5 * turn :]:
            driver.succeed(order)
        assert driver.job(job).state == "succeeded"
        driver.command(RerunJob(job=job, step="x", key=f"k{turn}"))


def test_retry_reaches_what_failed_below_and_says_why():
    child = msgspec.convert(
        {"job": "child", "steps": {"w": {"call": "w"}, "other": {"call": "o"}}}, JobDefinition
    )
    driver = Driver()
    job = driver.submit(definition({"below": {"job": "child"}}), {}, {"child": child})
    driver.fail(driver.order("w"))

    assert driver.command(RetryJob(job=job, by="ada", reason="mended")) is None

    assert driver.order("w").attempt == 2
    (rerun,) = [p.recorded.event for p in driver.store.read(0, 1000) if isinstance(p.recorded.event, JobRerun)]  # noqa: E501  # fmt: skip
    assert (rerun.by, rerun.reason) == ("ada", "mended")


def test_clean_up_has_no_deadline_and_is_not_stopped_by_one():
    steps = {"a": {"call": "a"}, "clean": {"call": "clean", "always": True}}
    driver, job = started(steps, deadline=100.0)
    assert driver.order("a").deadline is not None
    driver.succeed(driver.order("a"))
    assert driver.order("clean").deadline is None

    driver.wait(200)
    driver.succeed(driver.order("clean"))

    assert driver.job(job).state == "succeeded"


def test_many_steps_that_join_a_request_need_one_timer():
    steps = {
        "x": {
            "call": "x",
            "for_each": "${{ params.n }}",
            "on_user_action": {"remind": 10.0},
        }
    }
    driver = Driver()
    driver.submit(definition(steps, budget={"steps": 20_000}), {"n": list(range(900))})
    for order in list(driver.orders):
        driver.ask(order)

    assert len(driver.controller.memory.requests.open) == 1
    assert len(driver.controller.memory._timers) <= 2
