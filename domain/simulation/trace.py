"""A load to be simulated: jobs in the order of their submission, and what their steps take."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from warrener.domain.flow.ready import Stage
from warrener.domain.ids import item_path
from warrener.domain.limit_state import Claim

DEFAULT_QUEUE: Final = "default"


class Attempt(msgspec.Struct, frozen=True, gc=False):
    """An attempt takes a worker for so many seconds; the next one is due `pause` seconds later."""

    seconds: float
    succeeded: bool = True
    pause: float = 0.0


Attempts = tuple[Attempt, ...]


class TraceStep(msgspec.Struct, frozen=True, kw_only=True):
    """A step, or a fan-out if it has `items`: the attempts of each.

    It begins when the steps `after` it names by their place have ended, well or not. First it waits
    for `pause` seconds without a worker, as for a timer, a signal or a person; one without attempts
    does nothing else. `window` bounds the items that are under way. Steps of child jobs stand
    among those of their tree, with the name of their `job` and its `depth`. `remaining` counts the
    steps on the longest way to the end of its job; None: as the graph has it.
    """

    name: str
    queue: str = DEFAULT_QUEUE
    after: tuple[int, ...] = ()
    pause: float = 0.0
    attempts: Attempts = ()
    items: tuple[Attempts, ...] | None = None
    window: int | None = None
    claims: tuple[Claim, ...] = ()
    item_claims: tuple[tuple[Claim, ...], ...] = ()
    job: str = ""
    depth: int = 0
    remaining: int | None = None

    @property
    def seconds(self) -> float:
        """Return what the step asks of workers."""
        runs = (self.attempts,) if self.items is None else self.items
        return sum(attempt.seconds for attempts in runs for attempt in attempts)


class Shape:
    """The graph of steps of a job. Jobs that are alike share one.

    `paths` are names that tell the steps apart, `readers` the steps that wait for each, `missing`
    how many it waits for.
    """

    __slots__ = ("missing", "name", "paths", "places", "readers", "remaining", "stages", "steps")

    def __init__(self, name: str, steps: Sequence[TraceStep]) -> None:
        """Take the name of the job and its steps, each after those that it waits for."""
        self.name = name
        self.steps = tuple(steps)
        self.stages = tuple(Stage(step.queue, step.job or name, step.name) for step in steps)
        self.paths = _paths(self.steps)
        self.places = {path: place for place, path in enumerate(self.paths)}
        self.missing = [len(step.after) for step in steps]
        readers: list[list[int]] = [[] for _ in steps]
        for place, step in enumerate(steps):
            for before in step.after:
                if not 0 <= before < place:
                    raise ValueError(f"step {place} of {name} waits for step {before}")
                readers[before].append(place)
        self.readers = tuple(map(tuple, readers))
        self.remaining = self._remaining()

    def path(self, place: int, index: int | None = None) -> str:
        """Return what names a step, or an item of it, in its job."""
        path = self.paths[place]
        return path if index is None else item_path(path, index)

    def _remaining(self) -> tuple[int, ...]:
        found = [0] * len(self.steps)
        for place in reversed(range(len(self.steps))):
            step = self.steps[place]
            if step.remaining is not None:
                found[place] = step.remaining
                continue
            ways = (
                1 + found[reader] for reader in self.readers[place] if self._same(place, reader)
            )
            found[place] = max(ways, default=0)
        return tuple(found)

    def _same(self, place: int, reader: int) -> bool:
        """Say whether two steps belong to the same job, as far as can be told."""
        mine, other = self.steps[place], self.steps[reader]
        return mine.job == other.job and mine.depth == other.depth


def _paths(steps: Sequence[TraceStep]) -> tuple[str, ...]:
    seen: set[str] = set()
    paths = []
    for place, step in enumerate(steps):
        path = f"{step.name}#{place}" if step.name in seen else step.name
        seen.add(path)
        paths.append(path)
    return tuple(paths)


class TraceJob(msgspec.Struct, frozen=True):
    """A job that is submitted `at` so many seconds after the begin; `deadline` counts from there.

    `seconds` are those of the first attempt of each step, where they differ from the shape's; they
    do not count for fan-outs.
    """

    at: float
    shape: Shape
    fair: str = ""
    priority: int = 0
    deadline: float | None = None
    seconds: Sequence[float] | None = None

    @property
    def work_seconds(self) -> float:
        """Return what the job asks of workers."""
        total = 0.0
        for place, step in enumerate(self.shape.steps):
            own = self.seconds is not None and step.items is None and step.attempts
            total += step.seconds
            if own and self.seconds is not None:
                total += self.seconds[place] - step.attempts[0].seconds
        return total
