"""What the controller holds in memory: the jobs and steps being worked on, and their timers.

All of it follows from the log and is thrown away after a conflict.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from datetime import datetime
from uuid import UUID

import msgspec

from warrener.domain import ids
from warrener.domain import step as steps
from warrener.domain.caps import bounds_jobs
from warrener.domain.control_events import FleetChanged, LimitChanged
from warrener.domain.definition.model import JobDefinition
from warrener.domain.definition.names import is_reserved
from warrener.domain.errors import StoredDataError
from warrener.domain.events import DefinitionStored, event_of
from warrener.domain.job_state import Job
from warrener.domain.limit_state import Waiter
from warrener.domain.limits import Limits
from warrener.domain.plan import Plan, build_plan
from warrener.domain.ports import EventStore
from warrener.domain.states import STEP_ENDED
from warrener.domain.step import OUT, Step
from warrener.domain.timers import Due, all_due
from warrener.services import intake
from warrener.services.active_job import ActiveJob, Tree
from warrener.services.caps import Caps
from warrener.services.intake import Intake
from warrener.services.requests import Request, Requests

LIMITS_KNOWN_MAX = 10_000


class WorkingSet:
    """Jobs, steps and timers in memory."""

    def __init__(
        self, store: EventStore, *, shares_limits: bool = False, bounds_intake: bool = True
    ) -> None:
        """Begin empty; `shares_limits` says that other partitions come under the same limits.

        Without `bounds_intake` every job starts as soon as it is submitted.
        """
        self.store = store
        self.jobs: dict[UUID, ActiveJob] = {}
        self.steps: dict[UUID, Step] = {}  # begun and not ended
        self.trees: dict[UUID, Tree] = {}
        self.plans: dict[str, Plan] = {}
        self.heard: dict[UUID, datetime] = {}  # last sign of life of attempts that beat
        self.paused: set[UUID] = set()  # jobs; what is below them is paused, too
        self.held: dict[UUID, list[Waiter]] = {}  # paused job -> ready steps that came up meanwhile
        self.requests = Requests()
        self.orphans: list[UUID] = []  # steps that wait for a request that is open no longer
        self.limits = Limits(self.limit_change, _last_time(store), shared=shares_limits)
        self.caps = Caps(self.limit_change)
        self.intake = Intake(bounded=bounds_intake)
        self._limit_changes: dict[str, LimitChanged | None] = {}
        self._versions: dict[UUID, int] = {}  # of streams that only we write
        self._timers: list[tuple[datetime, UUID]] = []
        self._scheduled: dict[UUID, datetime] = {}  # the earliest timer of each
        self.fleet_served = _fleet_served(store)  # slots and endpoints, as the log has them

    def plan(self, definition: str) -> Plan:
        """Return the plan of a stored definition by its hash."""
        found = self.plans.get(definition)
        if found is None:
            last = self.store.last(ids.definition_id(definition))
            if last is None or not isinstance(last.event, DefinitionStored):
                raise StoredDataError(f"definition {definition} is not in the store")
            found = self.add_plan(msgspec.json.decode(last.event.json, type=JobDefinition))
        return found

    def add_plan(self, definition: JobDefinition) -> Plan:
        """Compile a definition, or find it compiled."""
        plan = build_plan(definition)
        return self.plans.setdefault(plan.hash, plan)

    def add(self, job: Job, plan: Plan) -> ActiveJob:
        """Begin to work on a job; its steps are counted by whoever adds it."""
        root = job.root or job.id
        tree = self.trees.get(root)
        if tree is None:
            tree = self.trees[root] = Tree(job)
        active = self.jobs[job.id] = ActiveJob(job, plan, tree, self.store)
        return active

    def ended(self, job: Job) -> ActiveJob:
        """Return a job that has ended, to look at; `revive` is for working on it."""
        return ActiveJob(job, self.plan(job.definition), Tree(job), self.store)

    def revive(self, active: ActiveJob) -> None:
        """Work on a job in a new generation, be it one that had ended."""
        job = active.job
        if job.id not in self.jobs:
            self.trees[job.id] = active.tree
            self.jobs[job.id] = active
            intake.hold(self, job)
        if job.deadline is not None:
            self.set_timer(job.deadline, job.id)

    def count_steps(self, tree: Tree) -> None:
        """Count anew what the jobs of a tree have put under its budget."""
        jobs = [active for active in self.jobs.values() if active.tree is tree]
        opened = (items.shape.count for each in jobs for items in each.job.fan_outs.values())
        tree.steps_used = sum(each.steps_known() for each in jobs) + sum(opened)

    def project_step(self, step_id: UUID) -> Step | None:
        """Return a step as the log has it."""
        return steps.project(None, self.store.stream(step_id))

    def remove(self, active: ActiveJob) -> None:
        """A job ended."""
        self.jobs.pop(active.job.id, None)
        self.paused.discard(active.job.id)
        self.held.pop(active.job.id, None)
        self.intake.waiting.pop(active.job.id, None)
        if active.job.parent is None:
            self.trees.pop(active.job.id, None)

    def drop_tree(self, root: UUID) -> None:
        """Let go of all jobs under a root, with their steps."""
        jobs = [job for job, active in self.jobs.items() if active.tree.root == root]
        for job in jobs:
            del self.jobs[job]
            self.intake.waiting.pop(job, None)
        gone = set(jobs)
        self.paused -= gone
        self.steps = {key: step for key, step in self.steps.items() if step.job not in gone}
        self.orphans = [step for step in self.orphans if step in self.steps]
        self.trees.pop(root, None)

    def ancestors(self, active: ActiveJob) -> list[ActiveJob]:
        """Return the job and those above it, nearest first."""
        found = [active]
        while (parent := found[-1].job.parent) is not None:
            found.append(self.jobs[parent.job])
        return found

    def path_of(self, active: ActiveJob, path: str) -> str:
        """Return the path of a step from the root job down, such as `groups[3]/merge`."""
        chain = self.ancestors(active)
        above = [above.job.parent.path for above in reversed(chain) if above.job.parent]
        return "/".join([*above, path])

    def limit_change(self, name: str) -> LimitChanged | None:
        """Return what people have set for a limit, if anything."""
        if name not in self._limit_changes:
            if len(self._limit_changes) >= LIMITS_KNOWN_MAX:
                self._limit_changes.clear()  # the log still has them
            self._limit_changes[name] = event_of(self.store.last(ids.limit_id(name)), LimitChanged)
        return self._limit_changes[name]

    def set_limit(self, change: LimitChanged) -> None:
        """People have set a limit."""
        self._limit_changes[change.name] = change
        if is_reserved(change.name):
            self.caps.changed()
            self._hold_what_is_out(jobs=bounds_jobs(change.name))
        self.limits.changed(change.name, change.at)

    def _hold_what_is_out(self, *, jobs: bool) -> None:
        """Let what went out, or was started, before a limit was set hold slots of it, too."""
        if jobs:
            for active in self.jobs.values():
                if active.job.parent is None and active.job.started:
                    intake.hold(self, active.job)
            return
        for step in self.steps.values():
            if step.state in OUT:
                self.hold_caps(step)

    def hold_caps(self, step: Step) -> None:
        """Let a step that is out hold slots of limits with reserved names, as they are set now."""
        name, _ = ids.split_path(step.path)
        claims = self.caps.of_step(self.jobs[step.job].standing(name))
        if claims:
            self.limits.hold(step.id, tuple(claim.held for claim in claims))

    def next_version(self, stream: UUID) -> int:
        """Return the version of the next event of a stream that has no aggregate in memory."""
        known = self._versions.get(stream)
        if known is None:
            last = self.store.last(stream)
            known = 0 if last is None else last.originator_version
        self._versions[stream] = known + 1
        return known + 1

    def pausing(self, active: ActiveJob) -> UUID | None:
        """Return the paused job that holds a job back: itself, or the nearest one above it."""
        if not self.paused:
            return None
        above = (each.job.id for each in self.ancestors(active))
        return next((job for job in above if job in self.paused), None)

    def due(self, step: Step) -> list[Due]:
        """Return all that time will bring about a step as it is now."""
        active = self.jobs[step.job]
        if step.until is None and not active.plan.timed:
            return []
        timeout = active.plan.at(step.path).definition.timeout
        return all_due(step, timeout, self.heard.get(step.id, step.started_at))

    def watch(self, step: Step) -> None:
        """Remember when time alone brings about something for a step."""
        dues = [] if step.state in STEP_ENDED else self.due(step)
        if dues:
            self.set_timer(min(dues).at, step.id)

    def set_timer(self, at: datetime, about: UUID) -> None:
        """Remember to look at a step, a job or a request at some time; the earliest is enough."""
        known = self._scheduled.get(about)
        if known is None or at < known:
            self._scheduled[about] = at
            heapq.heappush(self._timers, (at, about))

    def next_due(self) -> datetime | None:
        """Return when the next timer is due; it may turn out to be stale."""
        return self._timers[0][0] if self._timers else None

    def join(self, request: Request, step: UUID, remind_seconds: float | None) -> None:
        """Let a step wait for the answer to a request."""
        request.join(step, remind_seconds)
        due = request.remind_at()
        if due is not None:
            self.set_timer(due, request.id)

    def take_due(self, now: datetime) -> Iterator[UUID]:
        """Yield what is to be looked at by now. A step is only if something is due about it."""
        while self._timers and self._timers[0][0] <= now:
            at, about = heapq.heappop(self._timers)
            if self._scheduled.get(about) == at:
                del self._scheduled[about]
            step = self.steps.get(about)
            next_at = min((due.at for due in self.due(step)), default=None) if step else None
            if step is None or (next_at is not None and next_at <= now):
                yield about
            elif next_at is not None:
                self.set_timer(next_at, about)


def _fleet_served(store: EventStore) -> tuple[dict[str, int], tuple[str, ...]]:
    event = event_of(store.last(ids.FLEET_ID), FleetChanged)
    return ({}, ()) if event is None else (event.slots, event.endpoints)


def _last_time(store: EventStore) -> datetime | None:
    """Return the time of the last event of the log."""
    head = store.head()
    last = store.read(head - 1, 1) if head else ()
    return last[-1].recorded.event.at if last else None
