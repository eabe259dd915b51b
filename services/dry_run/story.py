"""What became of each job and step of a tree, folded from its events: recorded or decided anew."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

import msgspec

from warrener.domain import job as jobs
from warrener.domain import step as steps
from warrener.domain.events import JobEvent, JobSubmitted
from warrener.domain.ids import split_path
from warrener.domain.job_state import Job
from warrener.domain.plan import Plan
from warrener.domain.step import Step
from warrener.domain.step_events import (
    StepCancelled,
    StepEvent,
    StepFailed,
    StepOpened,
    StepReleased,
    StepRenewed,
    StepRetryScheduled,
    StepSkipped,
    StepSucceeded,
)
from warrener.services.partial_log import PartialLog

PAGE_EVENTS = 10_000


class StepStory(msgspec.Struct):
    """A step or an item that began; `end` is how its last generation ended."""

    step: Step
    attempts: dict[int, StepReleased] = {}
    failures: dict[int, StepRetryScheduled | StepFailed] = {}  # of attempts
    opened: StepOpened | None = None
    end: StepEvent | None = None

    @property
    def began(self) -> bool:
        """Say whether it was at work, be it without a worker."""
        return bool(self.attempts or self.opened or isinstance(self.end, StepSucceeded))


class JobStory(msgspec.Struct):
    """A job with its steps: named ones, and items by name and index."""

    job: Job
    submitted: JobSubmitted
    plan: Plan
    named: dict[str, StepStory] = {}
    items: dict[str, dict[int, StepStory]] = {}

    def state(self, name: str) -> str:
        """Return the state of a named step; one that is at work is told by its own events."""
        state = self.job.step(name)
        story = self.named.get(name)
        return story.step.state if state == "ready" and story is not None else state


class Stories:
    """All jobs of a tree, parents before their children."""

    def __init__(self, log: PartialLog, plan_of: Callable[[UUID, JobSubmitted], Plan]) -> None:
        """Fold the events of a log; `plan_of` gives the plan of a job."""
        self.log = log
        self.jobs: dict[UUID, JobStory] = {}
        self._plan_of = plan_of
        after = 0
        while page := log.read(after, PAGE_EVENTS):
            for positioned in page:
                event, stream = positioned.recorded.event, positioned.recorded.originator_id
                if isinstance(event, StepEvent):
                    self._take_step(stream, event)
                elif isinstance(event, JobEvent):
                    self._take_job(stream, event)
            after = page[-1].position

    def _take_job(self, stream: UUID, event: JobEvent) -> None:
        if isinstance(event, JobSubmitted):
            self.jobs[stream] = JobStory(Job(stream), event, self._plan_of(stream, event))
        jobs.evolve(self.jobs[stream].job, event)

    def _take_step(self, stream: UUID, event: StepEvent) -> None:
        job = self.jobs[event.job]
        name, index = split_path(event.path)
        story = job.named.get(name) if index is None else job.items.get(name, {}).get(index)
        if story is None:
            story = StepStory(Step(stream, event.job, event.path))
            if index is None:
                job.named[name] = story
            else:
                job.items.setdefault(name, {})[index] = story
        steps.evolve(story.step, event)
        _tell(story, event)


def _tell(story: StepStory, event: StepEvent) -> None:
    match event:
        case StepReleased():
            story.attempts[event.attempt] = event
        case StepOpened():
            story.opened = event
        case StepRenewed():
            story.opened = story.end = None
        case StepRetryScheduled():
            story.failures[event.attempt] = event
        case StepFailed():
            story.end = event
            if event.attempt is not None:
                story.failures[event.attempt] = event
        case StepSucceeded() | StepSkipped() | StepCancelled():
            story.end = event
