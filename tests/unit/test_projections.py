"""The read models as folds of hand-written histories."""

from __future__ import annotations

from uuid import UUID

from support.histories import (
    REPORT,
    START,
    TICK,
    History,
    definition,
    finish_report,
    half_done_report,
)

from warrener.adapters.memory_views import MemoryViewStore
from warrener.domain.events import FanOut, GivenStep
from warrener.domain.payloads import Payload
from warrener.domain.step_events import StepCancelled
from warrener.projections.views import JOBS, STEPS, JobView, StepView
from warrener.services.projector import catch_up


def job_view(history: History, job: UUID) -> JobView:
    views = MemoryViewStore()
    catch_up(history.store, views)
    return views.load({JOBS: [job]})[JOBS][job]


def step_view(history: History, job: UUID, path: str) -> StepView:
    views = MemoryViewStore()
    catch_up(history.store, views)
    return views.load({STEPS: [(job, path)]})[STEPS][(job, path)]


def test_a_submitted_job_counts_every_step_of_its_definition_as_pending() -> None:
    history = History()
    job = history.submit(REPORT)

    view = job_view(history, job)

    assert view.state == "submitted"
    assert view.counts.by_state() == {"pending": 5}
    assert (view.counts.done(), view.counts.total()) == (0, 5)


def test_a_retried_step_shows_its_newest_attempt_and_the_last_error_until_it_succeeds() -> None:
    history = History()
    job = history.submit(definition())
    history.release(job, "only")
    history.retry(job, "only", due=30)
    retrying = step_view(history, job, "only")
    history.release(job, "only", attempt=2)
    released = step_view(history, job, "only")
    history.succeed(job, "only", attempt=2, seconds=1.5)

    done = step_view(history, job, "only")

    assert (retrying.state, retrying.due) == ("retrying", START + 4 * TICK + 30 * TICK)
    assert released.error is not None
    assert (released.attempts, released.started_at, released.due) == (2, None, None)
    assert (done.state, done.attempts, done.error, done.seconds) == ("succeeded", 2, None, 1.5)
    assert done.worker == "w1"


def test_items_that_have_not_begun_are_counted_but_not_kept() -> None:
    history, job, _ = half_done_report()

    fan_out = step_view(history, job, "parts")

    assert fan_out.state == "waiting"
    assert fan_out.items == {"succeeded": 1, "retrying": 1}
    assert fan_out.items_by_state() == {"succeeded": 1, "retrying": 1, "ready": 1, "pending": 2}


def test_a_job_counts_its_whole_subtree() -> None:
    history, job, child = half_done_report()

    counts = job_view(history, job).counts

    assert counts.by_state() == {
        "succeeded": 2,  # load, parts[0]
        "retrying": 1,  # parts[1]
        "waiting": 2,  # parts, sub
        "ready": 1,  # parts[2]
        "pending": 9,  # parts[3], parts[4], merge, sorry, five of the child
    }
    assert job_view(history, child).counts.by_state() == {"pending": 5}


def test_a_finished_job_has_only_ended_steps() -> None:
    history, job, child = half_done_report()
    finish_report(history, job, child)

    view = job_view(history, job)

    assert view.state == "succeeded"
    assert view.result == Payload('{"sum": 20}')
    assert view.counts.by_state() == {"succeeded": 9, "not_needed": 5, "skipped": 1}
    assert view.counts.done() == view.counts.total() == 15


def test_a_step_that_never_began_ends_by_its_jobs_event_alone() -> None:
    history = History()
    job = history.submit(REPORT)
    history.advance(job, settled={"sorry": "skipped"})

    view = step_view(history, job, "sorry")

    assert (view.state, view.attempts, view.released_at) == ("skipped", 0, None)
    assert view.ended_at == history.now


def test_items_cancelled_before_they_began_are_told_by_index() -> None:
    history = History()
    job = history.submit(REPORT)
    history.open_items(job, "parts", count=4, begun=1)
    history.release(job, "parts[0]")
    history.step(job, "parts[0]", StepCancelled, reason="stop")
    history.advance(job, items={"parts": {"cancelled": (0, 1, 2, 3)}})

    view = step_view(history, job, "parts")

    assert view.items_by_state() == {"cancelled": 4}


def test_a_step_event_before_the_jobs_share_of_the_same_commit_is_not_set_back() -> None:
    history = History()
    job = history.submit(REPORT)
    history.release(job, "load")
    history.advance(job, readied={"load": ()})

    view = step_view(history, job, "load")

    assert (view.state, view.ready_at) == ("released", history.now)


def test_an_items_event_before_the_opening_is_counted_once() -> None:
    history = History()
    job = history.submit(REPORT)
    history.release(job, "parts[0]")
    history.advance(job, fan_outs={"parts": FanOut(2)}, begun={"parts": 1})

    assert step_view(history, job, "parts").items_by_state() == {"released": 1, "pending": 1}
    assert job_view(history, job).counts.by_state() == {"waiting": 1, "released": 1, "pending": 5}


def test_given_steps_are_settled_from_the_start() -> None:
    history = History()
    job = history.submit(REPORT, given={"load": GivenStep("succeeded", result=Payload("[1]"))})

    view = step_view(history, job, "load")

    assert (view.state, view.result, view.attempts) == ("succeeded", Payload("[1]"), 0)
    assert job_view(history, job).counts.by_state() == {"succeeded": 1, "pending": 4}


def test_a_cancelled_job_keeps_the_reason_it_was_stopped_for() -> None:
    history = History()
    job = history.submit(REPORT)
    history.cancelling(job, reason="too dear")
    stopping = job_view(history, job).state
    history.cancel_job(job)

    view = job_view(history, job)

    assert stopping == "cancelling"
    assert (view.state, view.reason, view.ended_at) == ("cancelled", "too dear", history.now)


def test_a_failed_job_shows_its_error() -> None:
    history = History()
    job = history.submit(REPORT)
    history.fail_job(job, code="boom")

    view = job_view(history, job)

    assert view.state == "failed"
    assert view.error is not None
    assert view.error.code == "boom"


def test_documents_of_a_job_do_not_grow_with_the_number_of_items() -> None:
    import msgspec

    def size(count: int) -> int:
        history = History()
        job = history.submit(REPORT)
        history.open_items(job, "parts", count=count, begun=count)
        for index in range(count):
            history.release(job, f"parts[{index}]")
        documents = [job_view(history, job), step_view(history, job, "parts")]
        return sum(len(msgspec.json.encode(each)) for each in documents)

    assert size(300) <= size(3) + 20
