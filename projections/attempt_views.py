"""The documents of attempts: one for each time that a step went out, or began to wait."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from warrener.projections.views import View

ATTEMPTS = "attempts"
TRACKS = "attempt_tracks"
MESSAGE_CHARACTERS_MAX = 500


class AttemptView(View, kw_only=True):
    """An attempt of a step; it keeps what it was when the next one begins.

    `kind` is `attempt`, or of number 0 what the step waits for without one: `for_each` (its items),
    `job` (its sub-job), `wait` or `sleep`. A new generation of the step begins a new number 0.
    `begun_at` is when the attempt was released or the wait began, and never changes. `ready_at` is
    since when it could have gone out, where that is known: of an item, after a failure only.

    `outcome` is None while it is under way; then `succeeded`, `failed`, `timed_out`, `retry` (it
    failed and another follows), `parked` (a person must help), `cancelled` or `skipped`. `due` is
    when the next attempt may go out, whatever the outcome, None if none follows by itself.
    """

    job: UUID
    path: str
    attempt: int
    root: UUID
    kind: str = "attempt"
    generation: int = 1
    begun_at: datetime
    ready_at: datetime | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    endpoint: str = ""
    queue: str = ""
    worker: str | None = None
    outcome: str | None = None
    error_code: str = ""
    error_message: str = ""  # its beginning
    due: datetime | None = None
    until: datetime | None = None  # end of a sleep, or of patience
    request: UUID | None = None
    signal: str | None = None
    child: UUID | None = None

    @property
    def key(self) -> tuple[UUID, str, int]:
        """Return job, path and number, under which the document is kept."""
        return self.job, self.path, self.attempt

    @property
    def seconds_waited(self) -> float | None:
        """Return how long an attempt was ready or released before it started, None if unknown."""
        if self.started_at is None:
            return None
        return max(0.0, (self.started_at - (self.ready_at or self.begun_at)).total_seconds())

    @property
    def seconds_ran(self) -> float | None:
        """Return how long an attempt ran, or a wait lasted; None before its end or if unknown."""
        began = self.started_at if self.kind == "attempt" else self.begun_at
        if began is None or self.ended_at is None:
            return None
        return max(0.0, (self.ended_at - began).total_seconds())

    def place(self) -> tuple[datetime, UUID, str, int]:
        """Return what orders a timeline."""
        return self.begun_at, self.job, self.path, self.attempt


class TrackView(View, kw_only=True):
    """What the next attempt of a named step has to know; under the empty path, the job's root."""

    job: UUID
    path: str
    root: UUID
    generation: int = 1
    ready_at: datetime | None = None

    @property
    def key(self) -> tuple[UUID, str]:
        """Return job and path, under which the document is kept."""
        return self.job, self.path
