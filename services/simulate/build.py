"""From what jobs did to a load: the same jobs, steps and times of work, to be played anew."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Final

import msgspec
from msgspec.structs import replace

from warrener.domain.definition.names import is_reserved
from warrener.domain.errors import UsageError
from warrener.domain.ids import item_path, split_path
from warrener.domain.limit_state import Claim
from warrener.domain.simulation.trace import Attempt, Attempts, Shape, TraceJob, TraceStep
from warrener.domain.step_events import Held
from warrener.services.simulate.graphs import Graphs, PlannedName
from warrener.services.simulate.runs import JobRun, StepRun, Try
from warrener.services.simulate.stages import Stages

DEPTH_MAX: Final = 100  # of jobs below each other
ITEMS_DRAWN_MAX: Final = 100_000  # of one fan-out that had not begun with all of them
SHAPES_KEPT_MAX: Final = 10_000  # that jobs may share

Places = tuple[int, ...]


class Builder:
    """Makes traces of jobs. Jobs whose steps differ in nothing but their time share a shape."""

    def __init__(self, graphs: Graphs, stages: Stages, begin: datetime, speed_up: float) -> None:
        """Take what is known; submissions follow each other so many times as fast."""
        self._graphs = graphs
        self._stages = stages
        self._begin = begin
        self._speed_up = speed_up
        self._shapes: dict[tuple[str, tuple[TraceStep, ...]], Shape] = {}
        self.left_out = 0  # limits whose definition is not there

    def job(self, run: JobRun) -> TraceJob:
        """Return the trace of a root job."""
        steps = _Tree(self, run).steps
        at = (run.submitted_at - self._begin).total_seconds() / self._speed_up
        deadline = run.fact.deadline
        patience = None if deadline is None else (deadline - run.submitted_at).total_seconds()
        shape, seconds = self._shared(run.fact.name, steps)
        return TraceJob(
            at=max(0.0, at),
            shape=shape,
            fair=run.fact.fair or "",
            priority=run.fact.priority,
            deadline=None if patience is None else max(0.0, at) + patience,
            seconds=seconds,
        )

    def _shared(self, name: str, steps: list[TraceStep]) -> tuple[Shape, array[float] | None]:
        """Return a shape, and the times of work apart from it where others have the same one."""
        if any(step.items is not None or len(step.attempts) > 1 for step in steps):
            return Shape(name, steps), None
        seconds = array("d", (step.seconds for step in steps))
        bare = tuple(_bare(step) for step in steps)
        found = self._shapes.get((name, bare))
        if found is None:
            if len(self._shapes) >= SHAPES_KEPT_MAX:
                return Shape(name, steps), None
            found = self._shapes[name, bare] = Shape(name, bare)
        return found, seconds

    def graph(self, run: JobRun) -> Sequence[PlannedName]:
        """Return the steps that a job may have."""
        return self._graphs.of(run)

    def attempts(self, run: JobRun, name: str, step: StepRun) -> Attempts:
        """Return the attempts of a step, or of an item."""
        return tuple(self._attempts(run, name, step))

    def drawn(self, run: JobRun, name: str, queue: str) -> Attempts:
        """Return an attempt for a step of which nothing is recorded."""
        return (Attempt(self._stages.draw(run, name, queue)),)

    def count(self, run: JobRun, name: str, queue: str) -> int:
        """Return a number of items for a fan-out that was not opened."""
        return min(self._stages.draw_count(run, name, queue), ITEMS_DRAWN_MAX)

    def claims(self, planned: PlannedName, helds: Sequence[Held]) -> tuple[Claim, ...]:
        """Return the limits that a step comes under."""
        limits = {limit.name: limit for limit in planned.limits}
        unknown = (held for held in helds if held.name not in limits)
        self.left_out += sum(not is_reserved(held.name) for held in unknown)
        return tuple(Claim(limits[held.name], held) for held in helds if held.name in limits)

    def _attempts(self, run: JobRun, name: str, step: StepRun) -> Iterator[Attempt]:
        last = len(step.tries) - 1
        for number, each in enumerate(step.tries):
            seconds = self._stages.seconds(run, name, step, each)
            if number == last:
                yield Attempt(seconds, each.well)
            else:
                yield Attempt(seconds, False, _pause(each, step.tries[number + 1]))


class _Spot(msgspec.Struct, frozen=True):
    """A step of a job, on its way into a trace."""

    run: JobRun
    planned: PlannedName
    step: StepRun
    items: dict[int, StepRun]
    after: Places
    depth: int

    @property
    def name(self) -> str:
        return self.planned.name

    @property
    def goes_on(self) -> bool:
        """Say whether the step had not ended when the record did."""
        return self.run.ended_at is None and self.step.ended_at is None

    def bare(self) -> TraceStep:
        """Return the step without what it does."""
        queues = (each.queue for each in (self.step, *self.items.values()) if each.queue)
        return TraceStep(
            name=self.name,
            queue=next(queues, self.planned.queue),
            after=self.after,
            job=self.run.fact.name if self.depth else "",
            depth=self.depth,
            remaining=self.planned.remaining,
        )


class _Tree:
    """Lays the steps of a job and of those below it out in one row."""

    def __init__(self, builder: Builder, root: JobRun) -> None:
        self._builder = builder
        self.steps: list[TraceStep] = []
        self._lay(root, (), 0)

    def _lay(self, run: JobRun, after: Places, depth: int) -> Places:
        """Lay out a job that begins after some steps; return those that end it."""
        if depth > DEPTH_MAX:
            raise UsageError(f"job {run.id} is more than {DEPTH_MAX} jobs below its root")
        ends: dict[str, Places] = {}
        open_ends: dict[int, None] = dict.fromkeys(after)
        items = _items(run)
        for planned in self._builder.graph(run):
            step = run.steps.get(planned.name)
            if step is None and (run.ended_at is not None or not planned.draws):
                continue
            known = [place for name in planned.after for place in ends.get(name, ())]
            before = tuple(open_ends) if planned.last else tuple(dict.fromkeys(known)) or after
            has = items.get(planned.name, {})
            end = self._step(_Spot(run, planned, step or StepRun(), has, before, depth))
            ends[planned.name] = end
            for place in before:
                open_ends.pop(place, None)
            open_ends.update(dict.fromkeys(end))
        return tuple(open_ends)

    def _step(self, spot: _Spot) -> Places:
        run, step, planned = spot.run, spot.step, spot.planned
        if any(path in run.children for path in _paths(spot)):
            return self._jobs(spot)
        bare = spot.bare()
        if spot.items or step.count is not None or planned.fans_out:
            return self._add(self._fan_out(spot, bare))
        attempts = self._builder.attempts(run, spot.name, step)
        if not attempts and planned.draws and spot.goes_on:
            attempts = self._builder.drawn(run, spot.name, bare.queue)
        pause = 0.0
        if step.begun_at is not None and step.ended_at is not None and not attempts:
            pause = max(0.0, (step.ended_at - step.begun_at).total_seconds())
        claims = self._builder.claims(planned, step.limits)
        return self._add(replace(bare, attempts=attempts, pause=pause, claims=claims))

    def _fan_out(self, spot: _Spot, bare: TraceStep) -> TraceStep:
        builder, run, name = self._builder, spot.run, spot.name
        runs = [spot.items[index] for index in sorted(spot.items) if spot.items[index].tries]
        found = [builder.attempts(run, name, item) for item in runs]
        claims = [builder.claims(spot.planned, item.limits) for item in runs]
        if spot.goes_on:
            known = spot.step.count
            count = builder.count(run, name, bare.queue) if known is None else known
            more = min(count, ITEMS_DRAWN_MAX) - len(found)
            found += [builder.drawn(run, name, bare.queue) for _ in range(more)]
            claims += [claims[0] if claims else ()] * max(0, more)
        item_claims = tuple(claims) if any(claims) else ()
        window = run.windows.get(name, spot.planned.window)
        return replace(bare, items=tuple(found), item_claims=item_claims, window=window)

    def _jobs(self, spot: _Spot) -> Places:
        """Lay out the jobs that a step started, one after the other by its window."""
        run = spot.run
        window = run.windows.get(spot.name, spot.planned.window)
        ends: list[Places] = []
        for path in _paths(spot):
            for child in run.children.get(path, ()):
                free = spot.after if window is None or len(ends) < window else ends[-window]
                ends.append(self._lay(child, free, spot.depth + 1))
        joined = tuple(dict.fromkeys(place for end in ends for place in end))
        return self._add(replace(spot.bare(), after=joined))

    def _add(self, step: TraceStep) -> Places:
        self.steps.append(step)
        return (len(self.steps) - 1,)


def _paths(spot: _Spot) -> list[str]:
    return [spot.name, *(item_path(spot.name, index) for index in sorted(spot.items))]


def _items(run: JobRun) -> dict[str, dict[int, StepRun]]:
    found: dict[str, dict[int, StepRun]] = {}
    for path, step in run.steps.items():
        name, index = split_path(path)
        if index is not None:
            found.setdefault(name, {})[index] = step
    return found


def _pause(each: Try, following: Try) -> float:
    """Return how long after an attempt the next one was due."""
    known = each.known_at
    if known is None:
        return 0.0
    due = following.released_at if each.due_at is None else each.due_at
    return max(0.0, (due - known).total_seconds())


def _bare(step: TraceStep) -> TraceStep:
    """Return a step without its time of work."""
    one = tuple(Attempt(0.0, each.succeeded, each.pause) for each in step.attempts)
    return replace(step, attempts=one)
