"""A part of a job run alone: what the rest is taken to have given."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from warrener.domain import ids
from warrener.domain import job as jobs
from warrener.domain.definition.model import JobDefinition
from warrener.domain.demand import downstream
from warrener.domain.errors import UsageError
from warrener.domain.events import GivenStep, Selection
from warrener.domain.job_state import Job
from warrener.domain.payloads import INLINE_BYTES_MAX, Payload, encode_json
from warrener.domain.plan import Plan, build_plan
from warrener.domain.ports import EventStore
from warrener.domain.step_events import StepFailed, StepSucceeded
from warrener.services.submission import Part


def part_of(
    definition: JobDefinition,
    selection: Selection,
    given: Mapping[str, Any],
    recorded: Mapping[str, GivenStep] | None = None,
) -> Part:
    """Return the part, with what the steps outside it gave in a recorded job or are given."""
    plan = build_plan(definition)
    inside = _selected(plan, selection)
    outside = {
        name: step
        for name, step in (recorded or {}).items()
        if name in plan.steps and name not in inside
    }
    for name, value in given.items():
        if name not in plan.steps:
            raise UsageError(f"--given {name}: job {definition.name} has no such step")
        if name in inside:
            raise UsageError(f"--given {name}: this step is among those to run")
        outside[name] = GivenStep("succeeded", _payload(name, value))
    return Part(selection, outside)


def _selected(plan: Plan, selection: Selection) -> frozenset[str]:
    """Return the steps that are run: the named one, with what is above or below it."""
    if selection.step not in plan.steps:
        return frozenset()  # refused, with the names there are, when the job is submitted
    if selection.mode == "downstream":
        return downstream(plan, selection.step)
    found = {selection.step}
    if selection.mode == "upto":
        for step in sorted(plan.steps.values(), key=lambda step: step.order, reverse=True):
            if step.name in found:
                found.update(edge.dependency for edge in step.edges)
    return frozenset(found)


def recorded_steps(store: EventStore, job_id: UUID) -> dict[str, GivenStep]:
    """Return what every ended step of a job gave, by its log."""
    job = jobs.project(None, store.stream(job_id))
    if job is None:
        return {}
    ended = [name for name in job.steps if job.ended(name)]
    return {name: job.given.get(name) or _given(store, job, name) for name in ended}


def _given(store: EventStore, job: Job, name: str) -> GivenStep:
    last = store.last(ids.step_id(job.id, name))
    event = last.event if last is not None else None
    if isinstance(event, StepSucceeded):
        return GivenStep(job.step(name), event.result)
    if isinstance(event, StepFailed):
        return GivenStep(job.step(name), None, event.error)
    return GivenStep(job.step(name))


def _payload(name: str, value: Any) -> Payload:
    data = encode_json(value)
    if len(data) > INLINE_BYTES_MAX:
        raise UsageError(f"--given {name}: {len(data)} bytes are over {INLINE_BYTES_MAX}")
    return Payload(json=data.decode())
