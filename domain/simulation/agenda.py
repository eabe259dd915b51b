"""The virtual clock of a simulation, and what is planned."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any, Final

START: Final = datetime(2000, 1, 1, tzinfo=UTC)
NEVER: Final = float("inf")


class Agenda:
    """`now` are the seconds since the begin, `at` the same as a time.

    What is planned is a call, or a thing that whoever runs the agenda knows what to do with. Of the
    same time goes first what was planned first.
    """

    __slots__ = ("_numbers", "at", "heap", "now")

    def __init__(self) -> None:
        """Begin with nothing planned."""
        self.now = 0.0
        self.at = START
        self.heap: list[tuple[float, int, Any]] = []
        self._numbers = count()

    def set(self, now: float) -> None:
        """Come to a time."""
        self.now = now
        self.at = START + timedelta(seconds=now)

    def call(self, at: float, what: Callable[[], None]) -> None:
        """Plan a call for a time."""
        self.plan(max(at, self.now), what)

    def plan(self, at: float, thing: object) -> None:
        """Plan anything for a time that is not over."""
        heapq.heappush(self.heap, (at, next(self._numbers), thing))


def as_time(seconds: float) -> datetime:
    """Return the time that is so many seconds after the begin."""
    return START + timedelta(seconds=seconds)


def as_seconds(at: datetime) -> float:
    """Return how many seconds after the begin a time is."""
    return (at - START).total_seconds()
