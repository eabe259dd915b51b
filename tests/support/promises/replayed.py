"""What the controller has in memory is what the log says, after every turn and every restart."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from support.promises.folded import Broken, Folded
from support.promises.limits import G9

from warrener.domain.flow.alleviation import put_together
from warrener.domain.flow.lanes import Flow
from warrener.domain.flow.ready import Ready
from warrener.domain.ids import step_id
from warrener.domain.job_state import Job
from warrener.domain.step import Step
from warrener.services.active_job import ActiveJob
from warrener.services.controller import Controller
from warrener.services.working_set import WorkingSet


class Replay:
    """Jobs, steps, requests, limits, pauses and release windows in memory = those of the log."""

    def __init__(self, folded: Folded, limits: G9) -> None:
        self._folded = folded
        self._limits = limits

    def check(self, controller: Controller, touched: set[UUID] | None = None) -> None:
        """Compare; of jobs and steps only those `touched`, if that is said."""
        memory, folded = controller.memory, self._folded
        jobs, steps = folded.open_jobs(), folded.open_steps()
        _same("the jobs worked on", set(memory.jobs), set(jobs))
        _same("the steps worked on", set(memory.steps), set(steps))
        for key in jobs if touched is None else touched & jobs.keys():
            _same(f"job {key}", memory.jobs[key].job, jobs[key])
        for key in steps if touched is None else touched & steps.keys():
            _same(f"step {steps[key].path} of {steps[key].job}", memory.steps[key], steps[key])
        paused = {key for key, job in jobs.items() if job.state == "paused"}
        _same("what is paused", memory.paused, paused)
        self._check_requests(memory)
        self._check_incidents(controller)
        caps = self._limits.caps
        held = {k: v for k, v in holders(memory).items() if k.name[0] != "@" or caps.is_set(k.name)}
        _same("who holds limits", held, self._limits.holders)
        waiting = {key for key, job in jobs.items() if job.state == "submitted"}
        waiting |= {key for key, job in jobs.items() if job.state == "paused" and not job.started}
        _same("who waits for a start", set(memory.intake.waiting), waiting)
        if controller.fleet.members:
            _same("what workers serve", controller.fleet.served(), folded.fleet)
        _same("the orders that are out", windows(controller.flow), self._out())

    def _out(self) -> dict[str, int]:
        counts: dict[str, int] = {}
        for step in self._folded.out():
            counts[step.queue] = counts.get(step.queue, 0) + 1
        return counts

    def _check_incidents(self, controller: Controller) -> None:
        found, known = controller.control.incidents, self._folded.incidents
        _same("open incidents", set(found.known), set(known.known))
        for key, incident in known.known.items():
            mine = found.known[key]
            _same(f"the end of incident {key}", mine.ended_at, incident.ended_at)
            _same(f"what is proposed for {key}", mine.proposed, incident.proposed)
            taken = [(each.measure, each.until) for each in mine.taken]
            _same(
                f"what is done about {key}", taken, [(e.measure, e.until) for e in incident.taken]
            )
        in_force = put_together(known.in_force())
        _same("the measures in force", controller.flow.measures, in_force)

    def _check_requests(self, memory: WorkingSet) -> None:
        members: dict[UUID, set[UUID]] = {key: set() for key in self._folded.requests}
        for step in self._folded.open_steps().values():
            if step.request is not None:
                members.setdefault(step.request, set()).add(step.id)
        for request, incident in self._folded.incidents.requests().items():
            members[request].add(incident)
        found = {key: set(request.members) for key, request in memory.requests.open.items()}
        _same("who waits for people", found, members)
        for key, request in memory.requests.open.items():
            known = self._folded.requests[key]
            now = (request.asked, request.told_at, request.reminders)
            _same(f"request {key}", now, (known.asked, known.told_at, known.reminders))


class Restart:
    """A controller that loads the log now would go on with all that this one has at hand."""

    def __init__(self, folded: Folded, replay: Replay) -> None:
        self._folded = folded
        self._replay = replay

    def check(self, live: Controller, fresh: Controller, now: datetime) -> None:
        """Compare a controller with one that was just loaded."""
        self._replay.check(fresh)
        _same("the ready steps", self._ready(live, now), self._ready(fresh, now))
        for step in live.memory.steps.values():
            _same(f"timers of {step.path}", self._dues(live, step), self._dues(fresh, step))
        for controller in (live, fresh):
            self._check_timers(controller, now)
        for key, active in live.memory.jobs.items():
            again = fresh.memory.jobs[key]
            _same(f"items of {key}", active.items, again.items)
            _same(f"results of items of {key}", _collected(active), _collected(again))
        for root, tree in live.memory.trees.items():
            again_used = fresh.memory.trees[root].steps_used
            _same(f"steps under {root}", tree.steps_used, again_used)
        for key, request in live.memory.requests.open.items():
            _same(f"members of {key}", request.members, fresh.memory.requests.open[key].members)

    def _check_timers(self, controller: Controller, now: datetime) -> None:
        """Somebody will look at whatever time brings about."""
        memory = controller.memory
        taken = {step_id(each.job, each.path) for each in all_ready(controller)}
        first: dict[UUID, datetime] = {}
        for at, about in memory._timers:
            first[about] = min(at, first.get(about, at))
        wanted = [
            (step.id, due.at)
            for step in memory.steps.values()
            for due in memory.due(step)
            if not (due.kind == "retry" and step.id in taken)
        ]
        wanted += [
            (key, active.job.deadline)
            for key, active in memory.jobs.items()
            if active.job.deadline and self._has_deadline(active.job)
        ]
        reminders = ((key, each.remind_at()) for key, each in memory.requests.open.items())
        wanted += [(key, at) for key, at in reminders if at is not None]
        for about, at in wanted:
            if at > now and (about not in first or first[about] > at):
                raise Broken("Replay", f"nobody will look at {about} at {at}")

    def _has_deadline(self, job: Job) -> bool:
        """Say whether a deadline would still stop a job; clean-up is not stopped."""
        return not (job.overdue or job.cancelled) and bool(self._folded.main_open(job))

    def _dues(self, controller: Controller, step: Step) -> list[str]:
        """Return what time will bring about a step; the last sign of life is not in the log."""
        dues = controller.memory.due(step)
        return sorted(f"{due.kind} {due.at}" for due in dues if due.kind != "beat")

    def _ready(self, controller: Controller, now: datetime) -> set[Ready]:
        """Return the steps in any backlog that could go out, but for windows and limits."""
        return {each for each in all_ready(controller) if self._is_ready(each, now)}

    def _is_ready(self, ready: Ready, now: datetime) -> bool:
        job = self._folded.open_jobs().get(ready.job)
        if job is None:
            return False
        steps = (s for s in self._folded.open_steps().values() if s.job == job.id)
        begun = next((step for step in steps if step.path == ready.path), None)
        if begun is not None:  # a retry that is due goes out by its timer
            return begun.state == "ready"
        if ready.index is None:
            return job.step(ready.step) == "ready"
        items = job.fan_outs.get(ready.step)
        if items is None or ready.index >= max(items.begun, items.may_begin):
            return False
        return not items.ended[ready.index]


def _collected(active: ActiveJob) -> dict[str, bytes]:
    return {name: found.to_json() for name, found in active.collected.items()}


def all_ready(controller: Controller) -> list[Ready]:
    """Return all that waits for room in windows and limits, or for its job to be resumed."""
    waiters = [each for held in controller.memory.held.values() for each in held]
    for state in controller.memory.limits._states.values():
        waiters += state.waiters
    return [*controller.flow.backlog(), *(waiter.queued.ready for waiter in waiters)]


def windows(flow: Flow) -> dict[str, int]:
    """Return how many orders of each queue are out."""
    return {queue: lane.window.out for queue, lane in flow._lanes.items() if lane.window.out}


def holders(memory: WorkingSet) -> dict[Any, set[UUID]]:
    """Return who holds which limit."""
    states = memory.limits._states
    return {held: set(state.holders) for held, state in states.items() if state.holders}


def _same(what: str, found: Any, expected: Any) -> None:
    if found == expected:
        return
    if isinstance(found, msgspec.Struct):
        pairs = [(name, getattr(found, name), getattr(expected, name)) for name in fields(found)]
        said = "; ".join(f"{name}: {a} is not {b}" for name, a, b in pairs if a != b)
        raise Broken("Replay", f"{what}: in memory {said} of the log")
    raise Broken("Replay", f"{what}: in memory {found}, by the log {expected}")


def fields(struct: msgspec.Struct) -> tuple[str, ...]:
    """Return the names of a struct's fields."""
    return struct.__struct_fields__
