"""Going through the events of a tree of jobs, forth and back, with the state at each.

Events are held in memory once. So that going back is quick, the documents are kept as they were
at some of them: a copy shares all that did not change.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

import msgspec

from warrener.domain.ids import joined_path
from warrener.domain.ports import Positioned
from warrener.projections.history import job_of
from warrener.projections.ports import Documents, ViewStore
from warrener.projections.views import JOBS, STEPS, JobView, StepView, View
from warrener.services.logs import LogSet
from warrener.services.partial_log import PartialLog
from warrener.services.past import MODELS, OpenViews, Tables, fold, fold_one, put
from warrener.services.places import Places
from warrener.services.queries import Queries
from warrener.services.shapes import Shape, optional_time

KEPT_MAX: Final = 64  # states
KEPT_DOCUMENTS_MAX: Final = 4_000_000  # in all of them
STRIDE_EVENTS_MIN: Final = 100  # between two states that are kept
_OF_JOB: Final = ("state", "generation", "closing", "signals_kept")
_OF_STEP: Final = (
    *("state", "attempts", "generation", "worker", "progress", "note", "signal", "child"),
    *("count", "begun", "window", "tolerated", "caught_by", "reason"),
)
_TIMES: Final = ("due", "until")
_DEFAULTS: Final[dict[tuple[type, str], Any]] = {  # what a new document need not tell
    (kind, field.name): field.default
    for kind in (JobView, StepView)
    for field in msgspec.structs.fields(kind)
}


class Change(Shape, frozen=True, kw_only=True):
    """What an event changed of a job (`path` is where it is, "" for the one asked for) or a step.

    `fields` has the value before and the one after of each field.
    """

    kind: str  # job | step
    path: str
    fields: dict[str, tuple[Any, Any]]


class Walk:
    """A position in the history of a job, with the state there."""

    def __init__(self, log: PartialLog, job: UUID, open_views: OpenViews, *, tree: bool) -> None:
        """Take the events of its tree; those of the job are gone through, or all below, too."""
        self.log = log
        self.job = job
        self._open_views = open_views
        self._documents: Tables = {}
        self._reached = 0
        head = log.head()
        all_events = log.read(0, head)
        self._kept: dict[int, Documents] = {0: {}}
        self._reach_end(all_events)
        self.places = Places(self._views())  # where jobs are never changes
        self.events = [each for each in all_events if self._is_wanted(each, tree)]

    def _is_wanted(self, event: Positioned, tree: bool) -> bool:
        own = job_of(event)
        if own is None or own == self.job:
            return own is not None
        return tree and self.places.is_below(own, self.job)

    def look(self, number: int) -> tuple[Change, ...]:
        """Go to one of the events, from 0; return what it changed."""
        event = self.events[number]
        self._go(event.position - 1)
        changed: list[Change] = []
        for model in MODELS:
            changes = fold_one(model, [event], self._documents)
            changed += self._changes(changes)
            put(self._documents, changes)
        self._reached = event.position
        return tuple(changed)

    def queries(self) -> Queries:
        """Return what answers about the state that was gone to."""
        return Queries(LogSet([self.log]), self._views(), folds=False)

    def _views(self) -> ViewStore:
        return self._open_views(self._documents)

    def _go(self, position: int) -> None:
        """Bring the documents to a position, from the nearest state before that is kept."""
        start = max(each for each in self._kept if each <= position)
        if not start <= self._reached <= position:
            self._documents = _copy(self._kept[start])
            self._reached = start
        between = self.log.read(self._reached, position - self._reached)
        fold(self._documents, (each for each in between if each.position <= position))
        self._reached = position

    def _reach_end(self, events: Sequence[Positioned]) -> None:
        """Fold all events, and keep some of the states on the way."""
        count = len(events) or 1
        states = max(1, min(KEPT_MAX, KEPT_DOCUMENTS_MAX // count))  # fewer documents than events
        stride = max(STRIDE_EVENTS_MIN, count // states)
        for first in range(0, len(events), stride):
            stretch = events[first : first + stride]
            fold(self._documents, stretch)
            self._reached = stretch[-1].position
            self._kept[self._reached] = _copy(self._documents)

    # --- what an event changed -------------------------------------------------------------------

    def _changes(self, after: Documents) -> list[Change]:
        found = []
        for table, kind, names in ((JOBS, "job", _OF_JOB), (STEPS, "step", _OF_STEP)):
            before = self._documents.get(table, {})
            for key, view in after.get(table, {}).items():
                path = self._path(view)
                fields = _difference(before.get(key), view, names)
                if path is not None and fields:
                    found.append(Change(kind=kind, path=path, fields=fields))
        return found

    def _path(self, view: View) -> str | None:
        """Return where a document is below the job, None if it is not."""
        if not isinstance(view, JobView | StepView) or not self.places.is_below(view.job, self.job):
            return None
        own = view.path if isinstance(view, StepView) else ""
        return joined_path(self.places.path(view.job, self.job), own)


def _difference(
    before: View | None, after: View, names: Sequence[str]
) -> dict[str, tuple[Any, Any]]:
    fields: dict[str, tuple[Any, Any]] = {}
    for name in names:
        old, new = getattr(before, name, None), getattr(after, name)
        is_told = before is not None or new != _DEFAULTS.get((type(after), name))
        if old != new and is_told:
            fields[name] = (old, new)
    if isinstance(after, StepView):
        for name in _TIMES:
            old, new = getattr(before, name, None), getattr(after, name)
            if old != new:
                fields[name] = (optional_time(old), optional_time(new))
        items = before.items_by_state() if isinstance(before, StepView) else None
        if items != after.items_by_state():
            fields["items"] = (items, after.items_by_state())
        fields.update(_code(before, after))
    return fields


def _code(before: View | None, after: StepView) -> dict[str, tuple[Any, Any]]:
    old, new = getattr(before, "error", None), after.error
    codes = old and old.code, new and new.code
    return {} if codes[0] == codes[1] else {"error": codes}


def _copy(documents: Documents) -> Tables:
    return {table: dict(views) for table, views in documents.items()}
