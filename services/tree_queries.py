"""Queries over a job and everything below it: the tree, the history, the slowest steps."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from itertools import islice
from uuid import UUID

from warrener.domain.ids import joined_path
from warrener.domain.partitions import Logs
from warrener.domain.ports import EventStore, Positioned
from warrener.domain.step_events import StepEvent
from warrener.projections.ports import ViewStore
from warrener.projections.views import HistoryView, JobView, StepView
from warrener.services.logs import log_of_root
from warrener.services.places import Places
from warrener.services.shapes import (
    Error,
    HistoryLine,
    SlowStep,
    TreeNode,
    event_data,
    format_time,
    optional_time,
    progress,
)

PAGE_EVENTS = 500
GAP_EVENTS_MAX = 16  # positions that are read and thrown away rather than read around
PAGE_STEPS = 200


class TreeQueries:
    """Walks trees in bounded pages."""

    def __init__(self, logs: Logs, views: ViewStore, places: Places) -> None:
        self._logs = logs
        self._views = views
        self._places = places

    def tree(self, job: UUID, jobs_max: int) -> TreeNode:
        """Return a job with the jobs below it, level by level, up to `jobs_max` of them."""
        top = _node(self._places.job(job), "")
        left, waiting = jobs_max, deque([top])
        while waiting:
            node = waiting.popleft()
            children = self._views.children(node.job, None, left + 1)
            node.more = len(children) > left
            superseded = self._places.superseded(children[:left])
            for view in children[:left]:
                parent = view.parent.path if view.parent else ""
                child = _node(view, joined_path(node.path, parent))
                child.superseded = view.job in superseded
                node.children.append(child)
                waiting.append(child)
            left -= len(node.children)
        return top

    def slowest(self, job: UUID, limit: int) -> list[SlowStep]:
        """Return the steps that ran longest."""
        root = self._places.job(job).root
        return [self._slow(step, job) for step in islice(self._slow_steps(job, root), limit)]

    def history(self, job: UUID, tree: bool, after: int) -> Iterator[HistoryLine]:
        """Yield events in order of position."""
        top = self._places.job(job).root
        root, log = top if tree else None, log_of_root(self._logs, top)
        while rows := self._rows(job, root, after):
            wanted = [row for row in rows if root is None or self._places.is_below(row.job, job)]
            for run in _runs([row.position for row in wanted]):
                for positioned in _read(log, run):
                    yield self._history_line(positioned, job)
            after = rows[-1].position

    def positions(self, job: UUID, after: int) -> Iterator[int]:
        """Yield the positions of the events of a job and its steps; nothing is read of the log."""
        while rows := self._rows(job, None, after):
            yield from (row.position for row in rows)
            after = rows[-1].position

    def events(self, root: UUID, until: int) -> Iterator[Positioned]:
        """Yield the events of a whole tree in order of position, up to one."""
        log, after = log_of_root(self._logs, root), 0
        while rows := self._rows(root, root, after):
            positions = [row.position for row in rows if row.position <= until]
            for run in _runs(positions):
                yield from _read(log, run)
            if len(positions) < len(rows):
                return
            after = rows[-1].position

    def _slow_steps(self, job: UUID, root: UUID) -> Iterator[StepView]:
        offset = 0
        while page := self._views.slowest(root, PAGE_STEPS, offset):
            below = (step for step in page if self._places.is_below(step.job, job))
            yield from (step for step in below if self._places.is_current(step, job))
            offset += len(page)

    def _slow(self, step: StepView, top: UUID) -> SlowStep:
        return SlowStep(
            job=step.job,
            path=self._path(step.job, top, step.path),
            state=step.state,
            seconds=step.seconds or 0.0,
            attempts=step.attempts,
            worker=step.worker,
        )

    def _path(self, job: UUID, top: UUID, path: str) -> str:
        return joined_path(self._places.path(job, top), path)

    def _rows(self, job: UUID, root: UUID | None, after: int) -> Sequence[HistoryView]:
        only = job if root is None else None
        return self._views.history(job=only, root=root, after=after, limit=PAGE_EVENTS)

    def _history_line(self, positioned: Positioned, top: UUID) -> HistoryLine:
        event = positioned.recorded.event
        own = event.job if isinstance(event, StepEvent) else positioned.recorded.originator_id
        return history_line(positioned, self._places.path(own, top))


def history_line(positioned: Positioned, above: str) -> HistoryLine:
    """Return an event as users see it; `above` is where its job is below the one asked for."""
    recorded = positioned.recorded
    event = recorded.event
    is_step = isinstance(event, StepEvent)
    path = event.path if isinstance(event, StepEvent) else ""
    return HistoryLine(
        position=positioned.position,
        stream="step" if is_step else "job",
        id=recorded.originator_id,
        path=joined_path(above, path),
        version=recorded.originator_version,
        type=type(event).__name__,
        at=format_time(event.at),
        cause=event.cause,
        data=event_data(event),
    )


def _read(log: EventStore, positions: Sequence[int]) -> Iterator[Positioned]:
    """Read events at near positions in one go."""
    span = positions[-1] - positions[0] + 1
    wanted = set(positions)
    return (each for each in log.read(positions[0] - 1, span) if each.position in wanted)


def _node(view: JobView, path: str) -> TreeNode:
    return TreeNode(
        job=view.job,
        name=view.name,
        version=view.version,
        state=view.state,
        path=path,
        error=Error.of(view.error),
        submitted_at=format_time(view.submitted_at),
        ended_at=optional_time(view.ended_at),
        progress=progress(view.counts),
        children=[],
        more=False,
        superseded=False,
    )


def _runs(positions: Sequence[int]) -> Iterator[list[int]]:
    """Split rising positions where the gap is too wide to read across."""
    run: list[int] = []
    for position in positions:
        if run and position - run[-1] > GAP_EVENTS_MAX:
            yield run
            run = []
        run.append(position)
    if run:
        yield run
