"""Twenty-seven pairs of runs, by the one thing in which they differ: kind, path and place of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from support.pairs import Played, ask, fail, give, late, play

from warrener.testing import LocalRun

CHAIN = """
job: chain
params: {type: object}
steps:
  load: {call: load}
  split: {call: split, with: {loaded: "${{ steps.load.result }}"}}
  merge: {call: merge, with: {parts: "${{ steps.split.result }}"}}
result: "${{ steps.merge.result }}"
"""
CHAIN_ENDPOINTS = {"load": give({"a": [1, {"b": 2}]}), "split": give("x"), "merge": give("y")}
ITEMS = """
job: items
steps:
  parts: {call: part, for_each: [0, 1, 2, 3], with: {number: "${{ item }}"}, tolerate: 3}
  merge: {call: merge, with: {parts: "${{ steps.parts.results }}"}}
"""
STRICT = ITEMS.replace(", tolerate: 3", "")
MANY = """
job: many
params: {type: object}
steps:
  parts: {call: part, for_each: "${{ params.numbers }}", with: {number: "${{ item }}"}}
"""
TREE = """
job: tree
steps:
  each: {job: leaf, for_each: [1, 2, 2], with: {number: "${{ item }}"}}
  merge: {call: merge, with: {parts: "${{ steps.each.results }}"}}
---
job: leaf
params: {type: object, properties: {number: {type: integer}}}
steps:
  one: {call: one}
  odd: {call: one, when: "${{ params.number == 1 }}"}
  lone: {call: one, for_each: "${{ params.number == 1 ? [1] : [1, 2] }}"}
  two: {call: two, with: {n: "${{ params.number }}"}}
  pick:
    call: merge
    with: {}
    needs: {one: {when: "${{ params.number == 1 }}"}, two: {}}
result: "${{ steps.two.result }}"
"""
RACE = """
job: race
steps:
  left: {wait: {for: left}}
  right: {wait: {for: right}}
  first:
    call: merge
    with: {left: "${{ steps.left.result }}"}
    after: [left, right]
    join: any_ok
"""
BRANCHES = """
job: branches
steps:
  base: {call: base}
  after_base: {call: late, after: [base]}
  z_alone: {call: alone}
"""
NEEDED = """
job: needed
steps:
  look: {call: look}
  dear: {call: dear}
  deeper: {call: dear, with: {}, after: [dear]}
  merge:
    call: merge
    needs: {look: {}, deeper: {when: "${{ steps.look.result.more }}"}}
"""
CAUGHT = """
job: caught
steps:
  risky: {call: risky, catch: [{on: "*", go: mend}]}
  mend: {call: mend}
  next: {call: merge, after: [risky]}
"""
UNDONE = """
job: undone
steps:
  book: {call: book, compensate: unbook}
  pay: {call: pay, after: [book]}
"""


def signals(*names: str) -> Callable[[LocalRun], Any]:
    def then(run: LocalRun) -> None:
        for name in names:
            run.signal(name, name)

    return then


def answered(run: LocalRun) -> None:
    run.answer(True)


Pair = Callable[[Path], tuple[Played, Played]]


def chains(b: dict[str, Any], text: str = CHAIN, **params: Any) -> Pair:
    """Return a pair of chains of which B has other endpoints, another text or parameters."""
    return lambda folder: (
        play(folder, CHAIN, CHAIN_ENDPOINTS, x={"account": ["ada"]}),
        play(folder, text, {**CHAIN_ENDPOINTS, **b}, **{"x": {"account": ["ada"]}, **params}),
    )


def two(text: str, a: dict[str, Any], b: dict[str, Any], **more: Any) -> Pair:
    """Return a pair of one text and two sets of endpoints."""
    return lambda folder: (play(folder, text, a, **more), play(folder, text, b, **more))


def one(text: str, a: str, b: str, endpoints: dict[str, Any]) -> Pair:
    """Return a pair of two steps of one run."""

    def pair(folder: Path) -> tuple[Played, Played]:
        played = play(folder, text, endpoints, step=a)
        return played, Played(played.run, b)

    return pair


def part(odd_one: int, value: Any) -> Callable[..., Any]:
    """Return an endpoint of items that does something else for one of them."""

    def work(number: int) -> Any:
        if number != odd_one:
            return number
        return value() if callable(value) else value

    return work


def raising(code: str) -> Callable[[], Any]:
    return fail(code)


def part_with_late_first(failing: bool) -> Callable[..., Any]:
    def work(number: int) -> Any:
        if number == 0:
            return late()()
        return fail("broken")() if failing and number == 2 else number

    return work


def value_error() -> None:
    raise ValueError("no")


def type_error() -> None:
    raise TypeError("no")


LEAVES = {"one": give(1), "two": lambda n: n, "merge": give(0)}
BASE = {"base": give(1), "late": give(2), "alone": give(3)}
LOOK = {"dear": give(1), "merge": give(2)}
RISKY = {"mend": give(1), "merge": give(2)}
BOOK = {"book": give(1), "unbook": give(None)}
NEVER = CHAIN.replace("load: {call: load}", "load: {call: load, retry: []}")


PAIRS: dict[str, tuple[Pair, str, str, str]] = {
    "another argument in the definition": (
        chains({}, CHAIN.replace("call: load}", "call: load, with: {x: 1}}")),
        *("definition", "", "steps.load.with"),
    ),
    "a step more in the definition": (
        chains({"more": give(1)}, CHAIN.replace("result:", "  more: {call: more}\nresult:")),
        *("definition", "", "steps.more"),
    ),
    "other parameters": (
        chains({}, x={"account": ["bob"]}),
        *("params", "", "x.account[0]"),
    ),
    "another result inside a value": (
        chains({"load": give({"a": [1, {"b": 3}]})}),
        *("result", "load", "a[1].b"),
    ),
    "a result that lacks a member": (
        chains({"split": give({})}),
        *("result", "split", ""),
    ),
    "a failure": (chains({"split": fail("broken")}), "state", "split", ""),
    "another error code": (
        two(CHAIN, {**CHAIN_ENDPOINTS, "load": fail("x")}, {**CHAIN_ENDPOINTS, "load": fail("y")}),
        *("error", "load", "code"),
    ),
    "another type of exception": (
        two(
            NEVER,
            {**CHAIN_ENDPOINTS, "load": value_error},
            {**CHAIN_ENDPOINTS, "load": type_error},
        ),
        *("error", "load", "type"),
    ),
    "more attempts": (
        two(
            CHAIN,
            {**CHAIN_ENDPOINTS, "load": late(attempts=1)},
            {**CHAIN_ENDPOINTS, "load": late(attempts=2)},
        ),
        *("attempts", "load", "attempt 2"),
    ),
    "another reason of a retry": (
        two(
            CHAIN,
            {**CHAIN_ENDPOINTS, "split": late("busy")},
            {**CHAIN_ENDPOINTS, "split": late("lost")},
        ),
        *("attempts", "split", "attempt 1"),
    ),
    "help of a person": (
        lambda folder: (
            play(folder, CHAIN, {**CHAIN_ENDPOINTS, "split": give("done")}, x=0),
            play(folder, CHAIN, {**CHAIN_ENDPOINTS, "split": ask}, x=0, then=answered),
        ),
        *("attempts", "split", "attempt 1"),
    ),
    "the result of an item": (
        two(ITEMS, {"part": part(9, 9), "merge": give(1)}, {"part": part(2, 7), "merge": give(1)}),
        *("result", "parts[2]", ""),
    ),
    "the failure of an item that is tolerated": (
        two(
            ITEMS,
            {"part": part(9, 9), "merge": give(1)},
            {"part": part(1, raising("broken")), "merge": give(1)},
        ),
        *("state", "parts[1]", ""),
    ),
    "the failure of an item for which others were cancelled": (
        two(
            STRICT,
            {"part": part_with_late_first(False), "merge": give(1)},
            {"part": part_with_late_first(True), "merge": give(1)},
        ),
        *("state", "parts[2]", ""),
    ),
    "a step of a child job": (
        two(TREE, LEAVES, {**LEAVES, "two": lambda n: n + (n > 1)}),
        *("result", "each[1]/two", ""),
    ),
    "the number of items": (
        one(TREE, "each[0]/lone", "each[1]/lone", LEAVES),
        *("count", "lone", ""),
    ),
    "a step's condition": (one(TREE, "each[0]/odd", "each[1]/odd", LEAVES), "when", "odd", ""),
    "a conditional edge": (
        one(TREE, "each[0]/pick", "each[1]/pick", LEAVES),
        "edge",
        "pick",
        "one",
    ),
    "an argument": (one(TREE, "each[0]/two", "each[1]/two", LEAVES), "inputs", "two", "n"),
    "a child job's parameters": (
        one(TREE, "each[0]", "each[1]", LEAVES),
        *("params", "each[0]", "number"),
    ),
    "the order in which two steps ended": (
        lambda folder: (
            play(folder, RACE, {"merge": give(1)}, then=signals("left", "right")),
            play(folder, RACE, {"merge": give(1)}, then=signals("right", "left")),
        ),
        *("order", "first", ""),
    ),
    "the data of a signal": (
        lambda folder: (
            play(folder, RACE, {"merge": give(1)}, then=signals("left", "right")),
            play(
                *(folder, RACE, {"merge": give(1)}),
                then=lambda run: (run.signal("left", "other"), run.signal("right", "right")),
            ),
        ),
        *("result", "left", ""),
    ),
    "the earlier of two independent steps": (
        two(BRANCHES, BASE, {**BASE, "late": give(8), "alone": give(9)}),
        *("result", "z_alone", ""),
    ),
    "a decision for which a step was not needed": (
        two(
            NEEDED,
            {**LOOK, "look": give({"more": True})},
            {**LOOK, "look": give({"more": False})},
        ),
        *("result", "look", "more"),
    ),
    "a failure that another step answers for": (
        two(CAUGHT, {**RISKY, "risky": give(1)}, {**RISKY, "risky": fail("broken")}),
        *("state", "risky", ""),
    ),
    "a failure for which another step is undone": (
        two(UNDONE, {**BOOK, "pay": give(1)}, {**BOOK, "pay": fail("poor")}),
        *("state", "pay", ""),
    ),
    "a person who cancels": (
        lambda folder: (
            play(folder, RACE, {"merge": give(1)}, then=signals("left", "right")),
            play(folder, RACE, {"merge": give(1)}, then=lambda run: run.cancel("not now")),
        ),
        *("state", "", ""),
    ),
}
