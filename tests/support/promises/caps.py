"""G9 for limits with reserved names: who holds them follows from the log and from what is set."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID

from support.promises.folded import Broken, Folded

from warrener.domain import caps
from warrener.domain.events import JobStarted, Recorded
from warrener.domain.flow.ready import Stage
from warrener.domain.ids import split_path
from warrener.domain.job_state import Job
from warrener.domain.step import Step
from warrener.domain.step_events import Held, StepReleased


class Caps:
    """What is out and which jobs are open, under the limits that people have set by now."""

    def __init__(self, folded: Folded) -> None:
        self._folded = folded

    def event(self, recorded: Recorded) -> None:
        """Take the next event, after it was folded."""
        event = recorded.event
        if isinstance(event, StepReleased):
            step = self._folded.steps[recorded.originator_id]
            under = set(self._under(step))
            named = {held for held in event.limits if held.name.startswith("@")}
            if named != under:
                raise Broken("G9", f"{event.path} went out under {named}, not {under}")
            self._check(under)
        elif isinstance(event, JobStarted) and self._folded.intake != "accept":
            job = self._folded.jobs[recorded.originator_id]
            self._check(set(self._under_of_job(job)))

    def _check(self, helds: set[Held]) -> None:
        holders = self.holders
        for held in helds:
            slots = self._folded.limit_changes[held.name].slots
            if slots is not None and len(holders[held]) > slots:
                raise Broken("G9", f"{len(holders[held])} hold {held}, of {slots}")

    @property
    def holders(self) -> dict[Held, set[UUID]]:
        """Return who holds what is set now."""
        found: dict[Held, set[UUID]] = {}
        for step in self._folded.out():
            for held in self._under(step):
                found.setdefault(held, set()).add(step.id)
        for job in self._folded.open_jobs().values():
            if job.started:
                for held in self._under_of_job(job):
                    found.setdefault(held, set()).add(job.id)
        return found

    def is_set(self, name: str) -> bool:
        """Say whether people have set a limit."""
        change = self._folded.limit_changes.get(name)
        return change is not None and not (change.slots is None and change.rate is None)

    def is_shut(self, step: Step | str, job: Job) -> bool:
        """Say whether people let no orders of a step out."""
        names = self._names(job, step if isinstance(step, str) else step.path)
        changes = (self._folded.limit_changes.get(name) for name in names)
        return any(change is not None and change.slots == 0 for change in changes)

    def is_held_back(self, job: Job) -> bool:
        """Say whether a root job waits for its start while there is no slot for it."""
        if job.state != "submitted" or self._folded.intake == "accept":
            return False
        holders = self.holders
        for held in self._under_of_job(job):
            slots = self._folded.limit_changes[held.name].slots
            if slots is not None and len(holders.get(held, ())) >= slots:
                return True
        return False

    def _names(self, job: Job, path: str) -> tuple[str, ...]:
        name, _ = split_path(path)
        queue = self._folded.plan(job).steps[name].queue
        return caps.names_for_step(Stage(queue, job.name, name))

    def _under(self, step: Step) -> Iterator[Held]:
        job = self._folded.jobs[step.job]
        for name in filter(self.is_set, self._names(job, step.path)):
            yield Held(name, str(job.root) if name == caps.ROOT else caps.NO_KEY)

    def _under_of_job(self, job: Job) -> Iterator[Held]:
        if job.parent is None:
            yield from (
                Held(name, caps.NO_KEY)
                for name in filter(self.is_set, caps.names_for_job(job.name))
            )
