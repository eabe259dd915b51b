"""A generated run of a job: the definition and everything that decides how its run goes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from support.family import reads


@dataclass(frozen=True)
class Case:
    """A definition with everything that decides how a run of it goes.

    `definition` has the keys of the YAML face. `outcomes` ("ok" | "fail") and `results` (plain
    JSON) say what becomes of each step if it is started. `order` picks which outstanding report
    comes next and `repeats` how often each is sent again; both are read round and round.
    """

    definition: dict[str, Any]
    params: dict[str, Any]
    outcomes: dict[str, str]
    results: dict[str, Any]
    order: tuple[int, ...] = (0,)
    repeats: tuple[int, ...] = (0,)


class Report(NamedTuple):
    """The report of a step, as a worker would send it."""

    step: str
    outcome: str  # "ok" | "fail"


def conditions(step: dict[str, Any]) -> dict[str, str]:
    """Return the conditions of a step's conditional edges, by dependency."""
    needs: dict[str, dict[str, str]] = step.get("needs", {})
    return {to: need["when"] for to, need in needs.items() if "when" in need}


def dependencies(step: dict[str, Any]) -> list[str]:
    """Return every step that a step depends on, by name (section 1)."""
    read = reads([step.get(key) for key in ("with", "set", "when")])
    return sorted(
        {*step.get("needs", {}), *step.get("after", ()), *read}
        | reads(list(conditions(step).values()))
    )


def topological_order(edges: dict[str, list[str]]) -> list[str]:
    """Return all steps, dependencies first, of those possible next always the first by name."""
    order: list[str] = []
    while len(order) < len(edges):
        possible = (n for n in edges if n not in order and set(edges[n]) <= set(order))
        order.append(min(possible))
    return order
