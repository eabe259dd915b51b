"""How and why something came to its end: told with its root, now and ever after."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from support.situations import CALL, Estate, Situation, after, check, definition, succeed

from warrener.domain import ids
from warrener.domain.events import GivenStep, Selection
from warrener.domain.messages import CancelJob, RerunJob
from warrener.domain.payloads import Payload
from warrener.services.submission import Part, Source, submission


def rerun(step: str) -> Any:
    def ask(driver: Estate, job: UUID) -> None:
        assert driver.command(RerunJob(job=job, step=step, key="again")) is None

    return ask


def cancel(driver: Estate, job: UUID) -> None:
    assert driver.command(CancelJob(job=job, by="bob", reason="enough")) is None


# --- by what it did ------------------------------------------------------------------------------


def a_success(driver: Estate) -> UUID:
    job = driver.begin({"a": CALL})
    driver.succeed(driver.order("a"))
    return job


def a_failure(driver: Estate) -> UUID:
    job = driver.begin(
        {"a": {**CALL, "retry": [{"max": 2, "first": 1}]}, "b": after("a"), "c": after("b")}
    )
    driver.fail(driver.order("a"), "flaky", "failed")
    driver.wait(1)
    driver.fail(driver.order("a"), "broken")
    return job


def a_caught_failure(driver: Estate) -> UUID:
    steps = {"a": {**CALL, "catch": [{"on": "*", "go": "instead"}]}, "instead": CALL}
    job = driver.begin(steps)
    driver.fail(driver.order("a"), "broken")
    return job


def a_handler_without_a_failure(driver: Estate) -> UUID:
    steps = {
        "a": {**CALL, "catch": [{"on": "*", "go": "instead"}]},
        "instead": CALL,
        "b": after("a"),
    }
    job = driver.begin(steps)
    driver.succeed(driver.order("a"))
    return job


def failed_items(driver: Estate) -> UUID:
    items = {"for_each": [0, 1, 2, 3], "call": "work", "tolerate": 1, "window": 3}
    job = driver.begin({"items": items, "use": after("items")})
    driver.fail(driver.newest("items[1]", job), "broken")
    driver.fail(driver.newest("items[2]", job), "gone")
    return job


def a_failure_far_below(driver: Estate) -> UUID:
    group = {"group": {"fetch": CALL, "store": after("fetch")}}
    steps = {"groups": {"for_each": [0, 1], "job": "group"}, "merge": after("groups")}
    job = driver.begin(steps, library=group)
    driver.fail(driver.newest("fetch", driver.child(job, "groups[1]")), "broken")
    return job


def an_impatient_step(driver: Estate) -> UUID:
    rule = {"expire": 10, "then": "skip"}
    job = driver.begin({"a": {**CALL, "on_user_action": rule}, "b": CALL})
    driver.ask(driver.order("a"))
    driver.wait(10)
    return job


# --- by what others did --------------------------------------------------------------------------


def a_false_condition(driver: Estate) -> UUID:
    job = driver.begin({"a": CALL, "b": after("a", when="${{ steps.a.result > 1 }}"), "c": CALL})
    driver.succeed(driver.order("a"), 1)
    return job


def a_join_that_was_not_met(driver: Estate) -> UUID:
    job = driver.begin({"a": CALL, "b": after("a", join="any_failed"), "c": CALL})
    driver.succeed(driver.order("a"))
    return job


def an_edge_that_was_not_required(driver: Estate) -> UUID:
    steps = {
        "a": CALL,
        "extra": CALL,
        "sum": {**after("a"), "needs": {"extra": {"when": "${{ steps.a.result > 1 }}"}}},
    }
    job = driver.begin(steps)
    driver.succeed(driver.order("a"), 1)
    return job


def a_job_without_need_to_be_undone(driver: Estate) -> UUID:
    job = driver.begin({"a": {**CALL, "compensate": "undo"}})
    driver.succeed(driver.order("a"))
    return job


def a_part_alone(driver: Estate) -> UUID:
    wanted = definition("main", {"a": CALL, "b": after("a"), "c": after("b")})
    source = Source(wanted, {})
    part = Part(Selection("only", "b"), {"a": GivenStep("succeeded", Payload("1"))})
    driver.handle("submit", submission(source, {}, key="part", part=part))
    return ids.job_id("part")


# --- cancelled -----------------------------------------------------------------------------------


def a_cancelled_job(driver: Estate) -> UUID:
    job = driver.begin({"a": CALL, "b": after("a")})
    cancel(driver, job)
    return job


def a_cancelled_job_with_a_child(driver: Estate) -> UUID:
    job = driver.begin({"sub": {"job": "sub"}}, library={"sub": {"a": CALL}})
    cancel(driver, job)
    return job


def a_stop_at_a_failure(driver: Estate) -> UUID:
    job = driver.begin({"a": CALL, "b": CALL, "c": after("b")}, on_failure="stop")
    driver.fail(driver.order("a"), "broken")
    return job


def an_early_decision(driver: Estate) -> UUID:
    job = driver.begin(
        {"a": CALL, "b": CALL, "c": after("a", "b", join="any_ok", cancel_rest=True)}
    )
    driver.succeed(driver.order("a"))
    return job


def a_deadline(driver: Estate) -> UUID:
    job = driver.begin({"a": CALL}, deadline=60)
    driver.wait(60)
    return job


def a_child_of_a_failed_fan_out(driver: Estate) -> UUID:
    steps = {"groups": {"for_each": [0, 1], "job": "group"}, "b": CALL}
    job = driver.begin(steps, library={"group": {"fetch": CALL}})
    driver.fail(driver.newest("fetch", driver.child(job, "groups[0]")), "broken")
    return driver.child(job, "groups[1]")


SITUATIONS = {
    "a success": Situation(
        a_success, "a", "ended",
        ("succeeded at 2030-01-01 00:00:00Z in attempt 1 on worker tester",),
        state="succeeded", release="nothing", change=rerun("a"),
    ),
    "a failure": Situation(
        a_failure, "a", "ended",
        ("failed at 2030-01-01 00:00:01Z in attempt 2 on worker tester with broken",),
        state="failed", release="`warrener rerun` begins it anew", change=rerun("a"),
    ),
    "a failure upstream": Situation(
        a_failure, "c", "ended",
        (
            "was given up at 2030-01-01 00:00:01Z: it needs b; that is b, which was given up at",
            "; that is a, which failed at ",
            " with broken",
        ),
        "a", "upstream_failed", change=rerun("a"),
    ),
    "a job that failed": Situation(
        a_failure, "", "ended",
        ("failed at 2030-01-01 00:00:01Z with broken, because of a, which",),
        "a", "failed", change=rerun("a"),
    ),
    "a failure that is caught": Situation(
        a_caught_failure, "a", "ended", (" with broken; instead answers for it",), state="failed",
    ),
    "a handler that was not called": Situation(
        a_handler_without_a_failure, "instead", "ended",
        ("was not needed: a did not fail in a way that it answers for",), state="not_needed",
    ),
    "a fan-out with too many failures": Situation(
        failed_items, "items", "ended",
        ("with items-failed: 2 of 4 items failed, 1 tolerated", "the last of them items[2], which"),
        "items[2]", "failed", change=rerun("items"),
    ),
    "an item that was in flight then": Situation(
        failed_items, "items[0]", "ended", ("was cancelled at", ": its fan-out items failed"),
        state="cancelled",
    ),
    "an item that had not begun then": Situation(
        failed_items, "items[3]", "ended", ("was cancelled at", ": its fan-out items failed"),
        state="cancelled",
    ),
    "what read the fan-out": Situation(
        failed_items, "use", "ended", ("it needs items; that is items, which failed at",),
        "items[2]", "upstream_failed", change=rerun("items"),
    ),
    "a failure far below": Situation(
        a_failure_far_below, "", "ended",
        ("because of groups, which failed at", "groups[1]/fetch (job ", "tester with broken"),
        "groups[1]/fetch", "failed", change=rerun("groups"),
    ),
    "a step that nobody helped": Situation(
        an_impatient_step, "a", "ended",
        ("was skipped at 2030-01-01 00:00:10Z: nobody answered the user action in time",),
        state="skipped",
    ),
    "a false condition": Situation(
        a_false_condition, "b", "ended", ("its condition ${{ steps.a.result > 1 }} was false",),
        state="skipped", change=rerun("a"),
    ),
    "a join that was not met": Situation(
        a_join_that_was_not_met, "b", "ended", ("its join any_failed was not met by a",),
        state="skipped", change=rerun("a"),
    ),
    "an edge that was not required": Situation(
        an_edge_that_was_not_required, "extra", "ended",
        ("was not needed: sum does not need it, as ${{ steps.a.result > 1 }} was false",),
        state="not_needed",
    ),
    "a compensation without need": Situation(
        a_job_without_need_to_be_undone, "a.compensate", "ended",
        ("was not needed: a succeeded, and only a job that fails or is cancelled is undone",),
        state="not_needed", change=rerun("a"),
    ),
    "a step that was given": Situation(
        a_part_alone, "a", "ended", ("was not run: it was given as succeeded",), state="succeeded",
    ),
    "a step outside of the part that is run": Situation(
        a_part_alone, "c", "ended", ("only a part of the job was run (only b)",),
        state="not_needed",
    ),
    "a cancelled step": Situation(
        a_cancelled_job, "a", "ended",
        ("was cancelled at", ": its job was cancelled at 2030-01-01 00:00:00Z by bob (enough)"),
        state="cancelled", change=rerun("a"),
    ),
    "a step that was cancelled before it began": Situation(
        a_cancelled_job, "b", "ended", ("its job was cancelled at", "by bob (enough)"),
        state="cancelled", change=rerun("a"),
    ),
    "a cancelled job": Situation(
        a_cancelled_job, "", "ended",
        ("was cancelled at 2030-01-01 00:00:00Z by bob (enough); it",),
        state="cancelled", change=rerun("a"),
    ),
    "a step of a child job that was cancelled": Situation(
        a_cancelled_job_with_a_child, "sub/a", "ended",
        ("its job was cancelled, as job ", " above it was, at ", " by bob (enough)"),
        state="cancelled",
    ),
    "a stop at a failure": Situation(
        a_stop_at_a_failure, "b", "ended", ("a failed, and the job stops at a failure",),
        state="cancelled", change=rerun("b"),
    ),
    "an early decision": Situation(
        an_early_decision, "b", "ended", ("c was decided without it and cancels the rest",),
        state="cancelled", change=rerun("b"),
    ),
    "a deadline": Situation(
        a_deadline, "a", "ended", ("its job was not done by its deadline 2030-01-01 00:01:00Z",),
        state="cancelled", change=rerun("a"),
    ),
    "a job that missed its deadline": Situation(
        a_deadline, "", "ended", ("with deadline-exceeded: the job was not done by its deadline",),
        state="failed", change=rerun("a"),
    ),
    "a child job of a failed fan-out": Situation(
        a_child_of_a_failed_fan_out, "", "ended",
        ("was cancelled with step groups[1] of job ", ": its fan-out groups failed"),
        state="cancelled",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SITUATIONS)
def test_how_something_ended_is_told_now_and_ever_after(name: str) -> None:
    check(SITUATIONS[name])


def test_a_step_that_begins_anew_is_told_as_such_and_its_old_end_stays_in_the_past() -> None:
    driver = Estate()
    job = a_failure(driver)
    then = driver.now
    driver.now = then.replace(microsecond=1)

    rerun("a")(driver, job)

    assert driver.why(job, "c").waiting.kind == "dependency"
    assert driver.why(job, "c").waiting.since == "2030-01-01T00:00:01.000001Z"
    assert driver.why(job, "a").state == "released"
    assert driver.why(job, "a", at=then).state == "failed"
    succeed("a")(driver, job)
    assert driver.why(job, "b").state == "released"
