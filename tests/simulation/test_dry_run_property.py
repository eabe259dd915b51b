"""A dry run of the definitions that jobs ran by decides what was decided, whatever happened."""

from __future__ import annotations

from typing import Any

import pytest
from support.dry_run_worlds import Recorded, anew, decided
from support.scale import scaled

from warrener.services.dry_run.run import DryRun

SEEDS = 12
# Total timeouts of steps that wait, reruns of several steps at once, clocks that are set back,
# budgets that what began anew had shared with what it followed.
FOUND = (8, 12, 16, 27, 79, 128, 139, 170, 194, 317, 402, 596, 628, 711, 881)


@pytest.mark.parametrize("part", range(5))
def test_the_same_definitions_decide_the_same_events(part: int):
    seeds = [*range(part, scaled(SEEDS), 5), *FOUND[part::5]]
    compared = 0
    for seed in seeds:
        recorded = Recorded(seed)
        for root in recorded.roots:
            record = recorded.record(root)

            play = anew(record, recorded.source())

            assert decided(play.log) == decided(record.log), f"seed {seed}"
            assert play.refused == [], f"seed {seed}"
            compared += 1
    assert compared >= len(seeds)


def test_nothing_is_found_about_the_same_definitions_nor_about_harmless_changes():
    for seed in range(scaled(SEEDS)):
        recorded = Recorded(seed)
        for root in recorded.roots:
            for change in (None, _harmless):
                report = recorded.dry_run(root, recorded.source(change))

                assert (report.problem, report.findings) == (None, ()), f"seed {seed}"


def test_nothing_is_found_about_jobs_that_have_not_ended():
    judged = 0
    for seed in range(scaled(SEEDS)):
        recorded = Recorded(seed)
        for root in recorded.roots:
            for until in recorded.moments(root)[:: 1 + seed % 7]:
                record = recorded.record(root, until=until)

                report = DryRun(recorded.source()).record(record)

                assert report.findings == (), f"seed {seed}, position {until}"
                judged += report.open_steps > 0
    assert judged > SEEDS


def test_definitions_of_another_world_are_judged_like_any():
    kinds: set[str] = set()
    before: Recorded | None = None
    for seed in range(scaled(SEEDS)):
        recorded = Recorded(seed)
        for root in recorded.roots if before else []:
            for until in (None, *recorded.moments(root)[::9]):
                assert before is not None
                record = recorded.record(root, until=until)

                report = DryRun(before.source()).record(record)

                kinds.update(each.kind for each in report.findings)
        before = recorded
    assert len(kinds) > 3


def _harmless(definition: dict[str, Any]) -> None:
    """Send all steps elsewhere, without limits and windows, and in another order."""
    definition["version"] = 9
    definition["steps"] = dict(reversed(list(definition["steps"].items())))
    for step in definition["steps"].values():
        step.pop("limits", None)
        step.pop("window", None)
        if "call" in step:
            step["queue"] = "elsewhere"


def test_another_endpoint_is_found_wherever_it_was_called():
    found = 0
    for seed in range(scaled(SEEDS)):
        recorded = Recorded(seed)
        for root in recorded.roots:
            show = recorded.queries.show(root)
            called = [name for name, step in show.steps.items() if step.attempts]
            for name in called:
                if "." in name:
                    continue

                def change(definition: dict[str, Any], name: str = name) -> None:
                    if definition["job"] == "tree":
                        definition["steps"][name]["call"] = "another"

                report = recorded.dry_run(root, recorded.source(change))

                kinds = {each.kind for each in report.findings if each.path == name}
                assert "endpoint-differs" in kinds, f"seed {seed}: {name}"
                found += 1
    assert found > SEEDS
