"""The graph of a job as it is drawn, the same for every format, and how states look."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

import msgspec

from warrener.domain.definition.model import Join, StepDefinition
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
    """A step. `target` is the endpoint or job that it calls, `items` its items by state."""

    name: str
    kind: str  # call | job | set
    target: str
    fan_out: bool
    join: str
    when: str | None
    state: str | None
    items: Mapping[str, int] | None

    @property
    def look(self) -> Look:
        """Return how the node is coloured."""
        return PLAIN if self.state is None else LOOKS.get(self.state, PLAIN)

    def lines(self) -> list[str]:
        """Return the text of the node, the name first, free of unsafe characters."""
        lines = [self.name, " ".join(filter(None, (self._prefix(), self.kind, self.target)))]
        if self.join != Join.ALL_OK:
            lines.append(f"join {self.join}")
        if self.when is not None:
            lines.append(f"when {self.when}")
        if self.state is not None:
            lines.append(f"{self.look.mark} {self.state}".strip())
        if self.items is not None:
            ended = sum(count for state, count in self.items.items() if state in STEP_ENDED)
            lines.append(f"{ended} of {sum(self.items.values())} items ended")
        return [safe(line) for line in lines]

    def _prefix(self) -> str:
        return "each:" if self.fan_out else ""


class Edge(msgspec.Struct, frozen=True):
    """A dependency: `reader` waits for `dependency`, if there is a condition only when it holds."""

    dependency: str
    reader: str
    condition: str | None


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
            condition = f" if {edge.condition}" if edge.condition else ""
            after[edge.reader].append(f"{edge.dependency}{condition}")
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
    """Return the graph of a plan, coloured by the states of its steps if they are given."""
    nodes = tuple(
        _node(name, step.definition, states, (items or {}).get(name))
        for name, step in plan.steps.items()
    )
    edges = tuple(
        Edge(edge.dependency, name, _condition(step.definition, edge.dependency))
        for name, step in plan.steps.items()
        for edge in step.edges
    )
    definition = plan.definition
    return Graph(job=safe(definition.name), version=definition.version, nodes=nodes, edges=edges)


def _node(
    name: str,
    step: StepDefinition,
    states: Mapping[str, str] | None,
    items: Mapping[str, int] | None,
) -> Node:
    kind = "call" if step.call is not None else "job" if step.job is not None else "set"
    return Node(
        name=name,
        kind=kind,
        target=safe(step.call or step.job or ""),
        fan_out=step.for_each is not None,
        join=str(step.join.value),
        when=bare(step.when),
        state=None if states is None else states.get(name, "pending"),
        items=items,
    )


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
