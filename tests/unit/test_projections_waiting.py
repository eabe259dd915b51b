"""The read models of waiting, steering and new generations, as folds of hand-written histories."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

import msgspec
from support.histories import REPORT, TICK, History, definition, finish_report, half_done_report

from warrener.adapters.memory_views import MemoryViewStore
from warrener.domain.definition.model import Rate, RetryRule
from warrener.domain.payloads import NULL, Payload
from warrener.domain.step_events import StepCancelled
from warrener.projections.control_views import ACTIONS, LIMITS, ActionView
from warrener.projections.views import JOBS, SIGNALS_NAMED_MAX, STEPS, JobView, Steered, StepView
from warrener.services.projector import catch_up

UNDOABLE = definition(
    "undoable",
    book={"call": "a.book", "compensate": "a.cancel"},
    tidy={"call": "a.tidy", "always": True},
)


def folded(history: History) -> MemoryViewStore:
    views = MemoryViewStore()
    catch_up(history.store, views)
    return views


def job_view(history: History, job: UUID) -> JobView:
    return folded(history).load({JOBS: [job]})[JOBS][job]


def step_view(history: History, job: UUID, path: str) -> StepView:
    return folded(history).load({STEPS: [(job, path)]})[STEPS][(job, path)]


def action_view(history: History, request: UUID) -> ActionView:
    return folded(history).load({ACTIONS: [request]})[ACTIONS][request]


def one_step(**more: Any) -> tuple[History, UUID]:
    history = History()
    job = history.submit(definition(), **more)
    history.start(job)
    return history, job


# --- steps ----------------------------------------------------------------------------------------


def test_progress_is_that_of_the_attempt_that_runs() -> None:
    history, job = one_step()
    history.release(job, "only")
    history.begin(job, "only")
    history.progress(job, "only", 0.4, "40 of 100")
    running = step_view(history, job, "only")
    history.retry(job, "only")
    history.release(job, "only", attempt=2)

    again = step_view(history, job, "only")

    assert (running.state, running.progress, running.note) == ("running", 0.4, "40 of 100")
    assert (again.progress, again.note) == (None, None)


def test_a_parked_step_names_its_request_until_it_may_go_out_again() -> None:
    history, job = one_step()
    history.release(job, "only")
    request = history.ask(job, "only")
    history.park(job, "only", request, patience=60)
    parked, end = step_view(history, job, "only"), history.now + timedelta(seconds=60)
    history.ready_again(job, "only", by="ada", answer=Payload("1"))

    ready = step_view(history, job, "only")

    assert (parked.state, parked.request, parked.until) == ("waiting_user", request, end)
    assert (ready.state, ready.request, ready.until) == ("ready", None, None)
    assert ready.attempts == 1


def test_a_wait_names_its_signal_and_a_sleep_its_end_until_they_end() -> None:
    history, job = one_step()
    until = history.now + timedelta(days=1)
    history.wait_for(job, "only", "go", until=until, request=UUID(int=5))
    waits = step_view(history, job, "only")
    history.end(job, "only", result={"ok": True})

    done = step_view(history, job, "only")

    assert (waits.state, waits.signal, waits.until) == ("waiting", "go", until)
    assert waits.request == UUID(int=5)
    assert (done.state, done.signal, done.until, done.request) == ("succeeded", None, None, None)


def test_a_skipped_step_says_why() -> None:
    history, job = one_step()
    history.release(job, "only")
    history.park(job, "only", history.ask(job, "only"))
    history.skip(job, "only", reason="nobody answered")

    view = step_view(history, job, "only")

    assert (view.state, view.reason, view.ended_at) == ("skipped", "nobody answered", history.now)


def test_a_caught_failure_names_who_answers_for_it_and_keeps_its_error() -> None:
    history, job, _ = half_done_report()
    history.fail(job, "sub", attempt=None)
    history.advance(job, settled={"sub": "failed"}, caught={"sub": "sorry"})

    view = step_view(history, job, "sub")

    assert (view.state, view.caught_by) == ("failed", "sorry")
    assert view.error is not None


def test_what_people_change_of_a_step_is_kept_with_their_name() -> None:
    history, job, _ = half_done_report()
    rules = (RetryRule(on="throttled", max=9),)
    history.adjust(job, "parts", window=7)
    history.adjust(job, "parts", tolerated=2)
    history.adjust(job, "merge", retry=rules)

    parts, merge = step_view(history, job, "parts"), step_view(history, job, "merge")

    assert (parts.window, parts.tolerated, parts.retry) == (7, 2, None)
    assert parts.adjusted == Steered(history.now - TICK, "ada", "too slow")
    assert (merge.state, merge.retry) == ("pending", rules)
    assert job_view(history, job).counts.total() == 15


def test_items_that_never_began_go_with_their_fan_out_when_it_ends() -> None:
    history, job, _ = half_done_report()
    history.step(job, "parts[1]", StepCancelled)
    history.fail(job, "parts", attempt=None)
    history.advance(job, settled={"parts": "failed"}, items={"parts": {"cancelled": (1,)}})

    view = step_view(history, job, "parts")

    assert view.items_by_state() == {"succeeded": 1, "cancelled": 4}
    assert job_view(history, job).counts.by_state()["cancelled"] == 4


def test_a_step_that_can_be_undone_counts_twice() -> None:
    history = History()
    job = history.submit(UNDOABLE)
    submitted = job_view(history, job).counts.by_state()
    history.release(job, "book")
    history.succeed(job, "book")
    history.advance(job, settled={"book": "succeeded"}, closing=True)
    history.advance(job, settled={"book.compensate": "not_needed"})

    view = job_view(history, job)

    assert submitted == {"pending": 3}
    assert view.counts.by_state() == {"succeeded": 1, "not_needed": 1, "pending": 1}
    assert view.closing


# --- jobs -----------------------------------------------------------------------------------------


def test_a_paused_job_says_who_paused_it_until_it_goes_on() -> None:
    history, job = one_step()
    history.pause(job)
    paused, at = job_view(history, job), history.now
    history.resume(job)

    running = job_view(history, job)

    assert (paused.state, paused.paused) == ("paused", Steered(at, "ada", "lunch"))
    assert (running.state, running.paused) == ("running", None)


def test_a_job_that_is_stopped_or_overdue_is_no_longer_paused() -> None:
    history, stopped = one_step()
    late = history.submit(definition(), key="late", deadline=history.now)
    for job in (stopped, late):
        history.pause(job)
    history.cancelling(stopped, reason="too dear")
    history.overdue(late)

    one, other = job_view(history, stopped), job_view(history, late)

    assert (one.state, one.paused, one.reason) == ("cancelling", None, "too dear")
    assert one.stopped is not None
    assert (other.state, other.paused, other.overdue_at) == ("running", None, history.now)


def test_kept_signals_are_counted_and_the_first_of_them_named_until_they_are_heard() -> None:
    history, job = one_step()
    for number in range(SIGNALS_NAMED_MAX + 3):
        history.signal(job, "go", f"key-{number}")
    history.signal(job, "go", "taken", step="only")
    many = job_view(history, job)
    history.advance(job, heard={"key-1": "go"})

    fewer = job_view(history, job)

    assert (many.signals_kept, len(many.signals)) == (SIGNALS_NAMED_MAX + 3, SIGNALS_NAMED_MAX)
    assert fewer.signals_kept == SIGNALS_NAMED_MAX + 2
    assert [signal.key for signal in fewer.signals][:2] == ["key-0", "key-2"]


def test_documents_stay_small_however_many_signals_are_kept_and_reruns_made() -> None:
    def size(count: int) -> int:
        history, job = one_step()
        for number in range(count):
            history.signal(job, "go", f"key-{number:04}")
            history.rerun(job, ["only"], generation=number + 2)
        documents = [job_view(history, job), step_view(history, job, "only")]
        return sum(len(msgspec.json.encode(each)) for each in documents)

    assert size(300) <= size(SIGNALS_NAMED_MAX + 10) + 40


# --- new generations ------------------------------------------------------------------------------


def rerun_report() -> tuple[History, UUID, UUID]:
    """A finished report of which `parts` and what follows begins anew."""
    history, job, child = half_done_report()
    finish_report(history, job, child)
    history.rerun(job, ["parts", "merge", "sorry"])
    return history, job, child


def test_a_rerun_takes_back_what_the_old_generation_counted() -> None:
    history, job, _ = rerun_report()

    view, parts = job_view(history, job), step_view(history, job, "parts")

    assert (view.state, view.generation) == ("running", 2)
    assert (view.ended_at, view.result, view.error) == (None, NULL, None)
    assert view.rerun == Steered(history.now, "ada", "bad data")
    assert view.counts.by_state() == {"succeeded": 2, "not_needed": 5, "pending": 3}
    assert (parts.state, parts.count, parts.items_by_state()) == ("pending", None, None)
    assert (parts.generation, parts.result, parts.ended_at) == (2, NULL, None)


def test_an_item_of_the_new_generation_begins_anew_with_its_attempts_going_on() -> None:
    history, job, _ = rerun_report()
    history.open_items(job, "parts", count=2, begun=2)
    history.renew(job, "parts[1]")
    history.release(job, "parts[1]", attempt=3)

    item, view = step_view(history, job, "parts[1]"), job_view(history, job)

    assert (item.state, item.attempts, item.result, item.error) == ("released", 3, NULL, None)
    assert step_view(history, job, "parts").items_by_state() == {"released": 1, "ready": 1}
    assert view.counts.by_state() == {
        "succeeded": 2, "not_needed": 5, "waiting": 1, "released": 1, "ready": 1, "pending": 2
    }  # fmt: skip


def test_child_jobs_of_the_old_generation_stay_and_count_for_themselves_only() -> None:
    history, job, child = half_done_report()
    finish_report(history, job, child)
    grandchild = history.open_child(child, "sub", REPORT)
    history.rerun(job, ["sub", "merge", "sorry"])
    before = job_view(history, job).counts.by_state()
    history.release(grandchild, "load")

    assert before == {"succeeded": 7, "pending": 3}
    assert job_view(history, job).counts.by_state() == before
    assert job_view(history, child).counts.by_state()["released"] == 1
    assert job_view(history, grandchild).counts.by_state() == {"released": 1, "pending": 4}


def test_the_child_of_the_new_generation_counts_again() -> None:
    history, job, child = half_done_report()
    finish_report(history, job, child)
    history.rerun(job, ["sub", "merge", "sorry"])
    history.renew(job, "sub")
    fresh = history.open_child(job, "sub", REPORT, generation=2)

    assert fresh != child
    assert step_view(history, job, "sub").child == fresh
    assert job_view(history, job).counts.by_state() == {"succeeded": 7, "waiting": 1, "pending": 7}


def test_a_late_end_of_the_old_generation_changes_nothing_of_the_new_one() -> None:
    history, job, _ = half_done_report()
    history.rerun(job, ["parts", "merge", "sorry"])
    before = job_view(history, job).counts.by_state()
    history.step(job, "parts", StepCancelled, reason="stop")
    history.step(job, "parts[1]", StepCancelled, reason="stop")

    assert job_view(history, job).counts.by_state() == before
    assert step_view(history, job, "parts").state == "pending"
    assert step_view(history, job, "parts[1]").state == "cancelled"


# --- what jobs share ------------------------------------------------------------------------------


def test_a_request_is_open_until_it_is_answered_or_withdrawn() -> None:
    history, job = one_step()
    request = history.ask(job, "only", message="Reconnect", form=Payload('{"type": "object"}'))
    other = history.ask(job, "only", subject="other")
    history.remind(request, 1)
    history.remind(request, 2)
    asked = action_view(history, request)
    history.answer(request, {"token": 1}, by="ada")
    history.withdraw(other, why="gone")

    answered, withdrawn = action_view(history, request), action_view(history, other)

    assert (asked.state, asked.reminders, asked.message) == ("open", 2, "Reconnect")
    assert (asked.subject, asked.job, asked.path) == ("facebook:page", job, "only")
    assert (answered.state, answered.by, answered.data) == (
        "answered",
        "ada",
        Payload('{"token": 1}'),
    )
    assert (withdrawn.state, withdrawn.reason) == ("withdrawn", "gone")
    assert withdrawn.ended_at == history.now


def test_a_limit_is_what_was_last_said_of_it() -> None:
    history = History()
    history.change_limit("api", slots=3, rate=Rate(20, 60), by="ada", reason="they asked")
    history.change_limit("api", burst=5)

    view = folded(history).load({LIMITS: [("api", 0)]})[LIMITS]["api", 0]

    assert (view.slots, view.rate, view.burst, view.by) == (None, None, 5, "")
    assert view.since == history.now
