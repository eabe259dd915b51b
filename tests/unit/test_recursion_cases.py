"""The random recursive jobs: what is expected of them, checked by hand and by a second way.

The second way is to work out a definition lazily, as it is written, from its `result` downwards:
what is asked for is computed, its dependencies first, one thing at a time.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import cel
import msgspec
import pytest
from hypothesis import given, settings
from support.recursion_cases import RecursionCase, definition, recursion_cases, run_endpoint
from support.recursion_expected import Expectation, Expected, Node, Shape, tolerated
from support.scale import scaled

from warrener.domain.definition.model import JobDefinition
from warrener.domain.errors import PermanentError


def node(value: int, *children: Node, heir: Node | None = None, **flags: bool) -> Node:
    own = {"value": value, "heir": heir, "children": list(children)}
    return own | {"fail": False, "loop": False} | flags


def outcome(tree: Node, *shapes: Shape) -> Expected:
    return Expectation({shape.name: shape for shape in shapes}, shapes[0].name).of(tree)


# --- by hand -----------------------------------------------------------------------------------

BAD = node(5, fail=True)
WALK = Shape("walk-a", below="walk-a", heir="walk-a")


@pytest.mark.parametrize(
    ("tree", "shape", "expected"),
    [
        (node(1), {}, 1),
        (node(1, node(2, node(3)), node(4), heir=node(5)), {}, 15),
        (node(1, node(2)), {"below": None}, 3),
        (node(1, heir=node(2)), {"heir": None}, 1),
        (BAD, {}, {"bad-node"}),
        (BAD, {"own": "set"}, 5),
        (node(1, BAD), {}, {"items-failed"}),
        (node(1, BAD, node(2)), {"tolerate": 1}, 3),
        (node(1, BAD, BAD, node(2)), {"tolerate": 1}, {"items-failed"}),
        (node(1, BAD, node(2), node(3)), {"tolerate": "50%"}, 6),
        (node(1, BAD, BAD, node(3)), {"tolerate": "50%"}, {"items-failed"}),
        (node(1, heir=BAD), {}, {"bad-node"}),
        (node(1, heir=BAD), {"heir_may_fail": True}, 1),
        (node(1, BAD, heir=BAD), {}, {"bad-node"}),
        (node(1, BAD, heir=BAD), {"serial": False}, {"bad-node", "items-failed"}),
        (node(1, loop=True), {"again": "walk-a"}, {"recursion-loop"}),
        (node(1), {"again": "walk-a"}, 1),
        (node(1, heir=node(2)), {"budget": {"depth": 1}}, 3),
        (node(1, heir=node(2)), {"budget": {"depth": 0}}, {"budget-exceeded"}),
        (node(1, node(2)), {"budget": {"depth": 0}}, {"items-failed"}),
        (node(1, node(2)), {"budget": {"depth": 0}, "tolerate": 1}, 1),
        (node(1, heir=node(2)), {"budget": {"steps": 8}}, 3),
        (node(1, heir=node(2)), {"budget": {"steps": 7}}, {"budget-exceeded"}),
        (node(1, node(2)), {"budget": {"steps": 9}}, 3),
        (node(1, node(2)), {"budget": {"steps": 8}}, {"items-failed"}),
        (node(1, node(2)), {"budget": {"steps": 4}}, {"budget-exceeded"}),
    ],
)
def test_a_tree_comes_to_what_its_shape_says(
    tree: Node, shape: dict[str, Any], expected: int | set[str]
) -> None:
    walk = Shape(**({"name": "walk-a", "below": "walk-a", "heir": "walk-a"} | shape))

    found = outcome(tree, walk)

    assert found.result == expected if isinstance(expected, int) else found.codes == expected


def test_two_jobs_that_hand_each_other_the_same_node_go_round_in_a_circle() -> None:
    there = Shape("walk-a", again="walk-b")
    back = Shape("walk-b", again="walk-a")

    assert outcome(node(1, loop=True), there, back).codes == {"recursion-loop"}
    assert outcome(node(1, loop=True), there, Shape("walk-b")).result == 1


def test_only_the_budget_of_the_root_counts() -> None:
    strict = Shape("walk-b", heir="walk-b", budget={"depth": 0})
    tree = node(1, heir=node(2, heir=node(3)))

    assert outcome(tree, Shape("walk-a", heir="walk-b"), strict).result == 6
    assert outcome(tree, strict).codes == {"budget-exceeded"}


@pytest.mark.parametrize(
    ("tolerate", "count", "allowed"), [(None, 9, 0), (2, 9, 2), ("50%", 3, 1), ("100%", 3, 3)]
)
def test_a_share_of_the_items_is_rounded_down(
    tolerate: int | str | None, count: int, allowed: int
) -> None:
    assert tolerated(tolerate, count) == allowed


# --- the second way ----------------------------------------------------------------------------


class Failure(Exception):
    """A step or a job failed with this code."""


class Lazy:
    """Works out a case from its definitions; only what these cases use is known."""

    def __init__(self, case: RecursionCase) -> None:
        self.case = case
        self.budget = {"depth": 16, "steps": 100_000}
        self.budget |= case.definitions[case.root].get("budget", {})
        self.spent = 0

    def job(self, name: str, params: dict[str, Any], line: list[Any]) -> Any:
        """Start a job; `line` holds its ancestors."""
        if [name, params] in line:
            raise Failure("recursion-loop")
        if len(line) > self.budget["depth"]:
            raise Failure("budget-exceeded")
        written = self.case.definitions[name]
        self.spend(len(written["steps"]))
        lazy = LazyJob(self, written["steps"], params, [*line, [name, params]])
        return lazy.value(written["result"], dict.fromkeys(written["steps"], True))

    def spend(self, steps: int) -> None:
        if self.spent + steps > self.budget["steps"]:
            raise Failure("budget-exceeded")
        self.spent += steps


class LazyJob:
    """One job of a case that is worked out."""

    def __init__(self, lazy: Lazy, steps: Any, params: Any, line: list[Any]) -> None:
        self.lazy, self.steps, self.params, self.line = lazy, steps, params, line
        self.known: dict[str, Any] = {}  # value or failure, by step

    def step(self, name: str) -> Any:
        if name not in self.known:
            try:
                self.known[name] = self.run(self.steps[name])
            except Failure as failure:
                self.known[name] = None if self.steps[name].get("may_fail") else failure
        if isinstance(self.known[name], Failure):
            raise self.known[name]
        return self.known[name]

    def run(self, step: dict[str, Any]) -> Any:
        needs = step.get("needs", {})
        required = {
            name: "when" not in needs.get(name, {}) or self.value(needs[name]["when"], {})
            for name in self.steps
            if name in needs or f"steps.{name}." in str(step)
        }
        for name in [name for name in required if required[name]]:
            self.step(name)
        if "set" in step:
            return self.value(step["set"], required)
        if "for_each" not in step:
            return self.work(step, self.value(step["with"], required))
        items = self.value(step["for_each"], required)
        self.lazy.spend(len(items))
        return self.fan_out(step, items)

    def fan_out(self, step: dict[str, Any], items: list[Any]) -> list[Any]:
        allowed = step.get("tolerate", 0)
        share = float(str(allowed).rstrip("%")) / 100 if "%" in str(allowed) else None
        results: list[Any] = []
        for item in items:
            try:
                results.append(self.work(step, {"node": item}))
            except Failure:
                results.append(None)
            if results.count(None) > (allowed if share is None else share * len(items)):
                raise Failure("items-failed")
        return results

    def work(self, step: dict[str, Any], args: dict[str, Any]) -> Any:
        if "job" in step:
            return self.lazy.job(step["job"], args, self.line)
        try:
            return run_endpoint(step["call"], args)
        except PermanentError as error:
            raise Failure(error.code) from error

    def value(self, template: Any, required: dict[str, bool]) -> Any:
        """Render a template; steps that are not required read as null."""
        if isinstance(template, dict):
            return {name: self.value(inner, required) for name, inner in template.items()}
        if not isinstance(template, str):
            return template
        expression = template.removeprefix("${{ ").removesuffix(" }}")
        read = {name: self.step(name) if wanted else None for name, wanted in required.items()
                if f"steps.{name}." in expression}  # fmt: skip
        steps = {name: {"result": value, "results": value} for name, value in read.items()}
        return cel.evaluate(expression, {"params": self.params, "steps": steps})


@settings(max_examples=scaled(100))
@given(recursion_cases())
def test_the_definitions_come_to_what_is_expected_of_their_shapes(case: RecursionCase) -> None:
    try:
        found = Expected(Lazy(case).job(case.root, case.params, []))
    except Failure as failure:
        found = Expected(None, frozenset({str(failure)}))

    assert found.result == case.expected.result
    assert found.succeeded == case.expected.succeeded
    assert found.codes <= case.expected.codes


# --- the strategy ------------------------------------------------------------------------------


@settings(max_examples=scaled(50))
@given(recursion_cases())
def test_random_families_are_of_the_shape_of_definitions(case: RecursionCase) -> None:
    for name, written in case.definitions.items():
        assert msgspec.convert(written, JobDefinition).name == name


def test_a_job_has_as_many_steps_as_its_shape_counts() -> None:
    for shape in (Shape("walk-a"), Shape("walk-a", heir="walk-a"), Shape("walk-a", again="walk-a")):
        assert len(definition(shape)["steps"]) == shape.steps


def test_random_cases_reach_every_outcome() -> None:
    seen: Counter[str] = Counter()

    @settings(max_examples=300, derandomize=True, database=None)
    @given(recursion_cases())
    def look(case: RecursionCase) -> None:
        seen.update(case.expected.codes or {"sum"})
        seen.update(f"budget of {kind}" for kind in case.definitions[case.root].get("budget", {}))
        seen.update({f"{len(case.definitions)} jobs", *str(case.definitions).split("'")})

    look()

    codes = {"sum", "bad-node", "budget-exceeded", "recursion-loop", "items-failed"}
    options = {"window", "tolerate", "for_each", "may_fail", "stop", "set", "tree.weigh"}
    sizes = {"1 jobs", "2 jobs", "3 jobs", "budget of depth", "budget of steps"}
    assert {name for name in codes | options | sizes if seen[name] < 3} == set()
