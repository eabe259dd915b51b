"""What is cancelled, undone or waits in the very turn in which it began, and after a restart."""

from __future__ import annotations

from typing import Any

import msgspec
from support.driving import Driver

from warrener.domain.control_events import FleetChanged
from warrener.domain.definition.model import JobDefinition
from warrener.domain.events import JobAdvanced, JobCancelled, JobStarted, JobSubmitted, JobSucceeded
from warrener.domain.ids import FLEET_ID, job_id, step_id
from warrener.domain.messages import CancelJob, SignalJob, WorkerHello
from warrener.domain.step_events import StepFailed
from warrener.services.submission import Source, submission

BLANK: dict[str, Any] = {"job": "blank", "steps": {"a": {"set": {"x": "${{ params.n }}"}}}}


def definition(steps: dict[str, Any], **head: Any) -> JobDefinition:
    return msgspec.convert({"job": "odd", "steps": steps, **head}, JobDefinition)


def test_why_a_job_was_cancelled_is_known_after_a_restart() -> None:
    driver = Driver()
    steps = {"a": {"call": "work"}, "z": {"call": "clean", "always": True}}
    job = driver.submit(definition(steps), {})
    driver.command(CancelJob(job=job, reason="no longer wanted"))
    driver.controller.forget()
    driver.controller.recover([job], driver.now)

    driver.succeed(driver.order("z"))

    last = driver.store.last(job)
    assert last is not None
    assert isinstance(last.event, JobCancelled)
    assert last.event.reason == "no longer wanted"


def test_a_child_job_that_is_undone_in_its_own_turn_is_undone_with_its_input() -> None:
    driver = Driver()
    child = msgspec.convert(BLANK, JobDefinition)
    steps = {
        "a": {"job": "blank", "with": {"n": 7}, "compensate": "undo"},
        "b": {"set": {"x": "${{ params.missing }}"}, "after": ["a"]},
    }

    driver.submit(definition(steps), {}, {"blank": child})

    order = driver.order("a.compensate")
    assert msgspec.json.decode(order.args) == {"input": {"n": 7}, "result": None}


def test_a_sleep_that_is_cancelled_before_it_can_fail_does_not_fail() -> None:
    driver = Driver()
    steps = {
        "a": {"sleep": "${{ params.n }}"},
        "b": {"set": {"x": "${{ params.missing }}"}},
    }

    job = driver.submit(definition(steps, on_failure="stop"), {"n": "no time"})

    assert driver.job(job).steps == {"a": "cancelled", "b": "failed"}
    last = driver.store.last(step_id(job, "a"))
    assert last is not None
    assert not isinstance(last.event, StepFailed)


def test_a_wait_that_a_kept_signal_is_not_for_asks_people() -> None:
    driver = Driver()
    form = {"type": "object"}
    steps = {
        "a": {"call": "work"},
        "b": {"wait": {"for": "yes", "form": form}, "after": ["a"]},
        "c": {"wait": {"for": "yes", "form": form}, "after": ["a"]},
    }
    job = driver.submit(definition(steps), {})
    driver.command(SignalJob(job=job, name="yes", key="1", data=msgspec.Raw(b"{}")))

    driver.succeed(driver.order("a"))

    assert driver.job(job).step("b") == "succeeded"
    assert driver.requests() == [driver.step(job, "c").request]


def test_what_workers_serve_is_recorded_though_the_first_try_met_a_conflict() -> None:
    driver = Driver()
    hello = WorkerHello(worker="w", host="h", pid=1, endpoints=("e",), queues=("q",), slots=2)
    driver.controller.handle([("1", hello)], driver.now)
    driver.controller.forget()

    driver.handle("1", hello)
    driver.controller.forget()
    driver.handle("2")

    events = [recorded.event for recorded in driver.store.stream(FLEET_ID)]
    assert events == [FleetChanged(at=driver.now, cause="fleet", slots={"q": 2}, endpoints=("e",))]


def test_what_an_early_step_did_not_see_is_forgotten_with_its_end() -> None:
    driver = Driver()
    steps = {
        "a": {"call": "work"},
        "b": {"call": "work"},
        "c": {"set": {"x": 1}, "after": ["a", "b"], "join": "any_ok"},
    }
    job = driver.submit(definition(steps), {})

    driver.succeed(driver.order("a"))

    assert driver.controller.memory.jobs[job].job == driver.job(job)


def test_a_submission_that_comes_twice_in_one_turn_gives_one_job_though_that_ends_at_once() -> None:
    driver = Driver()
    message = submission(Source(definition({"a": {"set": {"x": 1}}}), {}), {}, key="key")

    driver.handle("submit", message, message)

    assert [type(each.event) for each in driver.store.stream(job_id("key"))] == [
        JobSubmitted,
        JobStarted,
        JobAdvanced,
        JobSucceeded,
    ]
