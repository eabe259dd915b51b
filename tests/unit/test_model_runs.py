"""The model of the dependency semantics, case by case: reading, order, cancelling and the end."""

from __future__ import annotations

from typing import Any

import pytest
from support.case import topological_order
from support.hand_made import NO, ODD, YES, Steps, after, begin, edge, flag, reading

# --- outcomes and reading (sections 4, 5) ------------------------------------------------------


def test_a_failure_that_is_allowed_counts_as_ok_and_reads_as_null() -> None:
    model = begin({"d": {"may_fail": True}, "s": {"with": {"d": reading("d")}}}, {"d": 1})

    model.report("d", "fail")
    model.report("s", "ok")

    assert model.arguments("s") == {"d": None}
    assert model.job == "succeeded"


def test_an_allowed_step_below_a_failure_is_ok_for_its_readers() -> None:
    model = begin({"bad": {}, "d": after("bad", may_fail=True), "s": after("d")})

    model.report("bad", "fail")

    assert (model.states["d"], model.states["s"]) == ("upstream_failed", "running")


@pytest.mark.parametrize(
    ("when", "state"), [(YES, "running"), (NO, "skipped"), (ODD, "failed"), (flag("d"), "failed")]
)
def test_when_is_evaluated_once_the_join_says_run(when: str, state: str) -> None:
    model = begin({"d": {}, "s": after("d", when=when)})
    before = model.states["s"]

    model.report("d", "ok")

    assert (before, model.states["s"]) == ("pending", state)


def test_arguments_that_cannot_be_rendered_fail_the_step() -> None:
    model = begin({"s": {"with": {"x": flag("d")}}, "d": {}}, {"d": [1]})

    model.report("d", "ok")

    assert (model.states["s"], model.errors["s"]) == ("failed", "expression-error")


def test_only_results_of_required_steps_that_had_succeeded_are_read() -> None:
    names = ["good", "skipped", "slow", "unneeded"]
    steps: Steps = {
        "good": {},
        "skipped": {"when": NO},
        "slow": {},
        "unneeded": {"eager": True},
        "s": {
            "with": {name: reading(name) for name in names}
            | {f"{name}_status": reading(name, "status") for name in names},
            "needs": edge("unneeded", NO),
            "join": "any_ok",
        },
    }
    model = begin(steps, dict.fromkeys(names, 1))

    model.report("unneeded", "ok")
    model.report("good", "ok")
    model.report("slow", "ok")

    assert model.arguments("s") == {
        "good": 1, "skipped": None, "slow": None, "unneeded": None,
        "good_status": "succeeded", "skipped_status": "skipped",
        "slow_status": "pending", "unneeded_status": "succeeded",
    }  # fmt: skip


@pytest.mark.parametrize(("outcome", "state"), [("fail", "running"), ("ok", "skipped")])
def test_the_error_of_a_failed_dependency_can_be_asked_for(outcome: str, state: str) -> None:
    model = begin({"d": {}, "s": after("d", join="all_done", when="${{ steps.d.error != null }}")})

    model.report("d", outcome)

    assert model.states["s"] == state


def test_what_the_same_decision_cancels_still_reads_as_pending() -> None:
    steps: Steps = {"quick": {}, "slow": {}, "s": {"with": {"slow": reading("slow", "status")}}}
    steps["s"] |= after("quick", join="any_ok", cancel_rest=True)
    model = begin(steps)

    model.report("quick", "ok")

    assert model.states["slow"] == "cancelled"
    assert model.arguments("s") == {"slow": "pending"}


def test_a_set_step_succeeds_at_once_with_what_it_renders() -> None:
    model = begin(
        {"d": {}, "v": {"set": {"d": reading("d"), "yes": YES}}, "s": after("v")}, {"d": 4}
    )

    model.report("d", "ok")

    assert model.results["v"] == {"d": 4, "yes": True}
    assert model.states["s"] == "running"


# --- order (section 6) -------------------------------------------------------------------------


def test_the_order_is_topological_and_then_by_name() -> None:
    assert topological_order({"c": [], "a": ["d"], "b": ["c"], "d": []}) == ["c", "b", "d", "a"]


def test_of_two_steps_that_would_fail_the_first_in_order_stops_the_other() -> None:
    model = begin({"b": {"when": ODD}, "a": {"when": ODD}}, on_failure="stop")

    assert model.states == {"a": "failed", "b": "cancelled"}


def test_a_step_that_lost_its_demand_ends_before_a_later_one_fails() -> None:
    steps: Steps = {
        "a": {},
        "b": {"when": NO},
        "c": {"when": ODD},
        "d": {"needs": edge("a", "${{ steps.b.status == 'succeeded' }}")},
    }

    model = begin(steps, on_failure="stop")

    assert model.states == {"a": "not_needed", "b": "skipped", "c": "failed", "d": "cancelled"}


# --- cancel_rest and stop (sections 7, 8) ------------------------------------------------------


@pytest.mark.parametrize(
    ("join", "outcome", "state", "of_rest"),
    [
        ("any_ok", "ok", "running", "cancelled"),
        ("all_ok", "fail", "upstream_failed", "cancelled"),
        ("any_failed", "fail", "running", "cancelled"),
        ("all_failed", "ok", "skipped", "cancelled"),
        ("all_done", "ok", "pending", "running"),
    ],
)
def test_cancel_rest_cancels_what_an_early_decision_leaves_behind(
    join: str, outcome: str, state: str, of_rest: str
) -> None:
    model = begin(
        {"quick": {}, "rest": {}, "s": after("quick", "rest", join=join, cancel_rest=True)}
    )

    model.report("quick", outcome)

    assert (model.states["s"], model.states["rest"]) == (state, of_rest)


def test_cancel_rest_leaves_what_another_waiting_step_requires() -> None:
    steps: Steps = {"quick": {}, "rest": {}, "other": after("rest")}
    steps["s"] = after("quick", "rest", join="any_ok", cancel_rest=True)
    model = begin(steps)

    model.report("quick", "ok")

    assert model.states["rest"] == "running"


@pytest.mark.parametrize("options", [{"join": "any_ok"}, {"when": NO, "join": "any_ok"}])
def test_a_reader_that_has_started_or_ended_protects_nothing(options: dict[str, Any]) -> None:
    steps: Steps = {"quick": {}, "rest": {}, "other": after("quick", "rest") | options}
    steps["s"] = after("quick", "rest", join="any_ok", cancel_rest=True)
    model = begin(steps)

    model.report("quick", "ok")

    assert model.states["rest"] == "cancelled"


@pytest.mark.parametrize("when", [NO, flag("slow")])
def test_a_waiting_reader_protects_only_what_it_is_known_to_require(when: str) -> None:
    steps: Steps = {"quick": {}, "rest": {}, "slow": {}, "other": after("slow")}
    steps["other"] |= {"needs": edge("rest", when)}
    steps["s"] = after("quick", "rest", join="any_ok", cancel_rest=True)
    model = begin(steps)

    model.report("quick", "ok")

    assert (model.states["other"], model.states["rest"]) == ("pending", "cancelled")


def test_cancel_rest_reaches_over_edges_that_are_undecided() -> None:
    steps: Steps = {"quick": {}, "x": {}, "rest": {"eager": True}}
    steps["s"] = after("quick", join="any_ok", cancel_rest=True)
    steps["s"] |= {"needs": edge("rest", flag("x"))}
    model = begin(steps)

    model.report("quick", "ok")

    assert (model.states["x"], model.states["rest"]) == ("cancelled", "cancelled")


def test_a_dependency_that_is_cancelled_itself_protects_none_of_the_others() -> None:
    steps: Steps = {"quick": {}, "first": {}, "second": after("first")}
    steps["s"] = after("quick", "first", "second", join="any_ok", cancel_rest=True)
    model = begin(steps)

    model.report("quick", "ok")

    assert (model.states["first"], model.states["second"]) == ("cancelled", "cancelled")


def test_a_late_report_of_a_cancelled_step_changes_nothing_and_fails_no_job() -> None:
    steps: Steps = {
        "quick": {},
        "rest": {},
        "s": after("quick", "rest", join="any_ok", cancel_rest=True),
    }
    model = begin(steps)

    model.report("quick", "ok")
    model.report("rest", "fail")
    model.report("s", "ok")

    assert model.states["rest"] == "cancelled"
    assert model.job == "succeeded"


def test_stop_cancels_everything_at_the_first_failure_that_is_not_allowed() -> None:
    steps: Steps = {"allowed": {"may_fail": True}, "bad": {}, "slow": {}, "s": after("slow")}
    model = begin(steps, on_failure="stop")

    model.report("allowed", "fail")
    running = dict(model.states)
    model.report("bad", "fail")

    assert (running["slow"], running["s"]) == ("running", "pending")
    assert (model.states["slow"], model.states["s"], model.job) == (
        "cancelled",
        "cancelled",
        "failed",
    )


def test_a_failure_upstream_stops_nothing() -> None:
    steps: Steps = {"quick": {}, "rest": {}, "slow": {}}
    steps["s"] = after("quick", "rest", join="any_ok", cancel_rest=True)
    steps["below"] = after("rest")
    steps["top"] = {"needs": edge("below", flag("slow"))}
    model = begin(steps, {"slow": {"flag": True}}, on_failure="stop")

    model.report("quick", "ok")
    model.report("slow", "ok")

    assert (model.states["below"], model.states["s"]) == ("upstream_failed", "running")


# --- outcome of the job, stray reports (sections 9, 10) ----------------------------------------


def test_a_job_whose_result_cannot_be_evaluated_has_failed() -> None:
    model = begin({"d": {}}, result=flag("d"))

    model.report("d", "ok")

    assert model.job == "failed"


def test_a_job_succeeds_with_the_result_it_asks_for() -> None:
    model = begin({"d": {}, "no": {"when": NO}}, {"d": 5}, result=[reading("d"), reading("no")])

    model.report("d", "ok")

    assert (model.job, model.job_result()) == ("succeeded", [5, None])


def test_a_job_with_a_failure_that_a_reader_answered_has_failed_all_the_same() -> None:
    model = begin({"bad": {}, "sorry": after("bad", join="any_failed")})

    model.report("bad", "fail")
    model.report("sorry", "ok")

    assert model.job == "failed"


def test_repeated_and_stray_reports_change_nothing() -> None:
    model = begin({"d": {}, "s": after("d")})

    model.report("s", "fail")
    model.report("d", "ok")
    model.report("d", "fail")

    assert model.states == {"d": "succeeded", "s": "running"}
