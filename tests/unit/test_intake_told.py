"""Jobs that intake holds back or refuses: what can be done with them, and what is told of them."""

from __future__ import annotations

from datetime import timedelta

import pytest
from support.gate import ONE, Gate, definition, full_gate
from support.situations import CALL

from warrener.adapters.memory_views import MemoryViewStore
from warrener.domain.definition.model import Rate
from warrener.domain.ids import job_id
from warrener.domain.messages import (
    CancelJob,
    ChangeFlow,
    ChangeLimit,
    PauseJob,
    RerunJob,
    ResumeJob,
)
from warrener.projections.views import JOBS
from warrener.services import intake
from warrener.services.projector import catch_up
from warrener.services.submission import Source, submission

CLEANS_UP = {"a": CALL, "tidy": {"call": "work", "always": True}}


@pytest.fixture
def full() -> Gate:
    return full_gate()


# --- steering of a job that waits ----------------------------------------------------------------


def test_a_job_that_waits_can_be_cancelled_and_has_nothing_to_clean_up(full: Gate) -> None:
    full.ask_for("tidy", definition("tidy", CLEANS_UP), priority=1)
    assert full.command(CancelJob(job=job_id("tidy"))) is None
    assert full.states("tidy") == ["cancelled"]
    assert full.job(job_id("tidy")).counts == {"cancelled": 1, "not_needed": 1}

    full.end("first")
    assert full.states("second") == ["running"]


def test_a_job_that_waits_fails_at_its_deadline(full: Gate) -> None:
    full.ask_for("late", deadline=full.now + timedelta(seconds=5))
    full.wait(6)

    assert full.states("late", "second") == ["failed", "submitted"]
    assert full.job(job_id("late")).error.code == "deadline-exceeded"


def test_a_job_that_waits_can_be_paused_and_lets_others_go_first(full: Gate) -> None:
    assert full.command(PauseJob(job=job_id("second"))) is None
    assert full.states("second") == ["paused"]
    full.reload()
    full.end("first")
    assert full.states("second", "third") == ["paused", "running"]

    assert full.command(ResumeJob(job=job_id("second"))) is None
    assert full.states("second") == ["submitted"]
    full.end("third")
    assert full.states("second") == ["running"]


def test_a_paused_job_that_is_resumed_at_a_free_gate_starts() -> None:
    gate = Gate(jobs=1)
    gate.ask_for("first")
    gate.ask_for("second")
    gate.command(PauseJob(job=job_id("second")))
    gate.end("first")

    gate.command(ResumeJob(job=job_id("second")))

    assert gate.states("second") == ["running"]
    assert [o.job for o in gate.orders] == [job_id("first"), job_id("second")]


def test_a_job_that_is_run_again_counts_and_is_not_held_back(full: Gate) -> None:
    full.end("first")
    full.command(RerunJob(job=job_id("first"), step="a", key="again"))
    assert full.states("first", "second", "third") == ["running", "running", "submitted"]

    full.end("second")
    assert full.states("third") == ["submitted"]
    full.end("first")
    assert full.states("third") == ["running"]


def test_a_job_that_was_cancelled_before_its_start_can_be_run(full: Gate) -> None:
    full.command(CancelJob(job=job_id("second")))
    assert full.command(RerunJob(job=job_id("second"), step="a", key="now")) is None
    full.command(PauseJob(job=job_id("second")))
    full.command(ResumeJob(job=job_id("second")))
    assert full.states("second") == ["running"]
    full.end("second")

    assert full.states("second", "third") == ["succeeded", "submitted"]


# --- refuse --------------------------------------------------------------------------------------


def test_a_job_is_refused_while_the_limit_is_full_and_may_be_sent_again() -> None:
    gate = Gate("refuse", jobs=1)
    assert gate.ask_for("first").error is None
    head = gate.store.head()

    refused = gate.ask_for("second")

    assert refused.error is not None
    assert refused.error.code == "busy"
    assert refused.error.message == (
        "cannot submit: busy: as many jobs are open as limit @jobs allows: 1"
    )
    assert refused.retry_after == intake.RETRY_SECONDS_UNKNOWN
    assert gate.store.head() == head
    assert gate.ask_for("first").error is None  # it is known already
    gate.end("first")
    assert gate.ask_for("second").error is None
    assert gate.states("second") == ["running"]


def test_of_many_that_come_at_once_only_as_many_are_taken_as_there_are_slots() -> None:
    gate = Gate("refuse", jobs=2)

    batch = gate.handle("m", *(submission(Source(ONE), {}, key=f"k{n}") for n in range(5)))

    assert len(batch.refused) == 3
    assert gate.states("k0", "k1") == ["running", "running"]


def test_when_to_try_again_follows_how_fast_jobs_end() -> None:
    gate = Gate("refuse", jobs=1)
    for number in range(10):
        gate.ask_for(str(number))
        gate.now += timedelta(seconds=20)
        gate.end(str(number))
    gate.ask_for("last")

    assert gate.ask_for("one more").retry_after == 18  # of the last 10 within 180 s
    gate.now += timedelta(days=1)
    assert gate.ask_for("one more").retry_after == intake.RETRY_SECONDS_MAX


def test_a_rate_says_when_there_is_a_token() -> None:
    gate = Gate("refuse")
    gate.command(ChangeLimit(name="@jobs", rate=Rate(1, 30)))
    gate.now += timedelta(seconds=60)
    assert gate.ask_for("first").error is None

    refused = gate.ask_for("second")

    assert refused.retry_after == 30
    assert refused.error is not None
    assert refused.error.message.endswith("limit @jobs takes in 1 in 30 s")


def test_jobs_are_refused_while_a_measure_holds_intake_back() -> None:
    gate = Gate("refuse")
    gate.controller.flow.measures.intake_held = True

    refused = gate.ask_for("first")

    assert refused.error is not None
    assert refused.error.code == "busy"


def test_jobs_that_wait_from_before_come_before_new_ones(full: Gate) -> None:
    full.command(ChangeFlow(intake="refuse"))
    order = full.order("a")
    late = submission(Source(ONE), {}, key="late")

    batch = full.handle("batch", full.report(order, "succeeded")[1], late)

    assert len(batch.refused) == 1
    assert full.states("second") == ["running"]


# --- why -----------------------------------------------------------------------------------------


def test_why_tells_which_limit_holds_a_job_back_and_who_holds_it(full: Gate) -> None:
    why = full.why(job_id("second"))

    assert why.state == "submitted"
    assert why.waiting.kind == "limit"
    assert why.waiting.since == "2030-01-01T00:00:01.000000Z"
    assert why.waiting.sentence == (
        "waits for its start: limit @jobs, as set at 2030-01-01 00:00:00Z, has 1 of 1"
        f" slots taken: {job_id('first')}"
    )
    assert why.waiting.release == (
        "the end of one of these jobs, or: warrener limits @jobs --set slots=N"
    )
    assert [each.id for each in why.waiting.blockers] == [job_id("first")]
    assert full.why(job_id("second"), "a").waiting.sentence.startswith(
        "waits for the start of its job: limit @jobs"
    )


def test_why_tells_when_a_rate_lets_a_job_start() -> None:
    gate = Gate()
    gate.command(ChangeLimit(name="@jobs:one", rate=Rate(1, 30)))
    gate.now += timedelta(seconds=60)
    gate.ask_for("first")
    gate.ask_for("second")

    why = gate.why(job_id("second"))

    assert (why.waiting.kind, why.waiting.until) == ("rate", "2030-01-01T00:01:30.000000Z")


def test_why_tells_of_a_paused_job_that_it_is_paused(full: Gate) -> None:
    full.command(PauseJob(job=job_id("second"), by="ada"))

    assert full.why(job_id("second")).waiting.kind == "paused"


# --- what is shown -------------------------------------------------------------------------------


def shown(gate: Gate, key: str) -> str:
    views = MemoryViewStore()
    catch_up(gate.store, views)
    state: str = views.load({JOBS: [job_id(key)]})[JOBS][job_id(key)].state
    return state


def test_lists_show_a_job_that_waits_as_submitted_also_after_a_pause(full: Gate) -> None:
    assert shown(full, "second") == "submitted"
    full.command(PauseJob(job=job_id("second")))
    assert shown(full, "second") == "paused"
    full.command(ResumeJob(job=job_id("second")))
    assert shown(full, "second") == "submitted"

    full.command(CancelJob(job=job_id("second")))
    full.command(RerunJob(job=job_id("second"), step="a", key="again"))
    full.command(PauseJob(job=job_id("second")))
    full.command(ResumeJob(job=job_id("second")))
    assert shown(full, "second") == "running"


# --- partitions ----------------------------------------------------------------------------------


def test_what_was_kept_at_hand_for_who_is_refused_is_left_to_others_once_nobody_is() -> None:
    gate = Gate("refuse")
    gate.controller._bounds["shares_limits"] = True
    gate.controller.forget()
    assert gate.command(ChangeLimit(name="@jobs:one", slots=100)) is None
    assert gate.ask_for("early").error is not None  # nothing is granted yet
    asks = gate.controller.memory.limits.asks(gate.now)
    assert [ask.wanted for ask in asks.values()] == [intake.RESERVE_SLOTS]

    assert gate.command(ChangeFlow(intake="queue")) is None

    asks = gate.controller.memory.limits.asks(gate.now)
    assert [ask.wanted for ask in asks.values()] == [0]


def test_a_rate_of_which_others_have_all_is_told_as_a_rate() -> None:
    gate = Gate("refuse")
    gate.controller._bounds["shares_limits"] = True
    gate.controller.forget()
    assert gate.command(ChangeLimit(name="@jobs", rate=Rate(6.0, 60.0))) is None

    answer = gate.ask_for("early")

    assert answer.error is not None
    assert "limit @jobs takes in 6 in 60 s" in answer.error.message
    assert answer.retry_after is not None
