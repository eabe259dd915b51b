"""The state of a job, and the assignments that decisions and events make to it.

`Job` holds one entry for a named step that left `pending` and one byte for each item of an open
fan-out, so that its size follows the definition and not the data.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from warrener.domain.definition.model import Budget, RetryRule
from warrener.domain.events import Error, FanOut, GivenStep, Parent, Selection
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


class Signal(msgspec.Struct, frozen=True):
    """A signal that came before anybody waited for it."""

    key: str
    data: Payload


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
    started: bool = False  # else it waits for that, or ends without
    steps: dict[str, str] = {}
    edges: dict[str, dict[str, bool]] = {}
    blind: dict[str, tuple[str, ...]] = {}
    fan_outs: dict[str, Items] = {}
    children: dict[str, UUID] = {}  # of the latest generation, ended ones included
    settled: int = 0  # named steps that ended
    failed: list[str] = []  # named steps that ended failed, in that order
    counts: dict[str, int] = {}  # final states of named steps and items
    below: dict[str, int] = {}  # final states of the steps of ended child jobs
    result: Payload | None = None
    error: Error | None = None
    generation: int = 1
    deadline: datetime | None = None
    overdue: bool = False
    cancelled: bool = False  # it ends as cancelled; stays so while it cleans up
    reason: str = ""  # why it was cancelled
    closing: bool = False  # only clean-up is left to do
    done: list[str] = []  # named steps that succeeded, in that order
    caught: dict[str, str] = {}  # failed step -> step that answers for it
    cleaning: dict[UUID, int] = {}  # cancelled child jobs that still clean up -> generation then
    renewed: dict[str, int] = {}  # step -> latest generation that began it anew
    signals: dict[str, list[Signal]] = {}  # kept for whoever waits for them next
    keys: list[str] = []  # of signals and reruns, the newest last
    windows: dict[str, int] = {}  # changed while the job runs, as the two below
    tolerances: dict[str, int] = {}
    retries: dict[str, tuple[RetryRule, ...]] = {}
    revisions: dict[str, int] = {}  # step -> how often its retry rules were changed
    item_counts: dict[str, dict[str, int]] = {}  # ended fan-out -> final state -> items
    items_begun: dict[str, int] = {}  # ended fan-out -> items that had begun

    def stand_in(self, name: str) -> str:
        """Return the step whose outcome counts for a step: itself, or who answered for it."""
        while name in self.caught:
            name = self.caught[name]
        return name

    def resolved(self, name: str) -> bool:
        """Say whether the outcome of a step is known, that of who answers for it included."""
        return self.ended(self.stand_in(name))

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


# --- assignments, shared by `job.evolve` and by the decisions in `graph` -----------------------


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
    job.blind.pop(step, None)
    job.settled += 1
    job.counts[state] = job.counts.get(state, 0) + 1
    if state == "failed":
        job.failed.append(step)
    elif state == "succeeded":
        job.done.append(step)
    items = job.fan_outs.pop(step, None)
    if items is not None:
        _count_items(job, step, items)


def _count_items(job: Job, step: str, items: Items) -> None:
    counts = dict(items.counts)
    left = items.shape.count - items.ended_count
    if left:
        counts["cancelled"] = counts.get("cancelled", 0) + left
    job.item_counts[step], job.items_begun[step] = counts, items.begun
    add_counts(job.counts, counts)


def add_counts(totals: dict[str, int], counts: Mapping[str, int], sign: int = 1) -> None:
    """Add counts to totals, or take them away; what comes to nothing is left out."""
    for state, count in counts.items():
        total = totals.pop(state, 0) + sign * count
        if total:
            totals[state] = total


def assign_below(job: Job, steps: dict[str, int]) -> None:
    """A child job ended with these steps in its subtree."""
    add_counts(job.below, steps)


def assign_caught(job: Job, step: str, handler: str) -> None:
    """Another step answers for the failure of a step."""
    job.caught[step] = handler


def assign_heard(job: Job, key: str, name: str) -> None:
    """A step took a signal of this name that was kept."""
    left = [signal for signal in job.signals.get(name, ()) if signal.key != key]
    job.signals[name] = left
    if not left:
        del job.signals[name]


def assign_cleaning(job: Job, child: UUID) -> None:
    """A child job was cancelled and still cleans up."""
    job.cleaning[child] = job.generation


def assign_cleaned(job: Job, child: UUID) -> None:
    """A child job has cleaned up."""
    job.cleaning.pop(child, None)


def assign_closing(job: Job) -> None:
    """Only clean-up is left to do."""
    job.closing = True
