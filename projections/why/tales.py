"""What streams tell up to a position: the aggregates as the controller folds them, and when.

`Tales` loads them from a `Past` and keeps them for one answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Literal
from uuid import UUID

import msgspec

from warrener.domain import ids
from warrener.domain import job as jobs
from warrener.domain import step as steps
from warrener.domain.control_events import FleetChanged
from warrener.domain.definition.model import JobDefinition
from warrener.domain.demand import Demand
from warrener.domain.errors import StoredDataError, UnknownJob
from warrener.domain.events import (
    DefinitionStored,
    Error,
    Event,
    JobAdvanced,
    JobCancelling,
    JobEnded,
    JobPaused,
    JobRerun,
    JobStarted,
    JobSubmitted,
    Recorded,
    event_of,
)
from warrener.domain.job_state import Job
from warrener.domain.plan import Plan, PlannedStep, build_plan
from warrener.domain.states import STEP_ENDED
from warrener.domain.step import Step
from warrener.domain.step_events import (
    StepEvent,
    StepFailed,
    StepProgressed,
    StepReadied,
    StepReleased,
    StepRetryScheduled,
    StepSkipped,
    StepStarted,
    StepSucceeded,
)
from warrener.projections.why.model import Place
from warrener.projections.why.past import Past


class Canceller(msgspec.Struct, frozen=True):
    """What cancelled a step: its job, the deadline, a failure, or who was decided without it."""

    kind: Literal["job", "deadline", "failure", "reader", "other"]
    step: str = ""


class JobTale(msgspec.Struct):
    """A job, and what its stream tells beside its state."""

    job: Job
    plan: Plan
    submitted: JobSubmitted
    started_at: datetime | None = None
    moved: dict[str, datetime] = {}  # step -> when the job last gave it another state
    renewed: dict[str, tuple[int, int]] = {}  # step -> generation, and version that began it
    rerun: JobRerun | None = None
    paused: JobPaused | None = None
    cancelling: JobCancelling | None = None
    ended: JobEnded | None = None
    ended_at: datetime | None = None
    failed_items: dict[str, int] = {}  # fan-out -> item that failed last
    cancellers: dict[str, Canceller] = {}  # cancelled step -> for what
    demanded: set[str] = set()  # steps that are known to be

    def demand(self) -> Demand:
        """Return what tells which steps are demanded."""
        return Demand(self.job, self.plan, self.demanded)

    def planned(self, path: str) -> PlannedStep:
        """Return the step of the plan that a path names, be it of an item."""
        return self.plan.steps[ids.split_path(path)[0]]

    def place(self, path: str) -> Place:
        """Return the place of a step of this job."""
        return Place(self.job.id, path)

    def since(self, path: str) -> datetime | None:
        """Return since when a step is in its state, as far as its job tells."""
        return self.moved.get(ids.split_path(path)[0], self.started_at)


class StepTale(msgspec.Struct):
    """A step that began, and what its stream tells beside its state.

    `since` is when it came into its state; `order` and `error` are those of the last attempt.
    """

    step: Step
    last: Event
    since: datetime
    order: StepReleased | None = None
    error: Error | None = None
    worker: str | None = None
    progress: StepProgressed | None = None
    readied: StepReadied | None = None
    skipped: str = ""

    @property
    def state(self) -> str:
        """Return the state of the step."""
        return self.step.state


class Tales:
    """The tales of jobs and steps, as they are needed."""

    def __init__(self, past: Past) -> None:
        """Begin with none."""
        self.past = past
        self._jobs: dict[UUID, JobTale | None] = {}
        self._steps: dict[UUID, StepTale | None] = {}
        self._plans: dict[str, Plan] = {}

    def job(self, job: UUID) -> JobTale | None:
        """Return a job, None if it has not been submitted by then."""
        if job not in self._jobs:
            self._jobs[job] = self._tell_job(job)
        return self._jobs[job]

    def known_job(self, job: UUID) -> JobTale:
        """Return a job that must be there."""
        tale = self.job(job)
        if tale is None:
            raise UnknownJob(f"no job {job} in the store")
        return tale

    def step(self, tale: JobTale, path: str) -> StepTale | None:
        """Return a step, None if it has not begun in the present generation."""
        key = ids.step_id(tale.job.id, path)
        if key not in self._steps:
            self._steps[key] = tell_step(self.past.stream(key))
        found = self._steps[key]
        return found if found is not None and self._is_present(tale, found.step) else None

    def _is_present(self, tale: JobTale, step: Step) -> bool:
        """Say whether a step is of the present generation, or had never begun before that."""
        generation, version = tale.renewed.get(ids.split_path(step.path)[0], (1, 0))
        if step.generation >= generation:
            return True
        begun, renewed = self.past.position(step.id, 1), self.past.position(tale.job.id, version)
        return begun is not None and renewed is not None and begun > renewed

    def state(self, tale: JobTale, path: str) -> str:
        """Return the state of a step or an item, by its job and by its own stream."""
        name, index = ids.split_path(path)
        state = tale.job.step(name)
        if index is None and state in STEP_ENDED:
            return state
        begun = self.step(tale, path)
        if begun is not None:
            return begun.state
        if index is None:
            return state
        items = tale.job.fan_outs.get(name)
        if items is None:
            return "cancelled" if state in STEP_ENDED else "pending"
        return "ready" if index < max(items.begun, items.may_begin) else "pending"

    def fleet(self) -> FleetChanged | None:
        """Return who serves which queue, None if no reactor has told that yet."""
        return event_of(self.past.last(ids.FLEET_ID), FleetChanged)

    def above(self, tale: JobTale) -> Iterator[JobTale]:
        """Yield the job and those above it, nearest first."""
        above: JobTale | None = tale
        while above is not None:
            yield above
            above = None if above.job.parent is None else self.job(above.job.parent.job)

    def from_root(self, job: UUID, path: str) -> Place:
        """Return a step of any job as a place below the root of its tree."""
        first = next(iter(self.past.stream(job)), None)
        while first is not None and isinstance(first.event, JobSubmitted):
            parent = first.event.parent
            if parent is None:
                break
            job, path = parent.job, f"{parent.path}/{path}"
            first = next(iter(self.past.stream(job)), None)
        return Place(job, path)

    def _tell_job(self, job_id: UUID) -> JobTale | None:
        tale: JobTale | None = None
        for recorded in self.past.stream(job_id):
            event = recorded.event
            if tale is None:
                if not isinstance(event, JobSubmitted):
                    return None
                tale = JobTale(Job(job_id), self._plan(event.definition), event)
            jobs.evolve(tale.job, event)
            _note(tale, event)
        return tale

    def _plan(self, definition: str) -> Plan:
        found = self._plans.get(definition)
        if found is None:
            last = self.past.last(ids.definition_id(definition))
            if last is None or not isinstance(last.event, DefinitionStored):
                raise StoredDataError(f"definition {definition} is not in the store")
            decoded = msgspec.json.decode(last.event.json, type=JobDefinition)
            found = self._plans[definition] = build_plan(decoded)
        return found


def _note(tale: JobTale, event: Event) -> None:
    match event:
        case JobStarted():
            tale.started_at = event.at
        case JobAdvanced():
            _note_advance(tale, event)
        case JobPaused():
            tale.paused = event
        case JobCancelling():
            tale.cancelling = event
        case JobRerun():
            tale.rerun, tale.ended, tale.ended_at = event, None, None
            tale.started_at = tale.started_at or event.at
            tale.moved.update(dict.fromkeys(event.steps, event.at))
            renewed = (event.generation, tale.job.version)
            tale.renewed.update(dict.fromkeys(event.steps, renewed))
        case JobEnded():
            tale.ended, tale.ended_at = event, event.at


def _note_advance(tale: JobTale, event: JobAdvanced) -> None:
    for moved in (event.readied, event.fan_outs, event.children, event.settled):
        tale.moved.update(dict.fromkeys(moved, event.at))
    for name, by_state in event.items.items():
        if failed := by_state.get("failed"):
            tale.failed_items[name] = failed[-1]
    for name, state in event.settled.items():
        if state == "cancelled":
            tale.cancellers[name] = _canceller(tale, event, name)


def _canceller(tale: JobTale, event: JobAdvanced, name: str) -> Canceller:
    """Return what cancelled a step, told by what its job knew then."""
    job, steps = tale.job, tale.plan.steps
    if job.cancelled:
        return Canceller("job")
    if job.overdue:
        return Canceller("deadline")
    for reader in steps[name].readers:
        decided = reader in event.readied or reader in event.settled
        if decided and steps[reader].definition.cancel_rest:
            return Canceller("reader", reader)
    failed = [step for step in job.failed if step not in job.caught]
    if tale.plan.definition.on_failure == "stop" and failed:
        return Canceller("failure", failed[0])
    return Canceller("other")


def tell_step(events: Iterable[Recorded]) -> StepTale | None:
    """Fold the stream of a step."""
    tale: StepTale | None = None
    for recorded in events:
        event = recorded.event
        if tale is None:
            if not isinstance(event, StepEvent):
                return None
            begun = Step(recorded.originator_id, event.job, event.path)
            tale = StepTale(begun, event, event.at)
        steps.evolve(tale.step, event)
        _note_step(tale, event)
    return tale


def _note_step(tale: StepTale, event: Event) -> None:
    tale.last = event
    if not isinstance(event, StepProgressed):
        tale.since = event.at
    match event:
        case StepReleased():
            tale.order, tale.worker, tale.progress = event, None, None
        case StepStarted():
            tale.worker = event.worker
        case StepProgressed():
            tale.progress, tale.worker = event, event.worker
        case StepRetryScheduled() | StepFailed():
            tale.error, tale.worker = event.error, event.worker or tale.worker
        case StepSucceeded():
            tale.error, tale.worker = None, event.worker or tale.worker
        case StepReadied():
            tale.readied = event
        case StepSkipped():
            tale.skipped = event.reason
