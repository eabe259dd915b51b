"""Counts jobs, steps and attempts by name while the read model of jobs is folded.

A total is written before what it counts and passes over events that it has seen: so a batch that
was half written is counted once.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping
from datetime import datetime

from warrener.domain.events import Event
from warrener.domain.states import JOB_ENDED, STEP_ENDED
from warrener.domain.step_events import (
    StepCancelled,
    StepFailed,
    StepParked,
    StepRetryScheduled,
    StepSucceeded,
)
from warrener.projections.ports import Documents
from warrener.projections.total_views import (
    ALL_JOBS,
    ALL_STEPS,
    BUCKETS,
    CODES_MAX,
    OTHER,
    TOTALS,
    TotalView,
)

Place = tuple[str, str]  # names of job and step
_UNCOUNTED = ("", "pending")
_OUTCOMES: Mapping[type[Event], str] = {
    StepSucceeded: "succeeded",
    StepRetryScheduled: "failed",
    StepFailed: "failed",
    StepCancelled: "cancelled",
    StepParked: "parked",
}


class Totals:
    """The totals that one batch changes. `begin` comes first for each event."""

    def __init__(self, loaded: Documents, partition: int) -> None:
        """Take what was loaded; nothing of it is changed."""
        self._loaded: Mapping[tuple[int, str, str], TotalView] = loaded.get(TOTALS, {})
        self._partition = partition
        self._position = 0
        self._changed: dict[Place, TotalView] = {}
        self._open: dict[Place, TotalView | None] = {}

    def begin(self, position: int) -> None:
        """Turn to the event at a position."""
        self._position = position
        self._open.clear()

    def job(self, name: str, before: str, state: str) -> None:
        """Count a job that has another state; one that is new had none."""
        for view in self._views((name, ""), ALL_JOBS):
            view.begun += not before
            _move(view, before, state, state in JOB_ENDED)

    def step(self, job: str, name: str, before: str, state: str) -> None:
        """Count a step that has another state."""
        if before in _UNCOUNTED and state in _UNCOUNTED:
            return
        for view in self._views((job, name), ALL_STEPS):
            _move(view, before, state, state in STEP_ENDED)

    def attempt(self, job: str, name: str, event: Event) -> None:
        """Count an attempt that has ended, if the event is about one."""
        outcome = _OUTCOMES.get(type(event))
        if outcome is None or getattr(event, "attempt", None) is None:
            return
        took = _took(event)
        for view in self._views((job, name), ALL_STEPS):
            _add(view.attempts, outcome)
            if isinstance(event, StepRetryScheduled | StepFailed):
                code = event.error.code
                known = code in view.failures or len(view.failures) < CODES_MAX
                _add(view.failures, code if known else OTHER)
            if took is not None:
                view.seconds += took
                if not view.job:
                    view.took = view.took or [0] * (len(BUCKETS) + 1)
                    view.took[bisect_left(BUCKETS, took)] += 1

    def changes(self) -> dict[tuple[int, str, str], TotalView]:
        """Return what changed, totals of all first."""
        ordered = sorted(self._changed.values(), key=lambda view: bool(view.job))
        return {view.key: view for view in ordered}

    def _views(self, place: Place, of_all: Place) -> Iterator[TotalView]:
        """Yield the totals that count what happens at a place, but those that have seen it."""
        whole = self._view(of_all)
        if whole is not None and self._is_new(place):
            whole.names += 1
        own = self._view(place)
        return (view for view in (own, whole) if view is not None)

    def _is_new(self, place: Place) -> bool:
        return place not in self._changed and (self._partition, *place) not in self._loaded

    def _view(self, place: Place) -> TotalView | None:
        if place not in self._open:
            self._open[place] = self._opened(place)
        return self._open[place]

    def _opened(self, place: Place) -> TotalView | None:
        view = self._changed.get(place)
        if view is None:
            known = self._loaded.get((self._partition, *place))
            if known is not None and known.position >= self._position:
                return None
            job, step = place
            fresh = TotalView(partition=self._partition, job=job, step=step)
            view = self._changed[place] = fresh if known is None else known.copied()
        elif view.position >= self._position:
            return None
        view.position = self._position
        return view


def _move(view: TotalView, before: str, state: str, ended: bool) -> None:
    if before in view.now:
        view.now[before] -= 1
        if not view.now[before]:
            del view.now[before]
    if ended:
        _add(view.ended, state)
    elif state not in _UNCOUNTED:
        _add(view.now, state)


def _add(counts: dict[str, int], name: str) -> None:
    counts[name] = counts.get(name, 0) + 1


def _took(event: Event) -> float | None:
    began: datetime | None = getattr(event, "started_at", None)
    ended: datetime | None = getattr(event, "ended_at", None)
    if began is None or ended is None:
        return None
    return max(0.0, (ended - began).total_seconds())
