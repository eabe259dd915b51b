"""The critical path: what a job was busy with, or waited for, at every moment until its end.

It is walked backwards: from what ended last in the job to what that had waited for, and so on, down
into child jobs and the items of fan-outs, until the job's beginning. Its segments touch, so that
their lengths add up to the time that the job took.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from typing import Final
from uuid import UUID

import msgspec

from warrener.projections.report.model import (
    CHILDREN,
    DEPENDENCY,
    INTAKE,
    OTHER,
    PAUSED,
    REACTOR,
    RERUN,
    Items,
    JobTimes,
    Span,
    StepTimes,
)
from warrener.projections.report.pauses import paused
from warrener.projections.report.summing import spans_of

SEGMENTS_MAX: Final = 1_000


class Segment(msgspec.Struct, frozen=True, kw_only=True):
    """A stretch of the critical path. `path` is seen from the job of the report, "" for itself.

    `own` is the path inside its job, "" for the job.
    """

    job: UUID
    path: str
    own: str
    kind: str
    begin: int
    end: int
    attempt: int = 0
    note: str = ""

    @property
    def length(self) -> int:
        """Return how long it is, in microseconds."""
        return self.end - self.begin


def critical_path(jobs: Mapping[UUID, JobTimes], top: JobTimes, until: int) -> list[Segment]:
    """Return the critical path of a job up to its end, or until now, the earliest segment first."""
    walk = _Walk(jobs, top.begin, max(until, top.begin))
    ways: list[Iterator[Iterator[object]]] = [walk.job(top)]  # a stack: jobs may be a thousand deep
    while ways:
        down = next(ways[-1], None)
        if down is None:
            ways.pop()
        else:
            ways.append(down)  # type: ignore[arg-type]
    return walk.found[::-1]


def shortened(path: list[Segment], top: JobTimes) -> list[Segment]:
    """Return a path of at most `SEGMENTS_MAX` segments: the shortest are taken together."""
    if len(path) <= SEGMENTS_MAX:
        return path
    lengths = sorted((each.length for each in path), reverse=True)
    bound = lengths[SEGMENTS_MAX // 2]  # between two that stay there may be one of others
    found: list[Segment] = []
    for each in path:
        if each.length > bound:
            found.append(each)
        elif found and found[-1].kind == OTHER:
            count = int(found[-1].note.split()[0]) + 1
            found[-1] = msgspec.structs.replace(found[-1], end=each.end, note=f"{count} segments")
        else:
            found.append(
                Segment(
                    job=top.id,
                    path="",
                    own="",
                    kind=OTHER,
                    begin=each.begin,
                    end=each.end,
                    note="1 segments",
                )
            )
    return found


class _Walk:
    """Goes backwards; `cursor` is the time before which nothing has been told yet."""

    def __init__(self, jobs: Mapping[UUID, JobTimes], floor: int, until: int) -> None:
        self.found: list[Segment] = []
        self._jobs = jobs
        self._floor = floor
        self._until = self._cursor = until

    def job(self, job: JobTimes) -> Iterator[Iterator[object]]:
        """Go back to the beginning of a job; yields the ways down that are to be gone first."""
        ends = _Ends(self._jobs, job)
        step = self._last(job, ends)
        while step is not None and self._cursor > max(job.begin, self._floor):
            ends.visited.add(step.path)
            if step.ended_at is not None:
                yield from self._down(step, ends.end_of(step))
                self._gap(job, step.ended_at)
            yield from self._step(job, step)
            step = ends.before(step, self._cursor)
        started = job.begin if job.started_at is None else job.started_at
        if job.started_at is not None:
            self._gap(job, started)
        self._tell(Span(INTAKE, job.begin, self._cursor), job, "")

    def _gap(self, job: JobTimes, begin: int) -> None:
        """Tell the time in which no step of a job did anything that counts."""
        anew = begin if job.rerun_at is None else max(begin, min(job.rerun_at, self._cursor))
        for low, high in reversed(paused(job, anew, self._cursor)):
            self._tell(Span(REACTOR, high, self._cursor), job, "")
            self._tell(Span(PAUSED, low, high), job, "")
        self._tell(Span(REACTOR, anew, self._cursor), job, "")
        self._tell(Span(RERUN, begin, self._cursor), job, "")

    def _last(self, job: JobTimes, ends: _Ends) -> StepTimes | None:
        """Return what ended last; of a job that has not ended, what has been open for longest."""
        if job.ended_at is None:
            waiting = [
                step
                for step in job.steps.values()
                if not step.ended and step.before is not None and not step.kept
            ]
            if waiting:
                return min(waiting, key=_by_release)
        return ends.latest()

    def _step(self, job: JobTimes, step: StepTimes) -> Iterator[Iterator[object]]:
        """Go back to where a step or an item waited for others."""
        for span in reversed(spans_of(job, step, self._until)):
            if self._cursor <= self._floor or span.kind == DEPENDENCY:
                return
            if span.kind == CHILDREN and span.begin < self._cursor:
                yield from self._children(job, step)
            self._tell(span, job, step.path)

    def _children(self, job: JobTimes, step: StepTimes) -> Iterator[Iterator[object]]:
        item = None if step.items is None else self._last_item(step.items)
        if item is not None:
            if item.ended_at is not None:
                self._tell(Span(CHILDREN, item.ended_at, self._cursor), job, step.path)
            yield self._step(job, item)
        yield from self._down(step, self._cursor)

    def _down(self, step: StepTimes, end: int) -> Iterator[Iterator[object]]:
        """Go into the job that a step started, if it came to its end at that time or is open."""
        child = None if step.child is None else self._jobs.get(step.child)
        if child is None or child.begin >= self._cursor:
            return
        if end >= self._cursor or child.ended_at is None or child.ended_at >= self._cursor:
            yield self.job(child)

    def _last_item(self, items: Items) -> StepTimes | None:
        """Return the item that ended last, else of those cut off or open what went out first."""
        last = items.last
        if last is not None and (last.ended_at or 0) >= self._cursor:
            return last
        still = (
            item
            for item in items.known.values()
            if item.ended_at is None or item.ended_at >= self._cursor
        )
        return min(still, key=_by_release, default=last)

    def _tell(self, span: Span, job: JobTimes, own: str) -> None:
        """Add what lies between the beginning of a span and what has been told already."""
        begin = max(span.begin, self._floor)
        if begin >= self._cursor:
            return
        segment = Segment(
            job=job.id,
            path=job.full(own) if own else job.path,
            own=own,
            kind=span.kind,
            begin=begin,
            end=self._cursor,
            attempt=span.attempt,
            note=span.note,
        )
        self._cursor = begin
        last = self.found[-1] if self.found else None
        if last is not None and (last.job, last.own, last.kind, last.attempt, last.note) == (
            segment.job,
            segment.own,
            segment.kind,
            segment.attempt,
            segment.note,
        ):
            self.found[-1] = msgspec.structs.replace(last, begin=begin)
        else:
            self.found.append(segment)


def _by_release(step: StepTimes) -> tuple[bool, int, str]:
    return step.before is None, step.before or 0, step.path


class _Ends:
    """The steps of a job that ended in its present generation, in the order of their ends."""

    def __init__(self, jobs: Mapping[UUID, JobTimes], job: JobTimes) -> None:
        self.visited: set[str] = set()
        self._jobs = jobs
        self._job = job
        steps = [step for step in job.steps.values() if step.ended and not step.kept]
        self._steps = sorted(steps, key=self._key)
        self._positions = [self._key(step)[0] for step in self._steps]

    def latest(self) -> StepTimes | None:
        """Return the step that ended last, or whose job did."""
        return self._steps[-1] if self._steps else None

    def end_of(self, step: StepTimes) -> int:
        """Return when a step ended, or its job if that was later, as where it cleaned up."""
        child = self._child(step)
        own = step.ended_at or 0
        return own if child is None or child.ended_at is None else max(own, child.ended_at)

    def before(self, reader: StepTimes, cursor: int) -> StepTimes | None:
        """Return what a step waited for longest: the last to end before it could go on."""
        position = reader.ended_position if reader.before is None else reader.before
        needed = self._latest_of(self._needed(reader.path), position)
        if needed is not None and needed.ended_at == cursor:
            return needed
        other = self._latest_at(position)
        if other is None or (needed is not None and other.ended_at != cursor):
            return needed
        return other

    def _needed(self, name: str) -> Iterable[str]:
        """Return the steps whose outcome a step waits for."""
        planned = self._job.plan.steps.get(name)
        if planned is None or planned.phase != "main":
            return ()
        found = dict.fromkeys((*(edge.dependency for edge in planned.edges), *planned.catches))
        todo = [edge.dependency for edge in planned.edges]
        while todo:  # who answers for a dependency, and for those in turn
            for handler in self._job.plan.steps[todo.pop()].handlers:
                if handler not in found and handler != name:
                    found[handler] = None
                    todo.append(handler)
        return found

    def _latest_of(self, names: Iterable[str], position: int) -> StepTimes | None:
        steps = (self._job.steps.get(name) for name in names)
        found = [
            step
            for step in steps
            if step is not None
            and step.ended
            and not step.kept
            and step.path not in self.visited
            and step.ended_position <= position
        ]
        return max(found, key=self._key, default=None)

    def _latest_at(self, position: int) -> StepTimes | None:
        place = bisect_right(self._positions, position)
        while place > 0:
            place -= 1
            if self._steps[place].path not in self.visited:
                return self._steps[place]
        return None

    def _key(self, step: StepTimes) -> tuple[int, bool, int]:
        """Order by end; of those that end together, one that did something is the later one."""
        planned = self._job.plan.steps.get(step.path)
        child = self._child(step)
        position = max(step.ended_position, 0 if child is None else child.ended_position)
        return position, step.before is not None, planned.order if planned else 0

    def _child(self, step: StepTimes) -> JobTimes | None:
        child = None if step.child is None else self._jobs.get(step.child)
        ended = child is not None and child.ended_at is not None
        return child if ended else None
