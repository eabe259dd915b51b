"""Every attempt of a step is kept with its times, its outcome and what it waited for."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import pytest
from support.histories import REPORT, START, History, finish_report, half_done_report

from warrener.adapters.memory_views import MemoryViewStore
from warrener.domain.events import Error
from warrener.domain.step_events import StepCancelled, StepFailed, StepRetryScheduled
from warrener.domain.timers import TIMEOUT_CODES
from warrener.projections.attempt_views import MESSAGE_CHARACTERS_MAX, AttemptView
from warrener.services.attempt_queries import attempts_of_step, timeline, whole_timeline
from warrener.services.projector import catch_up


def folded(history: History) -> MemoryViewStore:
    views = MemoryViewStore()
    catch_up(history.store, views)
    return views


def attempt_of(history: History, job: UUID, path: str, number: int = 1) -> AttemptView:
    (found,) = (each for each in folded(history).attempts(job, path) if each.attempt == number)
    return found


def begun(path: str = "load") -> tuple[History, UUID]:
    """A job one step of which is out."""
    history = History()
    job = history.submit(REPORT)
    history.advance(job, readied={path: ()})
    history.release(job, path)
    return history, job


def test_an_attempt_has_its_times_and_who_ran_it() -> None:
    history, job = begun()
    ready_at = history.now - timedelta(seconds=1)
    released_at = history.now
    history.begin(job, "load")
    history.now += timedelta(seconds=10)
    started_at = history.now
    history.succeed(job, "load", seconds=2.5)

    found = attempt_of(history, job, "load")

    assert (found.ready_at, found.begun_at) == (ready_at, released_at)
    assert (found.started_at, found.outcome, found.worker) == (started_at, "succeeded", "w1")
    assert (found.endpoint, found.queue) == ("a.b", "default")
    assert found.seconds_ran == 2.5
    assert found.seconds_waited == (started_at - ready_at).total_seconds()


def test_one_that_is_out_has_no_outcome_and_no_end() -> None:
    history, job = begun()
    before = attempt_of(history, job, "load")
    history.begin(job, "load")

    found = attempt_of(history, job, "load")

    assert (before.started_at, before.seconds_waited) == (None, None)
    assert (found.outcome, found.ended_at, found.seconds_ran) == (None, None, None)
    assert found.seconds_waited == 2.0


def test_after_a_failure_the_next_one_is_ready_when_it_is_due() -> None:
    history, job = begun()
    history.retry(job, "load", due=30.0)
    due = history.now + timedelta(seconds=30)
    history.now = due + timedelta(seconds=5)
    history.release(job, "load", attempt=2)

    first, second = folded(history).attempts(job, "load")

    assert (first.outcome, first.due, first.error_code) == ("retry", due, "error")
    assert (second.attempt, second.ready_at, second.outcome) == (2, due, None)


def test_one_that_is_sent_at_once_on_request_was_not_ready_before_that() -> None:
    history, job = begun()
    history.retry(job, "load", due=300.0)
    history.release(job, "load", attempt=2)

    assert attempt_of(history, job, "load", 2).ready_at == history.now


@pytest.mark.parametrize("code", sorted(TIMEOUT_CODES))
@pytest.mark.parametrize("final", [True, False])
def test_whoever_was_silent_for_too_long_timed_out_whether_or_not_another_follows(
    code: str, final: bool
) -> None:
    history, job = begun()
    error = Error(code=code, message="nothing was heard")
    due = history.now + timedelta(seconds=9)
    if final:
        history.step(job, "load", StepFailed, error=error, attempt=1)
    else:
        history.step(job, "load", StepRetryScheduled, error=error, attempt=1, due=due, rule=0)

    found = attempt_of(history, job, "load")

    assert (found.outcome, found.error_code) == ("timed_out", code)
    assert found.due == (None if final else due)


def test_a_parked_attempt_is_over_and_the_next_is_ready_when_a_person_has_answered() -> None:
    history, job = begun()
    request = history.ask(job, "load")
    history.park(job, "load", request)
    parked_at = history.now
    history.now += timedelta(hours=1)
    history.ready_again(job, "load")
    answered_at = history.now
    history.release(job, "load", attempt=2)

    first, second = folded(history).attempts(job, "load")

    assert (first.outcome, first.request, first.ended_at) == ("parked", request, parked_at)
    assert second.ready_at == answered_at


def test_a_request_that_expired_changes_nothing_about_the_parked_attempt() -> None:
    history, job = begun()
    history.park(job, "load", history.ask(job, "load"), patience=5)
    history.fail(job, "load", attempt=1)

    assert attempt_of(history, job, "load").outcome == "parked"


def test_a_cancelled_attempt_and_one_that_failed_for_good() -> None:
    history, job = begun()
    history.step(job, "load", StepCancelled, attempt=1)
    history.release(job, "merge")
    history.fail(job, "merge")

    assert attempt_of(history, job, "load").outcome == "cancelled"
    failed = attempt_of(history, job, "merge")
    assert (failed.outcome, failed.error_message) == ("failed", "broken")


def test_waits_sleeps_sub_jobs_and_fan_outs_are_number_0() -> None:
    history, job, child = half_done_report()
    history.wait_for(job, "merge", "go", until=START + timedelta(days=1))
    history.wait_for(job, "sorry", until=START + timedelta(days=2))
    finish_report(history, job, child)
    views = folded(history)

    found = {path: views.attempts(job, path)[0] for path in ("parts", "sub", "merge", "sorry")}

    assert {path: each.kind for path, each in found.items()} == {
        "parts": "for_each",
        "sub": "job",
        "merge": "wait",
        "sorry": "sleep",
    }
    assert {each.attempt for each in found.values()} == {0}
    assert (found["sub"].child, found["merge"].signal) == (child, "go")
    assert found["sorry"].until == START + timedelta(days=2)
    assert (found["sub"].outcome, found["parts"].outcome) == ("succeeded", "succeeded")
    assert found["sub"].seconds_ran is not None


def test_attempts_of_items_and_of_sub_jobs_know_the_root() -> None:
    history, job, child = half_done_report()
    history.release(child, "load")

    assert attempt_of(history, child, "load").root == job
    assert attempt_of(history, job, "parts[0]").root == job


def test_earlier_generations_are_kept_and_later_ones_say_so() -> None:
    history, job, _ = half_done_report()
    history.rerun(job, ["parts", "merge"])
    history.open_items(job, "parts", count=2, begun=2)
    history.renew(job, "parts[0]")
    history.release(job, "parts[0]", attempt=2)

    first, second = folded(history).attempts(job, "parts[0]")

    assert (first.generation, first.outcome) == (1, "succeeded")
    assert (second.generation, second.outcome) == (2, None)
    assert attempt_of(history, job, "parts", 0).generation == 2


def test_a_long_message_is_cut() -> None:
    history, job = begun()
    error = Error(code="error", message="x" * 2_000)
    history.step(job, "load", StepFailed, error=error, attempt=1)

    assert len(attempt_of(history, job, "load").error_message) == MESSAGE_CHARACTERS_MAX


def test_a_timeline_is_given_page_by_page_and_ends() -> None:
    history, job, child = half_done_report()
    finish_report(history, job, child)
    views = folded(history)

    first = timeline(views, root=job, limit=4)
    second = timeline(views, root=job, after=first.last, limit=4)

    paged = [*first.attempts, *second.attempts]
    assert (len(first.attempts), len(second.attempts), second.last) == (4, 3, None)
    assert paged == list(whole_timeline(views, root=job))
    assert [each.begun_at for each in paged] == sorted(each.begun_at for each in paged)


def test_attempts_of_a_step_are_shaped_for_users() -> None:
    history, job = begun()
    history.succeed(job, "load")

    (found,) = attempts_of_step(folded(history), job, "load")

    assert (found.attempt, found.kind, found.outcome) == (1, "attempt", "succeeded")
    assert found.begun_at == "2026-01-02T03:04:09.000000Z"
    assert found.seconds_ran == 0.5
