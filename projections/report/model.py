"""The records of a run report: what jobs, steps and items did when.

Times are whole microseconds since 1970 by the controller's clock, so that sums are exact.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

import msgspec

from warrener.domain.plan import Plan
from warrener.projections.report.profile import Profile

# What time is spent on. Those that `why` tells, too, have its words for them, but for `turn`.
COMPUTING: Final = "computing"
DEPENDENCY: Final = "dependency"
INTAKE: Final = "intake"
HELD: Final = "held"  # ready and not released, by what is not known without a closer look
WINDOW: Final = "window"  # of a fan-out: how many of its items may be in flight
TURN: Final = "turn"  # as many orders are out as the workers can do
PAUSED: Final = "paused"
WORKER: Final = "worker"
RETRY: Final = "retry"
USER: Final = "user-action"
SIGNAL: Final = "signal"
TIMER: Final = "timer"
CHILDREN: Final = "children"
REACTOR: Final = "reactor"  # decisions of the controller, and messages on their way
AT_WORK: Final = frozenset({COMPUTING, CHILDREN})
RERUN: Final = "rerun"  # what has been done anew since, while the job ran
OTHER: Final = "other"  # short stretches of several kinds, taken together

NOTE_CHARACTERS_MAX: Final = 200
CODES_MAX: Final = 5
SPANS_MAX: Final = 200  # of a step; of one that has more, those in the middle are taken together

_NEVER: Final = 1 << 62
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


def micros(at: datetime) -> int:
    """Return a time as microseconds since 1970."""
    return (at - _EPOCH) // _MICROSECOND


def moment_of(at: int) -> datetime:
    """Return microseconds since 1970 as a time."""
    return _EPOCH + at * _MICROSECOND


Pause = tuple[int, int | None]  # from when, and until when if it is over


class Span(msgspec.Struct, frozen=True):
    """A stretch of time spent on one thing. `note` says more: the worker, an error, a signal."""

    kind: str
    begin: int
    end: int
    attempt: int = 0
    note: str = ""

    @property
    def length(self) -> int:
        """Return how long it is, in microseconds."""
        return self.end - self.begin


class StepTimes(msgspec.Struct, eq=False):
    """What a step or item did. Its spans touch; the last one, of `kind`, is open since `since`.

    `before` says where in the log its wait for dependencies was over: only what ended at or before
    that position can have led to it. `kept` says that all of it is of an older generation.
    """

    path: str
    since: int
    kind: str = DEPENDENCY
    note: str = ""
    spans: list[Span] = []
    state: str = "pending"
    attempt: int = 0
    attempts: int = 0
    released_at: int = 0
    due: int = 0  # of the next attempt
    before: int | None = None
    ended_at: int | None = None
    ended_position: int = 0
    worker: str = ""
    error: str = ""
    failures: int = 0
    codes: list[str] = []
    lost: int = 0  # in attempts that had to be done again, and between them
    child: UUID | None = None
    items: Items | None = None
    kept: bool = False

    @property
    def ended(self) -> bool:
        """Say whether it has ended."""
        return self.ended_at is not None

    def turn(self, kind: str, at: int, note: str = "") -> None:
        """Spend the time from now on for something else."""
        self.close(at)
        self.kind, self.note = kind, note[:NOTE_CHARACTERS_MAX]

    def close(self, at: int) -> None:
        """Keep the open span as it is until now, and open the next of the same kind."""
        if at > self.since:
            self.put(Span(self.kind, self.since, at, self.attempt, self.note))
            self.since = at

    def put(self, span: Span) -> None:
        """Add a span at the end; of too many, two in the middle become one."""
        self.spans.append(span)
        if len(self.spans) > SPANS_MAX:
            first, second = self.spans[SPANS_MAX // 2 : SPANS_MAX // 2 + 2]
            kind = first.kind if first.kind == second.kind else OTHER
            self.spans[SPANS_MAX // 2 : SPANS_MAX // 2 + 2] = [Span(kind, first.begin, second.end)]


class Items(msgspec.Struct, eq=False, kw_only=True):
    """The items of an opened fan-out. `known` has those that are open, and some that ended.

    `ends` are the times at which one after the other ended. What is not kept of ended ones is in
    `past`; `last` is the one that ended last. `before` is the window before it was changed.
    """

    count: int
    opened_at: int
    past: Summary
    ended: bytearray  # whether it has, for each item
    ends: array[int]
    profile: Profile  # of those that have ended, while they computed or their jobs ran
    stride: int  # of so many that have ended one is kept
    window: int | None = None
    before: int | None = None
    changed_at: int = 0
    known: dict[int, StepTimes] = {}
    states: dict[str, int] = {}
    last: StepTimes | None = None

    def room_for(self, index: int) -> int:
        """Return since when there has been room for an item in the window of items in flight."""
        room = self._room(index, self.window)
        if self.changed_at > room:
            return min(self.changed_at, max(room, self._room(index, self.before)))
        return room

    def _room(self, index: int, window: int | None) -> int:
        place = -1 if window is None else index - window
        if place < 0:
            return self.opened_at
        return self.ends[place] if place < len(self.ends) else _NEVER

    def change(self, window: int, at: int) -> None:
        """Give the fan-out another window."""
        self.before, self.window, self.changed_at = self.window, window, at

    def by_state(self, *, ended: bool) -> dict[str, int]:
        """Return the number of items by state; those of an ended fan-out that are left, too."""
        found = dict(self.states)
        for item in self.known.values():
            if not item.ended:
                found[item.state] = found.get(item.state, 0) + 1
        left = self.count - sum(found.values())
        if left > 0:
            state = "cancelled" if ended else "pending"
            found[state] = found.get(state, 0) + left
        return found


class JobTimes(msgspec.Struct, eq=False):
    """What a job did in its present generation. `begin` is its submission, or its rerun."""

    id: UUID
    name: str
    path: str  # where it is, seen from the job of the report
    plan: Plan
    begin: int
    started_at: int | None = None
    ended_at: int | None = None
    ended_position: int = 0
    state: str = "submitted"
    generation: int = 1
    rerun_at: int | None = None
    parent: JobTimes | None = None
    parent_path: str = ""  # of the step or item that started it, in that job
    steps: dict[str, StepTimes] = {}
    pauses: list[Pause] = []
    outer: tuple[list[Pause], ...] = ()  # of jobs above that of the report

    def full(self, path: str) -> str:
        """Return the path of one of its steps, seen from the job of the report."""
        return f"{self.path}/{path}" if self.path else path

    def line(self) -> Iterator[JobTimes]:
        """Yield the job and those above it, up to the job of the report."""
        job: JobTimes | None = self
        while job is not None:
            yield job
            job = job.parent


class Slow(msgspec.Struct, frozen=True):
    """How long a step computed, in all of its attempts, and how long it took in all."""

    job: UUID
    path: str
    state: str
    computing: int
    taken: int
    attempts: int
    worker: str


class Retried(msgspec.Struct, frozen=True):
    """A step that was tried again, and what that cost."""

    job: UUID
    path: str
    state: str
    attempts: int
    codes: tuple[str, ...]
    lost: int


TOP_MAX: Final = 50  # steps that a summary names


class Summary(msgspec.Struct):
    """What steps did together; those that wait for children are told by these."""

    micros: dict[str, int] = {}
    steps: int = 0
    states: dict[str, int] = {}
    jobs: int = 0
    retried: int = 0
    lost: int = 0
    slowest: list[Slow] = []
    retries: list[Retried] = []

    def add(self, job: JobTimes, step: StepTimes, spans: Sequence[Span]) -> None:
        """Count a step or an item, without what is below it."""
        self.steps += 1
        self.states[step.state] = self.states.get(step.state, 0) + 1
        computing = taken = 0
        for span in spans:
            if span.kind != CHILDREN:
                self.micros[span.kind] = self.micros.get(span.kind, 0) + span.length
            if span.kind == COMPUTING:
                computing += span.length
            if span.kind != DEPENDENCY:
                taken += span.length
        path = job.full(step.path)
        if step.attempts:
            slow = Slow(job.id, path, step.state, computing, taken, step.attempts, step.worker)
            self.slowest.append(slow)
        if step.failures and (step.attempts > 1 or step.state == "retrying"):
            self.retried += 1
            self.lost += step.lost
            codes = tuple(step.codes)
            again = Retried(job.id, path, step.state, step.attempts, codes, step.lost)
            self.retries.append(again)
        self._cut(2 * TOP_MAX)

    def merge(self, other: Summary) -> None:
        """Count what others have counted."""
        for mine, theirs in ((self.micros, other.micros), (self.states, other.states)):
            for key, number in theirs.items():
                mine[key] = mine.get(key, 0) + number
        self.steps += other.steps
        self.jobs += other.jobs
        self.retried += other.retried
        self.lost += other.lost
        self.slowest += other.slowest
        self.retries += other.retries
        self._cut(2 * TOP_MAX)

    def finish(self) -> Summary:
        """Put what costs most first."""
        self._cut(0)
        return self

    def _cut(self, at: int) -> None:
        if len(self.slowest) > at:
            self.slowest.sort(key=lambda slow: (-slow.computing, -slow.taken, slow.path))
            del self.slowest[TOP_MAX:]
        if len(self.retries) > at:
            self.retries.sort(key=lambda again: (-again.lost, -again.attempts, again.path))
            del self.retries[TOP_MAX:]
