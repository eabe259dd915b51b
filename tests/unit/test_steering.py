"""What people do to running jobs: pause, retry, rerun, signals, answers, limits and windows."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
import pytest
from support.driving import START, Driver
from support.steered import definition, paths, raw, restarted, started

from warrener.domain import ids
from warrener.domain.control_events import UserActionReminded, UserActionWithdrawn
from warrener.domain.definition.model import JobDefinition, Rate, RetryRule
from warrener.domain.events import JobSignalled, Recorded
from warrener.domain.messages import (
    AdjustStep,
    AnswerUserAction,
    CancelJob,
    CancelStep,
    ChangeLimit,
    PauseJob,
    RerunJob,
    ResumeJob,
    RetryJob,
    SignalJob,
)
from warrener.domain.ports import Notice
from warrener.domain.step_events import (
    StepParked,
    StepProgressed,
    StepReadied,
    StepReleased,
    StepRenewed,
)
from warrener.domain.topology import CONTROL

CHAIN = {"a": {"call": "a"}, "b": {"call": "b", "with": {"a": "${{ steps.a.result }}"}}}

# --- pause and resume ---------------------------------------------------------------------------


def test_a_paused_job_lets_nothing_out_and_its_running_attempts_finish():
    driver, job = started(CHAIN)

    driver.command(PauseJob(job=job, by="ada", reason="lunch"))
    driver.succeed(driver.order("a"), 1)
    driver.wait(3600)
    assert paths(driver) == ["a"]
    driver.command(ResumeJob(job=job))

    assert paths(driver) == ["a", "b"]


@pytest.mark.parametrize("restart", [False, True])
def test_a_pause_covers_the_jobs_below(restart: bool):
    driver = Driver()
    child = msgspec.convert({"job": "child", "steps": CHAIN}, JobDefinition)
    steps = {"many": {"job": "child", "for_each": [1, 2]}}
    job = driver.submit(definition(steps), {}, {"child": child})
    first, second = driver.orders

    driver.command(PauseJob(job=job))
    driver.succeed(first)
    if restart:
        restarted(driver)
    driver.command(PauseJob(job=second.job))
    driver.succeed(second)
    driver.command(ResumeJob(job=job))
    assert paths(driver) == ["a", "a", "b"]
    driver.command(ResumeJob(job=second.job))

    assert paths(driver) == ["a", "a", "b", "b"]


def test_retries_and_answers_that_fall_due_while_paused_go_out_afterwards():
    driver, job = started({"a": {"call": "a"}, "b": {"call": "b"}})
    driver.fail(driver.order("a"), outcome="failed")
    driver.ask(driver.order("b"))

    driver.command(PauseJob(job=job))
    driver.wait(60)
    driver.command(AnswerUserAction(request=driver.requests()[0]))
    assert len(driver.orders) == 2
    driver.command(ResumeJob(job=job))

    assert sorted(paths(driver)[2:]) == ["a", "b"]


# --- retry --------------------------------------------------------------------------------------


def test_retry_of_a_job_tries_all_that_waits_or_failed_below_it():
    driver = Driver()
    child = msgspec.convert({"job": "child", "steps": {"w": {"call": "w"}}}, JobDefinition)
    steps = {"below": {"job": "child"}, "bad": {"call": "bad"}, "asks": {"call": "asks"}}
    job = driver.submit(definition(steps), {}, {"child": child})
    driver.fail(driver.order("w"), outcome="failed")
    driver.fail(driver.order("bad"))
    driver.ask(driver.order("asks"))
    before = len(driver.orders)

    assert driver.command(RetryJob(job=job, by="ada")) is None

    assert sorted(paths(driver)[before:]) == ["asks", "bad", "w"]
    assert driver.requests() == []  # nobody waits for it any more
    kinds = [type(p.recorded.event) for p in driver.store.read(0, 1000)]
    assert UserActionWithdrawn in kinds


def test_retry_twice_with_the_same_message_tries_once():
    driver, job = started({"a": {"call": "a"}})
    driver.fail(driver.order("a"), outcome="failed")
    retry = RetryJob(job=job, path="a")

    driver.handle("the same", retry)
    driver.fail(driver.order("a"), outcome="failed")
    driver.handle("the same", retry)

    assert len(driver.orders) == 2


def test_a_failed_job_goes_on_from_what_failed_and_keeps_what_succeeded():
    driver, job = started(CHAIN, result="${{ steps.b.result }}")
    driver.succeed(driver.order("a"), "A")
    driver.fail(driver.order("b"))
    assert driver.job(job).state == "failed"

    driver.command(RetryJob(job=job))
    assert driver.job(job).state == "running"
    driver.succeed(driver.order("b"), "B")

    assert paths(driver) == ["a", "b", "b"]
    assert driver.order("b").attempt == 2
    assert msgspec.json.decode(driver.order("b").args) == {"a": "A"}
    state = driver.job(job)
    assert (state.state, state.result.json, state.generation) == ("succeeded", '"B"', 2)
    assert state.totals() == {"succeeded": 2}


# --- rerun --------------------------------------------------------------------------------------


def test_a_rerun_begins_a_new_generation_in_the_same_stream_and_leaves_the_old_events():
    driver, job = started(CHAIN)
    driver.succeed(driver.order("a"), 1)
    driver.succeed(driver.order("b"), 1)
    before = [positioned.recorded for positioned in driver.store.read(0, 1000)]

    driver.command(RerunJob(job=job, step="a", key="again", by="ada", reason="new data"))
    driver.succeed(driver.order("a"), 2)
    driver.succeed(driver.order("b"), 2)

    events = [positioned.recorded for positioned in driver.store.read(0, 1000)]
    assert events[: len(before)] == before
    assert [order.attempt for order in driver.orders] == [1, 1, 2, 2]
    assert msgspec.json.decode(driver.order("b").args) == {"a": 2}
    assert driver.step(job, "a").generation == 2
    assert driver.job(job).totals() == {"succeeded": 2}
    versions = [each.originator_version for each in events if each.originator_id == job]
    assert versions == list(range(1, len(versions) + 1))


def test_a_rerun_starts_new_child_jobs_and_no_longer_counts_the_old_ones():
    driver = Driver()
    child = msgspec.convert({"job": "child", "steps": {"w": {"call": "w"}}}, JobDefinition)
    steps = {
        "many": {"job": "child", "for_each": [1, 2, 3]},
        "end": {"call": "e", "after": ["many"]},
    }
    job = driver.submit(definition(steps), {}, {"child": child})
    for order in list(driver.orders):
        driver.succeed(order)
    driver.fail(driver.order("end"))
    before = driver.job(job).totals()
    old = {order.job for order in driver.orders}

    driver.command(RerunJob(job=job, step="many", key="k"))
    for order in driver.orders[4:]:
        driver.succeed(order)
    driver.succeed(driver.order("end"))

    assert before == {"succeeded": 3 + 3 + 1, "failed": 1}
    assert driver.job(job).totals() == {"succeeded": 3 + 3 + 1 + 1}
    assert {order.job for order in driver.orders[4:7]} & old == set()


def test_a_rerun_of_a_running_job_takes_back_what_runs_below():
    steps = {**CHAIN, "c": {"call": "c", "after": ["a"]}}
    driver, job = started(steps)
    driver.succeed(driver.order("a"), 1)
    driver.succeed(driver.order("c"))
    stale = driver.order("b")

    driver.command(RerunJob(job=job, step="a", key="k"))
    told = [each for each in driver.sent if isinstance(each, Notice) and each.exchange == CONTROL]
    assert msgspec.json.decode(told[-1].body, type=CancelStep).step == stale.step
    driver.succeed(stale, "late")
    assert driver.controller.ignored == 1
    for path in ("a", "b", "c"):
        driver.succeed(driver.order(path))

    assert driver.job(job).state == "succeeded"
    assert driver.job(job).totals() == {"succeeded": 3}


def test_a_rerun_goes_on_after_a_restart():
    driver, job = started(CHAIN)
    driver.succeed(driver.order("a"), 1)
    driver.fail(driver.order("b"))
    driver.command(RerunJob(job=job, step="b", key="k"))

    restarted(driver)
    driver.succeed(driver.order("b"))

    assert driver.job(job).state == "succeeded"


@pytest.mark.parametrize(
    ("message", "said"),
    [
        (lambda job: RerunJob(job=job, step="nope", key="k"), "it has no such step; it has a, b"),
        (lambda job: RerunJob(job=job, step="b", key="k"), "the step has not ended: it is pending"),
        (lambda job: RetryJob(job=job, path="a"), "it is released"),
        (lambda job: RetryJob(job=job), "nothing of it failed or waits for another attempt"),
        (lambda job: AdjustStep(job=job, step="a", window=3), "step a is no fan-out"),
        (lambda job: SignalJob(job=job, name="go", key="k"), "waits for no signal at all"),
        (lambda job: AnswerUserAction(request=job), "there is no user action"),
        (lambda job: PauseJob(job=ids.job_id("other")), "no job"),
    ],
)
def test_what_cannot_be_done_is_refused_with_the_reason(message: Any, said: str):
    driver, job = started(CHAIN)
    head = driver.store.head()

    assert said in (driver.command(message(job)) or "")
    assert driver.store.head() == head


# --- signals and sleeps -------------------------------------------------------------------------

WAITS = {
    "first": {"wait": {"for": "go"}},
    "second": {"wait": {"for": "go"}, "after": ["first"]},
    "slept": {"sleep": "2030-01-02T00:00:00Z"},
}


def test_each_signal_goes_to_one_step_and_an_early_one_is_kept():
    driver, job = started(WAITS, result=["${{ steps.first.result }}", "${{ steps.second.result }}"])
    driver.wait(3600)

    for key, value in (("1", "one"), ("2", "two"), ("2", "again")):
        driver.command(SignalJob(job=job, name="go", data=raw(value), key=key, by="ada"))
    restarted(driver)
    driver.wait(23 * 3600)

    state = driver.job(job)
    assert (state.state, state.result.json) == ("succeeded", '["one","two"]')
    events = [p.recorded.event for p in driver.store.read(0, 1000)]
    assert [e.step for e in events if isinstance(e, JobSignalled)] == ["first", "second"]


def test_a_signal_before_anybody_waits_is_kept_across_a_restart():
    steps = {"a": {"call": "a"}, "w": {"wait": {"for": "go"}, "after": ["a"]}}
    driver, job = started(steps, result="${{ steps.w.result }}")

    driver.command(SignalJob(job=job, name="go", data=raw({"x": 1}), key="1"))
    restarted(driver)
    driver.succeed(driver.order("a"))

    assert driver.job(job).result.json == '{"x":1}'
    assert driver.job(job).signals == {}


FORM = {"type": "object", "required": ["ok"], "properties": {"ok": {"type": "boolean"}}}


def test_a_wait_with_a_form_is_a_user_action_and_takes_only_what_fits():
    driver, job = started({"w": {"wait": {"for": "approval", "form": FORM}}})
    (request,) = driver.requests()

    bad = driver.command(AnswerUserAction(request=request, data=raw({"ok": "yes"})))
    assert "data.ok" in (bad or "")
    assert "data" in (driver.command(SignalJob(job=job, name="approval", key="1")) or "")
    driver.command(AnswerUserAction(request=request, data=raw({"ok": True}), by="ada"))

    assert driver.job(job).state == "succeeded"
    assert driver.requests() == []


def test_a_signal_that_fits_closes_the_request_of_the_wait():
    driver, job = started({"w": {"wait": {"for": "approval", "form": FORM}}})

    driver.command(SignalJob(job=job, name="approval", data=raw({"ok": False}), key="1"))

    assert driver.job(job).state == "succeeded"
    assert driver.requests() == []


@pytest.mark.parametrize(
    ("value", "code"), [("soon", "expression-error"), (None, "expression-error")]
)
def test_a_sleep_that_is_no_time_fails_the_step(value: Any, code: str):
    _driver, job = started({"s": {"sleep": "${{ params.until }}"}}, params={})
    driver2 = Driver()
    job = driver2.submit(definition({"s": {"sleep": "${{ params.until }}"}}), {"until": value})

    assert driver2.job(job).state == "failed"
    assert driver2.job(job).error.code == code


# --- user actions -------------------------------------------------------------------------------


def test_reminders_come_as_often_as_the_most_impatient_step_wants():
    steps = {
        "a": {"call": "a", "on_user_action": {"remind": 100.0}},
        "b": {"call": "b", "on_user_action": {"remind": 40.0}},
    }
    driver, _ = started(steps)
    driver.ask(driver.order("a"))
    driver.wait(90)
    driver.ask(driver.order("b"))
    restarted(driver)

    times = []
    for _ in range(100):
        batch = driver.wait(1)
        reminders = [each for each in batch.events if isinstance(each.event, UserActionReminded)]
        times += [(each.event.at - START).total_seconds() for each in reminders]

    assert times == [130.0, 170.0]  # once when b began to wait, as 90 s had passed; then every 40 s


def test_a_request_is_withdrawn_when_nobody_waits_and_asked_anew_later():
    driver, _ = started({"a": {"call": "a", "on_user_action": {"expire": 10.0, "then": "retry"}}})
    driver.ask(driver.order("a"))
    (first,) = driver.requests()

    driver.wait(10)
    assert driver.requests() == []
    driver.ask(driver.order("a"))

    (second,) = driver.requests()
    assert second != first
    assert "open no longer" in (driver.command(AnswerUserAction(request=first)) or "")


def test_a_form_that_is_no_schema_fails_the_step():
    driver, job = started({"a": {"call": "a"}})

    driver.ask(driver.order("a"), form={"type": "no-such-type"})

    assert (driver.job(job).state, driver.job(job).error.code) == ("failed", "bad-form")


# --- limits and parameters ----------------------------------------------------------------------


def test_slots_are_shared_by_all_jobs_for_each_key():
    limit = {"name": "account", "key": "${{ params.account }}", "slots": 2}
    steps = {"x": {"call": "x", "limits": [limit]}}
    driver = Driver()
    for number, account in enumerate("aaabbb"):
        driver.submit(definition(steps), {"account": account}, key=str(number))
    jobs = [ids.job_id(str(number)) for number in range(6)]

    assert [order.job for order in driver.orders] == [jobs[0], jobs[1], jobs[3], jobs[4]]
    driver.fail(driver.orders[0], outcome="failed")
    assert driver.orders[-1].job == jobs[2]
    driver.wait(60)  # the retry waits for the slot, too
    assert len(driver.orders) == 5
    driver.succeed(driver.orders[1])
    assert driver.orders[-1].job == jobs[0]


def test_slots_are_still_taken_after_a_restart():
    steps = {"x": {"call": "x", "for_each": [1, 2, 3], "limits": [{"name": "l", "slots": 1}]}}
    driver, job = started(steps)

    for _ in range(3):
        restarted(driver)
        assert len([order for order in driver.orders if not ended(driver, order)]) == 1
        driver.succeed(driver.orders[-1])

    assert driver.job(job).state == "succeeded"
    released = [p for p in driver.store.read(0, 1000) if isinstance(p.recorded.event, StepReleased)]
    assert len(released) == 3


def ended(driver: Driver, order: Any) -> bool:
    return driver.step(order.job, order.path).state == "succeeded"


def test_a_rate_holds_across_a_restart():
    limit = {"name": "api", "rate": [1, 10.0], "burst": 2}
    driver, _ = started({"x": {"call": "x", "for_each": list(range(6)), "limits": [limit]}})
    assert len(driver.orders) == 2

    restarted(driver)
    driver.wait(9.9)
    assert len(driver.orders) == 2
    driver.wait(0.1)
    assert len(driver.orders) == 3


def test_a_limit_is_changed_for_all_while_they_wait():
    limit = {"name": "l", "slots": 1}
    driver, _job = started({"x": {"call": "x", "for_each": [1, 2, 3, 4], "limits": [limit]}})

    assert driver.command(ChangeLimit(name="l", slots=3, by="ada")) is None
    assert len(driver.orders) == 3
    head = driver.store.head()
    assert driver.command(ChangeLimit(name="l", slots=3)) is None
    assert driver.store.head() == head  # nothing new
    driver.command(ChangeLimit(name="l"))
    for order in driver.orders[:3]:
        driver.succeed(order)

    assert len(driver.orders) == 4
    assert "more than nothing" in (driver.command(ChangeLimit(name="l", rate=Rate(0, 1))) or "")


def test_a_window_and_the_retry_rules_are_changed_while_a_job_runs():
    driver, job = started({"x": {"call": "x", "for_each": list(range(9)), "window": 2}})

    driver.command(AdjustStep(job=job, step="x", window=5, retry=(RetryRule(max=2),)))
    assert len(driver.orders) == 5
    driver.fail(driver.orders[0], outcome="failed")
    driver.wait(60)
    driver.fail(driver.orders[-1], outcome="failed")

    assert driver.job(job).state == "failed"


def test_progress_is_kept_by_tenths_and_a_beat_of_a_lost_attempt_is_told_so():
    driver, job = started({"a": {"call": "a"}})
    order = driver.order("a")

    for share in (0.01, 0.12, 0.15, 0.19, 0.5, 1.0, 7.0):
        driver.beat(order, share)
    kept = [
        p.recorded.event.progress
        for p in driver.store.read(0, 1000)
        if isinstance(p.recorded.event, StepProgressed)
    ]
    driver.command(CancelJob(job=job))
    told = len(driver.sent)
    driver.beat(order, 0.9)

    assert kept == [0.12, 0.5, 1.0]
    (notice,) = driver.sent[told:]
    assert msgspec.json.decode(notice.body, type=CancelStep).attempt == 1


def test_a_new_generation_of_a_step_that_never_began_has_no_event_of_its_own():
    steps = {"a": {"call": "a"}, "b": {"call": "b", "after": ["a"]}}
    driver, job = started(steps)
    driver.fail(driver.order("a"))

    driver.command(RetryJob(job=job, path="a"))
    driver.succeed(driver.order("a"))

    renewed = [p for p in driver.store.read(0, 1000) if isinstance(p.recorded.event, StepRenewed)]
    assert [p.recorded.event.path for p in renewed] == ["a"]
    readied = [p for p in driver.store.read(0, 1000) if isinstance(p.recorded.event, StepReadied)]
    assert readied == []
    assert driver.now - START == timedelta(0)


def test_a_step_that_joined_a_request_which_another_had_answered_goes_on_with_the_answer():
    driver, job = started({"a": {"call": "a"}, "b": {"call": "b"}})
    driver.ask(driver.order("a"))
    other = Driver(driver.store)
    other.controller.recover([job], other.now)
    other.command(AnswerUserAction(request=driver.requests()[0], data=raw("yes"), by="ada"))
    asking = driver.order("b")

    driver.store.commit(joined(driver, asking), {})  # not knowing of the answer
    restarted(driver)

    assert driver.order("b").attempt == 2
    assert driver.order("b").context["answer"] == "yes"
    assert driver.controller.memory.orphans == []


def joined(driver: Driver, order: Any) -> list[Recorded]:
    """Return what a controller records that has a step join its open request."""
    step = driver.step(order.job, order.path)
    parked = StepParked(
        at=driver.now,
        cause="test",
        job=order.job,
        path=order.path,
        attempt=order.attempt,
        request=driver.requests()[0],
    )
    return [Recorded(step.id, step.version + 1, parked)]
