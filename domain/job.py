"""The job aggregate: state and `evolve`. What follows from a state is decided in `graph`.

`Job` holds one entry for a named step that left `pending` and one byte for each item of an open
fan-out, so that its size follows the definition and not the data.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from warrener.domain.definition.model import Budget
from warrener.domain.events import (
    Error,
    Event,
    FanOut,
    GivenStep,
    JobAdvanced,
    JobCancelled,
    JobCancelling,
    JobFailed,
    JobStarted,
    JobSubmitted,
    JobSucceeded,
    Parent,
    Recorded,
    Selection,
)
from warrener.domain.payloads import NULL, Payload
from warrener.domain.states import STEP_ENDED

ITEM_OPEN, ITEM_ENDED = 0, 1


class Items(msgspec.Struct):
    """The items of an opened fan-out: how many, how far begun, which ended."""

    shape: FanOut
    ended: bytearray  # one byte an item: ITEM_OPEN or ITEM_ENDED
    begun: int = 0
    counts: dict[str, int] = {}  # final state -> items

    @property
    def ended_count(self) -> int:
        """Return how many items have ended."""
        return sum(self.counts.values())

    def in_flight(self) -> tuple[int, ...]:
        """Return the indexes of the items that began and have not ended."""
        return tuple(index for index in range(self.begun) if not self.ended[index])

    @property
    def may_begin(self) -> int:
        """Return the index before which items may begin now, by the window."""
        window = self.shape.window
        limit = self.shape.count
        return limit if window is None else min(limit, self.ended_count + window)


class Job(msgspec.Struct):
    """The state of one job. `steps` has the named steps that are no longer pending."""

    id: UUID
    name: str = ""
    definition: str = ""
    version: int = 0
    state: str = "submitted"
    root: UUID | None = None
    parent: Parent | None = None
    depth: int = 0
    params: Payload = NULL
    params_digest: str = ""
    labels: dict[str, str] = {}
    priority: int = 0
    fair: str | None = None
    library: dict[str, str] = {}
    budget: Budget = Budget()
    selection: Selection | None = None
    given: dict[str, GivenStep] = {}
    submitted_at: datetime | None = None
    steps: dict[str, str] = {}
    edges: dict[str, dict[str, bool]] = {}
    blind: dict[str, tuple[str, ...]] = {}
    fan_outs: dict[str, Items] = {}
    children: dict[str, UUID] = {}
    settled: int = 0  # named steps that ended
    failed: list[str] = []  # named steps that ended failed, in that order
    counts: dict[str, int] = {}  # final states of named steps and items
    below: dict[str, int] = {}  # final states of the steps of ended child jobs
    result: Payload | None = None
    error: Error | None = None

    def step(self, name: str) -> str:
        """Return the state of a named step."""
        return self.steps.get(name, "pending")

    def ended(self, name: str) -> bool:
        """Say whether a named step has ended."""
        return self.steps.get(name) in STEP_ENDED

    def ended_count(self) -> int:
        """Return how many steps have ended: named ones, items, and those of ended children."""
        open_items = sum(items.ended_count for items in self.fan_outs.values())
        return sum(self.counts.values()) + sum(self.below.values()) + open_items

    def totals(self) -> dict[str, int]:
        """Return final states of the steps of the whole subtree, as `JobEnded.steps` has them."""
        totals = dict(self.counts)
        for state, count in self.below.items():
            totals[state] = totals.get(state, 0) + count
        return totals


# --- assignments, shared by `evolve` and by the decisions in `graph` ---------------------------


def assign_edge(job: Job, step: str, dependency: str, required: bool) -> None:
    """A conditional edge was decided."""
    job.edges.setdefault(step, {})[dependency] = required


def assign_ready(job: Job, step: str, blind: Sequence[str]) -> None:
    """A step's join was decided; it reads null for the dependencies that had not ended."""
    job.steps[step] = "ready"
    if blind:
        job.blind[step] = tuple(blind)


def assign_fan_out(job: Job, step: str, shape: FanOut) -> None:
    """A fan-out was opened."""
    job.steps[step] = "waiting"
    job.fan_outs[step] = Items(shape, bytearray(shape.count))


def assign_child(job: Job, step: str, child: UUID) -> None:
    """A child job was started."""
    job.steps[step] = "waiting"
    job.children[step] = child


def assign_item(job: Job, step: str, index: int, state: str) -> None:
    """An item ended."""
    items = job.fan_outs[step]
    items.ended[index] = ITEM_ENDED
    items.counts[state] = items.counts.get(state, 0) + 1


def assign_settled(job: Job, step: str, state: str) -> None:
    """A named step ended; with a fan-out, items that did not end count as cancelled."""
    job.steps[step] = state
    job.settled += 1
    job.counts[state] = job.counts.get(state, 0) + 1
    if state == "failed":
        job.failed.append(step)
    items = job.fan_outs.pop(step, None)
    if items is not None:
        _count_items(job, items)
    job.children.pop(step, None)


def _count_items(job: Job, items: Items) -> None:
    for state, count in items.counts.items():
        job.counts[state] = job.counts.get(state, 0) + count
    left = items.shape.count - items.ended_count
    if left:
        job.counts["cancelled"] = job.counts.get("cancelled", 0) + left


def assign_below(job: Job, steps: dict[str, int]) -> None:
    """A child job ended with these steps in its subtree."""
    for state, count in steps.items():
        job.below[state] = job.below.get(state, 0) + count


def evolve(job: Job, event: Event) -> Job:
    """Assign what an event says. Never refuses."""
    job.version += 1
    match event:
        case JobAdvanced():
            _advance(job, event)
        case JobSubmitted():
            _submit(job, event)
        case JobStarted():
            job.state = "running"
        case JobCancelling():
            job.state = "cancelling"
        case JobSucceeded():
            job.state, job.result = "succeeded", event.result
        case JobFailed():
            job.state, job.error = "failed", event.error
        case JobCancelled():
            job.state = "cancelled"
    return job


def _submit(job: Job, event: JobSubmitted) -> None:
    job.name, job.definition = event.name, event.definition
    job.root, job.parent, job.depth = event.root, event.parent, event.depth
    job.params, job.params_digest = event.params, event.params_digest
    job.labels, job.priority, job.fair = event.labels, event.priority, event.fair
    job.library, job.budget = event.library, event.budget
    job.selection, job.given = event.selection, event.given
    job.submitted_at = event.at


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


def project(job: Job | None, events: Iterable[Recorded]) -> Job | None:
    """Fold recorded events of one stream (the shape `Repository.get` asks for)."""
    for recorded in events:
        if job is None:
            job = Job(recorded.originator_id)
        evolve(job, recorded.event)
    return job
