"""The plan of a job: its definition checked and compiled, in an order in which it can run."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
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
from warrener.domain.events import Error
from warrener.domain.expressions import Expression, Template, compile_template
from warrener.domain.ids import compensation, split_path
from warrener.domain.messages import DEFAULT_QUEUE

Kind = Literal["call", "job", "set", "wait", "sleep"]
Phase = Literal["main", "compensate", "always"]

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
    list of the results of this fan-out. A step that answers for the failures of others has them in
    `catches`, and they have it in `handlers`; these are no edges. `undoes` names the step that a
    compensation undoes.
    """

    name: str
    definition: StepDefinition
    kind: Kind
    phase: Phase
    fan_out: bool
    order: int
    edges: tuple[Edge, ...]
    readers: tuple[str, ...]
    arguments: Template
    for_each: Template | None
    when: Expression | None
    sets: Template | None
    sleep: Template | None
    limit_keys: tuple[Template, ...]
    catches: tuple[str, ...]
    handlers: tuple[str, ...]
    undoes: str | None
    wanted: bool
    collects: bool
    retry: tuple[RetryRule, ...]

    @property
    def queue(self) -> str:
        """Return the queue that the orders of this step go to."""
        return self.definition.queue or DEFAULT_QUEUE

    def handler(self, error: Error) -> str | None:
        """Return the step that answers for a failure of this one, if any does."""
        names = {"*", error.code, error.type}
        return next((rule.go for rule in self.definition.catch if rule.on in names), None)

    def tolerated(self, count: int) -> int:
        """Return how many of so many items may fail; a share is rounded down."""
        tolerate = self.definition.tolerate
        if tolerate is None or isinstance(tolerate, int):
            return tolerate or 0
        return int(count * Fraction(tolerate.removesuffix("%").strip()) / 100)


class Plan:
    """A job's definition with its steps planned: in topological order, then what undoes them.

    `phased` says that not all of them are for the main part of the job, `timed` that some have
    timeouts; `remaining` counts the steps at most on a way from each to the end of the job.
    """

    __slots__ = (
        "definition",
        "hash",
        "phased",
        "remaining",
        "result",
        "steps",
        "sub_jobs",
        "timed",
    )

    def __init__(self, definition: JobDefinition, content_hash: str) -> None:
        self.definition = definition
        self.hash = content_hash
        self.result: Template = compile_template(definition.result)
        self.steps: dict[str, PlannedStep] = _planned(definition, self.result)
        self.phased = any(step.phase != "main" for step in self.steps.values())
        self.timed = any(step.timeout is not None for step in definition.steps.values())
        self.remaining = _remaining(self.steps)
        self.sub_jobs = frozenset(step.job for step in definition.steps.values() if step.job)

    def at(self, path: str) -> PlannedStep:
        """Return the step, or that of which it is an item, at a path inside the job."""
        name, _ = split_path(path)
        return self.steps[name]


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
    catches = catching(definition)
    graph = {
        name: dependencies(step, readings[name].reads) - catches.get(name, frozenset())
        for name, step in definition.steps.items()
    }
    order = _order(definition, graph, catches)
    readers: dict[str, list[str]] = {name: [] for name in order}
    for name in order:
        for dependency in graph[name]:
            readers[dependency].append(name)
    collected = _collected(result, readings.values())
    places = {
        name: _Place(
            order=order,
            found=graph[name],
            readers=tuple(readers[name]),
            catches=tuple(sorted(catches.get(name, ()), key=order.__getitem__)),
            read_by_result=name in result.steps,
            collected=name in collected,
        )
        for name in order
    }
    planned = {
        name: _step(name, definition.steps[name], readings[name], places[name]) for name in order
    }
    for name in order:
        if definition.steps[name].compensate is not None:
            undoing = _compensation(planned[name], len(planned))
            planned[undoing.name] = undoing
    return planned


def _remaining(steps: Mapping[str, PlannedStep]) -> dict[str, int]:
    found: dict[str, int] = {}
    for step in sorted(steps.values(), key=lambda step: -step.order):
        following = (found.get(reader, 0) + 1 for reader in step.readers)
        found[step.name] = max(following, default=0)
    return found


def catching(definition: JobDefinition) -> dict[str, frozenset[str]]:
    """Return the steps that answer for failures, each with the steps that it answers for."""
    found: dict[str, set[str]] = {}
    for name, step in definition.steps.items():
        for rule in step.catch:
            found.setdefault(rule.go, set()).add(name)
    return {handler: frozenset(names) for handler, names in found.items()}


def _order(
    definition: JobDefinition,
    graph: Mapping[str, frozenset[str]],
    catches: Mapping[str, frozenset[str]],
) -> dict[str, int]:
    """Number the steps: each after what it depends on, and after those who may answer for that."""
    waits = {name: set(found) | catches.get(name, frozenset()) for name, found in graph.items()}
    for name, found in graph.items():
        todo = list(found)
        while todo:
            for rule in definition.steps[todo.pop()].catch:
                if rule.go not in waits[name]:
                    waits[name].add(rule.go)
                    todo.append(rule.go)
    return {name: number for number, name in enumerate(topological(waits))}


def _collected(result: Template, readings: Iterable[StepReading]) -> frozenset[str]:
    """Return the steps whose results somebody reads."""
    fields = result.fields.union(*(reading.fields for reading in readings))
    return frozenset(field[0] for field in fields if field[1] in ("result", "results"))


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a step stands among the others."""

    order: dict[str, int]
    found: frozenset[str]
    readers: tuple[str, ...]
    catches: tuple[str, ...]
    read_by_result: bool
    collected: bool


def _step(name: str, step: StepDefinition, reading: StepReading, place: _Place) -> PlannedStep:
    return PlannedStep(
        name=name,
        definition=step,
        kind=kind_of(step),
        phase="always" if step.always else "main",
        fan_out=step.for_each is not None,
        order=place.order[name],
        edges=tuple(
            Edge(dependency, reading.conditions.get(dependency))
            for dependency in sorted(place.found, key=place.order.__getitem__)
        ),
        readers=place.readers,
        arguments=reading.arguments,
        for_each=reading.for_each,
        when=reading.when,
        sets=reading.sets,
        sleep=reading.sleep,
        limit_keys=reading.limit_keys,
        catches=place.catches,
        handlers=tuple(dict.fromkeys(rule.go for rule in step.catch)),
        undoes=None,
        wanted=step.eager or step.always or place.read_by_result or not place.readers,
        collects=step.for_each is not None and place.collected,
        retry=DEFAULT_RETRY if step.retry is None else step.retry,
    )


def _compensation(step: PlannedStep, order: int) -> PlannedStep:
    """Plan the step that undoes another: it is begun by the end of the job, not by a join."""
    definition = StepDefinition(
        call=step.definition.compensate,
        queue=step.definition.queue if step.kind == "call" else None,
    )
    return PlannedStep(
        name=compensation(step.name),
        definition=definition,
        kind="call",
        phase="compensate",
        fan_out=False,
        order=order,
        edges=(),
        readers=(),
        arguments=compile_template({}),
        for_each=None,
        when=None,
        sets=None,
        sleep=None,
        limit_keys=(),
        catches=(),
        handlers=(),
        undoes=step.name,
        wanted=False,
        collects=False,
        retry=DEFAULT_RETRY,
    )


def kind_of(step: StepDefinition) -> Kind:
    """Return what a step is, its fan-out left aside."""
    if step.call is not None:
        return "call"
    if step.job is not None:
        return "job"
    if step.wait is not None:
        return "wait"
    return "set" if step.sleep is None else "sleep"
