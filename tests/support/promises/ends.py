"""G6, G7: what is open at the end waits visibly, and the read models show what the log says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
from support.promises.caps import Caps
from support.promises.folded import Broken, Folded

from warrener.adapters.memory_views import MemoryViewStore
from warrener.domain.events import Recorded
from warrener.domain.job_state import Job
from warrener.domain.ports import EventStore
from warrener.domain.step import Step
from warrener.domain.step_events import StepOpened
from warrener.projections.views import JOBS
from warrener.services.projector import catch_up

SMALL_BATCH = 7
STATES_ARE_SHOWN = True


class G6:
    """When faults have stopped, every job ends or visibly waits."""

    def __init__(self, folded: Folded) -> None:
        self._folded = folded
        self._caps = Caps(folded)

    def check(self, now: datetime) -> None:
        """Nothing moves and no timer is set: look for whom each open job waits."""
        for step in self._folded.open_steps().values():
            job = self._folded.jobs[step.job]
            if not self._waits(step, job):
                state = f"{step.path} of {job.id} is {step.state}"
                raise Broken("G6", f"{state} at {now}, and nothing will move it")
        for job in self._folded.open_jobs().values():
            if not self._is_explained(job):
                raise Broken("G6", f"job {job.id} is {job.state} at {now}: {job.steps}")

    def committed(self, events: Sequence[Recorded]) -> None:
        """A step that waits for people, and has not got what it waits for, has asked them."""
        for recorded in events:
            event = recorded.event
            if isinstance(event, StepOpened) and event.signal is not None and event.request is None:
                step = self._folded.steps[recorded.originator_id]
                if step.state == "waiting" and self._form(step) is not None:
                    raise Broken("G6", f"{event.path} of {event.job} has a form for nobody")

    def _waits(self, step: Step, job: Job) -> bool:
        """Say whether it can be seen for whom a step waits."""
        if step.state == "waiting_user":
            return step.request in self._folded.requests
        if step.state in {"ready", "retrying"}:
            return self._folded.is_paused(job) or self._is_limited(step, job)
        if step.state != "waiting":
            return False
        has_form = step.signal is not None and self._form(step) is not None
        if has_form and step.request not in self._folded.requests:
            return False
        if step.child is not None:
            return step.child in self._folded.open_jobs()
        return step.signal is not None or step.path in job.fan_outs

    def _form(self, step: Step) -> Any:
        wait = self._folded.planned(step).definition.wait
        return None if wait is None else wait.form

    def _is_limited(self, step: Step | str, job: Job) -> bool:
        """Say whether people have shut a limit of a step."""
        name = step if isinstance(step, str) else step.path.partition("[")[0]
        limits = self._folded.plan(job).steps[name].definition.limits
        changes = (self._folded.limit_changes.get(limit.name) for limit in limits)
        shut = any(change is not None and change.slots == 0 for change in changes)
        return shut or self._caps.is_shut(step, job)

    def _is_explained(self, job: Job) -> bool:
        if self._caps.is_held_back(job):
            return True
        if self._folded.is_paused(job) or job.cleaning & self._folded.open_jobs().keys():
            return True
        if any(step.job == job.id for step in self._folded.open_steps().values()):
            return all(self._is_limited(name, job) for name in self._not_begun(job))
        left = self._not_begun(job)
        return bool(left) and all(self._is_limited(name, job) for name in left)

    def _not_begun(self, job: Job) -> list[str]:
        """Return the steps that are ready, and of which nothing has been heard yet."""
        begun = {step.path for step in self._folded.open_steps().values() if step.job == job.id}
        return [name for name, state in job.steps.items() if state == "ready" and name not in begun]


class G7:
    """Every read model = fold(log), however the log is cut into batches."""

    def __init__(self, folded: Folded, log: EventStore) -> None:
        self._folded = folded
        self._log = log

    def check(self) -> Mapping[str, object]:
        """Build the read models twice, and compare them with each other and with the log."""
        whole, pieces = MemoryViewStore(), MemoryViewStore()
        catch_up(self._log, whole)
        catch_up(self._log, pieces, batch_size=SMALL_BATCH)
        head = self._log.head()
        if set(whole.positions().values()) != {head}:
            raise Broken("G7", f"the read models stand at {whole.positions()}, the log at {head}")
        jobs = whole.load({JOBS: list(self._folded.jobs)})[JOBS]
        again = pieces.load({JOBS: list(self._folded.jobs)})[JOBS]
        if msgspec.json.encode(list(jobs.values())) != msgspec.json.encode(list(again.values())):
            raise Broken("G7", "the read models depend on how the log is cut into batches")
        if STATES_ARE_SHOWN:
            for key, job in self._folded.jobs.items():
                if jobs[key].state != job.state:
                    raise Broken("G7", f"job {key} is shown as {jobs[key].state}, not {job.state}")
        return jobs
