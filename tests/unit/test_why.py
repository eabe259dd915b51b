"""Why nothing happens: each cause told with its root, now and ever after."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import msgspec
import pytest
from support.driving import START
from support.situations import CALL, Estate, Situation, after, check, request_of, succeed

from warrener.domain.messages import (
    AnswerUserAction,
    CancelJob,
    ChangeLimit,
    PauseJob,
    ResumeJob,
    RetryJob,
    SignalJob,
)

TRUE = msgspec.Raw(b"true")


# --- pending -------------------------------------------------------------------------------------


def a_step_after_another(driver: Estate) -> UUID:
    return driver.begin({"a": CALL, "b": after("a")})


def a_chain(driver: Estate) -> UUID:
    job = driver.begin({"a": CALL, "b": after("a"), "c": after("b"), "d": after("c")})
    driver.fail(driver.order("a"), outcome="failed")
    return job


def groups(driver: Estate) -> UUID:
    steps = {
        "groups": {"for_each": [0, 1, 2], "job": "group"},
        "merge": after("groups"),
        "publish": after("merge"),
    }
    job = driver.begin(steps, library={"group": {"fetch": CALL, "store": after("fetch")}})
    order = driver.newest("fetch", driver.child(job, "groups[1]"))
    driver.ask(order, "reconnect-facebook", "facebook:page", message="Reconnect the page")
    return job


def answer_groups(driver: Estate, job: UUID) -> None:
    request = request_of(driver, driver.child(job, "groups[1]"), "fetch")
    assert driver.command(AnswerUserAction(request=request, data=TRUE)) is None


def an_undecided_edge(driver: Estate) -> UUID:
    steps = {
        "a": CALL,
        "extra": CALL,
        "sum": {
            **after("a"),
            "with": {"extra": "${{ steps.extra.result }}"},
            "needs": {"extra": {"when": "${{ steps.a.result == 1 }}"}},
        },
    }
    return driver.begin(steps)


def a_handler(driver: Estate) -> UUID:
    steps = {
        "a": {**CALL, "catch": [{"on": "*", "go": "instead"}]},
        "instead": CALL,
        "b": after("a"),
    }
    return driver.begin(steps)


def a_failure_that_is_caught(driver: Estate) -> UUID:
    job = a_handler(driver)
    driver.fail(driver.order("a"))
    return job


def a_clean_up(driver: Estate) -> UUID:
    return driver.begin({"a": CALL, "b": after("a"), "tidy": {**CALL, "always": True}})


def a_compensation(driver: Estate) -> UUID:
    return driver.begin({"a": {**CALL, "compensate": "undo"}, "b": after("a")})


def a_compensation_in_its_turn(driver: Estate) -> UUID:
    steps = {
        "a": {**CALL, "compensate": "undo"},
        "b": after("a", compensate="undo"),
        "c": after("b"),
    }
    job = driver.begin(steps)
    driver.succeed(driver.order("a"))
    driver.succeed(driver.order("b"))
    driver.fail(driver.order("c"))
    return job


def a_small_window(driver: Estate) -> UUID:
    return driver.begin({"items": {"for_each": [0, 1, 2, 3], "call": "work", "window": 2}})


# --- ready ---------------------------------------------------------------------------------------


def a_pause(driver: Estate) -> UUID:
    job = driver.begin({"a": CALL, "b": after("a")})
    driver.command(PauseJob(job=job, by="ann", reason="a bad day"))
    driver.succeed(driver.order("a"))
    return job


def a_pause_above(driver: Estate) -> UUID:
    job = driver.begin({"sub": {"job": "sub"}}, library={"sub": {"a": CALL, "b": after("a")}})
    driver.command(PauseJob(job=job, by="ann"))
    driver.succeed(driver.order("a"))
    return job


def resume(driver: Estate, job: UUID) -> None:
    assert driver.command(ResumeJob(job=job)) is None


def a_full_limit(driver: Estate) -> UUID:
    limits = [{"name": "api", "key": "eu", "slots": 1}]
    driver.begin({"first": {**CALL, "limits": limits}}, key="other")
    return driver.begin({"a": {**CALL, "limits": limits}})


def a_limit_of_none(driver: Estate) -> UUID:
    driver.command(ChangeLimit(name="api", slots=0, by="ann"))
    return driver.begin({"a": {**CALL, "limits": [{"name": "api", "slots": 5}]}})


def a_rate(driver: Estate) -> UUID:
    limits = [{"name": "api", "rate": [1, 10]}]
    job = driver.begin({"a": {**CALL, "limits": limits}, "b": {**CALL, "limits": limits}})
    driver.now = START.replace(second=4)
    return job


def a_full_window(driver: Estate) -> UUID:
    driver.hire(slots=1)
    return driver.begin({"items": {"for_each": [0, 1, 2], "call": "work"}})


def an_unserved_queue(driver: Estate) -> UUID:
    driver.hire(queue="other")
    return driver.begin({"a": CALL, "b": CALL})


def an_unknown_endpoint(driver: Estate) -> UUID:
    driver.hire(endpoint="other")
    return driver.begin({"items": {"for_each": [0, 1, 2], "call": "work"}})


def an_answer_that_meets_a_limit(driver: Estate) -> UUID:
    limits = [{"name": "api", "slots": 1}]
    job = driver.begin({"a": {**CALL, "limits": limits}, "b": {**CALL, "limits": limits}})
    driver.ask(driver.order("a"))
    driver.command(AnswerUserAction(request=request_of(driver, job, "a"), data=TRUE))
    return job


# --- out -----------------------------------------------------------------------------------------


def a_retry(driver: Estate) -> UUID:
    retry = [{"on": "throttled", "first": 60, "jitter": "none"}]
    job = driver.begin({"a": {**CALL, "retry": retry, "timeout": {"total": 3600}}})
    driver.fail(driver.order("a"), "throttled", "failed")
    return job


def a_paused_retry(driver: Estate) -> UUID:
    job = a_retry(driver)
    driver.command(PauseJob(job=job, by="ann"))
    return job


def a_retry_that_a_limit_holds_back(driver: Estate) -> UUID:
    limits = [{"name": "api", "slots": 1}]
    retry = [{"first": 5, "jitter": "none"}]
    steps = {"a": {**CALL, "limits": limits, "retry": retry}, "b": {**CALL, "limits": limits}}
    job = driver.begin(steps)
    driver.fail(driver.order("a"), outcome="failed")
    driver.wait(10)
    return job


def an_order(driver: Estate) -> UUID:
    return driver.begin({"a": {**CALL, "timeout": {"queue": 30, "total": 90}}})


def an_order_nobody_takes(driver: Estate) -> UUID:
    driver.hire(queue="other")
    return driver.begin({"a": CALL})


def an_attempt(driver: Estate) -> UUID:
    job = driver.begin({"a": {**CALL, "timeout": {"run": 60, "beat": 20}}})
    driver.wait(2)
    driver.beat(driver.order("a"))
    driver.wait(3)
    driver.beat(driver.order("a"), 0.4)
    return job


def an_attempt_of_yesterday(driver: Estate) -> UUID:
    job = an_attempt(driver)
    driver.now = START.replace(minute=5)
    return job


def a_question(driver: Estate) -> UUID:
    rule = {"expire": 100, "then": "skip"}
    job = driver.begin({"a": {**CALL, "on_user_action": rule}, "b": after("a")})
    driver.ask(driver.order("a"), "log-in", "account:7", message="Log in again")
    return job


def a_signal(driver: Estate) -> UUID:
    steps = {
        "gate": {"wait": {"for": "go", "expire": 50}},
        "late": {"wait": {"for": "stop"}, "after": ["gate"]},
    }
    job = driver.begin(steps)
    driver.command(SignalJob(job=job, name="stop", key="k"))
    return job


def send(name: str) -> Any:
    return lambda driver, job: driver.command(SignalJob(job=job, name=name, data=TRUE, key="x"))


def an_approval(driver: Estate) -> UUID:
    return driver.begin({"gate": {"wait": {"for": "approval", "form": {"type": "boolean"}}}})


def a_sleep(driver: Estate) -> UUID:
    return driver.begin({"nap": {"sleep": "90s"}})


def a_child(driver: Estate) -> UUID:
    return driver.begin({"sub": {"job": "sub"}}, library={"sub": {"a": CALL}})


def cancel(driver: Estate, job: UUID) -> None:
    assert driver.command(CancelJob(job=job, by="bob", reason="enough")) is None


def a_child_that_cleans_up(driver: Estate) -> UUID:
    tidy = {"a": CALL, "tidy": {"call": "tidy", "always": True}}
    job = driver.begin({"sub": {"job": "sub"}}, library={"sub": tidy})
    cancel(driver, job)
    return job


def a_cancelled_job_that_is_undone(driver: Estate) -> UUID:
    job = driver.begin({"a": {**CALL, "compensate": "undo"}, "b": after("a")})
    driver.succeed(driver.order("a"))
    cancel(driver, job)
    return job


def a_job_past_its_deadline(driver: Estate) -> UUID:
    job = driver.begin({"a": CALL, "tidy": {"call": "tidy", "always": True}}, deadline=60)
    driver.wait(60)
    return job


def much_at_once(driver: Estate) -> UUID:
    job = driver.begin(
        {
            "a": CALL,
            "b": {**CALL, "retry": [{"first": 60}]},
            "c": {"wait": {"for": "go"}},
            "d": {"sleep": 5},
        }
    )
    driver.fail(driver.order("b"), outcome="failed")
    return job


SITUATIONS = {
    # pending
    "a dependency": Situation(
        a_step_after_another, "b", "dependency", ("waits for a, which waits for a worker",), "a",
        change=succeed("a"),
    ),
    "a chain of them": Situation(
        a_chain, "d", "dependency",
        ("waits for c, which waits for b, which waits for a, which waits for its next attempt",),
        "a", change=lambda driver, _: driver.wait(60),
    ),
    "a person, through sub-jobs": Situation(
        groups, "publish", "dependency",
        (
            "waits for merge, which waits for groups[1]/fetch (job ",
            "which waits for the answer to user action reconnect-facebook (cause facebook:page)",
            ": Reconnect the page",
        ),
        "fetch", release="warrener answer ", change=answer_groups,
    ),
    "the demand of its readers": Situation(
        an_undecided_edge, "extra", "dependency",
        ("until ${{ steps.a.result == 1 }} tells whether sum needs it, and so for a, which",), "a",
        change=succeed("a", 2),
    ),
    "what its own edges depend on": Situation(
        an_undecided_edge, "sum", "dependency", ("waits for a, which waits for a worker",), "a",
        change=succeed("a", 1),
    ),
    "a failure that it would answer for": Situation(
        a_handler, "instead", "dependency",
        ("runs only in place of a, if that fails: waits for a",), "a", change=succeed("a"),
    ),
    "who answers for a failure": Situation(
        a_failure_that_is_caught, "b", "dependency",
        ("waits for instead, which waits for a worker",), "instead", change=succeed("instead"),
    ),
    "everything else, as a clean-up": Situation(
        a_clean_up, "tidy", "dependency",
        ("runs at the end, once all else has ended: waits for a",), "a",
        change=lambda driver, _: driver.fail(driver.order("a")),
    ),
    "the end of the job, as a compensation": Situation(
        a_compensation, "a.compensate", "dependency", ("undoes a if the job fails", "waits for a"),
        "a", change=succeed("a"),
    ),
    "the compensation before it": Situation(
        a_compensation_in_its_turn, "a.compensate", "dependency",
        ("the latest first: waits for b.compensate, which waits for a worker",), "b.compensate",
        change=succeed("b.compensate"),
    ),
    "the window of its fan-out": Situation(
        a_small_window, "items[3]", "window",
        ("waits for its turn (items[0] and items[1] in flight, 2 at most): for items[0], which",),
        "items[0]", state="pending",
        change=lambda driver, job: [succeed(f"items[{n}]")(driver, job) for n in (0, 1)],
    ),
    # ready
    "a pause": Situation(
        a_pause, "b", "paused", ("its job was paused at 2030-01-01 00:00:00Z by ann (a bad day)",),
        "", "ready", "warrener resume ", change=resume,
    ),
    "a pause of a job above": Situation(
        a_pause_above, "sub/b", "paused", ("is held back: job ", " above it was paused", "by ann"),
        "", "ready", change=resume,
    ),
    "a slot of a limit": Situation(
        a_full_limit, "a", "limit",
        ("waits for a slot: limit api [eu] has 1 of 1 slots taken: ", "/first (released)"),
        "first", "ready",
        change=lambda driver, _: driver.succeed(driver.order("first")),
    ),
    "a limit without slots": Situation(
        a_limit_of_none, "a", "limit", ("limit api, as set at 2030-01-01 00:00:00Z by ann,",),
        state="ready", release="warrener limits api",
        change=lambda driver, _: driver.command(ChangeLimit(name="api", slots=1)),
    ),
    "a token": Situation(
        a_rate, "b", "rate", ("waits for a token: limit api lets 1 in 10 s go out, the next at",),
        state="ready", until=10, change=lambda driver, _: driver.wait(10),
    ),
    "the release window of its queue": Situation(
        a_full_window, "items[2]", "window", ("2 orders are out in queue default for 1 slots: ",),
        "items[1]", "ready", change=succeed("items[0]"), fleet=True,
    ),
    "a worker for its queue": Situation(
        an_unserved_queue, "b", "worker",
        ("waits for a worker: no worker serves the queue default", "1 order is out before it"),
        "a", "ready", "warrener worker --queues default",
        change=lambda driver, _: driver.hire(), fleet=True,
    ),
    "a worker that knows its endpoint": Situation(
        an_unknown_endpoint, "items[2]", "worker", ("no worker knows the endpoint work",),
        "items[1]", "ready", change=succeed("items[0]"), fleet=True,
    ),
    "a limit, after an answer": Situation(
        an_answer_that_meets_a_limit, "a", "limit", ("1 of 1 slots taken", "/b (released)"), "b",
        "ready", change=succeed("b"),
    ),
    # begun
    "its next attempt": Situation(
        a_retry, "a", "retry",
        ("due at 2030-01-01 00:01:00Z: attempt 1 failed with throttled",), state="retrying",
        until=60, change=lambda driver, job: driver.command(RetryJob(job=job, path="a")),
    ),
    "its next attempt and a pause": Situation(
        a_paused_retry, "a", "paused", ("by ann; its next attempt is due at",), "", "retrying",
        change=resume,
    ),
    "a slot for an attempt that is due": Situation(
        a_retry_that_a_limit_holds_back, "a", "limit", ("1 of 1 slots taken",), "b", "retrying",
        change=succeed("b"),
    ),
    "a sign of its order": Situation(
        an_order, "a", "worker",
        (
            "attempt 1 has been with queue default since 2030-01-01 00:00:00Z",
            "queue timeout at 2030-01-01 00:00:30Z and total timeout at 2030-01-01 00:01:30Z",
        ),
        state="released", until=30, change=lambda driver, _: driver.beat(driver.order("a")),
    ),
    "a worker for its order": Situation(
        an_order_nobody_takes, "a", "worker", ("and no worker serves the queue default",),
        state="released", release="warrener worker", change=lambda driver, _: driver.hire(),
        fleet=True,
    ),
    "its worker": Situation(
        an_attempt, "a", "worker",
        (
            "runs: attempt 1 on worker tester since 2030-01-01 00:00:02Z",
            "40% done at 2030-01-01 00:00:05Z; run timeout at 2030-01-01 00:01:02Z",
            "beat timeout 20 s after the last sign of life",
        ),
        state="running", until=62, change=succeed("a"),
    ),
    "the reactor, as its time is over": Situation(
        an_attempt_of_yesterday, "a", "reactor",
        (
            "is overdue: its run timeout has ended at 2030-01-01 00:01:02Z",
            "the log has been silent since 2030-01-01 00:00:05Z",
        ),
        state="running", change=lambda driver, _: driver.wait(0),
    ),
    "a person": Situation(
        a_question, "a", "user-action",
        ("user action log-in (cause account:7): Log in again", "it will skip without"), "a",
        "waiting_user", "warrener answer ", 100, change=lambda driver, _: driver.wait(100),
    ),
    "a signal": Situation(
        a_signal, "gate", "signal",
        ("waits for signal go until 2030-01-01 00:00:50Z; kept for others: stop",),
        state="waiting", release="warrener signal ", until=50, change=send("go"),
    ),
    "an approval": Situation(
        an_approval, "gate", "signal", ("signal approval, or the answer to user action approval",),
        "gate", "waiting", "or: warrener answer", change=send("approval"),
    ),
    "a time": Situation(
        a_sleep, "nap", "timer", ("sleeps until 2030-01-01 00:01:30Z",), state="waiting", until=90,
        change=lambda driver, _: driver.wait(90),
    ),
    "a child job": Situation(
        a_child, "sub", "children", ("waits for its child job ", ": for sub/a (job ", "a worker"),
        "sub/a", "waiting", change=lambda driver, _: driver.succeed(driver.order("a")),
    ),
    "items of a fan-out": Situation(
        groups, "groups", "children", ("waits for 3 of 3 items (3 waiting): for groups[1]/fetch",),
        "fetch", "waiting", change=answer_groups,
    ),
    # jobs
    "a job: its most telling cause": Situation(
        much_at_once, "", "signal", ("waits for c, which waits for signal go",), "c", "running",
        change=send("go"),
    ),
    "a job: a person far below": Situation(
        groups, "", "user-action", ("waits for groups[1]/fetch (job ",), "fetch", "running",
        change=answer_groups,
    ),
    "a paused job": Situation(
        a_pause, "", "paused", ("was paused at 2030-01-01 00:00:00Z by ann",), None, "paused",
        change=resume,
    ),
    "a cancelled job: a child that cleans up": Situation(
        a_child_that_cleans_up, "", "worker",
        ("is being cancelled, as was asked at ", " by bob (enough), and waits for sub/tidy (job ",),
        "sub/tidy", "cancelling", change=lambda driver, _: driver.succeed(driver.order("tidy")),
    ),
    "a cancelled job: what undoes it": Situation(
        a_cancelled_job_that_is_undone, "", "worker", ("and waits for a.compensate, which",),
        "a.compensate", "cancelling", change=succeed("a.compensate"),
    ),
    "a job past its deadline": Situation(
        a_job_past_its_deadline, "", "worker",
        ("has passed its deadline 2030-01-01 00:01:00Z and waits for tidy",), "tidy", "running",
        change=succeed("tidy"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SITUATIONS)
def test_what_is_waited_for_is_told_now_and_ever_after(name: str) -> None:
    check(SITUATIONS[name])
