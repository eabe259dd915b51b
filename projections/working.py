"""The documents that one batch works on: read from what was loaded, copied when first changed."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from typing import Any
from uuid import UUID

import msgspec

from warrener.domain.ids import split_path
from warrener.projections.ports import Documents
from warrener.projections.views import (
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

    def __init__(self, loaded: Documents) -> None:
        self._loaded = loaded
        self._changed: dict[str, dict[Any, Any]] = {JOBS: {}, STEPS: {}, DEFINITIONS: {}}
        self._open: dict[Any, Any] = {}
        self._position = 0
        self.delta = Counts()

    def begin(self, position: int) -> None:
        """Turn to the event at a position."""
        self._position = position
        self._open.clear()
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
        return view

    def step(self, job: UUID, path: str) -> StepView | None:
        """Return a step to change, made if need be; None if it has seen this event already."""
        key = (job, path)
        if key in self._open:
            opened: StepView | None = self._open[key]
            return opened
        view: StepView | None = self._edit(STEPS, key)
        if view is None and self._peek(STEPS, key) is None:
            view = self._new_step(job, path)
        self._open[key] = view
        return view

    def put(self, table: str, view: DefinitionView | JobView) -> None:
        """Add a new document unless there is one under its key."""
        if self._peek(table, view.key) is None:
            view.position = self._position
            self._changed[table][view.key] = view
            self._open[view.key] = view

    def settle(self, job: UUID) -> None:
        """Add what the event changed in the counts to its job and all jobs above."""
        if self.delta == Counts():
            return
        own = self.peek_job(job)
        for each in () if own is None else (job, *own.ancestors):
            view = self.job(each)
            if view is not None:
                view.counts.add(self.delta)

    def changes(self) -> Documents:
        """Return what changed, in the order in which it must be written.

        Jobs come before steps, fan-outs before their items: the former count what happens to the
        latter, so a batch that was half written is counted once when it is applied again.
        """
        steps: Mapping[Any, StepView] = self._changed[STEPS]
        ordered = sorted(steps.items(), key=lambda entry: split_path(entry[0][1])[1] is not None)
        return {**self._changed, STEPS: dict(ordered)}

    def _peek(self, table: str, key: Any) -> Any:
        changed = self._changed[table].get(key)
        return self._loaded.get(table, {}).get(key) if changed is None else changed

    def _edit(self, table: str, key: Any) -> Any:
        view = self._peek(table, key)
        if view is None or view.position >= self._position:
            return None
        changed = self._changed[table]
        if key not in changed:
            view = changed[key] = _copied(view)
        view.position = self._position
        return view

    def _new_step(self, job: UUID, path: str) -> StepView:
        owner = self.peek_job(job)
        view = StepView(
            position=self._position,
            job=job,
            path=path,
            root=owner.root if owner else job,
            state="",
        )
        self._changed[STEPS][view.key] = view
        return view


def _copied(view: Any) -> Any:
    """Copy a document as deep as the projections change it."""
    fresh = copy(view)
    if isinstance(fresh, JobView):
        fresh.counts = msgspec.structs.replace(fresh.counts, known=dict(fresh.counts.known))
    elif isinstance(fresh, StepView):
        fresh.items = dict(fresh.items)
    return fresh
