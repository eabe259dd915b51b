"""The read model of attempts: each time that a step went out or began to wait, and its outcome.

It reads no documents of other read models, for those may be ahead of it or behind.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from warrener.domain.events import Error, Event, JobAdvanced, JobRerun, JobSubmitted, Recorded
from warrener.domain.ids import split_path
from warrener.domain.ports import Positioned
from warrener.domain.step_events import (
    StepCancelled,
    StepEvent,
    StepFailed,
    StepOpened,
    StepParked,
    StepReadied,
    StepReleased,
    StepRetryScheduled,
    StepSkipped,
    StepStarted,
    StepSucceeded,
)
from warrener.domain.timers import TIMEOUT_CODES
from warrener.projections.attempt_views import (
    ATTEMPTS,
    MESSAGE_CHARACTERS_MAX,
    TRACKS,
    AttemptView,
    TrackView,
)
from warrener.projections.attempt_working import ROOT_PATH, AttemptWorking
from warrener.projections.ports import Documents, Wanted


def wanted(batch: Sequence[Positioned]) -> Wanted:
    """Return the keys of the attempts and tracks that a batch touches."""
    attempts: set[tuple[UUID, str, int]] = set()
    tracks: set[tuple[UUID, str]] = set()
    for positioned in batch:
        event = positioned.recorded.event
        tracks.update(_tracks(positioned.recorded))
        if isinstance(event, StepReleased):
            attempts.add((event.job, event.path, event.attempt - 1))
        if isinstance(event, StepEvent) and type(event) in _HANDLERS:
            attempts.add((event.job, event.path, _number(event)))
    return {ATTEMPTS: attempts, TRACKS: tracks}


def _tracks(recorded: Recorded) -> set[tuple[UUID, str]]:
    """Return the keys of the tracks that an event reads or changes."""
    job, event = recorded.originator_id, recorded.event
    if isinstance(event, StepReleased | StepOpened | StepReadied):
        return {(event.job, ROOT_PATH), (event.job, split_path(event.path)[0])}
    named: Sequence[str] = ()
    if isinstance(event, JobAdvanced):
        named = tuple(event.readied)
    elif isinstance(event, JobRerun):
        named = event.steps
    elif not isinstance(event, JobSubmitted):
        return set()
    return {(job, path) for path in (ROOT_PATH, *named)}


def _number(event: Event) -> int:
    """Return the number of the attempt that an event is about, 0 if it is about none."""
    number: int | None = getattr(event, "attempt", None)
    return number or 0


def fold(batch: Sequence[Positioned], loaded: Documents) -> Documents:
    """Return attempts and tracks as they are after the batch.

    Attempts come before the tracks that they were made from, so a batch that was half written is
    folded to the same attempts when it is applied again.
    """
    working = AttemptWorking(loaded)
    for positioned in batch:
        working.position = positioned.position
        event = positioned.recorded.event
        handler = _HANDLERS.get(type(event))
        if handler is not None:
            handler(working, positioned.recorded.originator_id, event)
    return working.changed


# --- what goes before an attempt ------------------------------------------------------------------


def _submitted(working: AttemptWorking, job: UUID, event: JobSubmitted) -> None:
    working.put(TRACKS, TrackView(job=job, path=ROOT_PATH, root=event.root))


def _advanced(working: AttemptWorking, job: UUID, event: JobAdvanced) -> None:
    for name in event.readied:
        _ready(working, job, name, event.at)


def _readied(working: AttemptWorking, _stream: UUID, event: StepReadied) -> None:
    if split_path(event.path)[1] is None:
        _ready(working, event.job, event.path, event.at)


def _ready(working: AttemptWorking, job: UUID, name: str, at: datetime) -> None:
    track = working.track(job, name)
    if track is not None:
        track.ready_at = at


def _rerun(working: AttemptWorking, job: UUID, event: JobRerun) -> None:
    for name in event.steps:
        track = working.track(job, name)
        if track is not None:
            track.generation, track.ready_at = event.generation, None


# --- its beginning --------------------------------------------------------------------------------


def _released(working: AttemptWorking, _stream: UUID, event: StepReleased) -> None:
    view = AttemptView(
        job=event.job,
        path=event.path,
        attempt=event.attempt,
        root=working.root(event.job),
        generation=_generation(working, event),
        begun_at=event.at,
        ready_at=_ready_since(working, event),
        endpoint=event.endpoint,
        queue=event.queue,
    )
    working.put(ATTEMPTS, view)


def _generation(working: AttemptWorking, event: StepEvent) -> int:
    """Return the generation of a step; an item has that of its fan-out."""
    track: TrackView | None = working.peek(TRACKS, (event.job, split_path(event.path)[0]))
    return 1 if track is None else track.generation


def _ready_since(working: AttemptWorking, event: StepReleased) -> datetime | None:
    """Return since when an attempt could have gone out: after a failure, since it was due."""
    number = event.attempt - 1
    before: AttemptView | None = working.peek(ATTEMPTS, (event.job, event.path, number))
    if before is not None and before.due is not None:
        return min(before.due, event.at)
    name, item = split_path(event.path)
    track: TrackView | None = working.peek(TRACKS, (event.job, name))
    return None if track is None or item is not None else track.ready_at


def _opened(working: AttemptWorking, _stream: UUID, event: StepOpened) -> None:
    view = AttemptView(
        job=event.job,
        path=event.path,
        attempt=0,
        root=working.root(event.job),
        kind=_kind(event),
        generation=_generation(working, event),
        begun_at=event.at,
        until=event.until,
        request=event.request,
        signal=event.signal,
        child=event.child,
    )
    working.put(ATTEMPTS, view)


def _kind(event: StepOpened) -> str:
    if event.count is not None:
        return "for_each"
    if event.child is not None:
        return "job"
    return "sleep" if event.signal is None and event.request is None else "wait"


# --- its course and end ---------------------------------------------------------------------------


def _open(working: AttemptWorking, event: StepEvent) -> AttemptView | None:
    """Return the attempt that an event is about, to change, if it has not ended."""
    key = (event.job, event.path, _number(event))
    known: AttemptView | None = working.peek(ATTEMPTS, key)
    if known is None or known.outcome is not None:
        return None
    view: AttemptView | None = working.edit(ATTEMPTS, key)
    return view


def _started(working: AttemptWorking, _stream: UUID, event: StepStarted) -> None:
    view = _open(working, event)
    if view is not None:
        view.started_at, view.worker = event.at, event.worker


def _parked(working: AttemptWorking, _stream: UUID, event: StepParked) -> None:
    view = _open(working, event)
    if view is not None:
        view.outcome, view.ended_at = "parked", event.at
        view.request, view.until = event.request, event.until
        view.worker = event.worker or view.worker


def _retry_scheduled(working: AttemptWorking, _stream: UUID, event: StepRetryScheduled) -> None:
    view = _open(working, event)
    if view is not None:
        _fail(view, event.error, "retry")
        view.due = event.due
        _report(view, event)


def _succeeded(working: AttemptWorking, _stream: UUID, event: StepSucceeded) -> None:
    view = _open(working, event)
    if view is not None:
        view.outcome = "succeeded"
        _report(view, event)


def _failed(working: AttemptWorking, _stream: UUID, event: StepFailed) -> None:
    view = _open(working, event)
    if view is not None:
        _fail(view, event.error, "failed")
        _report(view, event)


def _skipped(working: AttemptWorking, _stream: UUID, event: StepSkipped) -> None:
    view = _open(working, event)
    if view is not None:
        view.outcome, view.ended_at = "skipped", event.at


def _cancelled(working: AttemptWorking, _stream: UUID, event: StepCancelled) -> None:
    view = _open(working, event)
    if view is not None:
        view.outcome, view.ended_at = "cancelled", event.at


def _fail(view: AttemptView, error: Error, outcome: str) -> None:
    view.outcome = "timed_out" if error.code in TIMEOUT_CODES else outcome
    view.error_code, view.error_message = error.code, error.message[:MESSAGE_CHARACTERS_MAX]


def _report(view: AttemptView, event: StepSucceeded | StepFailed | StepRetryScheduled) -> None:
    """Take over what the worker said of the attempt, where one did."""
    view.worker = event.worker or view.worker
    view.started_at = event.started_at or view.started_at
    view.ended_at = event.ended_at or event.at


_HANDLERS: dict[type[Event], Callable[[AttemptWorking, UUID, Any], None]] = {
    JobSubmitted: _submitted,
    JobAdvanced: _advanced,
    JobRerun: _rerun,
    StepReadied: _readied,
    StepReleased: _released,
    StepOpened: _opened,
    StepStarted: _started,
    StepParked: _parked,
    StepRetryScheduled: _retry_scheduled,
    StepSucceeded: _succeeded,
    StepFailed: _failed,
    StepSkipped: _skipped,
    StepCancelled: _cancelled,
}
