"""What a step reads: its expressions compiled, and the dependencies that follow from them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from heapq import heapify, heappop, heappush

import msgspec

from warrener.domain.definition.model import StepDefinition
from warrener.domain.expressions import (
    Expression,
    Template,
    compile_expression,
    compile_template,
)


class StepReading(msgspec.Struct, frozen=True):
    """The compiled templates and expressions of a step."""

    arguments: Template
    sets: Template | None
    for_each: Template | None
    when: Expression | None
    conditions: dict[str, Expression]  # dependency -> condition of its edge
    sleep: Template | None
    limit_keys: tuple[Template, ...]  # of the step's limits, in their order

    @property
    def fields(self) -> frozenset[tuple[str, ...]]:
        """What is read of which step, such as `("load", "result")`."""
        parts = (
            self.arguments,
            self.sets,
            self.for_each,
            self.when,
            self.sleep,
            *self.limit_keys,
            *self.conditions.values(),
        )
        return frozenset().union(*(part.fields for part in parts if part is not None))

    @property
    def reads(self) -> frozenset[str]:
        """The names of the steps that the step's expressions read."""
        return frozenset(name for name, *_ in self.fields)


def read_step(step: StepDefinition) -> StepReading:
    """Compile what a step holds; raises `ExpressionSyntaxError`."""
    return StepReading(
        arguments=compile_template(step.with_),
        sets=None if step.sets is msgspec.UNSET else compile_template(step.sets),
        for_each=None if step.for_each is None else compile_template(step.for_each),
        when=None if step.when is None else compile_expression(step.when),
        conditions={
            name: compile_expression(need.when)
            for name, need in step.needs.items()
            if need.when is not None
        },
        sleep=None if step.sleep is None else compile_template(step.sleep),
        limit_keys=tuple(compile_template(limit.key) for limit in step.limits),
    )


def dependencies(step: StepDefinition, reads: Iterable[str]) -> frozenset[str]:
    """Return the names of all steps that a step depends on."""
    return frozenset((*reads, *step.needs, *step.after))


def topological(graph: Mapping[str, Iterable[str]]) -> list[str]:
    """Order names after all that they depend on, ties by name; those on cycles are left out."""
    waits = {name: len(set(found)) for name, found in graph.items()}
    readers: dict[str, list[str]] = {name: [] for name in graph}
    for name, found in graph.items():
        for dependency in set(found):
            readers[dependency].append(name)
    free = [name for name, count in waits.items() if count == 0]
    heapify(free)
    order = []
    while free:
        name = heappop(free)
        order.append(name)
        for reader in readers[name]:
            waits[reader] -= 1
            if waits[reader] == 0:
                heappush(free, reader)
    return order
