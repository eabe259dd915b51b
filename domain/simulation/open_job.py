"""A job of a simulation that has not ended yet."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from warrener.domain.flow.ready import Standing
from warrener.domain.simulation.trace import Attempt, TraceJob


class Items:
    """How far a fan-out is."""

    __slots__ = ("begun", "ended", "standing")

    def __init__(self, standing: Standing) -> None:
        self.begun = 0
        self.ended = 0
        self.standing = standing


class OpenJob:
    """A job that was submitted. `missing` counts what each step still waits for.

    `key` is the number of its fairness key. `attempts` counts those that failed, `items` says how
    far fan-outs are.
    """

    __slots__ = (
        "attempts",
        "began_at",
        "due",
        "id",
        "items",
        "key",
        "left",
        "missing",
        "submitted_at",
        "trace",
    )

    def __init__(
        self, trace: TraceJob, job: UUID, key: int, submitted_at: datetime, due: datetime | None
    ) -> None:
        self.trace = trace
        self.id = job
        self.key = key
        self.submitted_at = submitted_at
        self.due = due
        self.missing = trace.shape.missing.copy()
        self.left = len(trace.shape.steps)
        self.began_at: float | None = None
        self.attempts: dict[tuple[int, int | None], int] | None = None
        self.items: dict[int, Items] | None = None

    def standing(self, place: int) -> Standing:
        """Return what the order of release goes by for a step."""
        trace, shape = self.trace, self.trace.shape
        return Standing(
            shape.stages[place],
            self.id,
            self.submitted_at,
            trace.priority,
            trace.fair,
            self.due,
            shape.steps[place].depth,
            shape.remaining[place],
        )

    def items_of(self, place: int) -> Items:
        """Return how far a fan-out is."""
        if self.items is None:
            self.items = {}
        found = self.items.get(place)
        if found is None:
            found = self.items[place] = Items(self.standing(place))
        return found

    def attempt(self, place: int, index: int | None) -> int:
        """Return how many attempts of a step, or of an item, have failed."""
        return 0 if self.attempts is None else self.attempts.get((place, index), 0)

    def failed(self, place: int, index: int | None) -> None:
        """An attempt failed, and there will be another."""
        if self.attempts is None:
            self.attempts = {}
        self.attempts[place, index] = self.attempt(place, index) + 1

    def seconds(self, place: int, index: int | None) -> float:
        """Return how long the attempt is that is next."""
        seconds = self.trace.seconds
        if seconds is not None and index is None and self.attempts is None:
            return seconds[place]
        return self.run(place, index).seconds

    def run(self, place: int, index: int | None) -> Attempt:
        """Return the attempt that is next of a step, or of an item."""
        trace = self.trace
        step = trace.shape.steps[place]
        number = self.attempt(place, index)
        if index is not None:
            assert step.items is not None
            return step.items[index][number]
        found = step.attempts[number]
        if number == 0 and trace.seconds is not None:
            return Attempt(trace.seconds[place], found.succeeded, found.pause)
        return found
