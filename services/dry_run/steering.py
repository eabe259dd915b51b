"""What people asked for while a job ran, and how it began: asked for again in a dry run."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from uuid import UUID

import msgspec

from warrener.domain import ids
from warrener.domain.demand import downstream
from warrener.domain.events import (
    Event,
    JobAdjusted,
    JobCancelling,
    JobOverdue,
    JobPaused,
    JobRerun,
    JobResumed,
    JobSignalled,
    JobStarted,
)
from warrener.domain.messages import (
    AdjustStep,
    CancelJob,
    InboxMessage,
    PauseJob,
    RerunJob,
    ResumeJob,
    RetryJob,
    SignalJob,
)

if TYPE_CHECKING:
    from warrener.services.dry_run.play import Play


class Steering:
    """Takes the events of jobs that tell of something from outside."""

    def __init__(self, play: Play) -> None:
        """Take the dry run that it is about."""
        self._play = play
        self._begun_anew: set[str] = set()  # causes of reruns

    def __call__(self, job: UUID, event: Event, version: int) -> None:
        """Ask for what an event of a job tells of; most tell of what just follows."""
        handler = _HANDLERS.get(type(event))
        if isinstance(event, JobRerun):
            self._rerun(job, event, version)
        elif handler is not None:
            handler(self, job, event)

    def _start(self, job: UUID, _: JobStarted) -> None:
        if job == self._play.record.submitted.root:
            self._play.flow.measures.intake_held = False
            self._play.turn()
            self._play.settle()

    def _signal(self, job: UUID, event: JobSignalled) -> None:
        step = None if event.step is None else ids.step_id(job, event.step)
        if step is not None and step in self._play.since:
            waited = (event.at - self._play.since[step]).total_seconds()
            self._play.apply.lose_patience(
                step, waited, self._play.record.step(job, event.step or "")
            )
        data = msgspec.Raw(self._play.record.data(event.data))
        message = SignalJob(
            job=job, name=event.name, data=data, key=event.key, by=event.by, reason=event.reason
        )
        self._play.ask(job, event.step or "", event, message)

    def _pause(self, job: UUID, event: JobPaused) -> None:
        self._play.ask(job, "", event, PauseJob(job=job, by=event.by, reason=event.reason))

    def _resume(self, job: UUID, event: JobResumed) -> None:
        self._play.ask(job, "", event, ResumeJob(job=job, by=event.by, reason=event.reason))

    def _cancel(self, job: UUID, event: JobCancelling) -> None:
        if job == self._play.record.submitted.root:  # those below it follow
            self._play.ask(job, "", event, CancelJob(job=job, by=event.by, reason=event.reason))

    def _overdue(self, job: UUID, _: JobOverdue) -> None:
        active = self._play.memory.jobs.get(job)
        deadline = None if active is None else active.job.deadline
        if deadline is not None and deadline <= self._play.now:
            self._play.passed = deadline
            self._play.memory.bring_about(job)
            self._play.turn()
            self._play.settle()

    def _rerun(self, job: UUID, event: JobRerun, version: int) -> None:
        """Begin anew what was, by the command that must have asked for it."""
        if event.cause in self._begun_anew and self._play.memory.jobs.get(job) is None:
            return  # with those above it
        self._begun_anew.add(event.cause)
        at_once = self._play.record.steered_at_once(event.cause) > 1
        message: InboxMessage
        if at_once or self._began_several(job, event, version):
            message = RetryJob(job=job, key=event.key, by=event.by, reason=event.reason)
        else:
            message = RerunJob(
                job=job, step=event.step, key=event.key, by=event.by, reason=event.reason
            )
        self._play.ask(job, event.step, event, message)

    def _began_several(self, job: UUID, event: JobRerun, version: int) -> bool:
        """Say whether all that had failed was begun anew, and not just what is below one step."""
        plan = self._play.record.plan(job)
        before = self._play.record.job_before(job, version)
        stopped = [name for name in event.steps if before.step(name) == "cancelled"]
        below = frozenset().union(*(downstream(plan, name) for name in (event.step, *stopped)))
        return any(
            name in event.steps
            and name not in below
            and plan.steps[name].phase != "always"
            and plan.steps[name].undoes not in below
            for name in before.failed
            if name not in before.caught
        )

    def _adjust(self, job: UUID, event: JobAdjusted) -> None:
        if event.retry is not None:
            revision = self._play.retries.get((job, event.step), ((), 0))[1]
            self._play.retries[job, event.step] = (event.retry, revision + 1)
        message = AdjustStep(
            job=job,
            step=event.step,
            window=event.window,
            tolerated=event.tolerated,
            retry=event.retry,
            by=event.by,
            reason=event.reason,
        )
        self._play.ask(job, event.step, event, message)


_HANDLERS: dict[type[Event], Callable[[Steering, UUID, Any], None]] = {
    JobStarted: Steering._start,
    JobSignalled: Steering._signal,
    JobPaused: Steering._pause,
    JobResumed: Steering._resume,
    JobCancelling: Steering._cancel,
    JobOverdue: Steering._overdue,
    JobAdjusted: Steering._adjust,
}
