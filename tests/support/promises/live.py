"""What a turn has in memory is what the events say, after every single event that it records.

An event of a step or of a job is compared as soon as it is recorded: the aggregate in memory with
the fold of its stream, events that are not committed yet included. What one turn decides about the
steps of a job becomes one event at its end (or before the job's next own event). Until then, once
all that follows from a message or a timer is decided, its job is compared with the fold and the
event that all decided so far would be; amid a decision a step may be ready for a moment that no
event tells of, where it ends at once.
Requests to people have no state between an event and what follows from it at once (a request is
taken from the open ones after its end is recorded): they are compared at the next event, or at the
end of the turn. So are the settings of the flow and of limits. Incidents are compared once a look
at the flow has recorded all that it decided: it evolves by the whole first.
"""

from __future__ import annotations

from collections.abc import Iterable
from copy import deepcopy
from typing import Any
from uuid import UUID

from support.promises.folded import Broken, Folded, OpenRequest

from warrener.domain import job as jobs
from warrener.domain import step as steps
from warrener.domain.control_events import (
    FlowChanged,
    LimitChanged,
    UserActionAnswered,
    UserActionReminded,
    UserActionRequested,
    UserActionWithdrawn,
)
from warrener.domain.events import Event, JobEvent
from warrener.domain.flow.control import Recording
from warrener.domain.flow.incident_state import Incidents
from warrener.domain.ids import FLOW_ID
from warrener.domain.job_state import Job
from warrener.domain.step import Step
from warrener.domain.step_events import StepEvent
from warrener.services.active_job import ActiveJob
from warrener.services.turn import Turn


class Live:
    """The fold of every stream with what a turn has recorded so far, beside what is in memory."""

    def __init__(self, folded: Folded) -> None:
        self.compared = 0
        self._folded = folded
        self.begin()

    def begin(self) -> None:
        """A turn begins: what the one before recorded is committed, or was thrown away."""
        self._jobs: dict[UUID, Job] = {}
        self._steps: dict[UUID, Step] = {}
        self._requests: dict[UUID, OpenRequest | None] = {}
        self._incidents: Incidents | None = None
        self._settings: dict[UUID, Event] = {}

    # --- the fold --------------------------------------------------------------------------------

    def evolve(self, stream: UUID, event: Event) -> None:
        """Take an event that was recorded."""
        if isinstance(event, StepEvent):
            steps.evolve(self._step(stream, event), event)
        elif isinstance(event, JobEvent):
            jobs.evolve(self._job(stream), event)
        elif isinstance(event, UserActionRequested):
            self._requests[stream] = OpenRequest(event, event.at)
        elif isinstance(event, UserActionReminded):
            known = self._requests.get(stream) or deepcopy(self._folded.requests[stream])
            known.reminders, known.told_at = event.number, event.at
            self._requests[stream] = known
        elif isinstance(event, UserActionAnswered | UserActionWithdrawn):
            self._requests[stream] = None
        elif isinstance(event, FlowChanged | LimitChanged):
            self._settings[stream] = event

    def _step(self, stream: UUID, event: StepEvent) -> Step:
        if stream not in self._steps:
            known = deepcopy(self._folded.steps.get(stream))
            self._steps[stream] = known or Step(stream, event.job, event.path)
        return self._steps[stream]

    def _job(self, stream: UUID) -> Job:
        if stream not in self._jobs:
            self._jobs[stream] = deepcopy(self._folded.jobs.get(stream)) or Job(stream)
        return self._jobs[stream]

    # --- comparing -------------------------------------------------------------------------------

    def step(self, step: Step, event: Event) -> None:
        """Compare a step after its event."""
        self._same(f"step {step.path} of {step.job}", event, step, self._steps[step.id])

    def job(self, job: Job, event: Event, decided: JobEvent | None) -> None:
        """Compare a job after an event of it or of its step, and what is `decided` since."""
        expected = self._job(job.id)
        if decided is not None:
            expected = jobs.evolve(deepcopy(expected), decided)
            expected.version -= 1  # it has none yet
        self._same(f"job {job.id}", event, job, expected)

    def shared(self, turn: Turn, event: object) -> None:
        """Compare the requests and settings that events of this turn are about."""
        for key, expected in self._requests.items():
            request = turn.memory.requests.open.get(key)
            found = request and OpenRequest(request.asked, request.told_at, request.reminders)
            self._same(f"request {key}", event, found, expected)
        for key, change in self._settings.items():
            if isinstance(change, FlowChanged):
                assert key == FLOW_ID
                self._same("the settings", event, turn.flow.settings, change.settings)
            elif isinstance(change, LimitChanged):
                found_limit = turn.memory.limits._changes(change.name)
                self._same(f"limit {change.name}", event, found_limit, change)

    def incidents(self, turn: Turn, recordings: Iterable[Recording]) -> None:
        """Compare the incidents after all that one look has recorded."""
        expected = self._incidents or deepcopy(self._folded.incidents)
        for stream, event in recordings:
            expected.evolve(stream, event)
        self._incidents = expected
        found = turn.control.incidents.known
        self._same("open incidents", "a look", set(found), set(expected.known))
        for key, incident in expected.known.items():
            mine = found[key]
            self._same(f"incident {key}", "a look", mine.ended_at, incident.ended_at)
            self._same(f"incident {key}", "a look", mine.proposed, incident.proposed)
            taken = [(each.measure, each.until) for each in incident.taken]
            live = [(each.measure, each.until) for each in mine.taken]
            self._same(f"incident {key}", "a look", live, taken)

    def _same(self, what: str, event: object, found: Any, expected: Any) -> None:
        self.compared += 1
        if found != expected:
            name = event if isinstance(event, str) else type(event).__name__
            raise Broken(
                "Live", f"{what} after {name}: in memory {found}, by its events {expected}"
            )


class WatchedTurn(Turn):
    """A turn that compares what it has in memory with its events, after each of them."""

    live: Live

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.live.begin()
        self._append, self._fill = self.batch.append, self.batch.fill
        self.batch.append = self._appended  # type: ignore[method-assign]
        self.batch.fill = self._filled  # type: ignore[method-assign]

    def _appended(self, stream: UUID, version: int, event: Event) -> None:
        self.live.shared(self, event)  # as the one before left them
        self._append(stream, version, event)
        self.live.evolve(stream, event)

    def _filled(self, place: int, stream: UUID, version: int, event: Event) -> None:
        self._fill(place, stream, version, event)
        self.live.evolve(stream, event)

    def record_step(self, step: Step, event: StepEvent) -> None:
        """Compare the step."""
        super().record_step(step, event)
        self.live.step(step, event)

    def record_job(self, job: Job, event: JobEvent) -> None:
        """Compare the job."""
        super().record_job(job, event)
        self._compare(job, event)

    def record_control(self, recordings: Iterable[Recording]) -> None:
        """Compare the incidents."""
        told = list(recordings)
        super().record_control(told)
        self.live.incidents(self, told)

    def flush(self, active: ActiveJob) -> None:
        """Compare the job once its decisions are an event."""
        super().flush(active)
        self._compare(active.job, "JobAdvanced")

    def drain(self) -> None:
        """Compare the jobs about whose steps something is decided."""
        super().drain()
        for job in self._advances:
            self._compare(self.memory.jobs[job].job, "all that follows")

    def finish(self) -> None:
        """Compare all that is left."""
        super().finish()
        self.live.shared(self, "the turn")

    def _compare(self, job: Job, event: Any) -> None:
        pending = self._advances.get(job.id)
        decided = pending[1].event(self.batch.now, pending[2]) if pending else None
        self.live.job(job, event, decided)


def watching(live: Live) -> type[Turn]:
    """Return turns that compare with this fold."""
    return type("WatchedTurn", (WatchedTurn,), {"live": live})
