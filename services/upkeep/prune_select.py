"""Finds the trees of jobs that may be pruned: those that ended long ago, whole."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec

from warrener.domain.events import JobEnded, JobEvent, JobFailed, JobRerun, JobSubmitted, Recorded
from warrener.domain.step_events import StepEvent
from warrener.domain.stored import PRUNED_TOPIC
from warrener.services.logs import root_of
from warrener.services.upkeep.commits import Part, Progress, each_commit

TREES_AT_ONCE_MAX: Final = 50_000
_KINDS: Final = ("Job", "Step")  # how the topics of events of jobs begin


class Tree(msgspec.Struct):
    """A tree of jobs: where its events and the commits with them are in the log."""

    root: UUID
    name: str
    ended_at: datetime
    jobs: list[UUID]
    positions: array[int]
    commits: array[int]  # first positions
    changed: bool = False  # something happened after the time that is asked about

    def add(self, position: int, commit: int) -> None:
        """Add an event."""
        self.positions.append(position)
        if not self.commits or self.commits[-1] != commit:
            self.commits.append(commit)


class Event(msgspec.Struct, frozen=True):
    """An event of a job, its position, and the first position of its commit."""

    position: int
    commit: int
    recorded: Recorded


def select_trees(
    part: Part, before: datetime, *, keep_failed: bool, on_progress: Progress | None = None
) -> list[Tree]:
    """Return the trees of a partition that ended before a time, in the order of their beginning.

    At most `TREES_AT_ONCE_MAX` of them. Reads the log twice; memory grows with what is found.
    """
    head = part.log.head()
    ended = _ended_roots(part, head, before, keep_failed, on_progress)
    for job in part.log.open_roots():  # of a tree that had ended, a part may have begun anew
        ended.pop(root_of(part.log, job), None)
    by_job: dict[UUID, Tree] = {}
    for each in _events(part, head, on_progress, head):
        event, stream = each.recorded.event, each.recorded.originator_id
        if isinstance(event, JobSubmitted) and event.root in ended:
            by_job[stream] = ended[event.root]
            ended[event.root].jobs.append(stream)
        tree = by_job.get(event.job if isinstance(event, StepEvent) else stream)
        if tree is not None:
            tree.add(each.position, each.commit)
            tree.changed = tree.changed or event.at >= before
    return [tree for tree in ended.values() if not tree.changed and tree.jobs]


def _ended_roots(
    part: Part, head: int, before: datetime, keep_failed: bool, on_progress: Progress | None
) -> dict[UUID, Tree]:
    names: dict[UUID, str] = {}
    ended: dict[UUID, Tree] = {}
    for each in _events(part, head, on_progress, 0):
        event, job = each.recorded.event, each.recorded.originator_id
        if isinstance(event, JobSubmitted) and event.parent is None:
            names[job] = event.name
        elif isinstance(event, JobRerun):
            ended.pop(job, None)
        elif isinstance(event, JobEnded) and job in names and event.at < before:
            wanted = not (keep_failed and isinstance(event, JobFailed))
            if wanted and len(ended) < TREES_AT_ONCE_MAX:
                ended[job] = Tree(job, names[job], event.at, [], array("Q"), array("Q"))
    return ended


def _events(part: Part, head: int, on_progress: Progress | None, done: int) -> Iterator[Event]:
    """Yield the events of jobs that are not pruned; `done` events were read before, of twice."""
    for commit in each_commit(part.commits, 0, head):
        for position, row in enumerate(commit.rows, start=commit.first):
            if row.topic != PRUNED_TOPIC and row.topic.startswith(_KINDS):
                recorded = part.decode(row)
                if isinstance(recorded.event, JobEvent | StepEvent):
                    yield Event(position, commit.first, recorded)
        if on_progress is not None:
            on_progress(done + commit.last, 2 * head)
