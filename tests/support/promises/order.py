"""G4, G5: ended means ended, numbers rise without gaps, and nothing starts before it may."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from support.joins import JOINS, RUN
from support.promises.folded import Broken, Folded

from warrener.domain import events as e
from warrener.domain import step_events as se
from warrener.domain.ids import COMPENSATE, compensation, split_path, step_id
from warrener.domain.job_state import Job
from warrener.domain.payloads import Payload
from warrener.domain.plan import PlannedStep
from warrener.domain.ports import EventStore, Positioned
from warrener.domain.states import JOB_ENDED, JOB_MOVES, STEP_ENDED, STEP_FAILED, STEP_MOVES
from warrener.services.active_job import read_payload

STEP_TRIGGERS: dict[type[e.Event], str] = {
    se.StepReleased: "release",
    se.StepStarted: "start",
    se.StepProgressed: "progress",
    se.StepParked: "park",
    se.StepReadied: "ready_again",
    se.StepRenewed: "renew",
    se.StepOpened: "open",
    se.StepSucceeded: "succeed",
    se.StepRetryScheduled: "schedule_retry",
    se.StepFailed: "fail",
    se.StepSkipped: "skip",
    se.StepCancelled: "cancel",
}
JOB_TRIGGERS: dict[type[e.Event], str] = {
    e.JobStarted: "start",
    e.JobPaused: "pause",
    e.JobResumed: "resume",
    e.JobCancelling: "cancel",
    e.JobSucceeded: "succeed",
    e.JobFailed: "fail",
    e.JobCancelled: "finish_cancel",
    e.JobRerun: "rerun",
}
BEGUN = {"ready", "pending"}  # of a step without events: its job has made it ready


class G4:
    """Terminal states absorb, attempts rise, versions and positions have no gaps."""

    def __init__(self) -> None:
        self._position = 0
        self._versions: dict[UUID, int] = {}
        self._attempts: dict[UUID, int] = {}
        self._steps: dict[UUID, set[str]] = {}  # what a step may be in now
        self._jobs: dict[UUID, str] = {}
        self._started: set[UUID] = set()
        self._reasons: dict[UUID, str] = {}  # why jobs are being cancelled

    def event(self, positioned: Positioned) -> None:
        """Take the next event of the log."""
        recorded = positioned.recorded
        stream, event = recorded.originator_id, recorded.event
        if positioned.position != self._position + 1:
            raise Broken("G4", f"position {positioned.position} follows {self._position}")
        self._position = positioned.position
        version = self._versions.get(stream, 0) + 1
        if recorded.originator_version != version:
            raise Broken("G4", f"version {recorded.originator_version} of {stream}, not {version}")
        self._versions[stream] = version
        if isinstance(event, se.StepEvent):
            self._move_step(stream, event)
        elif isinstance(event, e.JobEvent):
            self._move_job(stream, event)

    def _move_step(self, stream: UUID, event: se.StepEvent) -> None:
        trigger = STEP_TRIGGERS[type(event)]
        states = self._steps.get(stream, BEGUN)
        found = {STEP_MOVES[state, trigger] for state in states if (state, trigger) in STEP_MOVES}
        if not found:
            raise Broken("G4", f"{event.path} of {event.job}: {trigger} from {sorted(states)}")
        self._steps[stream] = BEGUN if isinstance(event, se.StepRenewed) else found
        if isinstance(event, se.StepReleased):
            if event.attempt != self._attempts.get(stream, 0) + 1:
                last = self._attempts.get(stream, 0)
                raise Broken("G4", f"attempt {event.attempt} of {event.path} follows {last}")
            self._attempts[stream] = event.attempt

    def _move_job(self, stream: UUID, event: e.JobEvent) -> None:
        state = self._jobs.get(stream, "submitted")
        trigger = JOB_TRIGGERS.get(type(event))
        if isinstance(event, e.JobStarted | e.JobRerun):
            self._started.add(stream)
        elif isinstance(event, e.JobResumed) and stream not in self._started:
            trigger = "wait_again"
        if isinstance(event, e.JobRerun) and state == "running":
            return  # it goes on
        if trigger is None:
            if state in JOB_ENDED:
                raise Broken("G4", f"job {stream} has {state}, and then {type(event).__name__}")
            self._jobs[stream] = "running" if isinstance(event, e.JobOverdue) else state
            return
        if (state, trigger) not in JOB_MOVES:
            raise Broken("G4", f"job {stream}: {trigger} from {state}")
        if isinstance(event, e.JobCancelling):
            self._reasons[stream] = event.reason
        if isinstance(event, e.JobCancelled) and event.reason != self._reasons[stream]:
            raise Broken("G4", f"job {stream} ended {event.reason!r}: {self._reasons[stream]!r}")
        self._jobs[stream] = JOB_MOVES[state, trigger]


class G5:
    """A step starts only after what satisfied its join is committed; clean-up starts last."""

    def __init__(self, folded: Folded, log: EventStore) -> None:
        self._folded = folded
        self._log = log

    def committed(self, events: Sequence[e.Recorded]) -> None:
        """Look at all steps that began with these events."""
        begun: dict[tuple[UUID, str], None] = {}
        for recorded in events:
            event = recorded.event
            if isinstance(event, se.StepReleased | se.StepOpened):
                begun[event.job, split_path(event.path)[0]] = None
            if isinstance(event, se.StepReleased) and event.path.endswith(COMPENSATE):
                self._check_input(event)
        for job_id, name in begun:
            job = self._folded.jobs[job_id]
            if job.step(name) not in {"pending", *STEP_ENDED}:
                self._check(job, self._folded.plan(job).steps[name])

    def _check(self, job: Job, step: PlannedStep) -> None:
        if step.phase == "compensate":
            self._check_undoing(job, step)
        elif step.phase == "always":
            left = [*self._folded.main_open(job), *self._open(job, self._folded.undoing(job))]
            if left:
                raise Broken("G5", f"clean-up {step.name} of {job.id} began before {left} ended")
        elif step.catches and step.name not in job.caught.values():
            raise Broken("G5", f"{step.name} of {job.id} answers for no failure")
        if step.phase == "main":
            self._check_join(job, step)

    def _check_join(self, job: Job, step: PlannedStep) -> None:
        outcomes, complete = [], True
        for edge in step.edges:
            required = edge.when is None or job.edges.get(step.name, {}).get(edge.dependency)
            if not required:
                continue
            if job.resolved(edge.dependency):
                outcomes.append(self._outcome(job, edge.dependency))
            else:
                complete = False
        join = str(step.definition.join)
        if JOINS[join](outcomes, complete) != RUN:
            raise Broken("G5", f"{step.name} of {job.id} began on {join} of {outcomes}")

    def _outcome(self, job: Job, name: str) -> str:
        while name in job.caught:
            name = job.caught[name]
        state = job.step(name)
        may_fail = self._folded.plan(job).steps[name].definition.may_fail
        if state == "succeeded" or (state in STEP_FAILED and may_fail):
            return "ok"
        return "failed" if state in STEP_FAILED else "skipped"

    def _check_undoing(self, job: Job, step: PlannedStep) -> None:
        undone = step.undoes or ""
        left = self._folded.main_open(job)
        if left or undone not in job.done:
            raise Broken("G5", f"{step.name} of {job.id} began before {left} ended, or for nothing")
        later = [compensation(name) for name in job.done[job.done.index(undone) + 1 :]]
        known = self._folded.plan(job).steps
        before = self._open(job, [name for name in later if name in known])
        if before:
            raise Broken("G5", f"{step.name} of {job.id} began before {before}")

    def _check_input(self, event: se.StepReleased) -> None:
        """A step is undone with what it was given, and with what it gave."""
        stream = step_id(event.job, event.path.removesuffix(COMPENSATE))
        given: Payload | None = None
        gave: Payload | None = None
        for recorded in self._log.stream(stream):
            match recorded.event:
                case se.StepReleased():
                    given = recorded.event.args
                case se.StepOpened(child=UUID()):
                    given = self._folded.jobs[recorded.event.child].params
                case se.StepSucceeded():
                    gave = recorded.event.result
        expected = {"input": self._value(given), "result": self._value(gave)}
        if self._value(event.args) != expected:
            raise Broken("G5", f"{event.path} is given {event.args}, and not {expected}")

    def _value(self, payload: Payload | None) -> object:
        return read_payload(payload, self._log)

    def _open(self, job: Job, names: list[str]) -> list[str]:
        return [name for name in names if not job.ended(name)]
