"""The log folded event by event, apart from the controller: what every check looks at."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import msgspec

from warrener.domain import job as jobs
from warrener.domain import step as steps
from warrener.domain.control_events import (
    FleetChanged,
    FlowChanged,
    LimitChanged,
    StarvationEvent,
    UserActionAnswered,
    UserActionReminded,
    UserActionRequested,
    UserActionWithdrawn,
)
from warrener.domain.definition.model import JobDefinition
from warrener.domain.events import DefinitionStored, Event, JobEvent, Recorded
from warrener.domain.flow.incident_state import Incidents
from warrener.domain.ids import item_path, split_path, step_id
from warrener.domain.job_state import Job
from warrener.domain.plan import Plan, PlannedStep, build_plan
from warrener.domain.states import JOB_ENDED, STEP_ENDED
from warrener.domain.step import OUT, Step
from warrener.domain.step_events import StepEvent


class Broken(AssertionError):
    """A promise is broken; the text begins with its name."""

    def __init__(self, promise: str, what: str) -> None:
        super().__init__(f"{promise}: {what}")
        self.promise = promise


class OpenRequest(msgspec.Struct):
    """A request for people's help that is open."""

    asked: UserActionRequested
    told_at: datetime
    reminders: int = 0


class Folded:
    """Jobs, steps, open requests and limits as the log has them so far."""

    def __init__(self) -> None:
        self.position = 0
        self.jobs: dict[UUID, Job] = {}
        self.steps: dict[UUID, Step] = {}
        self.plans: dict[str, Plan] = {}
        self.requests: dict[UUID, OpenRequest] = {}
        self.limit_changes: dict[str, LimitChanged] = {}
        self.intake = "accept"
        self.incidents = Incidents()
        self.fleet: tuple[dict[str, int], tuple[str, ...]] = ({}, ())

    def apply(self, recorded: Recorded) -> None:
        """Take the next event."""
        self.position += 1
        stream, event = recorded.originator_id, recorded.event
        if isinstance(event, StepEvent):
            known = self.steps.get(stream) or Step(stream, event.job, event.path)
            self.steps[stream] = steps.evolve(known, event)
        elif isinstance(event, JobEvent):
            self.jobs[stream] = jobs.evolve(self.jobs.get(stream) or Job(stream), event)
        elif isinstance(event, DefinitionStored):
            definition = msgspec.json.decode(event.json, type=JobDefinition)
            self.plans[event.hash] = build_plan(definition)
        elif isinstance(event, LimitChanged):
            self.limit_changes[event.name] = event
        elif isinstance(event, FlowChanged):
            self.intake = event.settings.intake
        elif isinstance(event, FleetChanged):
            self.fleet = event.slots, event.endpoints
        elif isinstance(event, StarvationEvent):
            self.incidents.evolve(stream, event)
        else:
            self._apply_request(stream, event)

    def _apply_request(self, stream: UUID, event: Event) -> None:
        if isinstance(event, UserActionRequested):
            self.requests[stream] = OpenRequest(event, event.at)
        elif isinstance(event, UserActionReminded):
            self.requests[stream].reminders = event.number
            self.requests[stream].told_at = event.at
        elif isinstance(event, UserActionAnswered | UserActionWithdrawn):
            del self.requests[stream]

    def plan(self, job: Job) -> Plan:
        """Return the plan of a job."""
        return self.plans[job.definition]

    def planned(self, step: Step) -> PlannedStep:
        """Return what the definition says about a step."""
        return self.plan(self.jobs[step.job]).steps[split_path(step.path)[0]]

    def open_jobs(self) -> dict[UUID, Job]:
        """Return the jobs that have not ended."""
        return {key: job for key, job in self.jobs.items() if job.state not in JOB_ENDED}

    def open_steps(self) -> dict[UUID, Step]:
        """Return the steps that began and have not ended."""
        return {key: step for key, step in self.steps.items() if step.state not in STEP_ENDED}

    def children(self, job: Job) -> list[UUID]:
        """Return the child jobs of the latest generation of a job's steps, items included."""
        found = list(job.children.values())
        for name, begun in job.items_begun.items():
            for index in range(begun):
                step = self.steps.get(step_id(job.id, item_path(name, index)))
                if step is not None and step.child is not None:
                    found.append(step.child)
        return found

    def out(self) -> list[Step]:
        """Return the steps of which an order is out."""
        return [step for step in self.steps.values() if step.state in OUT]

    def ancestors(self, job: Job) -> list[Job]:
        """Return a job and those above it."""
        found = [job]
        while (parent := found[-1].parent) is not None:
            found.append(self.jobs[parent.job])
        return found

    def is_paused(self, job: Job) -> bool:
        """Say whether a job or one above it is paused."""
        return any(each.state == "paused" for each in self.ancestors(job))

    def undoing(self, job: Job) -> list[str]:
        """Return the names of the steps that undo others."""
        plan = self.plan(job)
        return [name for name, step in plan.steps.items() if step.phase == "compensate"]

    def main_open(self, job: Job) -> list[str]:
        """Return the steps of the main part of a job that have not ended."""
        plan = self.plan(job)
        main = (name for name, step in plan.steps.items() if step.phase == "main")
        return [name for name in main if not job.ended(name)]
