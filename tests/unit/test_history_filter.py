"""Which events of a history are wanted: by step, type, cause, text, bounds, and how many."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import count
from typing import Any
from uuid import UUID

import pytest

from warrener.services.history_filter import HistoryFilter
from warrener.services.shapes import HistoryLine

PATHS = ("", "groups", "groups[1]", "groups[1]/merge", "groups[11]", "group", "groups2")


def line(position: int, **fields: Any) -> HistoryLine:
    known = {"path": "", "type": "StepStarted", "cause": "beat:1", "data": {"worker": "w1"}}
    at = f"2026-01-01T00:00:{position:02}.000000Z"
    step = {"stream": "step", "id": UUID(int=1), "version": 1}
    return HistoryLine(position=position, at=at, **{**step, **known, **fields})


def positions(wanted: HistoryFilter, lines: list[HistoryLine]) -> list[int]:
    return [each.position for each in wanted.take(lines)]


@pytest.mark.parametrize(
    ("step", "found"),
    [
        ("groups", ["groups", "groups[1]", "groups[1]/merge", "groups[11]"]),
        ("groups[1]", ["groups[1]", "groups[1]/merge"]),
        ("group", ["group"]),
        ("none", []),
    ],
)
def test_a_step_comes_with_its_items_and_what_is_below_it(step: str, found: list[str]) -> None:
    lines = [line(place, path=path) for place, path in enumerate(PATHS)]

    assert [each.path for each in HistoryFilter(step=step).take(lines)] == found


def test_types_are_globs_and_one_of_them_must_match() -> None:
    names = ("StepFailed", "JobFailed", "StepStarted", "JobStarted")
    lines = [line(place, type=name) for place, name in enumerate(names)]

    assert positions(HistoryFilter(types=("*Failed",)), lines) == [0, 1]
    assert positions(HistoryFilter(types=("Step*", "JobS*")), lines) == [0, 2, 3]


def test_a_part_of_the_cause_or_of_all_that_is_told_is_enough() -> None:
    lines = [line(0, cause="timer:7/2"), line(1, data={"error": {"code": "rate-limit"}})]

    assert positions(HistoryFilter(cause="timer:"), lines) == [0]
    assert positions(HistoryFilter(text="rate-limit"), lines) == [1]


def test_bounds_are_positions_or_times_and_belong_to_what_is_wanted() -> None:
    lines = [line(place) for place in range(10)]
    early, late = (datetime(2026, 1, 1, 0, 0, second, tzinfo=UTC) for second in (2, 5))

    assert positions(HistoryFilter(since=2, until=5), lines) == [2, 3, 4, 5]
    assert positions(HistoryFilter(since=early, until=late), lines) == [2, 3, 4, 5]
    assert positions(HistoryFilter(since=early, until=3), lines) == [2, 3]


def test_the_first_or_the_last_of_what_is_left_are_taken() -> None:
    lines = [line(place, path="a" if place % 2 else "b") for place in range(10)]

    assert positions(HistoryFilter(step="a", limit=2), lines) == [1, 3]
    assert positions(HistoryFilter(step="a", last=2), lines) == [7, 9]


def test_no_more_is_read_than_is_needed() -> None:
    read: list[int] = []

    def lines() -> Iterator[HistoryLine]:
        for place in count():
            read.append(place)
            yield line(place % 60)

    assert len(list(HistoryFilter(limit=3).take(lines()))) == 3
    assert len(read) == 3
    assert len(list(HistoryFilter(until=4).take(lines()))) == 5
