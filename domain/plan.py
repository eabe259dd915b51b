"""The plan of a job: its definition checked and compiled, in an order in which it can run."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from warrener.domain.definition.check import check
from warrener.domain.definition.model import (
    DEFAULT_RETRY,
    JobDefinition,
    RetryRule,
    StepDefinition,
)
from warrener.domain.definition.reading import (
    StepReading,
    dependencies,
    read_step,
    topological,
)
from warrener.domain.errors import DefinitionError
from warrener.domain.expressions import Expression, Template, compile_template

_PLANS_KEPT_MAX = 64
_plans: OrderedDict[str, Plan] = OrderedDict()


@dataclass(frozen=True, slots=True)
class Edge:
    """A dependency of a step. With `when` it is required only if that holds."""

    dependency: str
    when: Expression | None


@dataclass(frozen=True, slots=True)
class PlannedStep:
    """A step as the controller needs it.

    `order` counts from 0 in the topological order (ties by name), in which `edges` and `readers`
    stand, too. `wanted` steps are demanded by themselves. `collects` says that somebody reads the
    list of the results of this fan-out.
    """

    name: str
    definition: StepDefinition
    kind: Literal["call", "job", "set"]
    fan_out: bool
    order: int
    edges: tuple[Edge, ...]
    readers: tuple[str, ...]
    arguments: Template
    for_each: Template | None
    when: Expression | None
    sets: Template | None
    wanted: bool
    collects: bool
    retry: tuple[RetryRule, ...]

    def tolerated(self, count: int) -> int:
        """Return how many of so many items may fail; a share is rounded down."""
        tolerate = self.definition.tolerate
        if tolerate is None or isinstance(tolerate, int):
            return tolerate or 0
        return int(count * Fraction(tolerate.removesuffix("%").strip()) / 100)


class Plan:
    """A job's definition with its steps planned, in topological order."""

    __slots__ = ("definition", "hash", "result", "steps", "sub_jobs")

    def __init__(self, definition: JobDefinition, content_hash: str) -> None:
        self.definition = definition
        self.hash = content_hash
        self.result: Template = compile_template(definition.result)
        self.steps: dict[str, PlannedStep] = _planned(definition, self.result)
        self.sub_jobs = frozenset(step.job for step in definition.steps.values() if step.job)


def build_plan(definition: JobDefinition) -> Plan:
    """Check and compile a definition; raises `DefinitionError` with every problem.

    The latest plans are kept by the content hash of their definition.
    """
    content_hash = definition.hash
    plan = _plans.get(content_hash)
    if plan is None:
        problems = check(definition)
        if problems:
            raise DefinitionError(problems)
        plan = _plans[content_hash] = Plan(definition, content_hash)
        while len(_plans) > _PLANS_KEPT_MAX:
            _plans.popitem(last=False)
    return plan


def _planned(definition: JobDefinition, result: Template) -> dict[str, PlannedStep]:
    readings = {name: read_step(step) for name, step in definition.steps.items()}
    graph = {
        name: dependencies(step, readings[name].reads) for name, step in definition.steps.items()
    }
    order = {name: number for number, name in enumerate(topological(graph))}
    readers: dict[str, list[str]] = {name: [] for name in order}
    for name in order:
        for dependency in graph[name]:
            readers[dependency].append(name)
    collected = {
        field[0]
        for field in result.fields.union(*(reading.fields for reading in readings.values()))
        if field[1] in ("result", "results")
    }
    return {
        name: _step(
            name,
            definition.steps[name],
            readings[name],
            order=order,
            found=graph[name],
            readers=tuple(readers[name]),
            read_by_result=name in result.steps,
            collected=name in collected,
        )
        for name in order
    }


def _step(
    name: str,
    step: StepDefinition,
    reading: StepReading,
    *,
    order: dict[str, int],
    found: frozenset[str],
    readers: tuple[str, ...],
    read_by_result: bool,
    collected: bool,
) -> PlannedStep:
    kind: Literal["call", "job", "set"] = "call" if step.call else "job" if step.job else "set"
    return PlannedStep(
        name=name,
        definition=step,
        kind=kind,
        fan_out=step.for_each is not None,
        order=order[name],
        edges=tuple(
            Edge(dependency, reading.conditions.get(dependency))
            for dependency in sorted(found, key=order.__getitem__)
        ),
        readers=readers,
        arguments=reading.arguments,
        for_each=reading.for_each,
        when=reading.when,
        sets=reading.sets,
        wanted=step.eager or read_by_result or not readers,
        collects=step.for_each is not None and collected,
        retry=DEFAULT_RETRY if step.retry is None else step.retry,
    )
