"""What the API gives beside the shapes that the command line has, too."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from warrener.domain.messages import Time as At
from warrener.domain.tokens import Role
from warrener.projections.ports import JobCursor
from warrener.services.attempt_queries import Attempt
from warrener.services.control_shapes import ActionLine, LimitLine
from warrener.services.fleet_watch import WorkerLine
from warrener.services.flow_shapes import StarvationLine
from warrener.services.shapes import HistoryLine, JobLine, Shape, Show, SlowStep, Step, Time
from warrener.services.web.problems import Fault


class SessionNow(Shape, frozen=True, kw_only=True):
    """Who you are. `login` says that there are tokens, one of which is needed to get in.

    `csrf` goes into the header X-Warrener-CSRF of whatever changes something.
    """

    name: str
    role: Role
    csrf: str
    login: bool
    version: str


class JobsPage(Shape, frozen=True, kw_only=True):
    """Jobs, the newest first; `next` goes on after them, null at the end."""

    items: tuple[JobLine, ...]
    next: str | None


class JobFound(Shape, frozen=True, kw_only=True):
    """The id of a job."""

    job: UUID


class ItemsPage(Shape, frozen=True, kw_only=True):
    """Items of a fan-out that began or ended; `next` is the index to give for `after`."""

    items: tuple[Step, ...]
    next: int | None


class AttemptsPage(Shape, frozen=True, kw_only=True):
    """Attempts of a step; `next` is the number to give for `after`."""

    items: tuple[Attempt, ...]
    next: int | None


class HistoryPage(Shape, frozen=True, kw_only=True):
    """Events by position; `next` is the position to give for `after`."""

    items: tuple[HistoryLine, ...]
    next: int | None


class PositionsPage(Shape, frozen=True, kw_only=True):
    """Positions of a job's own events; `next` is the one to give for `after`."""

    items: tuple[int, ...]
    next: int | None


class TimelinePage(Shape, frozen=True, kw_only=True):
    """Attempts and waits by the time at which they began. A page may be empty before the end."""

    items: tuple[Attempt, ...]
    next: str | None


class SlowestList(Shape, frozen=True, kw_only=True):
    """The steps that ran longest."""

    items: tuple[SlowStep, ...]


class ActionsPage(Shape, frozen=True, kw_only=True):
    """Requests for people, the newest first; `more` says that some are left out."""

    items: tuple[ActionLine, ...]
    more: bool


class LimitsList(Shape, frozen=True, kw_only=True):
    """Limits that were changed or are in use, by name."""

    items: tuple[LimitLine, ...]


class FleetNow(Shape, frozen=True, kw_only=True):
    """What workers offer, since a time, null if none has come yet.

    `workers` are those that were heard; null where there is no broker to hear them at.
    """

    slots: Mapping[str, int]
    endpoints: tuple[str, ...]
    since: str | None
    workers: tuple[WorkerLine, ...] | None


class StarvationPage(Shape, frozen=True, kw_only=True):
    """Incidents, the newest first; `more` says that some are left out."""

    items: tuple[StarvationLine, ...]
    more: bool


class Spot(Shape, frozen=True, kw_only=True):
    """A place in a drawing; x goes to the right and y down."""

    x: float
    y: float


class GraphNode(Shape, frozen=True, kw_only=True):
    """A step, placed by its left upper corner. `progress` is a share from 0 to 1.

    It is of its items, of the steps of its open sub-job, or what its endpoint said.
    """

    name: str
    kind: str
    target: str
    fan_out: bool
    join: str
    when: str | None
    always: bool
    compensate: str | None
    undone: str | None
    state: str
    items: Mapping[str, int] | None
    progress: float | None
    child: UUID | None
    x: float
    y: float
    w: float
    h: float


class GraphEdge(Shape, frozen=True, kw_only=True):
    """A dependency, drawn through its points from left to right."""

    source: str
    target: str
    condition: str | None
    catch: str | None
    points: tuple[Spot, ...]
    label: Spot | None


class GraphNow(Shape, frozen=True, kw_only=True):
    """The graph of a job with the states of its steps, and where everything is."""

    job: UUID
    name: str
    version: int
    width: float
    height: float
    nodes: tuple[GraphNode, ...]
    edges: tuple[GraphEdge, ...]


class PastShow(Show, frozen=True, kw_only=True):
    """A job as it was at a position of its log; `event` is its last event by then."""

    position: int
    at: Time
    event: HistoryLine


class StepInput(Shape, frozen=True, kw_only=True):
    """What an attempt was given: the arguments of its order. One over 64 KiB is only told of."""

    attempt: int
    input: Any


class Done(Shape, frozen=True, kw_only=True):
    """A command that was handed on; `done` says that it was carried out by now."""

    command: str
    done: bool
    key: str | None = None


class Submitted(Shape, frozen=True, kw_only=True):
    """The id of a job that was submitted."""

    job: UUID


class Ready(Shape, frozen=True, kw_only=True):
    """Whether the service can do its work, and why not."""

    ready: bool
    reason: str = ""


class DefinitionLine(Shape, frozen=True, kw_only=True):
    """A definition of a job, by its hash."""

    hash: str
    name: str
    version: int
    steps: int


class DefinitionWhole(DefinitionLine, frozen=True, kw_only=True):
    """A definition with its text as a JSON value."""

    definition: Any


class DefinitionsPage(Shape, frozen=True, kw_only=True):
    """Definitions that the newest jobs run by; `next` goes on, perhaps with some of them again."""

    items: tuple[DefinitionLine, ...]
    next: str | None


class Checked(Shape, frozen=True, kw_only=True):
    """What is wrong with definitions; the lines of those that could be read."""

    valid: bool
    problems: tuple[Fault, ...]
    jobs: tuple[DefinitionLine, ...]


class JobPlace(msgspec.Struct, frozen=True):
    """The place of a job in a list."""

    submitted_at: At
    job: UUID

    @classmethod
    def of(cls, line: JobLine) -> JobPlace:
        """Return the place of a line."""
        return cls(datetime.fromisoformat(line.submitted_at), line.job)

    @property
    def cursor(self) -> JobCursor:
        """Return the place as stores know it."""
        return JobCursor(self.submitted_at, self.job)
