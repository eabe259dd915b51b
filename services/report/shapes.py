"""What a run report answers: the JSON shapes that users see. Fields may be added, none renamed.

Offsets and lengths are seconds; offsets count from `begun_at` of the report.
"""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID

from warrener.services.shapes import Error, Shape, Time


class KindTime(Shape, frozen=True, kw_only=True):
    """Time spent on one kind of thing: by all steps together, and on the critical path.

    Shares are of the sum over all kinds, from 0 to 1. Steps that wait for items or a job of their
    own count with what these do.
    """

    kind: str
    label: str
    step_seconds: float
    step_share: float
    critical_seconds: float
    critical_share: float


class Segment(Shape, frozen=True, kw_only=True):
    """A stretch of the critical path: what the job waited for or did, and where.

    `path` leads down from the job, "" for itself. The sentence has no subject. `JOB/STEP` of it is
    `job` and `step`.
    """

    job: UUID
    step: str
    path: str
    kind: str
    attempt: int | None
    begun_at: Time
    ended_at: Time
    from_seconds: float
    to_seconds: float
    seconds: float
    share: float
    sentence: str


class Slow(Shape, frozen=True, kw_only=True):
    """How long a step computed in all of its attempts; `waited_seconds` is since it was ready."""

    job: UUID
    path: str
    state: str
    computing_seconds: float
    waited_seconds: float
    attempts: int
    worker: str | None


class Retried(Shape, frozen=True, kw_only=True):
    """A step that was tried again: with which errors, and how long that took."""

    job: UUID
    path: str
    state: str
    attempts: int
    codes: tuple[str, ...]
    lost_seconds: float


class JobTime(Shape, frozen=True, kw_only=True):
    """Where a job of the tree spent the time of its steps and of all below them, by kind."""

    job: UUID
    path: str
    name: str
    state: str
    from_seconds: float
    to_seconds: float
    steps: int
    seconds: dict[str, float]


class BarSpan(Shape, frozen=True, kw_only=True):
    """A stretch of a bar."""

    kind: str
    from_seconds: float
    to_seconds: float
    attempt: int | None


class Bar(Shape, frozen=True, kw_only=True):
    """A row of the chart over time: a step or an item, below what started it.

    `row` counts from 0, `above` is the row of what it is below: its fan-out, or the step that
    started its job. `left_out` counts the items and steps right below it that have no row.
    `in_flight` tells of a fan-out how many items were at work (computing, or their jobs open), on
    average in equal stretches of the time in which it waited for them.
    """

    row: int
    above: int | None
    job: UUID
    path: str
    name: str
    kind: str
    state: str
    attempts: int
    worker: str | None
    critical: bool
    spans: tuple[BarSpan, ...]
    seconds: dict[str, float]
    items: dict[str, int] | None
    in_flight: tuple[float, ...] | None
    left_out: int


class Report(Shape, frozen=True, kw_only=True):
    """Where the time of a job went, in its present generation.

    `begun_at` is its submission, or the rerun that began what is told after it had ended once.
    With `so_far` the job has not ended, and `ended_at` is the time of the report. Items of fan-outs
    count as steps; those that never went out, or have not yet, do not.
    """

    job: UUID
    name: str
    version: int
    state: str
    labels: Mapping[str, str]
    error: Error | None
    generation: int
    rerun: bool
    so_far: bool
    begun_at: Time
    ended_at: Time
    elapsed_seconds: float
    jobs: int
    steps: int
    states: dict[str, int]
    step_seconds: float
    totals: tuple[KindTime, ...]
    critical_path: tuple[Segment, ...]
    slowest: tuple[Slow, ...]
    retried: int
    lost_seconds: float
    retries: tuple[Retried, ...]
    job_times: tuple[JobTime, ...]
    jobs_left_out: int
    bars: tuple[Bar, ...]
    position: int
