"""The read models: what each needs to load for a batch of events, and how it folds the batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final
from uuid import UUID

import msgspec

from warrener.domain.definition.model import JobDefinition
from warrener.domain.events import (
    DefinitionStored,
    Event,
    JobAdjusted,
    JobAdvanced,
    JobEvent,
    JobRerun,
    JobSubmitted,
)
from warrener.domain.ids import item_path, split_path
from warrener.domain.ports import Positioned
from warrener.domain.step_events import StepEvent
from warrener.projections import attempts, control, flow, history
from warrener.projections.jobs import apply_job_event
from warrener.projections.ports import Documents, Wanted
from warrener.projections.steps import apply_step_event
from warrener.projections.total_views import ALL_JOBS, ALL_STEPS, TOTALS
from warrener.projections.views import DEFINITIONS, JOBS, STEPS, DefinitionView
from warrener.projections.working import Working

Batch = Sequence[Positioned]


class ReadModel(msgspec.Struct, frozen=True):
    """Documents that share one position. It needs events of these `kinds` and no others.

    `wanted` says what a batch touches, `wanted_then` what follows from the documents loaded first;
    `fold` gives the changed documents, leaving the loaded ones alone.
    """

    name: str
    kinds: tuple[type[Event], ...]
    wanted: Callable[[Batch], Wanted]
    wanted_then: Callable[[Batch, Wanted, Documents], Wanted]
    fold: Callable[[Batch, Documents], Documents]


def wanted(batch: Batch) -> Wanted:
    """Return the keys of definitions, jobs and steps that a batch touches."""
    definitions: set[str] = set()
    jobs: set[UUID] = set()
    steps: set[tuple[UUID, str]] = set()
    for positioned in batch:
        event = positioned.recorded.event
        if isinstance(event, StepEvent):
            jobs.add(event.job)
            steps.add((event.job, event.path))
            steps.add((event.job, split_path(event.path)[0]))
        elif isinstance(event, JobEvent):
            job = positioned.recorded.originator_id
            jobs.add(job)
            steps.update((job, path) for path in _paths(event))
            if isinstance(event, JobSubmitted):
                definitions.add(event.definition)
                if event.parent is not None:
                    jobs.add(event.parent.job)
                    steps.add((event.parent.job, split_path(event.parent.path)[0]))
        elif isinstance(event, DefinitionStored):
            definitions.add(event.hash)
    return {DEFINITIONS: definitions, JOBS: jobs, STEPS: steps}


def _paths(event: Event) -> set[str]:
    """Return the paths of the steps that an event of a job tells something about."""
    if isinstance(event, JobSubmitted):
        return set(event.given)
    if isinstance(event, JobRerun):
        return set(event.steps)
    if isinstance(event, JobAdjusted):
        return {event.step}
    if not isinstance(event, JobAdvanced):
        return set()
    paths = {*event.readied, *event.fan_outs, *event.children, *event.begun, *event.settled}
    paths.update(event.caught)
    for name, ends in event.items.items():
        paths.add(name)
        paths.update(item_path(name, index) for indexes in ends.values() for index in indexes)
    return paths


def wanted_then(batch: Batch, first: Wanted, loaded: Documents) -> Wanted:
    """Return jobs above the loaded ones, their steps that lead down to them, and the totals."""
    jobs = loaded.get(JOBS, {})
    above = {place for view in jobs.values() for place in view.above}
    return {
        JOBS: {job for job, _ in above} - set(jobs),
        STEPS: above - set(loaded.get(STEPS, {})),
        TOTALS: _totals(batch, first, {job: view.name for job, view in jobs.items()}),
    }


def _totals(batch: Batch, first: Wanted, names: dict[UUID, str]) -> set[tuple[int, str, str]]:
    """Return the keys of the totals that a batch touches, given names of jobs known before."""
    for positioned in batch:
        event = positioned.recorded.event
        if isinstance(event, JobSubmitted):
            names[positioned.recorded.originator_id] = event.name
    places = {ALL_JOBS, ALL_STEPS, *((name, "") for name in names.values())}
    for job, path in first[STEPS]:
        if job in names:
            places.add((names[job], split_path(path)[0]))
    partition = batch[0].partition
    return {(partition, *place) for place in places}


def fold(batch: Batch, loaded: Documents) -> Documents:
    """Return definitions, jobs, steps and totals as they are after the batch."""
    working = Working(loaded, batch[0].partition if batch else 0)
    for positioned in batch:
        working.begin(positioned.position)
        event = positioned.recorded.event
        if isinstance(event, StepEvent):
            apply_step_event(working, event)
        elif isinstance(event, JobEvent):
            apply_job_event(working, positioned.recorded.originator_id, event)
        elif isinstance(event, DefinitionStored):
            working.put(DEFINITIONS, _definition(event))
    return working.changes()


def _definition(event: DefinitionStored) -> DefinitionView:
    steps = msgspec.json.decode(event.json, type=JobDefinition).steps.values()
    return DefinitionView(
        hash=event.hash,
        name=event.name,
        version=event.version,
        json=event.json,
        steps=len(steps) + sum(step.compensate is not None for step in steps),
    )


def _nothing(_batch: Batch, _first: Wanted, _loaded: Any) -> Wanted:
    return {}


_OF_JOBS: Final = (JobEvent, StepEvent)
READ_MODELS: Final = (
    ReadModel("jobs", (DefinitionStored, *_OF_JOBS), wanted, wanted_then, fold),
    ReadModel("history", _OF_JOBS, history.wanted, _nothing, history.fold),
    ReadModel("control", control.KINDS, control.wanted, _nothing, control.fold),
    ReadModel("flow", flow.KINDS, flow.wanted, _nothing, flow.fold),
    ReadModel("attempts", _OF_JOBS, attempts.wanted, _nothing, attempts.fold),
)
