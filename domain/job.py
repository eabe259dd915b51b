"""The job aggregate: how events change its state. What follows from that is decided in `graph`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from warrener.domain.events import (
    Event,
    FanOut,
    JobAdjusted,
    JobAdvanced,
    JobCancelled,
    JobCancelling,
    JobFailed,
    JobOverdue,
    JobPaused,
    JobRerun,
    JobResumed,
    JobSignalled,
    JobStarted,
    JobSubmitted,
    JobSucceeded,
    Recorded,
)
from warrener.domain.job_state import (
    Job,
    Signal,
    add_counts,
    assign_below,
    assign_caught,
    assign_child,
    assign_cleaned,
    assign_cleaning,
    assign_closing,
    assign_edge,
    assign_fan_out,
    assign_heard,
    assign_item,
    assign_ready,
    assign_settled,
)
from warrener.domain.states import STEP_ENDED

KEYS_KEPT_MAX = 1_000  # keys of signals and reruns that a job remembers, to tell repeated ones


def evolve(job: Job, event: Event) -> Job:
    """Assign what an event says. Never refuses."""
    job.version += 1
    handler = _HANDLERS.get(type(event))
    if handler is not None:
        handler(job, event)
    return job


def _submit(job: Job, event: JobSubmitted) -> None:
    job.name, job.definition = event.name, event.definition
    job.root, job.parent, job.depth = event.root, event.parent, event.depth
    job.params, job.params_digest = event.params, event.params_digest
    job.labels, job.priority, job.fair = event.labels, event.priority, event.fair
    job.library, job.budget = event.library, event.budget
    job.selection, job.given = event.selection, event.given
    job.submitted_at, job.deadline = event.at, event.deadline


def _signal(job: Job, event: JobSignalled) -> None:
    _remember_key(job, event.key)
    if event.step is None:
        job.signals.setdefault(event.name, []).append(Signal(event.key, event.data))


def _remember_key(job: Job, key: str) -> None:
    """Remember the key of a signal or rerun, and forget the oldest beyond the bound."""
    job.keys.append(key)
    del job.keys[:-KEYS_KEPT_MAX]


def _adjust(job: Job, event: JobAdjusted) -> None:
    step = event.step
    if event.retry is not None:
        job.retries[step] = event.retry
        job.revisions[step] = job.revisions.get(step, 0) + 1
    if event.window is not None:
        job.windows[step] = event.window
    if event.tolerated is not None:
        job.tolerances[step] = event.tolerated
    items = job.fan_outs.get(step)
    if items is not None:
        shape = items.shape
        window, tolerated = job.windows.get(step, shape.window), job.tolerances.get(step)
        items.shape = FanOut(
            shape.count, window, shape.tolerated if tolerated is None else tolerated
        )


def _rerun(job: Job, event: JobRerun) -> None:
    _remember_key(job, event.key)
    job.state, job.started, job.generation = "running", True, event.generation
    job.result = job.error = None
    job.overdue = job.cancelled = job.closing = False
    if job.deadline is not None and job.deadline <= event.at:
        job.deadline = None
    add_counts(job.below, event.below, -1)
    job.given = {name: given for name, given in job.given.items() if name not in event.steps}
    for step in event.steps:
        job.renewed[step] = event.generation
        _forget(job, step)


def _forget(job: Job, step: str) -> None:
    """Make a step pending again, as if it had never been considered."""
    state = job.steps.pop(step, "pending")
    if state in STEP_ENDED:
        job.settled -= 1
        add_counts(job.counts, {state: 1}, -1)
        add_counts(job.counts, job.item_counts.pop(step, {}), -1)
    for kept in (job.edges, job.blind, job.fan_outs, job.children, job.caught, job.items_begun):
        kept.pop(step, None)
    for names in (job.failed, job.done):
        if step in names:
            names.remove(step)


def _advance(job: Job, event: JobAdvanced) -> None:
    for step, edges in event.edges.items():
        for dependency, required in edges.items():
            assign_edge(job, step, dependency, required)
    for step, blind in event.readied.items():
        assign_ready(job, step, blind)
    for step, shape in event.fan_outs.items():
        assign_fan_out(job, step, shape)
    for step, child in event.children.items():
        assign_child(job, step, child)
    for step, begun in event.begun.items():
        job.fan_outs[step].begun = begun
    for step, by_state in event.items.items():
        for state, indexes in by_state.items():
            for index in indexes:
                assign_item(job, step, index, state)
    for step, state in event.settled.items():
        assign_settled(job, step, state)
    assign_below(job, event.below)
    if event.caught or event.heard or event.cleaning or event.cleaned or event.closing:
        _advance_rarely(job, event)


def _advance_rarely(job: Job, event: JobAdvanced) -> None:
    for step, handler in event.caught.items():
        assign_caught(job, step, handler)
    for key, name in event.heard.items():
        assign_heard(job, key, name)
    for child in event.cleaning:
        assign_cleaning(job, child)
    for child in event.cleaned:
        assign_cleaned(job, child)
    if event.closing:
        assign_closing(job)


def project(job: Job | None, events: Iterable[Recorded]) -> Job | None:
    """Fold recorded events of one stream (the shape `Repository.get` asks for)."""
    for recorded in events:
        if job is None:
            job = Job(recorded.originator_id)
        evolve(job, recorded.event)
    return job


def _start(job: Job, _: JobStarted) -> None:
    job.state, job.started = "running", True


def _pause(job: Job, _: JobPaused) -> None:
    job.state = "paused"


def _resume(job: Job, _: JobResumed) -> None:
    job.state = "running" if job.started else "submitted"


def _begin_cancelling(job: Job, event: JobCancelling) -> None:
    job.state, job.cancelled, job.reason = "cancelling", True, event.reason


def _pass_deadline(job: Job, _: JobOverdue) -> None:
    job.state, job.overdue = "running", True


def _succeed(job: Job, event: JobSucceeded) -> None:
    job.state, job.result = "succeeded", event.result


def _fail(job: Job, event: JobFailed) -> None:
    job.state, job.error = "failed", event.error


def _end_cancelled(job: Job, _: JobCancelled) -> None:
    job.state = "cancelled"


_HANDLERS: dict[type[Event], Callable[[Job, Any], None]] = {
    JobAdvanced: _advance,
    JobSubmitted: _submit,
    JobStarted: _start,
    JobPaused: _pause,
    JobResumed: _resume,
    JobCancelling: _begin_cancelling,
    JobOverdue: _pass_deadline,
    JobSignalled: _signal,
    JobAdjusted: _adjust,
    JobRerun: _rerun,
    JobSucceeded: _succeed,
    JobFailed: _fail,
    JobCancelled: _end_cancelled,
}
