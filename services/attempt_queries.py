"""What users ask about attempts: those of a step, and what a chart over time is drawn from.

Whoever asks brings the read models up to the log first, or has a projector that does.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec

from warrener.domain.messages import Time as At
from warrener.projections.attempt_views import AttemptView
from warrener.projections.ports import ViewStore
from warrener.services.shapes import Shape, Time, format_time, optional_time

PAGE_SIZE = 500


class Attempt(Shape, frozen=True, kw_only=True):
    """One attempt of a step, or of number 0 what the step waited for without one.

    `kind` is attempt, for_each, job, wait or sleep. `outcome` is None while it is under way, then
    succeeded, failed, timed_out, retry, parked, cancelled or skipped. `begun_at` is when the order
    went out or the wait began; `seconds_waited` is from being ready, or released where that is not
    known, to the start. `due` is when the next attempt may go out.
    """

    job: UUID
    path: str
    attempt: int
    root: UUID
    kind: str
    generation: int
    outcome: str | None
    ready_at: Time | None
    begun_at: Time
    started_at: Time | None
    ended_at: Time | None
    seconds_waited: float | None
    seconds_ran: float | None
    endpoint: str
    queue: str
    worker: str | None
    error_code: str
    error_message: str
    due: Time | None
    until: Time | None
    request: UUID | None
    signal: str | None
    child: UUID | None

    @classmethod
    def of(cls, view: AttemptView) -> Attempt:
        """Return the shape of a document."""
        return cls(
            job=view.job,
            path=view.path,
            attempt=view.attempt,
            root=view.root,
            kind=view.kind,
            generation=view.generation,
            outcome=view.outcome,
            ready_at=optional_time(view.ready_at),
            begun_at=format_time(view.begun_at),
            started_at=optional_time(view.started_at),
            ended_at=optional_time(view.ended_at),
            seconds_waited=view.seconds_waited,
            seconds_ran=view.seconds_ran,
            endpoint=view.endpoint,
            queue=view.queue,
            worker=view.worker,
            error_code=view.error_code,
            error_message=view.error_message,
            due=optional_time(view.due),
            until=optional_time(view.until),
            request=view.request,
            signal=view.signal,
            child=view.child,
        )


class AttemptPlace(msgspec.Struct, frozen=True):
    """The place of an attempt in order of time."""

    begun_at: At
    job: UUID
    path: str
    attempt: Annotated[int, msgspec.Meta(ge=0, le=2**31)]

    @classmethod
    def of(cls, attempt: Attempt) -> AttemptPlace:
        """Return the place of an attempt."""
        begun_at = datetime.fromisoformat(attempt.begun_at)
        return cls(begun_at, attempt.job, attempt.path, attempt.attempt)


class TimelinePage(Shape, frozen=True, kw_only=True):
    """Some attempts in order of the time at which they began; `last` goes on after them."""

    attempts: tuple[Attempt, ...]
    last: AttemptPlace | None  # give it for `after`; None at the end


def attempts_of_step(
    views: ViewStore, job: UUID, path: str, *, after: int = -1, limit: int = 100
) -> list[Attempt]:
    """Return attempts of a step or item by number, those after number `after`."""
    return [Attempt.of(view) for view in views.attempts(job, path, after=after, limit=limit)]


def timeline(
    views: ViewStore,
    *,
    job: UUID | None = None,
    root: UUID | None = None,
    after: AttemptPlace | None = None,
    limit: int = PAGE_SIZE,
) -> TimelinePage:
    """Return a page of what happened when: in one job, or in the tree under a root job.

    A page is full unless it is the last one; what begins later comes on later pages.
    """
    place = None if after is None else _view_at(after)
    found = views.timeline(job=job, root=root, after=place, limit=limit)
    shaped = tuple(Attempt.of(view) for view in found)
    full = len(shaped) == limit
    return TimelinePage(attempts=shaped, last=AttemptPlace.of(shaped[-1]) if full else None)


def whole_timeline(
    views: ViewStore, *, job: UUID | None = None, root: UUID | None = None
) -> Iterator[Attempt]:
    """Yield all of it, page by page."""
    page = timeline(views, job=job, root=root)
    yield from page.attempts
    while page.last is not None:
        page = timeline(views, job=job, root=root, after=page.last)
        yield from page.attempts


def _view_at(place: AttemptPlace) -> AttemptView:
    """Return a document that is at a place; its root does not count."""
    return AttemptView(
        job=place.job,
        path=place.path,
        attempt=place.attempt,
        root=place.job,
        begun_at=place.begun_at,
    )
