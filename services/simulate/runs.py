"""What jobs did, gathered from their events: when each step was ready, went out, and ended."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final, TypeVar
from uuid import UUID

from warrener.domain.errors import UsageError
from warrener.domain.events import Parent
from warrener.domain.step_events import Held
from warrener.services.simulate.facts import Fact, Told

RECORDS_MAX: Final = 1_500_000  # attempts, steps and jobs that are kept at once: about 1 GB
KEPT_MAX: Final = 100_000

T = TypeVar("T")


class Try:
    """An attempt. `reported` says that its worker told when it began and ended."""

    __slots__ = ("due_at", "ended_at", "known_at", "released_at", "reported", "started_at", "well")

    def __init__(self, released_at: datetime) -> None:
        self.released_at = released_at
        self.started_at: datetime | None = None
        self.ended_at: datetime | None = None
        self.known_at: datetime | None = None  # by the controller
        self.due_at: datetime | None = None  # the next one
        self.reported = False
        self.well = False


class StepRun:
    """A step, or an item of a fan-out."""

    __slots__ = ("begun_at", "count", "ended_at", "limits", "queue", "ready_at", "tries")

    def __init__(self) -> None:
        self.queue = ""
        self.limits: tuple[Held, ...] = ()
        self.ready_at: datetime | None = None
        self.begun_at: datetime | None = None  # of a wait, a sleep, a fan-out, a sub-job
        self.ended_at: datetime | None = None
        self.count: int | None = None  # items of a fan-out
        self.tries: list[Try] = []


class JobRun:
    """A job; `children` are the jobs that each of its paths started.

    Of each step, `followed` are those that ended with the decision that readied it, `before` those
    that had ended by then.
    """

    __slots__ = (
        "before",
        "children",
        "ended_at",
        "fact",
        "followed",
        "id",
        "settled",
        "steps",
        "submitted_at",
        "windows",
    )

    def __init__(self, job: UUID, at: datetime, fact: Fact) -> None:
        self.id = job
        self.submitted_at = at
        self.fact = fact
        self.steps: dict[str, StepRun] = {}
        self.children: dict[str, list[JobRun]] = {}
        self.windows: dict[str, int] = {}
        self.settled: dict[str, None] = {}
        self.followed: dict[str, frozenset[str]] = {}
        self.before: dict[str, frozenset[str]] = {}
        self.ended_at: datetime | None = None

    def step(self, path: str) -> StepRun:
        """Return a step, by its path in the job."""
        found = self.steps.get(path)
        if found is None:
            found = self.steps[path] = StepRun()
        return found


class Runs:
    """Gathers what events tell."""

    def __init__(self, *, infer: bool) -> None:
        """Begin with nothing; `infer` keeps what tells dependencies that no definition does."""
        self._infer = infer
        self.jobs: dict[UUID, JobRun] = {}
        self.fleet: list[tuple[datetime, dict[str, int]]] = []
        self.strays = 0  # events of jobs whose submission is not there
        self._versions: dict[UUID, int] = {}
        self._kept: dict[Any, Any] = {}  # what is the same in many jobs is kept once
        self._records = 0

    def take(self, events: Iterable[Told]) -> None:
        """Take events; those of a stream in order. What comes again is passed over."""
        for event in events:
            if event.type == "FleetChanged":
                self.fleet.append((event.at, event.fact.slots))
            elif self._is_new(event):
                self._take(event)

    def roots(self) -> list[JobRun]:
        """Return the jobs that no other one here has started, in the order of their submission."""
        found = []
        for job in self.jobs.values():
            parent = job.fact.parent
            above = None if parent is None else self.jobs.get(parent.job)
            if above is None or parent is None:
                found.append(job)
            else:
                _join(above, parent, job)
        return sorted(found, key=lambda job: (job.submitted_at, job.id))

    def _is_new(self, event: Told) -> bool:
        if not self._infer:
            return True  # a store has nothing twice
        if event.version <= self._versions.get(event.id, 0):
            return False
        self._versions[event.id] = event.version
        return True

    def _shared(self, value: T) -> T:
        if len(self._kept) >= KEPT_MAX:
            self._kept.clear()
        found: T = self._kept.setdefault(value, value)
        return found

    def _count(self, more: int = 1) -> None:
        self._records += more
        if self._records > RECORDS_MAX:
            raise UsageError(
                f"there are more than {RECORDS_MAX:,} jobs, steps and attempts:"
                " simulate a part of them, with --since and --until"
            )

    def _take(self, event: Told) -> None:
        fact = event.fact
        if event.type == "JobSubmitted":
            self._count()
            self.jobs[event.id] = JobRun(event.id, event.at, fact)
            return
        job = self.jobs.get(fact.job or event.id)
        if job is None:
            self.strays += 1
        elif event.type == "JobAdvanced":
            known = len(job.steps)
            self._advance(job, event.at, fact)
            self._count(len(job.steps) - known)
        elif fact.job is None:
            job.ended_at = event.at
        else:
            if fact.path not in job.steps:
                self._count()
            self._step(job.step(self._shared(fact.path)), event)

    def _advance(self, job: JobRun, at: datetime, fact: Fact) -> None:
        if self._infer:
            job.settled.update((self._shared(name), None) for name in fact.settled)
        for name, shape in fact.fan_outs.items():
            if shape.window is not None and shape.window > 0:
                job.windows[name] = shape.window
        for name in fact.settled:
            job.step(self._shared(name)).ended_at = at
        for name in fact.readied:
            job.step(name).ready_at = at
            if not self._infer:
                continue
            job.followed[name] = self._shared(frozenset(fact.settled) - {name})
            job.before[name] = self._shared(frozenset(job.settled) - {name})

    def _step(self, step: StepRun, event: Told) -> None:
        fact, last = event.fact, step.tries[-1] if step.tries else None
        if event.type == "StepReleased":
            self._count()
            step.tries.append(Try(event.at))
            step.queue = self._shared(fact.queue or step.queue)
            step.limits = self._shared(fact.limits)
        elif event.type == "StepOpened":
            step.begun_at = event.at
            step.count = fact.count
        elif event.type == "StepReadied":
            if last is not None:
                last.due_at = event.at
        elif last is None:
            step.ended_at = event.at
        elif event.type == "StepStarted":
            last.started_at = last.started_at or event.at
        else:
            _end(last, event)
            if event.type not in ("StepRetryScheduled", "StepParked"):
                step.ended_at = event.at


def _end(last: Try, event: Told) -> None:
    if last.known_at is not None:
        return
    fact = event.fact
    last.known_at, last.due_at = event.at, fact.due
    last.well = event.type == "StepSucceeded"
    if fact.started_at is not None and fact.ended_at is not None:
        last.started_at, last.ended_at, last.reported = fact.started_at, fact.ended_at, True


def _join(above: JobRun, parent: Parent, job: JobRun) -> None:
    above.children.setdefault(parent.path, []).append(job)
    above.step(parent.path)
