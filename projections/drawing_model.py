"""The graph of a job as it is drawn, the same for every format, and how states look."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

import msgspec

from warrener.domain.definition.durations import duration_text
from warrener.domain.definition.model import Join, StepDefinition
from warrener.domain.definition.reading import topological
from warrener.domain.definition.stand_ins import handlers
from warrener.domain.ids import compensation
from warrener.domain.plan import Plan
from warrener.domain.states import STEP_ENDED

# Characters that no format may show as they are: controls, surrogates, and those that turn the
# direction of the text around them.
_UNSAFE = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
    "\ud800-\udfff\ufffe\uffff]"
)
_SPACE = re.compile(r"[\s\u2028\u2029]+")


class Look(msgspec.Struct, frozen=True):
    """How a state is shown: a sign beside its name, and colours that bear dark text."""

    mark: str
    fill: str
    stroke: str
    dashed: bool = False


PLAIN: Final = Look("", "#f8fafc", "#475569")
INK: Final = "#0f172a"
LINE: Final = "#6b7280"  # readable on white and on black
CATCH_LINE: Final = "#dc2626"  # so is this

LOOKS: Final[Mapping[str, Look]] = {
    "pending": Look("○", "#f8fafc", "#64748b"),
    "ready": Look("◔", "#cffafe", "#0e7490"),
    "released": Look("→", "#e0f2fe", "#0369a1"),
    "running": Look("▶", "#bfdbfe", "#1d4ed8"),
    "retrying": Look("↻", "#fde68a", "#b45309"),
    "waiting": Look("…", "#fef9c3", "#a16207"),
    "waiting_user": Look("?", "#fbcfe8", "#be185d"),
    "succeeded": Look("✓", "#bbf7d0", "#15803d"),
    "failed": Look("✗", "#fecaca", "#b91c1c"),
    "upstream_failed": Look("⊘", "#fed7aa", "#c2410c", dashed=True),
    "skipped": Look("»", "#e5e7eb", "#4b5563", dashed=True),
    "not_needed": Look("–", "#f3f4f6", "#6b7280", dashed=True),
    "cancelled": Look("■", "#ddd6fe", "#6d28d9"),
}


class Node(msgspec.Struct, frozen=True, kw_only=True):
    """A step. `target` is what it calls or waits for, `items` its items by state.

    `compensate` is the endpoint that undoes it, `undone` the state of that.
    """

    name: str
    kind: str  # call | job | wait | sleep | set
    target: str
    fan_out: bool
    join: str
    when: str | None
    state: str | None
    items: Mapping[str, int] | None
    always: bool = False
    compensate: str | None = None
    undone: str | None = None

    @property
    def look(self) -> Look:
        """Return how the node is coloured."""
        return PLAIN if self.state is None else LOOKS.get(self.state, PLAIN)

    def lines(self) -> list[str]:
        """Return the text of the node, the name first, free of unsafe characters."""
        lines = [self.name, " ".join(filter(None, (self._prefix(), self.kind, self.target)))]
        if self.always:
            lines.append("always, at the end")
        if self.join != Join.ALL_OK:
            lines.append(f"join {self.join}")
        if self.when is not None:
            lines.append(f"when {self.when}")
        if self.compensate is not None:
            undone = f": {self.undone}" if self.undone else ""
            lines.append(f"↶ {self.compensate}{undone}")
        if self.state is not None:
            lines.append(f"{self.look.mark} {self.state}".strip())
        if self.items is not None:
            ended = sum(count for state, count in self.items.items() if state in STEP_ENDED)
            lines.append(f"{ended} of {sum(self.items.values())} items ended")
        return [safe(line) for line in lines]

    def _prefix(self) -> str:
        return "each:" if self.fan_out else ""


class Edge(msgspec.Struct, frozen=True):
    """A dependency: `reader` waits for `dependency`, if there is a condition only when it holds.

    With `catch` the reader answers for these failures of the dependency, separated by commas.
    """

    dependency: str
    reader: str
    condition: str | None
    catch: str | None = None

    @property
    def label(self) -> str:
        """Return what stands at the line; it is empty for a plain dependency."""
        return f"on {self.catch}" if self.catch else self.condition or ""

    @property
    def words(self) -> str:
        """Return when the dependency counts, in words."""
        condition = f" if {self.condition}" if self.condition else ""
        return f" on {self.catch}" if self.catch else condition


class Graph(msgspec.Struct, frozen=True, kw_only=True):
    """What is drawn. Nodes come in topological order."""

    job: str
    version: int
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]

    @property
    def title(self) -> str:
        """Return a heading."""
        return safe(f"{self.job} version {self.version}")

    def description(self) -> str:
        """Return the graph in words, for those who do not see it."""
        after: dict[str, list[str]] = {node.name: [] for node in self.nodes}
        for edge in self.edges:
            after[edge.reader].append(f"{edge.dependency}{edge.words}")
        parts = []
        for node in self.nodes:
            state = f" ({node.state})" if node.state else ""
            above = f" after {', '.join(after[node.name])}" if after[node.name] else ""
            parts.append(f"{node.name}{state}{above}")
        return safe(f"{len(self.nodes)} steps: {'; '.join(parts)}.")


def graph_of(
    plan: Plan,
    states: Mapping[str, str] | None,
    items: Mapping[str, Mapping[str, int]] | None,
) -> Graph:
    """Return the graph of a plan, coloured by the states of its steps if they are given.

    What undoes a step is a mark on it and no step of the graph.
    """
    edges = _edges(plan)
    before: dict[str, set[str]] = {name: set() for name in plan.definition.steps}
    for edge in edges:
        before[edge.reader].add(edge.dependency)
    nodes = tuple(
        _node(name, plan.steps[name].definition, states, (items or {}).get(name))
        for name in topological(before)
    )
    definition = plan.definition
    return Graph(job=safe(definition.name), version=definition.version, nodes=nodes, edges=edges)


def _edges(plan: Plan) -> tuple[Edge, ...]:
    """Return dependencies, and the ways to the steps that answer for failures."""
    steps = plan.definition.steps
    found = {
        (edge.dependency, name): _condition(step.definition, edge.dependency)
        for name, step in plan.steps.items()
        for edge in step.edges
    }
    caught = {
        (name, handler): ", ".join(
            safe(rule.on) for rule in steps[name].catch if rule.go == handler
        )
        for name, going in handlers(steps).items()
        for handler in going
    }
    return tuple(
        Edge(*pair, found.get(pair), caught.get(pair)) for pair in dict.fromkeys([*found, *caught])
    )


def _node(
    name: str,
    step: StepDefinition,
    states: Mapping[str, str] | None,
    items: Mapping[str, int] | None,
) -> Node:
    kind, target = _kind(step)
    return Node(
        name=name,
        kind=kind,
        target=safe(target),
        fan_out=step.for_each is not None,
        join=str(step.join.value),
        when=bare(step.when),
        state=None if states is None else states.get(name, "pending"),
        items=items,
        always=step.always,
        compensate=None if step.compensate is None else safe(step.compensate),
        undone=(states or {}).get(compensation(name)),
    )


def _kind(step: StepDefinition) -> tuple[str, str]:
    """Return what a step is, and what it calls or waits for."""
    if step.wait is not None:
        return "wait", step.wait.signal
    if step.sleep is not None:
        is_text = isinstance(step.sleep, str)
        return "sleep", bare(str(step.sleep)) or "" if is_text else duration_text(float(step.sleep))
    if step.call is not None:
        return "call", step.call
    return ("set", "") if step.job is None else ("job", step.job)


def _condition(step: StepDefinition, dependency: str) -> str | None:
    need = step.needs.get(dependency)
    return bare(need.when) if need else None


def bare(expression: str | None) -> str | None:
    """Return an expression without the `${{ }}` around it."""
    if expression is None:
        return None
    text = expression.strip()
    if text.startswith("${{") and text.endswith("}}") and text.count("${{") == 1:
        text = text[3:-2].strip()
    return safe(text)


def safe(text: str) -> str:
    """Return text on one line without characters that could break or turn around a drawing."""
    return _UNSAFE.sub("\ufffd", _SPACE.sub(" ", text)).strip()


def shortened(text: str, length_max: int) -> str:
    """Return text that is no longer than so many characters."""
    return text if len(text) <= length_max else f"{text[: length_max - 1]}…"
