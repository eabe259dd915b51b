"""What is compared of a run: the facts of its jobs and steps, folded from their streams."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

import msgspec

from warrener.domain import ids
from warrener.domain import job as jobs
from warrener.domain import step as steps
from warrener.domain.events import Error, Event, JobAdvanced, JobRerun, JobSubmitted, Recorded
from warrener.domain.job_state import Job
from warrener.domain.payloads import Payload
from warrener.domain.plan import Plan
from warrener.domain.states import STEP_ENDED
from warrener.domain.step import Step
from warrener.domain.step_events import (
    StepCancelled,
    StepEvent,
    StepFailed,
    StepOpened,
    StepParked,
    StepReleased,
    StepRenewed,
    StepRetryScheduled,
    StepSkipped,
    StepStarted,
    StepSucceeded,
)

TRIES_MAX = 100  # attempts of a step that are told one by one


class Tried(msgspec.Struct, frozen=True):
    """How an attempt ended: what became of it, and code and type of its error."""

    outcome: str
    code: str = ""
    type: str = ""


class StepFacts(msgspec.Struct):
    """A step in the present generation. `begun` says that it has events of its own.

    `args` are those of the last attempt, `seconds` is how long that ran, or the step was open.
    `tries` are the first attempts that ended, `attempts` counts all that went out.
    """

    path: str
    state: str = "pending"
    begun: bool = False
    given: bool = False
    args: Payload | None = None
    items: Payload | None = None
    count: int | None = None
    child: UUID | None = None
    attempts: int = 0
    tries: tuple[Tried, ...] = ()
    result: Payload | None = None
    error: Error | None = None
    worker: str | None = None
    opened_at: datetime | None = None
    seconds: float | None = None
    edges: dict[str, bool] = {}  # dependency -> required?, of conditional edges
    blind: tuple[str, ...] | None = None  # dependencies not ended when it was decided


class JobFacts(msgspec.Struct):
    """A job with its plan. `blind` is what each step did not know when it was decided."""

    job: Job
    plan: Plan
    blind: dict[str, tuple[str, ...]] = {}
    renewed: dict[str, tuple[int, int]] = {}  # step -> generation, and the version that began it


class Run(Protocol):
    """One side of a comparison: a log that has a run."""

    def stream(self, stream: UUID) -> Iterable[Recorded]:
        """Return the events of one stream in order of version."""
        ...

    def position(self, stream: UUID, version: int) -> int | None:
        """Return the position of one event of a stream."""
        ...

    def plan(self, definition: str) -> Plan:
        """Return the plan of a stored definition by its hash."""
        ...

    def value(self, payload: Payload) -> Any:
        """Return the JSON value of a payload, loaded if it is kept as a blob."""
        ...


def job_facts(run: Run, job: UUID) -> JobFacts | None:
    """Return the facts of a job, None if the log does not have it."""
    facts: JobFacts | None = None
    for recorded in run.stream(job):
        event = recorded.event
        if facts is None:
            if not isinstance(event, JobSubmitted):
                return None
            facts = JobFacts(Job(job), run.plan(event.definition))
        jobs.evolve(facts.job, event)
        if isinstance(event, JobAdvanced):
            facts.blind.update(event.readied)
        elif isinstance(event, JobRerun):
            begun = (event.generation, facts.job.version)
            facts.renewed.update(dict.fromkeys(event.steps, begun))
            for name in event.steps:
                facts.blind.pop(name, None)
    return facts


def step_facts(run: Run, facts: JobFacts, path: str) -> StepFacts:
    """Return the facts of a step or an item of a job."""
    job = facts.job
    name, index = ids.split_path(path)
    found = _not_begun(job, name, index, path)
    begun_items = job.fan_outs[name].begun if name in job.fan_outs else job.items_begun.get(name, 0)
    if index is None or index < begun_items:
        own = _folded(run.stream(ids.step_id(job.id, path)), path)
        if own is not None and _is_present(run, facts, own[1]):
            found = own[0]
    if index is None:
        found.state = job.step(name) if job.ended(name) or not found.begun else found.state
        found.edges = job.edges.get(name, {})
        found.blind = facts.blind.get(name)
        found.given = name in job.given
        if found.given:
            found.result, found.error = job.given[name].result, job.given[name].error
    return found


def _not_begun(job: Job, name: str, index: int | None, path: str) -> StepFacts:
    if index is None:
        return StepFacts(path, job.step(name))
    items = job.fan_outs.get(name)
    if items is None:
        return StepFacts(path, "cancelled" if job.step(name) in STEP_ENDED else "pending")
    return StepFacts(path, "ready" if index < max(items.begun, items.may_begin) else "pending")


def _is_present(run: Run, facts: JobFacts, step: Step) -> bool:
    """Say whether a step is of the present generation, or had never begun before that."""
    generation, version = facts.renewed.get(ids.split_path(step.path)[0], (1, 0))
    if step.generation >= generation:
        return True
    begun, renewed = run.position(step.id, 1), run.position(facts.job.id, version)
    return begun is not None and renewed is not None and begun > renewed


def _folded(stream: Iterable[Recorded], path: str) -> tuple[StepFacts, Step] | None:
    found = StepFacts(path, begun=True)
    step: Step | None = None
    for recorded in stream:
        event = recorded.event
        if step is None and not isinstance(event, StepEvent):
            return None
        step = steps.project(step, [recorded])
        if isinstance(event, StepRenewed):
            found = StepFacts(path, begun=True)
        note(found, event)
    if step is None:
        return None
    found.state = step.state
    return found, step


def note(found: StepFacts, event: Event) -> None:
    """Take over what an event of a step's stream says."""
    match event:
        case StepReleased():
            found.args, found.worker, found.seconds = event.args, None, None
            found.attempts += 1
            found.error = None
        case StepStarted():
            found.worker = event.worker
        case StepOpened():
            found.count, found.items, found.child = event.count, event.items, event.child
            found.opened_at = event.at
        case StepSucceeded():
            found.result, found.error = event.result, None
            _end(found, event, "succeeded")
        case StepFailed() | StepRetryScheduled():
            found.error = event.error
            _end(found, event, "failed")
        case StepParked() | StepSkipped() | StepCancelled():
            _end(found, event, _OUTCOMES[type(event)])


_OUTCOMES: dict[type[StepEvent], str] = {
    StepParked: "parked",
    StepSkipped: "skipped",
    StepCancelled: "cancelled",
}


def _end(found: StepFacts, event: StepEvent, outcome: str) -> None:
    """An attempt ended, or a step that is open without one."""
    found.worker = getattr(event, "worker", None) or found.worker
    began: datetime | None = getattr(event, "started_at", None) or found.opened_at
    ended: datetime = getattr(event, "ended_at", None) or event.at
    if began is not None:
        found.seconds = max(0.0, (ended - began).total_seconds())
    if len(found.tries) < min(found.attempts, TRIES_MAX):
        error: Error | None = getattr(event, "error", None)
        code, kind = (error.code, error.type or "") if error else ("", "")
        found.tries = (*found.tries, Tried(outcome, code, kind))
