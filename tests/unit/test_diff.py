"""Where two runs first differ: pairs that differ in one known thing, and runs that do not."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from support.pairs import Played, ask, differ, fail, give, late, play

from warrener.domain.errors import UsageError
from warrener.projections.diff.walk import Walk
from warrener.services.diff import Compared, LogRun, Side, compare_attempts, compare_runs
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


@pytest.mark.parametrize("name", PAIRS)
def test_the_first_difference_is_the_one_that_was_made(name: str, tmp_path: Path) -> None:
    pair, kind, path, place = PAIRS[name]

    found = differ(*pair(tmp_path))

    assert found.first is not None
    assert (found.first.kind, found.first.path, found.first.place) == (kind, path, place)
    assert not found.same


@pytest.mark.parametrize("name", PAIRS)
def test_the_other_way_round_it_is_the_same_one(name: str, tmp_path: Path) -> None:
    pair, kind, path, place = PAIRS[name]
    a, b = pair(tmp_path)

    found = differ(b, a)

    assert found.first is not None
    if path.startswith("each["):  # named by the path in A
        path = found.first.path
    assert (found.first.kind, found.first.path, found.first.place) == (kind, path, place)


@pytest.mark.parametrize("name", PAIRS)
def test_a_run_has_no_difference_from_itself_nor_from_one_that_went_alike(
    name: str, tmp_path: Path
) -> None:
    pair, *_ = PAIRS[name]
    first, second = pair(tmp_path), pair(tmp_path)

    for a, b in ((first[0], first[0]), (first[0], second[0]), (first[1], second[1])):
        assert differ(a, b).first is None


# --- what is told beside it ----------------------------------------------------------------------


def compared(name: str, folder: Path, **options: Any) -> Compared:
    return differ(*PAIRS[name][0](folder), **options)


def test_steps_after_the_first_difference_follow_it(tmp_path: Path) -> None:
    found = compared("a failure", tmp_path)

    assert [(each.path, each.kind, each.follows) for each in found.steps] == [
        ("split", "state", False),
        ("merge", "state", True),
    ]
    assert found.steps_compared == 3


def test_what_only_one_run_needed_is_told_with_the_decision(tmp_path: Path) -> None:
    text = NEEDED.replace("steps.look.result.more", "params.more").replace("{look: {}, ", "{")
    text = text.replace("job: needed", "job: needed\nparams: {type: object}")
    a, b = (play(tmp_path, text, {**LOOK, "look": give(1)}, more=more) for more in (True, False))
    walk = Walk(LogRun(a.side().log), LogRun(b.side().log), lambda _: None)
    pair = walk.pair(a.side().place.job, b.side().place.job)
    first = walk._of_steps(pair, follows=False)

    assert first is not None
    assert (first.kind, first.path, first.place) == ("edge", "merge", "deeper")


def test_a_step_in_one_run_only_is_told(tmp_path: Path) -> None:
    found = compared("a step more in the definition", tmp_path)

    (more,) = (each for each in found.steps if each.path == "more")
    assert (more.kind, more.a) == ("only-in-b", None)


def test_without_the_tree_child_jobs_are_told_by_their_results(tmp_path: Path) -> None:
    found = compared("a step of a child job", tmp_path, tree=False)

    assert found.first is not None
    assert (found.first.kind, found.first.path) == ("result", "each[1]")
    assert found.steps_compared == 5  # the fan-out, its items, and the merge


def test_the_steps_that_are_told_are_bounded(tmp_path: Path) -> None:
    found = compared("a failure", tmp_path, limit=1)

    assert (len(found.steps), found.left_out, found.steps_differing) == (1, 1, 2)


def test_of_large_results_only_the_first_that_differ_are_loaded(tmp_path: Path) -> None:
    big = {**CHAIN_ENDPOINTS, "load": give(["x" * 70_000, 1]), "split": give("x" * 70_000)}
    other = {**big, "load": give(["x" * 70_000, 2]), "split": give("y" * 70_000)}
    a, b = play(tmp_path, CHAIN, big, x=0), play(tmp_path, CHAIN, other, x=0)
    loaded: list[str] = []

    class Counting:
        def __init__(self, side: Side) -> None:
            self._log = side.log

        def __getattr__(self, name: str) -> Any:
            return getattr(self._log, name)

        def blob(self, name: str) -> bytes:
            loaded.append(name)
            return self._log.blob(name)

    sides = [
        msgspec.structs.replace(each.side(), log=Counting(each.side()))  # type: ignore[arg-type]
        for each in (a, b)
    ]
    found = compare_runs(*sides)

    assert found.first is not None
    assert (found.first.path, found.first.place) == ("load", "[1]")
    assert len(loaded) == 2


def test_two_attempts_of_a_step_are_compared(tmp_path: Path) -> None:
    played = play(tmp_path, CHAIN, {**CHAIN_ENDPOINTS, "load": late(attempts=2)}, x=0, step="load")

    alike = compare_attempts(played.side(), (1, 2))
    unlike = compare_attempts(played.side(), (1, 3))

    assert alike.same
    assert unlike.first is not None
    assert (unlike.first.kind, unlike.first.a, unlike.first.b) == (
        *("state", "failed: busy"),
        "succeeded",
    )
    with pytest.raises(UsageError, match="no attempt 4"):
        compare_attempts(played.side(), (1, 4))


def test_a_job_is_not_compared_with_a_step(tmp_path: Path) -> None:
    a, b = PAIRS["a failure"][0](tmp_path)

    with pytest.raises(UsageError, match="a job with a job"):
        differ(a, Played(b.run, "load"))


def test_the_present_generation_is_compared(tmp_path: Path) -> None:
    values = iter([1, 2, 2])
    a, b = (
        play(tmp_path, CHAIN, {**CHAIN_ENDPOINTS, "load": lambda: next(values)}, x=0)
        for _ in range(2)
    )
    assert not differ(a, b).same

    a.run.rerun("load")

    assert differ(a, b).first is None


def peak_bytes(folder: Path, count: int) -> int:
    """Return the most memory that comparing a run of so many items with itself takes."""
    side = play(folder, MANY, {"part": give(1)}, numbers=list(range(count))).side()
    tracemalloc.start()
    try:
        found = compare_runs(side, side)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        assert found.same
        assert found.steps_compared == count + 1


def test_memory_does_not_grow_with_the_number_of_steps(tmp_path: Path) -> None:
    small, large = (peak_bytes(tmp_path, count) for count in (200, 3_000))

    assert large < small + 300_000
