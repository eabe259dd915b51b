"""What the controller holds in memory: the jobs and steps being worked on, and their timers.

All of it follows from the log and is thrown away after a conflict.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from warrener.domain import ids
from warrener.domain.definition.model import Budget, JobDefinition
from warrener.domain.errors import StoredDataError
from warrener.domain.events import DefinitionStored, Error, StepFailed, StepSucceeded
from warrener.domain.graph import render
from warrener.domain.job import Job
from warrener.domain.payloads import Payload
from warrener.domain.plan import Plan, build_plan
from warrener.domain.ports import EventStore
from warrener.domain.scope import StepsView, job_variable
from warrener.domain.step import Step


class Tree:
    """All jobs under one root: the budget they share."""

    def __init__(self, root: UUID, budget: Budget) -> None:
        """Begin with nothing used."""
        self.root = root
        self.budget = budget
        self.steps_used = 0


class ActiveJob:
    """A job that has not ended, with the values its expressions may read."""

    def __init__(self, job: Job, plan: Plan, tree: Tree, store: EventStore) -> None:
        """Take the parts; values are loaded from the store when they are not known yet."""
        self.job = job
        self.plan = plan
        self.tree = tree
        self.demanded: set[str] = set()
        self.ending = False
        self.arguments: dict[str, bytes] = {}  # of ready steps, as JSON
        self.values: dict[str, Any] = {}  # decoded results of named steps
        self.errors: dict[str, Error] = {}
        self.items: dict[str, list[Any]] = {}  # of open fan-outs
        self.collected: dict[str, Collected] = {}  # of open fan-outs whose results are read
        self._store = store
        self._params: Any = msgspec.UNSET
        self._item_scopes: dict[str, dict[str, Any]] = {}

    @property
    def params(self) -> Any:
        """Return the decoded parameters."""
        if self._params is msgspec.UNSET:
            self._params = read_payload(self.job.params, self._store)
        return self._params

    @params.setter
    def params(self, value: Any) -> None:
        self._params = value

    def scope(self, reader: str, deciding: bool = False) -> dict[str, Any]:
        """Return what the expressions of a step see (`""`: those of the job's result).

        `deciding` is for the conditions of its edges, which may read what is still undecided.
        """
        edges = self.job.edges.get(reader, {})
        step = self.plan.steps.get(reader)
        conditional = [e.dependency for e in step.edges if e.when is not None] if step else []
        hidden = [n for n in conditional if not edges.get(n, deciding)]
        unseen = self.job.blind.get(reader, ())
        steps = StepsView(self.job, self.plan.steps, self, unseen=unseen, hidden=hidden)
        return {"params": self.params, "steps": steps, "job": job_variable(self.job)}

    def item_scope(self, reader: str, index: int) -> dict[str, Any]:
        """Return what the expressions of an item of a fan-out see."""
        base = self._item_scopes.get(reader)
        if base is None:
            base = self._item_scopes[reader] = self.scope(reader)
        return {**base, "item": self.items[reader][index], "index": index}

    def render_arguments(self, name: str, index: int | None) -> bytes:
        """Return the arguments of a step or of an item, as JSON."""
        known = self.arguments.pop(name, None) if index is None else None
        if known is not None:
            return known
        scope = self.scope(name) if index is None else self.item_scope(name, index)
        return render(self.plan.steps[name].arguments, scope)

    def forget_items(self, name: str) -> None:
        """Let go of what an ended fan-out needed."""
        self.items.pop(name, None)
        self.collected.pop(name, None)
        self._item_scopes.pop(name, None)

    def result(self, name: str) -> Any:
        """Return the decoded result of a named step that succeeded."""
        if name not in self.values:
            self.values[name] = read_payload(self._stored_result(name), self._store)
        return self.values[name]

    def error(self, name: str) -> Error | None:
        """Return the error of a named step that failed."""
        if name not in self.errors:
            given = self.job.given.get(name)
            if given is not None:
                return given.error
            last = self._store.last(ids.step_id(self.job.id, name))
            if last is None or not isinstance(last.event, StepFailed):
                return None
            self.errors[name] = last.event.error
        return self.errors[name]

    def _stored_result(self, name: str) -> Payload | None:
        given = self.job.given.get(name)
        if given is not None:
            return given.result
        last = self._store.last(ids.step_id(self.job.id, name))
        return last.event.result if last and isinstance(last.event, StepSucceeded) else None


class Collected:
    """The results of a fan-out's items, gathered because somebody reads them."""

    def __init__(self, count: int, bytes_max: int) -> None:
        """Begin with null for every item."""
        self.bytes = 2
        self._bytes_max = bytes_max
        self._texts: list[bytes | None] = [None] * count

    def put(self, index: int, data: bytes) -> None:
        """Keep the result of an item, as JSON, unless the whole is too large by now."""
        self.bytes += len(data) + 1
        if self.bytes <= self._bytes_max:
            self._texts[index] = data
        else:
            self._texts.clear()

    def to_json(self) -> bytes:
        """Return the list of results in item order."""
        return b"[" + b",".join(text or b"null" for text in self._texts) + b"]"


class WorkingSet:
    """Jobs, steps and timers in memory."""

    def __init__(self, store: EventStore) -> None:
        """Begin empty."""
        self.store = store
        self.jobs: dict[UUID, ActiveJob] = {}
        self.steps: dict[UUID, Step] = {}  # begun and not ended
        self.trees: dict[UUID, Tree] = {}
        self.plans: dict[str, Plan] = {}
        self._timers: list[tuple[datetime, UUID]] = []

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
        """Begin to work on a job."""
        root = job.root or job.id
        tree = self.trees.get(root)
        if tree is None:
            tree = self.trees[root] = Tree(root, job.budget)
        tree.steps_used += len(plan.steps)
        active = self.jobs[job.id] = ActiveJob(job, plan, tree, self.store)
        return active

    def remove(self, active: ActiveJob) -> None:
        """A job ended."""
        self.jobs.pop(active.job.id, None)
        if active.job.parent is None:
            self.trees.pop(active.job.id, None)

    def drop_tree(self, root: UUID) -> None:
        """Let go of all jobs under a root, with their steps."""
        jobs = [job for job, active in self.jobs.items() if active.tree.root == root]
        for job in jobs:
            del self.jobs[job]
        gone = set(jobs)
        self.steps = {key: step for key, step in self.steps.items() if step.job not in gone}
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

    def set_timer(self, due: datetime, step: UUID) -> None:
        """Remember when a step's next attempt is due."""
        heapq.heappush(self._timers, (due, step))

    def next_due(self) -> datetime | None:
        """Return when the next timer is due; it may turn out to be stale."""
        return self._timers[0][0] if self._timers else None

    def take_due(self, now: datetime) -> list[Step]:
        """Return the steps whose next attempt is due, forgetting timers that are stale."""
        due = []
        while self._timers and self._timers[0][0] <= now:
            at, step_id = heapq.heappop(self._timers)
            step = self.steps.get(step_id)
            if step is not None and step.state == "retrying" and step.due == at:
                due.append(step)
        return due


def read_payload(payload: Payload | None, store: EventStore) -> Any:
    """Return the value of a payload from the log."""
    return None if payload is None else msgspec.json.decode(payload_bytes(payload, store))


def payload_bytes(
    payload: Payload, store: EventStore, fresh: Mapping[str, bytes] | None = None
) -> bytes:
    """Return the JSON of a payload; `fresh` has blobs that are not committed yet."""
    if payload.json is not None:
        return payload.json.encode()
    name = payload.blob or ""
    return fresh[name] if fresh and name in fresh else store.blob(name)
