"""The random cases for the dependency semantics, run by the model."""

from __future__ import annotations

from collections import Counter

import msgspec
from hypothesis import given, settings
from support.case import Case
from support.model import ENDED, Model, script
from support.scale import scaled
from support.strategies import cases

from warrener.domain.definition.model import JobDefinition


@settings(max_examples=scaled(200))
@given(cases())
def test_every_random_job_ends_and_what_has_ended_stays_so(case: Case) -> None:
    model = Model(case)
    model.start()

    for report in script(case):
        ended = {name: state for name, state in model.states.items() if state in ENDED}
        model.report(*report)
        assert ended.items() <= model.states.items()

    assert model.job != "running"


@settings(max_examples=scaled(100))
@given(cases())
def test_random_definitions_are_of_the_shape_of_a_definition(case: Case) -> None:
    definition = msgspec.convert(case.definition, JobDefinition)

    assert definition.steps.keys() == case.definition["steps"].keys()


def test_random_cases_reach_every_state_every_join_and_every_option() -> None:
    seen: Counter[str] = Counter()

    @settings(max_examples=300, derandomize=True, database=None)
    @given(cases())
    def look(case: Case) -> None:
        model = Model(case)
        model.start()
        for report in script(case):
            model.report(*report)
        seen.update({*model.states.values(), *model.errors.values(), f"job {model.job}"})
        for name, step in case.definition["steps"].items():
            seen.update({f"{step.get('join', 'all_ok')} {model.states[name]}", *step})

    look()

    joins = ["all_ok", "all_done", "any_ok", "any_failed", "all_failed"]
    expected = {*ENDED, "work-failed", "expression-error", "job failed", "job succeeded"}
    expected |= {f"{join} {state}" for join in joins for state in ("succeeded", "failed")}
    expected |= {"any_ok skipped", "any_ok upstream_failed", "all_failed skipped"}
    expected |= {"set", "call", "with", "when", "needs", "after", "may_fail", "eager"}
    assert {name for name in expected | {"cancel_rest"} if seen[name] < 5} == set()
