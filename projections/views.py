"""The documents of the read models. They are bounded: none grows with the size of its job.

Every document carries `position`, the last event of the log that it has seen. An event at or below
it changes nothing, so a batch may be applied twice or overlap the one before.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

import msgspec

from warrener.domain.definition.model import RetryRule
from warrener.domain.events import Error, Parent
from warrener.domain.ids import split_path, step_id
from warrener.domain.payloads import NULL, Payload
from warrener.domain.states import STEP_ENDED

DEFINITIONS = "definitions"
JOBS = "jobs"
STEPS = "steps"
ROOTS = "history_roots"
HISTORY = "history"
SIGNALS_NAMED_MAX = 20
BIRTHS_MAX = 8  # more than are in one batch


class View(msgspec.Struct, kw_only=True, omit_defaults=True):
    """Base of all documents."""

    position: int = 0


class Counts(msgspec.Struct, omit_defaults=True):
    """How many steps there are, by state."""

    states: dict[str, int] = {}

    def add(self, other: Mapping[str, int], sign: int = 1) -> None:
        """Add numbers by state, or with sign -1 take them away."""
        states = self.states
        for state, count in other.items():
            total = states.pop(state, 0) + sign * count
            if total:
                states[state] = total

    def by_state(self) -> dict[str, int]:
        """Return the number of steps by state, as a copy."""
        return dict(self.states)

    def done(self) -> int:
        """Return how many steps have ended."""
        return sum(count for state, count in self.states.items() if state in STEP_ENDED)

    def total(self) -> int:
        """Return how many steps are known of so far; it rises as fan-outs and sub-jobs open."""
        return sum(self.states.values())


class Steered(msgspec.Struct, frozen=True, omit_defaults=True):
    """Who asked for something about a job, why, and when."""

    at: datetime
    by: str = ""
    reason: str = ""


class KeptSignal(msgspec.Struct, frozen=True, omit_defaults=True):
    """A signal that no step has taken yet; its data stay in the log."""

    name: str
    key: str
    at: datetime
    by: str = ""


class DefinitionView(View, kw_only=True):
    """A stored definition; `steps` counts those that it names and those that undo them."""

    hash: str
    name: str
    version: int
    json: str
    steps: int

    @property
    def key(self) -> str:
        """Return the content hash."""
        return self.hash


class JobView(View, kw_only=True):
    """A job. `above` leads from the root to the step that started it; `counts` covers its subtree.

    `born` is the position of its submission. Of the kept signals the first are named in `signals`;
    `signals_kept` counts them all.
    """

    job: UUID
    name: str
    version: int
    definition: str
    state: str
    params: Payload
    root: UUID
    submitted_at: datetime
    parent: Parent | None = None
    above: tuple[tuple[UUID, str], ...] = ()  # jobs, each with the name of its step
    born: int = 0
    depth: int = 0
    labels: dict[str, str] = {}
    priority: int = 0
    fair: str | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    result: Payload = NULL
    error: Error | None = None
    reason: str = ""
    generation: int = 1
    paused: Steered | None = None
    stopped: Steered | None = None
    rerun: Steered | None = None
    deadline: datetime | None = None
    overdue_at: datetime | None = None
    closing: bool = False  # only clean-up is left to do
    signals: tuple[KeptSignal, ...] = ()
    signals_kept: int = 0
    counts: Counts = msgspec.field(default_factory=Counts)

    @property
    def key(self) -> UUID:
        """Return the job's id."""
        return self.job

    @property
    def ancestors(self) -> tuple[UUID, ...]:
        """Return the jobs above it, the root first."""
        return tuple(job for job, _ in self.above)

    def place(self) -> tuple[str, int, UUID]:
        """Return what orders the children of a job: step name, item index (-1: none), job."""
        name, item = split_path(self.parent.path) if self.parent else ("", None)
        return name, -1 if item is None else item, self.job


class StepView(View, kw_only=True):
    """A step that became ready, began or ended; an item of a fan-out is a step, too.

    `since` is the time of the present state; released, started and ended times are those of the
    newest attempt, and `seconds` is how long it ran. What it waits for (`due`, `until`, `request`,
    `signal`) goes with the state. A fan-out has `count`, `begun` and `items`: the states of those
    of its items that have a document; `below` counts the steps of the jobs that the step started.

    `births` are the positions at which new generations of a named step began (the latest few), or
    the one at which an item did. An item born before its fan-out is of an older generation.
    """

    job: UUID
    path: str
    root: UUID
    state: str = "pending"
    since: datetime | None = None
    generation: int = 1  # of a named step; items have that of their fan-out
    births: tuple[int, ...] = ()
    attempts: int = 0
    ready_at: datetime | None = None
    released_at: datetime | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    seconds: float | None = None
    progress: float | None = None
    note: str | None = None
    due: datetime | None = None
    until: datetime | None = None
    request: UUID | None = None
    signal: str | None = None
    worker: str | None = None
    endpoint: str | None = None
    queue: str | None = None
    result: Payload = NULL
    error: Error | None = None
    reason: str = ""
    caught_by: str | None = None
    child: UUID | None = None
    count: int | None = None
    begun: int = 0
    window: int | None = None
    tolerated: int = 0
    retry: tuple[RetryRule, ...] | None = None  # as changed while the job runs
    adjusted: Steered | None = None
    items: dict[str, int] = {}
    below: Counts = msgspec.field(default_factory=Counts)

    @property
    def key(self) -> tuple[UUID, str]:
        """Return job and path, under which the document is kept."""
        return self.job, self.path

    @property
    def id(self) -> UUID:
        """Return the id of the step's stream."""
        return step_id(self.job, self.path)

    @property
    def name(self) -> str:
        """Return the step's name in the definition."""
        return split_path(self.path)[0]

    @property
    def is_item(self) -> bool:
        """Say whether it is an item of a fan-out."""
        return self.path.endswith("]")

    @property
    def item(self) -> int | None:
        """Return the index of an item, None for a step that is none."""
        return split_path(self.path)[1]

    @property
    def born(self) -> int:
        """Return the position at which the present generation began, 0 for the first one."""
        return self.births[-1] if self.births else 0

    def began_since(self, born: int, position: int) -> bool:
        """Say whether a generation has begun since `born`, as seen at a position of the log."""
        births = self.births
        return bool(births) and any(born < birth <= position for birth in births)

    def items_by_state(self) -> dict[str, int] | None:
        """Return the number of items by state, those without a document included."""
        return None if self.count is None else self._items()

    def tally(self) -> dict[str, int]:
        """Return the states of the step and of its items, as jobs count them."""
        if self.count is None and not self.items:
            return {self.state: 1}
        states = self._items()
        states[self.state] = states.get(self.state, 0) + 1
        return states

    def _items(self) -> dict[str, int]:
        states = dict(self.items)
        known = sum(states.values())
        for state, count in self._unknown(max(0, (self.count or 0) - known), known):
            if count:
                states[state] = states.get(state, 0) + count
        return states

    def _unknown(self, unknown: int, known: int) -> tuple[tuple[str, int], ...]:
        """Share out the items without a document: they go with their fan-out when it ends."""
        if self.state in STEP_ENDED:
            return (("cancelled", unknown),)
        ready = min(unknown, max(0, self.begun - known))
        return ("ready", ready), ("pending", unknown - ready)


class RootView(View, kw_only=True):
    """The root of a job, for the history of trees."""

    job: UUID
    root: UUID

    @property
    def key(self) -> UUID:
        """Return the job's id."""
        return self.job


class HistoryView(View, kw_only=True):
    """Says that the event at `position` belongs to a job and to the tree under a root."""

    partition: int = 0
    job: UUID
    root: UUID

    @property
    def key(self) -> tuple[int, int]:
        """Return partition and position, under which the document is kept."""
        return self.partition, self.position
