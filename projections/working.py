"""The documents that one batch works on: read from what was loaded, copied when first changed.

Jobs count the steps below them by differences: what each step that an event opened stands for
after the event, less what it stood for before.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import copy
from typing import Any
from uuid import UUID

from warrener.domain.ids import split_path
from warrener.projections.ports import Documents
from warrener.projections.total_views import TOTALS
from warrener.projections.totals import Totals
from warrener.projections.views import (
    BIRTHS_MAX,
    DEFINITIONS,
    JOBS,
    STEPS,
    Counts,
    DefinitionView,
    JobView,
    StepView,
)


class Working:
    """Working set of the read model of jobs. `begin` comes first for each event."""

    def __init__(self, loaded: Documents, partition: int = 0) -> None:
        self._loaded = loaded
        self.totals = Totals(loaded, partition)
        self._moved: list[tuple[StepView, str]] = []  # steps that an event opened, as they were
        self._moved_jobs: list[tuple[JobView, str]] = []
        self._changed: dict[str, dict[Any, Any]] = {JOBS: {}, STEPS: {}, DEFINITIONS: {}}
        self._open: dict[Any, Any] = {}
        self._before: list[tuple[StepView, dict[str, int]]] = []
        self._position = 0
        self.delta = Counts()

    def begin(self, position: int) -> None:
        """Turn to the event at a position."""
        self._count_moved()
        self.totals.begin(position)
        self._position = position
        self._open.clear()
        self._before.clear()
        self.delta = Counts()

    def definition(self, content_hash: str) -> DefinitionView | None:
        """Return a stored definition, to read."""
        found: DefinitionView | None = self._peek(DEFINITIONS, content_hash)
        return found

    def peek_job(self, job: UUID) -> JobView | None:
        """Return a job, to read."""
        found: JobView | None = self._peek(JOBS, job)
        return found

    def job(self, job: UUID) -> JobView | None:
        """Return a job to change; None if it is unknown or has seen this event already."""
        if job in self._open:
            opened: JobView | None = self._open[job]
            return opened
        view: JobView | None = self._edit(JOBS, job)
        self._open[job] = view
        if view is not None:
            self._moved_jobs.append((view, view.state))
        return view

    def step(self, job: UUID, path: str) -> StepView | None:
        """Return a step to change, made if need be; None if it has seen this event already.

        An item of an older generation of its fan-out comes as a new one.
        """
        key = (job, path)
        if key in self._open:
            opened: StepView | None = self._open[key]
            return opened
        known: StepView | None = self._peek(STEPS, key)
        view: StepView | None
        before = "" if known is None else known.state
        if known is None:
            view = self._new_step(job, path)
        else:
            outlived = self._is_outlived(known)
            view = self._edited(STEPS, key, known)
            if view is not None and outlived:
                self.renew(view)
                view.state = ""
        self._open[key] = view
        if view is not None:
            self._moved.append((view, before))
            if not view.is_item:
                self._before.append((view, view.tally()))
        return view

    def is_outlived(self, job: UUID, path: str) -> bool:
        """Say whether a step is an item of an older generation of its fan-out."""
        view = self._peek(STEPS, (job, path)) if path.endswith("]") else None
        return view is not None and self._is_outlived(view)

    def _is_outlived(self, view: StepView) -> bool:
        if not view.is_item:
            return False
        fan_out: StepView | None = self._peek(STEPS, (view.job, view.name))
        return fan_out is not None and fan_out.began_since(view.born, self._position)

    def is_renewed(self, job: UUID, path: str) -> bool:
        """Say whether a named step was begun anew and has not gone on since."""
        view: StepView | None = self._peek(STEPS, (job, path))
        if view is None or view.is_item:
            return False
        return view.state == "pending" and view.began_since(0, self._position)

    def outlived(self, job: UUID, path: str) -> StepView | None:
        """Return such an item as it is, to change without anybody counting it."""
        view: StepView | None = self._edit(STEPS, (job, path))
        if view is not None:
            self._moved.append((view, view.state))
        return view

    def renew(self, step: StepView) -> None:
        """Begin a document anew at this event; attempts and what people changed stay."""
        kept = {name: getattr(step, name) for name in _KEPT}
        earlier = step.births[1 - BIRTHS_MAX :] if not step.is_item else ()
        births = (*earlier, self._position)
        fresh = StepView(**kept, position=self._position, births=births)
        for name in StepView.__struct_fields__:
            setattr(step, name, getattr(fresh, name))

    def put(self, table: str, view: DefinitionView | JobView) -> None:
        """Add a new document unless there is one under its key.

        Definitions are the same whatever partition they come from, and have no position of any.
        """
        if self._peek(table, view.key) is None:
            if isinstance(view, JobView):
                view.position = view.born = self._position
                self._moved_jobs.append((view, ""))
            self._changed[table][view.key] = view
            self._open[view.key] = view

    def settle(self, job: UUID) -> None:
        """Add what the event changed in the counts to its job and to all that count it."""
        for step, before in self._before:
            self.delta.add(before, -1)
            self.delta.add(step.tally())
        self._before.clear()
        if not self.delta.states:
            return
        for counts in self._counting(job):
            counts.add(self.delta.states)

    def _count_moved(self) -> None:
        """Count what has another state after the event in the totals by name."""
        for job, state in self._moved_jobs:
            if job.state != state:
                self.totals.job(job.name, state, job.state)
        for step, state in self._moved:
            owner = self.peek_job(step.job) if step.state != state else None
            if owner is not None:
                self.totals.step(owner.name, step.name, state, step.state)
        self._moved_jobs.clear()
        self._moved.clear()

    def _counting(self, job: UUID) -> Iterator[Counts]:
        """Yield the counts of a job, of the step that started it, of the job above, and so on.

        Jobs of an older generation of a step count no more for what is above them.
        """
        view = self.peek_job(job)
        while view is not None:
            own = self.job(view.job)
            if own is not None:
                yield own.counts
            if view.parent is None:
                return
            above, name = view.parent.job, split_path(view.parent.path)[0]
            stem: StepView | None = self._peek(STEPS, (above, name))
            if stem is not None and stem.began_since(view.born, self._position):
                return
            step = self.step(above, name)
            if step is not None:
                yield step.below
            view = self.peek_job(above)

    def changes(self) -> Documents:
        """Return what changed, in the order in which it must be written.

        What counts comes before what it counts (totals before all, jobs before steps, steps before
        those of the jobs that they started, fan-outs before their items), so a batch that was half
        written is counted once when it is applied again. Where that leaves a choice, new documents
        come together: some stores write many of a kind at once.
        """
        self._count_moved()
        known = self._loaded.get(JOBS, {})
        jobs = sorted(self._changed[JOBS].items(), key=lambda entry: entry[0] not in known)
        steps: Mapping[Any, StepView] = self._changed[STEPS]
        ordered = sorted(steps.items(), key=lambda entry: self._depth(entry[1]))
        counted = {TOTALS: self.totals.changes()}
        return {**counted, **self._changed, JOBS: dict(jobs), STEPS: dict(ordered)}

    def _depth(self, step: StepView) -> tuple[int, bool, bool]:
        owner = self.peek_job(step.job)
        is_new = step.key not in self._loaded.get(STEPS, {})
        return len(owner.above) if owner else 0, step.is_item, is_new

    def _peek(self, table: str, key: Any) -> Any:
        changed = self._changed[table].get(key)
        if changed is not None:
            return changed
        loaded = self._loaded.get(table)
        return loaded.get(key) if loaded else None

    def _edit(self, table: str, key: Any) -> Any:
        view = self._peek(table, key)
        return None if view is None else self._edited(table, key, view)

    def _edited(self, table: str, key: Any, view: Any) -> Any:
        """Return a document to change, None if it has seen this event already."""
        if view.position >= self._position:
            return None
        changed = self._changed[table]
        if key not in changed:
            view = changed[key] = _copied(view)
        view.position = self._position
        return view

    def _new_step(self, job: UUID, path: str) -> StepView:
        owner, is_item = self.peek_job(job), path.endswith("]")
        view = StepView(
            position=self._position,
            births=(self._position,) if is_item else (),
            job=job,
            path=path,
            root=owner.root if owner else job,
            state="" if is_item else "pending",  # only named steps were counted before
        )
        self._changed[STEPS][view.key] = view
        return view


# What a document keeps when a new generation of it begins.
_KEPT = (
    *("job", "path", "root", "attempts", "generation"),
    *("window", "tolerated", "retry", "adjusted"),
)


def _copied(view: Any) -> Any:
    """Copy a document as deep as the projections change it."""
    fresh = copy(view)
    if isinstance(fresh, JobView):
        fresh.counts = Counts(dict(fresh.counts.states))
    elif isinstance(fresh, StepView):
        fresh.items = dict(fresh.items)
        fresh.below = Counts(dict(fresh.below.states))
    return fresh
