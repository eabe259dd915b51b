"""Checks of what steps read and wait for: names, scope, circles."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from warrener.domain.definition.check_steps import check_join
from warrener.domain.definition.findings import Findings, shown, strings, unknown_hint
from warrener.domain.definition.model import JobDefinition, StepDefinition
from warrener.domain.definition.reading import topological
from warrener.domain.definition.stand_ins import OUTCOME, caught, handlers, outcome_graph
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
        self._handlers: dict[str, dict[str, str]] = {}  # step -> step that answers for it -> where

    def run(self) -> None:
        """Note what is wrong."""
        self._handlers = self._known_handlers()
        answers = caught(self._handlers)
        for name, step in self._steps.items():
            self._reads[name] = {}
            self._check_step(name, step)
            self._check_join(name, step, answers.get(name, set()))
        self._template("", "result", self._definition.result)
        self._check_always()
        self._check_cycles()

    def _check_step(self, name: str, step: StepDefinition) -> None:
        path = f"steps.{name}"
        fan_out = step.for_each is not None
        self._template(name, f"{path}.with", step.with_, item=fan_out)
        if step.sets is not msgspec.UNSET:
            self._template(name, f"{path}.set", step.sets)
        self._for_each(name, f"{path}.for_each", step)
        self._template(name, f"{path}.sleep", step.sleep)
        for number, limit in enumerate(step.limits):
            self._template(name, f"{path}.limits[{number}].key", limit.key, item=fan_out)
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

    def _check_join(self, name: str, step: StepDefinition, answers: set[str]) -> None:
        for other in sorted(answers):
            if other in step.needs and step.needs[other].when is not None:
                self._findings.add(
                    f"steps.{name}.needs.{other}",
                    f"{name} answers for {other}: whether it waits for {other} has no condition",
                    f"leave it out, or put when: on {name} itself",
                )
        counted = self._reads[name].keys() - answers
        check_join(self._findings, name, step, bool(counted), catches=bool(answers))

    def _known_handlers(self) -> dict[str, dict[str, str]]:
        """Return who answers for whom; note those that cannot."""
        found = handlers(self._steps)
        for name, going in found.items():
            for handler, place in list(going.items()):
                if not self._can_answer(name, place, handler):
                    del going[handler]
        return {name: going for name, going in found.items() if going}

    def _can_answer(self, name: str, place: str, handler: str) -> bool:
        if handler == name:
            text, hint = f"the step {name} answers for itself", "say retry: for another attempt"
        elif handler not in self._steps:
            text = f"unknown step {shown(handler)}"
            hint = unknown_hint(handler, self._steps)
        elif self._steps[handler].always:
            text = f"{handler} runs always, at the end: it cannot answer for {name}"
            hint = "leave out catch: it runs anyway, and may read the error"
        else:
            return True
        self._findings.add(place, text, hint)
        return False

    def _check_always(self) -> None:
        """Refuse to wait for what begins only when everything else has ended."""
        for name, reads in self._reads.items():
            for dependency, place in reads.items():
                if self._steps[dependency].always and not self._steps[name].always:
                    self._findings.add(
                        place,
                        f"{dependency} runs always, when all else has ended: no other step can"
                        " wait for it",
                        f"say always: true on {name}, too, or leave it out of {dependency}",
                    )

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
                hint = "it is there in `with` and `limits.key` of a step with for_each only"
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
        cycles = _cycles({name: set(reads) for name, reads in self._reads.items()})
        for cycle in cycles:
            first, second = cycle[0], cycle[1]
            self._findings.add(
                self._reads[first][second],
                f"steps wait for each other: {' -> '.join([*cycle, first])}",
                "each of them reads or follows the next one",
            )
        if not cycles and self._handlers:
            self._check_stand_ins()

    def _check_stand_ins(self) -> None:
        """Refuse circles that come of readers waiting for whoever answers for a failure."""
        for cycle in _cycles(outcome_graph(self._reads, self._handlers)):
            pairs = list(zip(cycle, [*cycle[1:], cycle[0]], strict=True))
            name, handler = next(filter(None, (self._catching(*pair) for pair in pairs)))
            steps = dict.fromkeys(step.removesuffix(OUTCOME) for step in cycle)
            self._findings.add(
                self._handlers[name][handler],
                f"steps wait for each other: {' -> '.join([*steps, next(iter(steps))])}",
                f"{handler} answers for {name}: it follows {name}, and what reads {name} waits"
                f" for {handler}",
            )

    def _catching(self, waiting: str, awaited: str) -> tuple[str, str] | None:
        """Return step and handler, if it is between these two that one waits for the other."""
        name, handler = waiting.removesuffix(OUTCOME), awaited.removesuffix(OUTCOME)
        if waiting.endswith(OUTCOME):
            return (name, handler) if handler in self._handlers[name] else None
        name, handler = handler, name
        is_read = awaited in self._reads[handler]
        return (name, handler) if handler in self._handlers.get(name, {}) and not is_read else None


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
