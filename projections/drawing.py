"""Draws the graph of a job definition, or of a job coloured by the states of its steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, Literal, get_args

import msgspec

from warrener.domain.definition.model import JobDefinition
from warrener.domain.errors import UsageError
from warrener.domain.plan import Plan, build_plan
from warrener.projections.drawing_model import Graph, graph_of
from warrener.projections.drawing_svg import to_svg
from warrener.projections.drawing_text import to_dot, to_mermaid

Format = Literal["mermaid", "dot", "svg", "json"]


def draw(
    what: Plan | JobDefinition,
    states: Mapping[str, str] | None = None,
    format: str = "mermaid",  # noqa: A002 - the word that users type
    items: Mapping[str, Mapping[str, int]] | None = None,
) -> str:
    """Return the graph as text in one of the formats; raises `UsageError` on another one.

    `states` gives the state of steps by name (steps left out are pending), `items` the items of
    fan-outs by state. Names, endpoints and conditions may hold anything: each format escapes them.
    """
    writer = _WRITERS.get(format)
    if writer is None:
        known = ", ".join(get_args(Format))
        raise UsageError(f"there is no graph format {format!r}: use one of {known}")
    plan = build_plan(what) if isinstance(what, JobDefinition) else what
    return writer(graph_of(plan, states, items))


def to_json(graph: Graph) -> str:
    """Return nodes and edges as JSON."""
    nodes = [msgspec.to_builtins(node) for node in graph.nodes]
    edges = [
        {"from": edge.dependency, "to": edge.reader, "condition": edge.condition}
        | ({"catch": edge.catch} if edge.catch else {})
        for edge in graph.edges
    ]
    data = {"job": graph.job, "version": graph.version, "nodes": nodes, "edges": edges}
    return msgspec.json.format(msgspec.json.encode(data), indent=2).decode()


_WRITERS: Final[Mapping[str, Callable[[Graph], str]]] = {
    "mermaid": to_mermaid,
    "dot": to_dot,
    "svg": to_svg,
    "json": to_json,
}
