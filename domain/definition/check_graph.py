"""Checks of what steps read and wait for: names, scope, circles."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from warrener.domain.definition.check_steps import check_join
from warrener.domain.definition.findings import Findings, shown, strings, unknown_hint
from warrener.domain.definition.model import JobDefinition, StepDefinition
from warrener.domain.definition.reading import topological
from warrener.domain.expression_scope import kind
from warrener.domain.expressions import (
    Expression,
    ExpressionSyntaxError,
    Template,
    compile_expression,
    compile_template,
    is_expression,
)

CYCLES_SHOWN_MAX = 5
_FOR_EACH_HINT = "give a list, a map, or one expression ${{ ... }} that yields one"
_ITEM = ("item", "index")


class GraphCheck:
    """One pass over all expressions of a definition, collecting who reads whom and where."""

    def __init__(self, findings: Findings, definition: JobDefinition) -> None:
        self._findings = findings
        self._steps = definition.steps
        self._definition = definition
        self._reads: dict[str, dict[str, str]] = {}  # step -> step it reads -> where

    def run(self) -> None:
        """Note what is wrong."""
        for name, step in self._steps.items():
            self._reads[name] = {}
            self._check_step(name, step)
        self._template("", "result", self._definition.result)
        self._check_cycles()

    def _check_step(self, name: str, step: StepDefinition) -> None:
        path = f"steps.{name}"
        fan_out = step.for_each is not None
        self._template(name, f"{path}.with", step.with_, item=fan_out)
        if step.sets is not msgspec.UNSET:
            self._template(name, f"{path}.set", step.sets)
        self._for_each(name, f"{path}.for_each", step)
        if step.when is not None:
            self._condition(name, f"{path}.when", step.when)
        conditions: dict[str, Expression] = {}
        for dependency, need in step.needs.items():
            place = f"{path}.needs.{dependency}"
            if need.when is not None:
                found = self._condition(name, f"{place}.when", need.when)
                conditions.update({dependency: found} if found else {})
            self._known(name, place, dependency)
        self._check_after(name, step)
        self._check_conditions(name, conditions)
        check_join(self._findings, name, step, bool(self._reads[name]))

    def _check_after(self, name: str, step: StepDefinition) -> None:
        for dependency in step.after:
            moved = f"steps.{name}.needs.{dependency}"  # where a need without a condition was
            place = moved if self._findings.has_place(moved) else f"steps.{name}.after"
            need = step.needs.get(dependency)
            if need is not None and need.when is not None:
                self._findings.add(
                    place,
                    f"{dependency} stands in after and, with a condition, in needs",
                    "leave it out of after",
                )
            self._known(name, place, dependency)

    def _for_each(self, name: str, path: str, step: StepDefinition) -> None:
        source: Any = step.for_each
        if isinstance(source, str) and not _one_expression(source):
            self._findings.add(path, "for_each over text", _FOR_EACH_HINT)
        elif source is not None and not isinstance(source, str | list | dict):
            self._findings.add(path, f"for_each over {kind(source)}", _FOR_EACH_HINT)
        self._template(name, path, source)

    def _template(self, name: str, path: str, value: object, *, item: bool = False) -> None:
        for place, text in strings(self._findings, path, value):
            try:
                template = compile_template(text)
            except ExpressionSyntaxError as error:
                self._findings.add(place, error.message, error.hint)
            else:
                self._check_reads(name, place, template, item=item)

    def _condition(self, name: str, path: str, text: str) -> Expression | None:
        try:
            found = compile_expression(text)
        except ExpressionSyntaxError as error:
            self._findings.add(path, error.message, error.hint)
            return None
        self._check_reads(name, path, found, item=False)
        return found

    def _check_reads(
        self, name: str, path: str, found: Template | Expression, *, item: bool
    ) -> None:
        for variable in sorted(found.variables.intersection(_ITEM)):
            if not item:
                hint = "it is there in `with` of a step with for_each only"
                self._findings.add(path, f"there is no {variable} here", hint)
        for dependency, field in sorted(found.fields):
            if not self._known(name, path, dependency):
                continue
            if field == "results" and self._steps[dependency].for_each is None:
                hint = f"say steps.{dependency}.result"
                self._findings.add(path, f"{dependency} is no fan-out, it has no results", hint)

    def _known(self, name: str, path: str, dependency: str) -> bool:
        """Note a dependency of a step (the result, if the name is empty), or what is wrong."""
        if dependency not in self._steps:
            hint = unknown_hint(dependency, self._steps)
            self._findings.add(path, f"unknown step {shown(dependency)}", hint)
        elif dependency == name:
            self._findings.add(path, f"the step {name} depends on itself")
        elif name:
            self._reads[name].setdefault(dependency, path)
        return dependency in self._steps

    def _check_conditions(self, name: str, conditions: Mapping[str, Expression]) -> None:
        """Refuse conditions that can only be decided by each other."""
        graph = {
            dependency: condition.steps & conditions.keys()
            for dependency, condition in conditions.items()
        }
        for cycle in _cycles(graph):
            place = f"steps.{name}.needs.{cycle[0]}.when"
            text = (
                f"the condition of {cycle[0]} reads {cycle[0]} itself"
                if len(cycle) == 1
                else f"the conditions of {', '.join(cycle)} wait for each other"
            )
            self._findings.add(place, text, "a condition decides whether to wait for the step")

    def _check_cycles(self) -> None:
        for cycle in _cycles({name: set(reads) for name, reads in self._reads.items()}):
            first, second = cycle[0], cycle[1]
            self._findings.add(
                self._reads[first][second],
                f"steps wait for each other: {' -> '.join([*cycle, first])}",
                "each of them reads or follows the next one",
            )


def _one_expression(text: str) -> bool:
    try:
        return is_expression(text)
    except ExpressionSyntaxError:
        return True  # noted where the template is compiled


def _cycles(graph: Mapping[str, Iterable[str]]) -> list[list[str]]:
    """Return some circles of a graph that have no name in common, each from its first name on."""
    left = {name: set(found) for name, found in graph.items()}
    cycles: list[list[str]] = []
    while len(cycles) < CYCLES_SHOWN_MAX:
        for name in topological(left):
            del left[name]
        left = {name: found & left.keys() for name, found in left.items()}
        if not left:
            break
        cycle = _cycle(left)
        cycles.append(cycle)
        left = {name: found.difference(cycle) for name, found in left.items() if name not in cycle}
    return cycles


def _cycle(graph: Mapping[str, set[str]]) -> list[str]:
    """Walk along dependencies until a name comes again; every name has one to go on with."""
    walked: dict[str, None] = {}
    name = min(graph)
    while name not in walked:
        walked[name] = None
        name = min(graph[name])
    names = list(walked)
    cycle = names[names.index(name) :]
    start = cycle.index(min(cycle))
    return cycle[start:] + cycle[:start]
