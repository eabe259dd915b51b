"""Loading jobs from the log: after a start, a crash or a conflict."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

from warrener.domain import ids
from warrener.domain import job as jobs
from warrener.domain.errors import StoredDataError, UnknownJob
from warrener.domain.events import JobAdvanced, JobEvent, Recorded
from warrener.domain.flow.lanes import Flow
from warrener.domain.flow.ready import Queued, Ready
from warrener.domain.payloads import PAYLOAD_BYTES_MAX
from warrener.domain.states import JOB_ENDED, STEP_ENDED
from warrener.domain.step import OUT, Step
from warrener.domain.step_events import StepOpened, StepSucceeded
from warrener.services import intake
from warrener.services.active_job import (
    ActiveJob,
    Collected,
    payload_bytes,
    read_payload,
)
from warrener.services.logs import refuse_pruned
from warrener.services.requests import load_request
from warrener.services.working_set import WorkingSet


class Recovery:
    """Fills a working set and the flow with trees of jobs as the log has them."""

    def __init__(self, memory: WorkingSet, flow: Flow, now: datetime) -> None:
        """Take what is to be filled."""
        self._memory = memory
        self._flow = flow
        self._now = now
        self._children: list[UUID] = []
        self._readied: dict[str, datetime] = {}  # when steps of the job at hand became ready

    def load_tree(self, root: UUID) -> None:
        """Load a root job and all jobs below it that have not ended.

        A job that was started by another is loaded with its root: the log counts it among the open
        ones if a part of it has begun anew.
        """
        first = next(iter(self._memory.store.stream(root)), None)
        if first is not None and getattr(first.event, "parent", None) is not None:
            return
        self._children = [root]
        while self._children:
            self._load_job(self._children.pop())

    def _load_job(self, job_id: UUID) -> None:
        events = list(self._memory.store.stream(job_id))
        refuse_pruned(job_id, next(iter(events), None))
        if not events or not isinstance(events[0].event, JobEvent):
            raise UnknownJob(f"no job {job_id} in the store")
        job = jobs.project(None, events)
        if job is None or job.state in JOB_ENDED:
            return
        self._readied = _readied(events)
        active = self._memory.add(job, self._memory.plan(job.definition))
        active.tree.steps_used += active.steps_known()
        if job.state == "paused":
            self._memory.paused.add(job.id)
        if job.deadline is not None and not job.overdue:
            self._memory.set_timer(job.deadline, job.id)
        if job.parent is None:
            self._take_in(active)
        self._children.extend(job.cleaning)
        for name in active.plan.steps:
            state = job.step(name)
            if state == "ready":
                self._load_named(active, name)
            elif state == "waiting":
                self._load_waiting(active, name)

    def _take_in(self, root: ActiveJob) -> None:
        """Let a root job hold its place among those that are open, or wait for one."""
        if root.job.started:
            intake.hold(self._memory, root.job)
        elif root.job.state in ("submitted", "paused"):
            self._memory.intake.wait(root, self._flow)

    def _load_named(self, active: ActiveJob, name: str) -> None:
        if not self._load_step(active, name):
            self._queue_up(active, name, None, self._readied.get(name))

    def _queue_up(
        self, active: ActiveJob, name: str, index: int | None, since: datetime | None
    ) -> None:
        ready = Ready(active.job.id, name, index)
        self._flow.add(Queued(ready, active.standing(name), since or self._now))

    def _last_time(self, step: UUID) -> datetime | None:
        last = self._memory.store.last(step)
        return None if last is None else last.event.at

    def _load_waiting(self, active: ActiveJob, name: str) -> None:
        self._load_step(active, name)
        if name not in active.job.fan_outs:
            return
        items = active.job.fan_outs[name]
        job_id, planned = active.job.id, active.plan.steps[name]
        active.tree.steps_used += items.shape.count
        active.items[name] = self._items_of(active, name)
        opened = self._readied.get(name)
        for index in items.in_flight():
            if self._load_step(active, ids.item_path(name, index)):
                continue
            if planned.kind != "call":
                raise StoredDataError(f"item {index} of step {name} began but has no events")
            self._queue_up(active, name, index, opened)  # a limit let later ones pass
        if planned.collects:
            active.collected[name] = self._collect(active, name)
        if planned.kind == "call":
            waiting = range(items.begun, items.may_begin)
            standing, since = active.standing(name), opened or self._now
            self._flow.add_items(job_id, name, standing, since, items=waiting)

    def _load_step(self, active: ActiveJob, path: str) -> bool:
        """Load a begun step into memory; say whether it had begun."""
        step_id = ids.step_id(active.job.id, path)
        step = self._memory.project_step(step_id)
        if step is None or step.state in STEP_ENDED:
            return False
        self._memory.steps[step_id] = step
        name, index = ids.split_path(path)
        if step.child is not None:
            self._children.append(step.child)
        elif step.state in OUT:
            released_at = step.released_at or self._now
            ready = Ready(active.job.id, name, index)
            queued = Queued(ready, active.standing(name), released_at)
            self._flow.released(step_id, queued, released_at, again=True)
            defined = active.plan.at(path).definition.limits
            self._memory.limits.hold(step_id, step.limits, defined)
            self._memory.hold_caps(step)
            if step.started_at is not None:  # what it said since is not known: patience anew
                self._memory.heard[step_id] = self._now
        elif step.state == "ready":
            self._queue_up(active, name, index, self._last_time(step_id))
        self._memory.watch(step)
        self._join_request(active, step)
        return True

    def _join_request(self, active: ActiveJob, step: Step) -> None:
        """Let a step that waits for a person be among those who wait for its request."""
        if step.request is None:
            return
        requests = self._memory.requests
        request = requests.open.get(step.request)
        if request is None:
            request = load_request(self._memory.store, step.request)
            if request is None:  # somebody else's answer came between its asking and its parking
                if step.state == "waiting_user":
                    self._memory.orphans.append(step.id)
                return
            requests.add(request)
        rule = active.plan.at(step.path).definition.on_user_action
        remind = rule.remind if rule is not None and step.state == "waiting_user" else None
        self._memory.join(request, step.id, remind)

    def _items_of(self, active: ActiveJob, name: str) -> list[object]:
        store = self._memory.store
        events = [each.event for each in store.stream(ids.step_id(active.job.id, name))]
        for event in reversed(events):  # the latest generation
            if isinstance(event, StepOpened):
                values: list[object] = read_payload(event.items, store)
                return values
        raise StoredDataError(f"fan-out {name} of job {active.job.id} has no items in the log")

    def _collect(self, active: ActiveJob, name: str) -> Collected:
        items, store = active.job.fan_outs[name], self._memory.store
        collected = Collected(items.shape.count, PAYLOAD_BYTES_MAX)
        for index in range(items.begun):
            if items.ended[index]:
                last = store.last(ids.step_id(active.job.id, ids.item_path(name, index)))
                if last and isinstance(last.event, StepSucceeded) and last.event.result:
                    collected.put(index, payload_bytes(last.event.result, store))
        return collected


def _readied(events: Iterable[Recorded]) -> dict[str, datetime]:
    """Return when the steps of a job became ready, or were opened, the last time."""
    found: dict[str, datetime] = {}
    for recorded in events:
        event = recorded.event
        if isinstance(event, JobAdvanced):
            found.update(dict.fromkeys((*event.readied, *event.fan_outs), event.at))
    return found
