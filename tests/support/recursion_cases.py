"""Random families of jobs that start each other over a random tree, with the expected outcome."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn
from support.recursion_expected import BAD_NODE, Expectation, Expected, Node, Shape, weigh

from warrener.domain.errors import PermanentError

NAMES = ("walk-a", "walk-b", "walk-c")
NODES_MAX = 12
LOOPS_MAX = 2  # each may have everything below it done once more
UNBOUNDED = 10**6  # steps; more than any of these trees takes

HAS_HEIR = "${{ params.node.heir != null }}"
HAS_CHILDREN = "${{ size(params.node.children) > 0 }}"
LOOPS = "${{ params.node.loop }}"
THIS_NODE = {"node": "${{ params.node }}"}


@dataclass(frozen=True)
class RecursionCase:
    """Start `definitions[root]` with `params`; `expected` does not depend on any order.

    `definitions` has the keys of the YAML face. Endpoints are answered by `run_endpoint`. `order`
    picks which outstanding report comes next, read round and round.
    """

    root: str
    definitions: dict[str, dict[str, Any]]
    params: dict[str, Any]
    expected: Expected
    order: tuple[int, ...] = (0,)


def run_endpoint(endpoint: str, args: Mapping[str, Any]) -> int:
    """Do the work of a step; raises `PermanentError` with `bad-node` on a node that says so."""
    if endpoint == "tree.total":
        parts = [args["own"], args["heir"], *(args["parts"] or [])]
        return sum(part for part in parts if part is not None)
    node = args["node"]
    if node["fail"]:
        raise PermanentError(BAD_NODE, "this node cannot be read")
    return int(node["value"]) if endpoint == "tree.value" else weigh(node)


# --- a shape written down as a definition ------------------------------------------------------


def definition(shape: Shape) -> dict[str, Any]:
    """Return the job that does what the shape says."""
    steps = {"own": _own(shape), "below": _below(shape), "total": _total(shape)}
    if shape.heir:
        steps["heir"] = {"job": shape.heir, "with": {"node": "${{ params.node.heir }}"}}
        steps["heir"] |= {"may_fail": True} if shape.heir_may_fail else {}
        steps["heir"]["needs"] = {"own": {}} if shape.serial else {}
    if shape.again:
        for step in steps.values():
            step["needs"] = step.get("needs", {}) | {"again": {"when": LOOPS}}
        steps["again"] = {"job": shape.again, "with": dict(THIS_NODE)}
    written: dict[str, Any] = {"job": shape.name, "steps": steps}
    written |= {"on_failure": "stop"} if shape.on_failure == "stop" else {}
    written |= {"budget": shape.budget} if shape.budget else {}
    return written | {"result": "${{ steps.total.result }}"}


def _own(shape: Shape) -> dict[str, Any]:
    if shape.own == "set":
        return {"set": "${{ params.node.value }}"}
    return {"call": "tree.value", "with": dict(THIS_NODE)}


def _below(shape: Shape) -> dict[str, Any]:
    work: dict[str, Any] = {"job": shape.below} if shape.below else {"call": "tree.weigh"}
    step = {"for_each": "${{ params.node.children }}", **work, "with": {"node": "${{ item }}"}}
    options = {"window": shape.window, "tolerate": shape.tolerate}
    step |= {name: option for name, option in options.items() if option is not None}
    if shape.serial:
        step["needs"] = {"own": {}} | ({"heir": {"when": HAS_HEIR}} if shape.heir else {})
    return step


def _total(shape: Shape) -> dict[str, Any]:
    heir = "${{ steps.heir.result }}" if shape.heir else None
    needs = {"heir": {"when": HAS_HEIR}} if shape.heir else {}
    needs |= {"below": {"when": HAS_CHILDREN}} if shape.leaf_edge else {}
    read = {"own": "${{ steps.own.result }}", "heir": heir, "parts": "${{ steps.below.results }}"}
    return {"call": "tree.total", "with": read, "needs": needs}


# --- strategies --------------------------------------------------------------------------------

_RARELY = st.sampled_from([False, False, False, False, False, True])
_BOOLEANS = st.booleans()
_SHAPES = st.fixed_dictionaries(
    {
        "own": st.sampled_from(["call", "call", "set"]),
        "heir_may_fail": _RARELY,
        "window": st.sampled_from([None, None, 1, 2, 3]),
        "tolerate": st.sampled_from([None, None, 1, 2, "50%", "0%", "100%"]),
        "leaf_edge": _BOOLEANS,
        "serial": _BOOLEANS,
        "on_failure": st.sampled_from(["continue", "continue", "stop"]),
        "budget": st.sampled_from([{}, {}, {"depth": 1}, {"steps": 10}]),
    }
)


@st.composite
def trees(draw: DrawFn, failures: bool = True) -> Node:
    """Draw a tree of up to `NODES_MAX` nodes; without `failures` none fails or loops."""
    nodes: list[Node] = []
    loops_left = LOOPS_MAX if failures else 0
    for place in range(draw(st.integers(1, NODES_MAX))):
        node: Node = {"value": draw(st.integers(0, 99)), "heir": None, "children": []}
        node["fail"] = failures and draw(_RARELY)
        node["loop"] = loops_left > 0 and draw(_RARELY)
        loops_left -= node["loop"]
        if place:
            parent = nodes[draw(st.integers(0, place - 1))]
            if parent["heir"] is None and draw(_BOOLEANS):
                parent["heir"] = node
            else:
                parent["children"].append(node)
        nodes.append(node)
    return nodes[0]


@st.composite
def families(draw: DrawFn) -> dict[str, Shape]:
    """Draw one to three jobs that start each other or themselves; the first is the root."""
    names = NAMES[: draw(st.integers(1, len(NAMES)))]
    others = st.sampled_from((*names, *names, None))
    family = {}
    for name in names:
        details: dict[str, Any] = draw(_SHAPES)
        family[name] = Shape(
            name, again=draw(others), heir=draw(others), below=draw(others), **details
        )
    return family


@st.composite
def recursion_cases(draw: DrawFn) -> RecursionCase:
    """Draw a family, a tree, and the budget of the root: ample, short in depth, or in steps."""
    family = draw(families())
    tree = draw(trees(failures=draw(_BOOLEANS)))
    pressure = draw(st.sampled_from(["none", "none", "depth", "steps"]))
    root = NAMES[0]
    if pressure == "steps":
        family = {name: replace(shape, serial=True, window=1) for name, shape in family.items()}
        whole = Expectation(_with_budget(family, {"steps": UNBOUNDED}), root)
        whole.of(tree)
        least = family[root].steps  # so that the root can start
        budget = {"steps": draw(st.integers(least, max(least, whole.spent) + 1))}
    else:
        budget = {"depth": draw(st.integers(0, 4))} if pressure == "depth" else {}
    family = _with_budget(family, budget)
    return RecursionCase(
        root=root,
        definitions={name: definition(shape) for name, shape in family.items()},
        params={"node": tree},
        expected=Expectation(family, root).of(tree),
        order=tuple(draw(st.lists(st.integers(0, 11), min_size=1, max_size=6))),
    )


def _with_budget(family: dict[str, Shape], budget: dict[str, int]) -> dict[str, Shape]:
    """Give the root this budget; what the others say binds nobody while they are not the root."""
    return family | {NAMES[0]: replace(family[NAMES[0]], budget=budget)}
