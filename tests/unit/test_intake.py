"""Intake: which submitted jobs start, which wait for that, and in which order."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import pytest
from support.driving import START, Driver
from support.gate import ONE, OTHER, Gate, definition, full_gate

from warrener.domain.definition.model import Rate
from warrener.domain.events import JobStarted
from warrener.domain.ids import job_id
from warrener.domain.messages import (
    ChangeFlow,
    ChangeLimit,
)
from warrener.services import intake
from warrener.services.submission import Source, submission


@pytest.fixture
def full() -> Gate:
    return full_gate()


# --- queue ---------------------------------------------------------------------------------------


def test_a_job_that_finds_no_slot_is_recorded_at_once_and_starts_when_one_is_free(
    full: Gate,
) -> None:
    assert full.states("first", "second", "third") == ["running", "submitted", "submitted"]

    full.end("first")

    assert full.states("first", "second", "third") == ["succeeded", "running", "submitted"]


def test_the_same_key_is_the_same_job_while_it_waits(full: Gate) -> None:
    head = full.store.head()

    assert full.ask_for("second").job == job_id("second")
    assert full.store.head() == head


def test_a_job_of_a_higher_priority_starts_before_those_that_came_first(full: Gate) -> None:
    full.ask_for("urgent", priority=1)

    full.end("first")

    assert full.states("urgent", "second") == ["running", "submitted"]


def test_a_job_submitted_just_when_a_slot_is_free_does_not_pass_those_that_wait(
    full: Gate,
) -> None:
    order = full.order("a")
    late = submission(Source(ONE), {}, key="late")

    full.handle("batch", full.report(order, "succeeded")[1], late)

    assert full.states("second", "late") == ["running", "submitted"]


def test_a_slot_is_held_until_all_of_the_tree_has_ended() -> None:
    gate = Gate(jobs=1)
    parent = definition("parent", {"below": {"job": "one"}})
    gate.submit(parent, {}, {"one": ONE}, key="first")
    gate.ask_for("second")

    assert gate.job(job_id("first")).children  # a child job is never held back
    assert gate.states("second") == ["submitted"]
    gate.succeed(gate.order("a"))
    assert gate.states("first", "second") == ["succeeded", "running"]


def test_jobs_of_a_name_that_is_full_do_not_hold_back_others() -> None:
    gate = Gate(**{"jobs:one": 1, "jobs": 3})
    for key in ("a", "b", "c"):
        gate.ask_for(key)
    gate.ask_for("d", OTHER)

    assert gate.states("a", "b", "c", "d") == ["running", "submitted", "submitted", "running"]


def test_with_accept_no_bound_is_applied() -> None:
    gate = Gate("accept", jobs=1)
    gate.ask_for("first")
    gate.ask_for("second")

    assert gate.states("first", "second") == ["running", "running"]


def test_a_rate_lets_so_many_start_in_a_time() -> None:
    gate = Gate()
    gate.command(ChangeLimit(name="@jobs", rate=Rate(1, 10), burst=2))
    gate.now += timedelta(seconds=60)
    for number in range(5):
        gate.ask_for(str(number))
    started = []
    for _ in range(4):
        started.append(sum(state != "submitted" for state in gate.states(*map(str, range(5)))))
        due = gate.controller.next_due(gate.now)
        if due is not None:
            gate.wait((due - gate.now).total_seconds())

    assert started == [2, 3, 4, 5]
    assert gate.now - START == pytest.approx(
        timedelta(seconds=60 + 30), abs=timedelta(seconds=0.01)
    )


def started(driver: Driver) -> list[UUID]:
    events = driver.store.read(0, driver.store.head())
    return [e.recorded.originator_id for e in events if isinstance(e.recorded.event, JobStarted)]


def test_jobs_start_in_the_order_in_which_they_came() -> None:
    gate = Gate(jobs=1)
    keys = [f"k{number}" for number in range(8)]
    for key in keys:
        gate.ask_for(key)
        gate.now += timedelta(seconds=0.001)
    for key in keys:
        gate.end(key)

    assert started(gate) == [job_id(key) for key in keys]


# --- live changes --------------------------------------------------------------------------------


def test_more_slots_let_more_start_and_none_set_lets_all(full: Gate) -> None:
    full.command(ChangeLimit(name="@jobs", slots=2))
    assert full.states("second", "third") == ["running", "submitted"]

    full.command(ChangeLimit(name="@jobs"))
    assert full.states("third") == ["running"]


def test_nobody_waits_twice_however_often_the_mode_is_changed(full: Gate) -> None:
    for mode in ("refuse", "queue", "refuse", "queue"):
        assert full.command(ChangeFlow(intake=mode)) is None
        assert full.controller.memory.limits.waiting() == 2

    full.end("first")
    assert full.states("second", "third") == ["running", "submitted"]
    assert full.controller.memory.limits.waiting() == 1


def test_going_back_to_accept_starts_all_that_wait(full: Gate) -> None:
    full.command(ChangeFlow(intake="accept"))

    assert full.states("second", "third") == ["running", "running"]
    full.command(ChangeFlow(intake="queue"))
    full.ask_for("fourth")
    for key in ("first", "second"):
        full.end(key)
    assert full.states("fourth") == ["submitted"]  # one is still open
    full.end("third")
    assert full.states("fourth") == ["running"]


def test_jobs_that_are_open_already_count_when_the_limit_is_set() -> None:
    gate = Gate()
    for key in ("a", "b", "c"):
        gate.ask_for(key)
    gate.command(ChangeLimit(name="@jobs", slots=2))
    gate.ask_for("d")

    gate.end("a")
    assert gate.states("d") == ["submitted"]
    gate.end("b")
    assert gate.states("d") == ["running"]


def test_a_turn_starts_only_so_many_and_the_next_goes_on(
    full: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake, "STARTS_MAX", 1)

    full.command(ChangeLimit(name="@jobs", slots=9))
    assert full.states("second", "third") == ["running", "submitted"]
    assert full.controller.next_due(full.now) == full.now
    full.handle("")
    assert full.states("third") == ["running"]


def test_a_turn_starts_only_so_many_of_those_that_wait_for_nothing(
    full: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake, "STARTS_MAX", 1)

    full.command(ChangeFlow(intake="accept"))
    assert full.states("second", "third") == ["running", "submitted"]
    assert full.controller.next_due(full.now) == full.now
    full.handle("")
    assert full.states("third") == ["running"]


# --- held back by a measure ----------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["accept", "queue"])
def test_while_intake_is_held_nothing_starts_and_then_it_does_in_order(mode: str) -> None:
    gate = Gate(mode, jobs=1)
    gate.controller.flow.measures.intake_held = True
    gate.ask_for("first")
    gate.ask_for("urgent", priority=1)
    assert gate.states("first", "urgent") == ["submitted", "submitted"]
    assert gate.controller.next_due(gate.now) is None

    gate.controller.flow.measures.intake_held = False
    assert gate.controller.next_due(gate.now) == gate.now
    gate.handle("")

    assert gate.states("urgent") == ["running"]
    assert gate.states("first") == (["submitted"] if mode == "queue" else ["running"])


def test_while_intake_is_held_a_free_slot_is_not_used(full: Gate) -> None:
    full.controller.flow.measures.intake_held = True
    full.end("first")
    assert full.states("second") == ["submitted"]

    assert full.controller.next_due(full.now) is None
    full.controller.flow.measures.intake_held = False
    assert full.controller.next_due(full.now) == full.now  # nothing else may happen for long
    full.handle("")
    assert full.states("second") == ["running"]


# --- restarts ------------------------------------------------------------------------------------


def test_after_a_restart_those_that_wait_wait_again_and_those_that_are_open_count(
    full: Gate,
) -> None:
    full.reload()
    assert full.states("first", "second", "third") == ["running", "submitted", "submitted"]

    full.ask_for("urgent", priority=1)
    full.end("first")
    assert full.states("urgent", "second") == ["running", "submitted"]
    full.reload()
    full.end("urgent")
    assert full.states("second", "third") == ["running", "submitted"]
