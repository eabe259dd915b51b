"""What queries answer about the flow: figures of queues and stages, and incidents of starvation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from warrener.services.shapes import Shape, Time


class Series(Shape, frozen=True, kw_only=True):
    """The latest figures of a stage, the oldest first; all have the same length."""

    at: tuple[Time, ...]
    ready: tuple[int, ...]
    out: tuple[int, ...]
    oldest_wait: tuple[float, ...]


class StageFlow(Shape, frozen=True, kw_only=True):
    """A stage: steps of one name in jobs of one name. Waits in seconds, rates in steps a second.

    `ready` wait for their release, `held` are held back for reasons such as `slots api/key`, `out`
    are with the workers and `running` (an estimate) run. Percentiles are of the latest waits, in
    several partitions the worst. `share` is the part of the time of workers of this queue that went
    to the stage, `coming` are the steps that those before it will bring, and `work_seconds` is what
    all that asks of workers. `arrived` and what follows it count since the reactors started.
    `incidents` are open ones that have the stage among their victims.
    """

    job: str
    step: str
    endpoint: str
    ready: int
    held: Mapping[str, int]
    held_wait: float
    out: int
    running: int
    oldest_wait: float
    oldest_priority: int
    wait_p50: float
    wait_p95: float
    wait_p99: float
    service_seconds: float | None
    arrival_rate: float
    completion_rate: float
    failure_rate: float
    share: float
    coming: float
    work_seconds: float
    arrived: int
    released: int
    ended: int
    failed: int
    busy_seconds: float  # of workers
    incidents: tuple[UUID, ...]
    series: Series | None


class QueueFlow(Shape, frozen=True, kw_only=True):
    """A queue over all partitions.

    `unknown` are endpoints that no worker knows. `utilisation` is the part of the time of its slots
    that they worked, `load` what is asked of them by what arrives, and `drain_seconds` when the
    backlog is done if all goes on so; null: never.
    """

    queue: str
    workers: int
    slots: int
    busy: int
    window: int
    out: int
    ready: int
    held: int
    unknown: tuple[str, ...]
    arrival_rate: float
    completion_rate: float
    utilisation: float
    load: float
    work_seconds: float
    drain_seconds: float | None
    served: Mapping[str, int]  # releases by priority since the reactors started
    stages: tuple[StageFlow, ...]


class FlowNow(Shape, frozen=True, kw_only=True):
    """What is set about the flow, by whom, and its figures at `as_of`, null if there are none yet.

    `incidents` counts the open ones by cause, `measures` what is done about them by kind. The three
    last are the worst of what store and broker took lately, in seconds.
    """

    policy: str
    mode: str
    weights: Mapping[str, float]
    bound_seconds: float
    intake: str
    by: str
    reason: str
    since: Time | None
    as_of: Time | None
    incidents: Mapping[str, int]
    measures: Mapping[str, int]
    queues: tuple[QueueFlow, ...]
    commit_seconds: float
    confirm_seconds: float
    unconfirmed: float


class VictimLine(Shape, frozen=True, kw_only=True):
    """A stage that starves: how many of its steps wait, and the longest wait in seconds."""

    job: str
    step: str
    waiting: int
    oldest_wait: float


class ActionTaken(Shape, frozen=True, kw_only=True):
    """A measure against starvation: proposed, taken until a time, or ended and why.

    It is about a queue, or a stage in it. `amount` is the bound of a throttle, the size of a floor,
    or the number of workers to move. With a `request` a person is asked whether to.
    """

    kind: str
    queue: str
    job: str
    step: str
    amount: int
    workers: tuple[str, ...]
    partition: int
    state: str  # proposed | taken | ended
    proposed_at: Time | None
    taken_at: Time | None
    until: Time | None
    ended_at: Time | None
    by: str
    request: UUID | None
    why: str | None  # it ended: ended | no-help | expired | withdrawn


class StarvationLine(Shape, frozen=True, kw_only=True):
    """An incident of starvation: steps of a queue wait beyond their bound, for one cause.

    What several partitions tell of the same at the same time is one line; `incidents` are theirs,
    and `incident` is the first of them.
    """

    incident: UUID
    incidents: tuple[UUID, ...]
    partitions: tuple[int, ...]
    cause: str
    queue: str
    state: str  # open | closed
    victims: tuple[VictimLine, ...]
    evidence: Mapping[str, Any]
    since: Time
    opened_at: Time
    closed_at: Time | None
    why: str
    actions: tuple[ActionTaken, ...]
