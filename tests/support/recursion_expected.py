"""What a family of recursive jobs must come to, worked out by plain recursion over its tree.

Nothing here reads a definition: a `Shape` says what a job does, and `recursion_cases` writes the
same thing down as a definition.

A node of a tree is `{"value": int, "fail": bool, "loop": bool, "heir": node | None,
"children": [node]}`. A job sums the values of its node and of everything below it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

Node = dict[str, Any]

BAD_NODE = "bad-node"
BUDGET = "budget-exceeded"
LOOP = "recursion-loop"
ITEMS = "items-failed"


@dataclass(frozen=True)
class Shape:
    """What one job of a family does with its node.

    In a `serial` job at most one thing goes on at a time: `own`, then the heir, then the children;
    and where `again` applies, that before everything else in any job.
    """

    name: str
    own: str = "call"  # "call": fails on a node that says so; "set": never fails
    again: str | None = None  # job to start on the same node, if the node says `loop`
    heir: str | None = None  # job to start on the node's heir; None: heirs are not looked at
    heir_may_fail: bool = False
    below: str | None = None  # job to start on each child; None: an endpoint weighs each child
    window: int | None = None
    tolerate: int | str | None = None  # a count, or a share such as "50%"
    leaf_edge: bool = False  # the fan-out is needed only where there are children
    serial: bool = True
    on_failure: str = "continue"
    budget: dict[str, int] = field(default_factory=dict)

    @property
    def steps(self) -> int:
        """Return how many named steps the job has: own, below, total, and what it may start."""
        return 3 + (self.again is not None) + (self.heir is not None)


@dataclass(frozen=True)
class Expected:
    """The sum, or the codes of which the job's error must have one."""

    result: int | None
    codes: frozenset[str] = frozenset()

    @property
    def succeeded(self) -> bool:
        return not self.codes


def failed(*codes: str) -> Expected:
    return Expected(None, frozenset(codes))


def weigh(node: Node) -> int:
    """Return the sum of a node and everything below it."""
    below = [*node["children"], *([node["heir"]] if node["heir"] else [])]
    return int(node["value"]) + sum(map(weigh, below))


class Expectation:
    """Works out one tree; `spent` counts against the budget of steps as it goes.

    Under a budget of steps that is tight the answer holds only for families in which one thing
    goes on at a time: serial jobs and windows of 1. What is spent is never given back.
    """

    def __init__(self, family: dict[str, Shape], root: str) -> None:
        self.family = family
        self.root = root
        self.depth = family[root].budget.get("depth", 16)
        self.steps = family[root].budget.get("steps", 100_000)
        self.spent = 0

    def of(self, node: Node) -> Expected:
        """Return what the root job comes to on this node."""
        return self._start(self.root, node, ())

    def _start(self, name: str, node: Node, ancestors: tuple[tuple[str, Node], ...]) -> Expected:
        shape = self.family[name]
        refusals = []
        if (name, node) in ancestors:
            refusals.append(LOOP)
        if len(ancestors) > self.depth or self.spent + shape.steps > self.steps:
            refusals.append(BUDGET)
        if refusals:
            return failed(*refusals)
        self.spent += shape.steps
        return self._run(shape, node, (*ancestors, (name, node)))

    def _run(self, shape: Shape, node: Node, line: tuple[tuple[str, Node], ...]) -> Expected:
        if shape.again and node["loop"]:
            again = self._start(shape.again, node, line)
            if not again.succeeded:
                return again
        codes: set[str] = set()
        total = 0
        for part in (self._own, self._heir, self._below):
            outcome = part(shape, node, line)
            codes |= outcome.codes
            total += outcome.result or 0
            if codes and shape.serial:
                break
        return failed(*codes) if codes else Expected(total)

    def _own(self, shape: Shape, node: Node, line: Any) -> Expected:
        if shape.own == "call" and node["fail"]:
            return failed(BAD_NODE)
        return Expected(node["value"])

    def _heir(self, shape: Shape, node: Node, line: Any) -> Expected:
        if not shape.heir or node["heir"] is None:
            return Expected(0)
        heir = self._start(shape.heir, node["heir"], line)
        return Expected(0) if shape.heir_may_fail and not heir.succeeded else heir

    def _below(self, shape: Shape, node: Node, line: Any) -> Expected:
        children = node["children"]
        if self.spent + len(children) > self.steps:
            return failed(BUDGET)
        self.spent += len(children)
        failures_left = tolerated(shape.tolerate, len(children))
        total = 0
        for child in children:
            item = self._item(shape, child, line)
            if not item.succeeded:
                failures_left -= 1
                if failures_left < 0:
                    return failed(ITEMS)
            total += item.result or 0
        return Expected(total)

    def _item(self, shape: Shape, child: Node, line: Any) -> Expected:
        if shape.below:
            return self._start(shape.below, child, line)
        return failed(BAD_NODE) if child["fail"] else Expected(weigh(child))


def tolerated(tolerate: int | str | None, count: int) -> int:
    """Return how many of so many items may fail."""
    if isinstance(tolerate, str):
        return count * int(tolerate.removesuffix("%")) // 100
    return tolerate or 0
