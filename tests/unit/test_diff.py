"""Where two runs first differ: pairs that differ in one known thing, and runs that do not."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import msgspec
import pytest
from support.known_pairs import CHAIN, CHAIN_ENDPOINTS, LOOK, MANY, NEEDED, PAIRS
from support.pairs import Played, differ, give, late, play

from warrener.domain.errors import UsageError
from warrener.projections.diff.walk import Walk
from warrener.services.diff import Compared, LogRun, Side, compare_attempts, compare_runs


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
