"""The documents of the read models. They are bounded: none grows with the size of its job.

Every document carries `position`, the last event of the log that it has seen. An event at or below
it changes nothing, so a batch may be applied twice or overlap the one before.
"""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import msgspec

from warrener.domain.events import Error, Parent
from warrener.domain.ids import split_path, step_id
from warrener.domain.payloads import NULL, Payload
from warrener.domain.states import STEP_ENDED

DEFINITIONS = "definitions"
JOBS = "jobs"
STEPS = "steps"
ROOTS = "history_roots"
HISTORY = "history"


class View(msgspec.Struct, kw_only=True, omit_defaults=True):
    """Base of all documents."""

    position: int = 0


class Counts(msgspec.Struct, omit_defaults=True):
    """How many steps a job and everything below it have.

    Steps with a document are counted in `known` by state. Of the others only sums are kept: steps
    named by definitions, items of opened fan-outs, and how many of those have a document.
    """

    known: dict[str, int] = {}
    named: int = 0
    named_known: int = 0
    opened: int = 0
    begun: int = 0
    items_known: int = 0

    def move(self, old: str, new: str) -> None:
        """Count one step from a state (`""`: it had no document) to another."""
        if old:
            self.known[old] = self.known.get(old, 0) - 1
        self.known[new] = self.known.get(new, 0) + 1

    def add(self, other: Counts) -> None:
        """Add what another one counts, or the difference that it stands for."""
        for state, count in other.known.items():
            total = self.known.pop(state, 0) + count
            if total:
                self.known[state] = total
        self.named += other.named
        self.named_known += other.named_known
        self.opened += other.opened
        self.begun += other.begun
        self.items_known += other.items_known

    def by_state(self) -> dict[str, int]:
        """Return the number of steps by state, those without a document included."""
        states = dict(self.known)
        ready, pending = split_unknown(self.opened, self.begun, self.items_known)
        pending += max(0, self.named - self.named_known)
        for state, count in (("ready", ready), ("pending", pending)):
            if count:
                states[state] = states.get(state, 0) + count
        return states

    def done(self) -> int:
        """Return how many steps have ended."""
        return sum(count for state, count in self.known.items() if state in STEP_ENDED)

    def total(self) -> int:
        """Return how many steps are known of so far; it rises as fan-outs and sub-jobs open."""
        return sum(self.by_state().values())


def split_unknown(opened: int, begun: int, known: int) -> tuple[int, int]:
    """Return how many items without a document are ready and how many are pending."""
    unknown = max(0, opened - known)
    ready = min(unknown, max(0, begun - known))
    return ready, unknown - ready


class DefinitionView(View, kw_only=True):
    """A stored definition; `steps` is the number of steps that it names."""

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
    """A job. `ancestors` leads from the root to the parent; `counts` covers the whole subtree."""

    job: UUID
    name: str
    version: int
    definition: str
    state: str
    params: Payload
    root: UUID
    submitted_at: datetime
    parent: Parent | None = None
    ancestors: tuple[UUID, ...] = ()
    depth: int = 0
    labels: dict[str, str] = {}
    priority: int = 0
    fair: str | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    result: Payload = NULL
    error: Error | None = None
    reason: str = ""
    counts: Counts = msgspec.field(default_factory=Counts)

    @property
    def key(self) -> UUID:
        """Return the job's id."""
        return self.job

    def place(self) -> tuple[str, int, UUID]:
        """Return what orders the children of a job: step name, item index (-1: none), job."""
        name, item = split_path(self.parent.path) if self.parent else ("", None)
        return name, -1 if item is None else item, self.job


class StepView(View, kw_only=True):
    """A step that became ready, began or ended; an item of a fan-out is a step, too.

    `since` is the time of the present state; released, started and ended times are those of the
    newest attempt, and `seconds` is how long it ran. A fan-out has `count`, `begun` and `items`:
    the states of those of its items that have a document.
    """

    job: UUID
    path: str
    root: UUID
    state: str = "pending"
    since: datetime | None = None
    attempts: int = 0
    ready_at: datetime | None = None
    released_at: datetime | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    seconds: float | None = None
    due: datetime | None = None
    worker: str | None = None
    endpoint: str | None = None
    queue: str | None = None
    result: Payload = NULL
    error: Error | None = None
    reason: str = ""
    child: UUID | None = None
    count: int | None = None
    begun: int = 0
    window: int | None = None
    tolerated: int = 0
    items: dict[str, int] = {}

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
    def item(self) -> int | None:
        """Return the index of an item, None for a step that is none."""
        return split_path(self.path)[1]

    def items_by_state(self) -> dict[str, int] | None:
        """Return the number of items by state, those without a document included."""
        if self.count is None:
            return None
        known = sum(self.items.values())
        return Counts(
            known=self.items, opened=self.count, begun=self.begun, items_known=known
        ).by_state()


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

    job: UUID
    root: UUID

    @property
    def key(self) -> int:
        """Return the position in the log."""
        return self.position
