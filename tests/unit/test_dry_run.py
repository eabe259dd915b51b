"""A dry run of a definition on recorded jobs finds what breaks them, and nothing else."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
import pytest
from support.dry_run_changes import BREAKING, HARMLESS
from support.dry_runs import ORDER, dry_run, recorded, source

from warrener.domain.definition.model import JobDefinition
from warrener.domain.errors import UsageError
from warrener.domain.events import GivenStep, Selection
from warrener.domain.ids import job_id
from warrener.domain.payloads import Payload
from warrener.services.dry_run.run import check_names
from warrener.services.dry_run.shapes import Finding, JobReport
from warrener.services.submission import Part, Source, submission
from warrener.testing import LocalRun


def found(report: JobReport) -> dict[str, Finding]:
    """Return the findings by path; there is one at each."""
    by_path = {finding.path: finding for finding in report.findings}
    assert len(by_path) == len(report.findings)
    return by_path


@pytest.mark.parametrize("name", BREAKING)
def test_a_breaking_change_is_found_where_it_breaks(name: str):
    change, bad, expected = BREAKING[name]

    report = dry_run(recorded(bad=bad), source(change))

    assert report.verdict == "differs"
    assert {path: finding.kind for path, finding in found(report).items()} == expected


@pytest.mark.parametrize("name", HARMLESS)
def test_a_harmless_change_is_not_told(name: str):
    change, bad = HARMLESS[name]

    report = dry_run(recorded(bad=bad), source(change))

    assert (report.findings, report.verdict) == ((), "same")


@pytest.mark.parametrize("bad", [False, True])
def test_the_same_definition_decides_the_same(bad: bool):
    report = dry_run(recorded(bad=bad), source())

    assert (report.findings, report.notes, report.verdict) == ((), (), "same")


def test_there_are_enough_changes_of_both_kinds():
    assert len(BREAKING) >= 15
    assert len(HARMLESS) >= 15


def test_a_difference_comes_with_both_values_its_place_and_what_led_to_it():
    change, _, _ = BREAKING["what arguments are computed from is computed otherwise"]

    finding = found(dry_run(recorded(), source(change)))["charge"]

    assert (finding.at, finding.old, finding.new) == ("$.sum", 125, 240)
    assert finding.because == (
        "steps.total.set.sum: ${{ params.amount + steps.load.result.fee }}"
        " -> ${{ params.amount * 2 }}"
    )


def test_what_follows_from_a_finding_is_counted_and_not_told():
    change, _, _ = BREAKING["a step has another name"]

    findings = found(dry_run(recorded(), source(change)))

    assert findings["shelf"].unknown
    assert findings["shelf"].follows == 9
    assert findings["stock"].sentence.endswith("renamed to shelf?")
    assert findings["shelf"].sentence.endswith("renamed from stock?")


def test_items_that_differ_alike_are_told_once():
    change, _, _ = BREAKING["items get other arguments"]

    assert found(dry_run(recorded(), source(change)))["price[0]"].alike == 3


def test_findings_are_bounded_and_the_rest_is_counted():
    change, _, _ = BREAKING["a step has another name"]

    report = dry_run(recorded(), source(change), findings_max=1)

    assert (len(report.findings), report.more) == (1, 1)


def test_another_queue_and_limits_are_noted():
    def change(order: dict[str, Any], _: dict[str, Any]) -> None:
        order["steps"]["risk"] |= {"queue": "far", "limits": [{"name": "bank", "slots": 1}]}

    report = dry_run(recorded(), source(change))

    assert [note.partition(":")[2].partition(":")[0].strip() for note in report.notes] == [
        "steps.risk.limits",
        "steps.risk.queue",
    ]


def trial(**steps: Any) -> Source:
    return Source(msgspec.convert({"job": "trial", "steps": steps}, JobDefinition))


def test_a_job_that_has_not_ended_is_judged_as_far_as_it_is_recorded():
    first = {"call": "first"}
    wait = {"wait": {"for": "go"}, "after": ["first"]}
    run = LocalRun(trial(first=first, go=wait).main, {"first": lambda: 1})
    run.start()

    same = dry_run(run, trial(first=first, go=wait, last={"call": "last", "after": ["go"]}))
    other = dry_run(run, trial(first=first, go=wait, more={"call": "more", "after": ["first"]}))

    assert (same.verdict, same.open_steps, same.state) == ("same", 1, "running")
    assert {path: each.kind for path, each in found(other).items()} == {"more": "step-new"}


def test_a_timeout_that_struck_and_is_longer_now_leaves_it_unknown():
    slow = {"call": "slow", "timeout": {"total": 60.0}, "on_user_action": {"then": "fail"}}
    run = LocalRun(trial(slow=slow).main, {"slow": _never})
    run.start()
    run.advance(timedelta(seconds=100))
    assert run.state == "failed"

    longer = dry_run(run, trial(slow={**slow, "timeout": {"total": 600.0}}))

    finding = found(longer)["slow"]
    assert (finding.kind, finding.unknown) == ("timeout", True)


def _never() -> None:
    from warrener.domain.errors import UserActionRequired

    raise UserActionRequired("help", cause="nobody")


def test_a_new_sleep_passes_and_a_new_wait_is_unknown():
    run = LocalRun(trial(a={"call": "a"}, b={"call": "b", "after": ["a"]}).main, _ab())
    run.start()
    nap = {"sleep": 3_600.0, "after": ["a"]}
    wait = {"wait": {"for": "go"}, "after": ["a"]}

    slept = dry_run(run, trial(a={"call": "a"}, nap=nap, b={"call": "b", "after": ["nap"]}))
    waits = dry_run(run, trial(a={"call": "a"}, ok=wait, b={"call": "b", "after": ["ok"]}))

    assert slept.verdict == "same"
    assert {path: each.kind for path, each in found(waits).items()} == {"ok": "step-new"}
    assert found(waits)["ok"].follows == 1


def _ab() -> dict[str, Any]:
    return {"a": lambda: 1, "b": lambda: 2}


def test_a_definition_of_another_job_is_refused():
    other = msgspec.convert({**ORDER, "job": "offer"}, JobDefinition)
    run = recorded()
    assert run.job is not None

    with pytest.raises(UsageError, match=r"is of job offer, but .* is a job order: .* --force"):
        check_names(Source(other), {run.job: "order"})


@pytest.mark.parametrize("mode", ["only", "upto", "downstream"])
def test_a_part_that_ran_alone_is_judged_alone(mode: Any):
    steps = {
        "a": {"call": "a"},
        "b": {"call": "b", "with": {"x": "${{ steps.a.result }}"}},
        "c": {"call": "c", "with": {"x": "${{ steps.b.result }}"}},
    }
    run = LocalRun(trial(**steps).main, {name: lambda x=0: x + 1 for name in steps})
    given = {"a": GivenStep("succeeded", Payload("5"))} if mode != "upto" else {}
    part = Part(Selection(mode, "b"), given)
    run._parts.embedded.submit(submission(trial(**steps), {}, key="part", part=part))
    run.job = job_id("part")
    run.run()
    other = {**steps, "b": {**steps["b"], "with": {"x": "${{ steps.a.result + 1 }}"}}}

    same = dry_run(run, trial(**steps))
    differs = dry_run(run, trial(**other))

    assert (run.state, same.verdict) == ("succeeded", "same")
    assert {path: each.kind for path, each in found(differs).items()} == {"b": "input-differs"}


@pytest.mark.parametrize(
    ("rules", "more", "kinds"),
    [
        ([{"on": "*", "max": 2}], [{"on": "*", "max": 3}], ["outcome-differs"]),
        ([{"on": "*", "max": 2}], [{"on": "*", "max": 2, "first": 60.0}], []),
        ([], None, ["outcome-differs"]),
        (None, [{"on": "other", "max": 9}], ["outcome-differs"]),
    ],
)
def test_whether_a_failure_would_be_tried_again_is_told(rules: Any, more: Any, kinds: list[str]):
    def broken() -> None:
        raise ValueError("broken")

    def of(retry: Any) -> Source:
        return trial(a={"call": "a"} if retry is None else {"call": "a", "retry": retry})

    run = LocalRun(of(rules).main, {"a": broken})
    run.start()

    report = dry_run(run, of(more))

    assert [each.kind for each in report.findings] == kinds
