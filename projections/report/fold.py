"""From the events of a tree of jobs to the records of what its jobs and steps did when.

One pass in the order of the log. Memory follows what is open: of the items of a fan-out that have
ended, some are kept, evenly spread, with that which ended last, and a summary of all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final
from uuid import UUID

from warrener.domain.events import (
    DefinitionStored,
    Event,
    JobAdjusted,
    JobAdvanced,
    JobCancelled,
    JobCancelling,
    JobFailed,
    JobOverdue,
    JobPaused,
    JobRerun,
    JobResumed,
    JobStarted,
    JobSubmitted,
    JobSucceeded,
)
from warrener.domain.ids import item_path, split_path
from warrener.domain.ports import Positioned
from warrener.domain.step_events import StepEvent
from warrener.projections.report import steps
from warrener.projections.report.model import (
    CHILDREN,
    HELD,
    REACTOR,
    JobTimes,
    Pause,
    StepTimes,
    micros,
)
from warrener.projections.report.pauses import pause
from warrener.projections.report.plans import Plans
from warrener.projections.report.records import Records


class Times(Records):
    """The records of a job and of everything below it."""

    def __init__(self, top: UUID, above: Sequence[UUID] = ()) -> None:
        """Take the job of the report, and the jobs above it, whose pauses hold it as well."""
        super().__init__()
        self._top = top
        self._above: dict[UUID, list[Pause]] = {job: [] for job in above}
        self._plans = Plans()

    @property
    def top(self) -> JobTimes | None:
        """Return the job of the report, None if its submission has not been seen."""
        return self.jobs.get(self._top)

    def fold(self, events: Iterable[Positioned]) -> None:
        """Take events in the order of the log."""
        for positioned in events:
            self.take(positioned)
        self.settle()

    def take(self, positioned: Positioned) -> None:
        """Take one event; those that are not about jobs or steps of the tree change nothing."""
        event, stream = positioned.recorded.event, positioned.recorded.originator_id
        if isinstance(event, DefinitionStored):
            self._plans.take(event)
        elif isinstance(event, JobSubmitted):
            self._submitted(stream, event, self._time(positioned))
        elif isinstance(event, StepEvent):
            job = self.jobs.get(event.job)
            if job is not None:
                self._step(job, event, self._time(positioned))
        elif stream in self._above:
            pause(self._above[stream], event, micros(event.at))
        else:
            job, handler = self.jobs.get(stream), _HANDLERS.get(type(event))
            if job is not None and handler is not None:
                handler(self, job, event, self._time(positioned))

    def _time(self, positioned: Positioned) -> int:
        """Return the time of an event: clocks may have been set back, this one never is."""
        at = max(self.now, micros(positioned.recorded.event.at))
        if at > self.now:
            self.settle()
        self.now, self.position = at, positioned.position
        return at

    # --- jobs ------------------------------------------------------------------------------------

    def _submitted(self, stream: UUID, event: JobSubmitted, at: int) -> None:
        above = None if event.parent is None else self.jobs.get(event.parent.job)
        if stream in self.jobs or (stream != self._top and above is None):
            return
        is_top = stream == self._top
        path = above.full(event.parent.path) if above and event.parent and not is_top else ""
        plan = self._plans.plan(event.definition)
        job = JobTimes(stream, event.name, path, plan, at, parent=None if is_top else above)
        job.parent_path = event.parent.path if event.parent and not is_top else ""
        job.outer = tuple(self._above.values()) if is_top else ()
        for name, planned in plan.steps.items():
            if planned.phase != "compensate":
                job.steps[name] = StepTimes(name, at)
        for name, given in event.given.items():
            step = job.steps.setdefault(name, StepTimes(name, at))
            step.state, step.ended_at, step.kept = given.state, at, True
        self.jobs[stream] = job

    def _started(self, job: JobTimes, _event: JobStarted, at: int) -> None:
        job.state = "running"
        job.started_at = at
        for step in job.steps.values():
            if step.state == "pending":
                step.since = at

    def _advanced(self, job: JobTimes, event: JobAdvanced, at: int) -> None:
        for name in event.readied:
            self._ready(job, name, at)
        for name, child in event.children.items():
            step = self.named(job, name, at)
            steps.wait_for(self, job, step, steps.Wait(CHILDREN))
            step.child = child
        for name, shape in event.fan_outs.items():
            self.open_items(job, self.named(job, name, at), shape.count, at)
            items = job.steps[name].items
            if items is not None:
                items.window = shape.window
        for name, ends in event.items.items():
            for state, indexes in ends.items():
                for index in indexes:
                    self.end_item(job, item_path(name, index), state, at)
        for name, state in event.settled.items():
            self.told(job, self.named(job, name, at), state, at)

    def _ready(self, job: JobTimes, name: str, at: int) -> None:
        step = self.named(job, name, at)
        if step.state == "pending":
            planned = job.plan.steps[name]
            step.turn(HELD if planned.kind == "call" and not planned.fan_out else REACTOR, at)
            step.state, step.before = "ready", self.position

    def _rerun(self, job: JobTimes, event: JobRerun, at: int) -> None:
        """Begin again; of a job that had ended, what is not done anew belongs to the time before.

        One that runs goes on, and the time of what is done anew was lost.
        """
        self.settle()
        if job.ended_at is not None:
            job.begin = job.started_at = at
            for step in job.steps.values():
                step.kept = True
        job.generation, job.rerun_at = event.generation, at
        job.state, job.ended_at, job.ended_position = "running", None, 0
        for name in event.steps:
            self.forget_below(job.steps.get(name))
            planned = job.plan.steps.get(name)
            if planned is not None and planned.phase == "compensate":
                job.steps.pop(name, None)
            else:
                number = job.steps[name].attempt if name in job.steps else 0
                job.steps[name] = StepTimes(name, at, attempt=number)

    def _adjusted(self, job: JobTimes, event: JobAdjusted, at: int) -> None:
        step = job.steps.get(event.step)
        if step is not None and step.items is not None and event.window is not None:
            step.items.change(event.window, at)

    def _steered(self, job: JobTimes, event: Event, at: int) -> None:
        pause(job.pauses, event, at)
        if isinstance(event, JobPaused):
            job.state = "paused"
        elif isinstance(event, JobCancelling):
            job.state = "cancelling"
        else:
            job.state = "running" if job.started_at is not None else "submitted"

    def _ended(self, job: JobTimes, event: Event, at: int) -> None:
        job.state = _FINAL[type(event)]
        job.ended_at, job.ended_position = at, self.position
        pause(job.pauses, event, at)
        for step in list(job.steps.values()):
            if not step.ended and not self.is_told(step):
                self.end(job, step, "cancelled", at)

    # --- steps -----------------------------------------------------------------------------------

    def _step(self, job: JobTimes, event: StepEvent, at: int) -> None:
        name, index = split_path(event.path)
        step = job.steps.get(name) if index is None else self._item(job, name, index, event, at)
        if step is not None and not step.ended:
            steps.apply(self, job, step, event, at)

    def _item(
        self, job: JobTimes, name: str, index: int, event: StepEvent, at: int
    ) -> StepTimes | None:
        """Return the record of an item, None if it ended or is of an older generation."""
        fan_out = job.steps.get(name)
        items = None if fan_out is None or fan_out.ended else fan_out.items
        if items is None:
            return None
        if not isinstance(event, steps.NEVER_FIRST):
            return self.begun(job, items, index, event.path, at)
        return items.known.get(index)


_FINAL: Final[dict[type[Event], str]] = {
    JobSucceeded: "succeeded",
    JobFailed: "failed",
    JobCancelled: "cancelled",
}
_HANDLERS: Final[dict[type[Event], Callable[[Times, JobTimes, Any, int], None]]] = {
    JobStarted: Times._started,
    JobAdvanced: Times._advanced,
    JobAdjusted: Times._adjusted,
    JobRerun: Times._rerun,
    JobPaused: Times._steered,
    JobResumed: Times._steered,
    JobCancelling: Times._steered,
    JobOverdue: Times._steered,
    JobSucceeded: Times._ended,
    JobFailed: Times._ended,
    JobCancelled: Times._ended,
}
