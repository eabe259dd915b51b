"""The model of the dependency semantics, case by case: joins, edges and demand."""

from __future__ import annotations

from typing import Any

import pytest
from support.hand_made import NO, ODD, Steps, after, begin, edge, flag, reading

# --- joins (section 3) -------------------------------------------------------------------------

DEPENDENCIES: Steps = {
    "ok": {},
    "fail": {},
    "allowed": {"may_fail": True},
    "skip": {"when": NO},
    "pending": {},
    "undecided": {},  # ended, but the condition of its edge reads a step that runs
    "unneeded": {},  # over an edge decided as not required
}


@pytest.mark.parametrize(
    ("join", "dependencies", "state"),
    [
        ("all_ok", "", "running"),
        ("all_ok", "ok ok", "running"),
        ("all_ok", "ok skip", "running"),
        ("all_ok", "allowed", "running"),
        ("all_ok", "skip skip", "skipped"),
        ("all_ok", "ok fail", "upstream_failed"),
        ("all_ok", "fail pending", "upstream_failed"),
        ("all_ok", "fail undecided", "upstream_failed"),
        ("all_ok", "ok pending", "pending"),
        ("all_ok", "ok undecided", "pending"),
        ("all_ok", "unneeded unneeded", "running"),
        ("all_ok", "skip unneeded", "skipped"),
        ("all_done", "", "running"),
        ("all_done", "ok fail skip", "running"),
        ("all_done", "skip", "running"),
        ("all_done", "fail pending", "pending"),
        ("all_done", "ok undecided", "pending"),
        ("all_done", "unneeded", "running"),
        ("any_ok", "", "skipped"),
        ("any_ok", "ok pending", "running"),
        ("any_ok", "fail ok undecided", "running"),
        ("any_ok", "fail allowed", "running"),
        ("any_ok", "fail pending", "pending"),
        ("any_ok", "undecided", "pending"),
        ("any_ok", "fail skip", "upstream_failed"),
        ("any_ok", "skip skip", "skipped"),
        ("any_ok", "unneeded", "skipped"),
        ("any_failed", "", "skipped"),
        ("any_failed", "fail pending", "running"),
        ("any_failed", "fail undecided", "running"),
        ("any_failed", "ok pending", "pending"),
        ("any_failed", "ok skip", "skipped"),
        ("any_failed", "allowed", "skipped"),
        ("any_failed", "unneeded", "skipped"),
        ("all_failed", "", "skipped"),
        ("all_failed", "fail fail", "running"),
        ("all_failed", "fail skip", "running"),
        ("all_failed", "fail pending", "pending"),
        ("all_failed", "fail undecided", "pending"),
        ("all_failed", "ok pending", "skipped"),
        ("all_failed", "fail allowed", "skipped"),
        ("all_failed", "skip skip", "skipped"),
        ("all_failed", "unneeded", "skipped"),
    ],
)
def test_a_join_is_decided_as_its_row_says(join: str, dependencies: str, state: str) -> None:
    kinds = {f"d{place}": kind for place, kind in enumerate(dependencies.split())}
    conditions = {"undecided": flag("late"), "unneeded": NO}
    needs: dict[str, Any] = {
        name: {"when": conditions[kind]} if kind in conditions else {}
        for name, kind in kinds.items()
    }
    late: Steps = {"late": {}} if "undecided" in kinds.values() else {}
    steps: Steps = {name: DEPENDENCIES[kind] | {"eager": True} for name, kind in kinds.items()}

    model = begin({**steps, **late, "s": {"needs": needs, "join": join}})
    for name, kind in kinds.items():
        if kind != "pending":
            model.report(name, "fail" if kind in {"fail", "allowed"} else "ok")

    assert model.states["s"] == state


# --- edges (section 1) -------------------------------------------------------------------------


def test_a_condition_on_parameters_prunes_at_submission() -> None:
    model = begin({"d": {}, "only_for_d": {}, "s": {"needs": edge("d", NO)}})

    assert model.states == {"d": "not_needed", "only_for_d": "running", "s": "running"}


def test_what_only_a_pruned_step_needs_is_pruned_with_it() -> None:
    model = begin({"base": {}, "d": after("base"), "s": {"needs": edge("d", NO)}})

    assert model.states == {"base": "not_needed", "d": "not_needed", "s": "running"}


@pytest.mark.parametrize(("needed", "state"), [(True, "running"), (False, "not_needed")])
def test_a_condition_on_a_result_makes_the_dependency_wait_for_it(needed: bool, state: str) -> None:
    model = begin({"x": {}, "d": {}, "s": {"needs": edge("d", flag("x"))}}, {"x": {"flag": needed}})
    waiting = dict(model.states)

    model.report("x", "ok")

    assert waiting == {"x": "running", "d": "pending", "s": "pending"}
    assert model.states["d"] == state


def test_a_condition_is_evaluated_before_its_step_is_demanded() -> None:
    steps: Steps = {
        "x": {"eager": True},
        "y": {"eager": True},
        "d": {},
        "s": {"needs": edge("d", flag("x"))},
        "top": {"needs": edge("s", flag("y"))},
    }
    model = begin(steps, {"x": {"flag": False}})

    model.report("x", "ok")

    assert model.states == {
        "x": "succeeded", "y": "running", "d": "not_needed", "s": "pending", "top": "pending"
    }  # fmt: skip


def test_a_condition_reads_null_at_once_over_an_edge_that_is_not_required() -> None:
    guarded = "${{ steps.x.result != null && steps.x.result.flag }}"
    steps: Steps = {
        "x": {},
        "d": {},
        "s": {"needs": edge("x", NO) | edge("d", guarded)},
        "other": after("s") | {"needs": edge("x", "${{ steps.s.status == 'succeeded' }}")},
    }
    model = begin(steps, {"x": {"flag": True}})
    at_start = dict(model.states)

    model.report("s", "ok")

    assert at_start == {"x": "pending", "d": "not_needed", "s": "running", "other": "pending"}
    assert model.states["x"] == "running"


@pytest.mark.parametrize("when", [ODD, flag("x")])
def test_a_broken_condition_fails_its_step_as_soon_as_it_is_demanded(when: str) -> None:
    model = begin({"x": {}, "d": {}, "s": {"needs": edge("d", when)}})

    model.report("x", "ok")

    assert (model.states["s"], model.errors["s"]) == ("failed", "expression-error")
    assert model.states["d"] == "not_needed"


@pytest.mark.parametrize(
    ("needed", "state", "of_d", "job"),
    [(True, "failed", "not_needed", "failed"), (False, "not_needed", "not_needed", "running")],
)
def test_a_broken_condition_is_undecided_while_the_demand_is(
    needed: bool, state: str, of_d: str, job: str
) -> None:
    steps: Steps = {
        "x": {},
        "d": {},
        "s": {"needs": edge("d", ODD)},
        "top": {"needs": edge("s", flag("x"))},
    }
    model = begin(steps, {"x": {"flag": needed}})
    before = dict(model.states)

    model.report("x", "ok")

    assert (before["d"], before["s"]) == ("pending", "pending")
    assert (model.states["s"], model.states["d"], model.job) == (state, of_d, job)


# --- demand (section 2) ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("step", "definition", "state"),
    [
        ({}, {}, "not_needed"),
        ({"eager": True}, {}, "running"),
        ({}, {"result": reading("d")}, "running"),
    ],
)
def test_a_step_is_demanded_by_eager_and_by_the_result_of_the_job(
    step: dict[str, Any], definition: dict[str, Any], state: str
) -> None:
    model = begin({"d": step, "s": {"needs": edge("d", NO)}}, **definition)

    assert model.states["d"] == state


def test_a_reader_that_is_not_needed_demands_nothing() -> None:
    model = begin({"d": {}, "s": after("d"), "top": {"needs": edge("s", NO)}})

    assert model.states == {"d": "not_needed", "s": "not_needed", "top": "running"}


def test_a_reader_that_failed_upstream_goes_on_demanding_what_it_required() -> None:
    model = begin({"bad": {}, "gate": {}, "d": after("gate"), "s": after("bad", "d")})

    model.report("bad", "fail")
    model.report("gate", "ok")

    assert (model.states["s"], model.states["d"]) == ("upstream_failed", "running")


def test_a_reader_that_started_closes_its_undecided_edges() -> None:
    steps: Steps = {
        "x": {},
        "quick": {},
        "d": {},
        "s": {"needs": edge("d", flag("x")) | {"quick": {}}, "join": "any_ok"},
    }
    model = begin(steps, {"x": {"flag": True}})

    model.report("quick", "ok")
    model.report("x", "ok")

    assert (model.states["s"], model.states["d"]) == ("running", "not_needed")


def test_a_started_step_is_never_turned_into_not_needed() -> None:
    steps: Steps = {
        "quick": {},
        "slow": {},
        "reader": after("slow"),
        "s": after("quick", "reader", join="any_ok", cancel_rest=True),
    }
    model = begin(steps)

    model.report("quick", "ok")

    assert (model.states["reader"], model.states["slow"]) == ("cancelled", "running")


def test_demand_is_lost_with_a_reader_that_was_cancelled() -> None:
    steps: Steps = {
        "quick": {},
        "gate": {},
        "d": after("gate"),
        "reader": after("d"),
        "s": after("quick", "reader", join="any_ok", cancel_rest=True),
    }
    model = begin(steps)

    model.report("quick", "ok")

    assert (model.states["reader"], model.states["d"]) == ("cancelled", "not_needed")
