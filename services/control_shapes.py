"""What queries answer about what jobs share: requests for people, limits, the fleet."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from warrener.services.shapes import Shape, Time


class Waiter(Shape, frozen=True, kw_only=True):
    """A step that waits for an answer."""

    job: UUID
    path: str
    since: Time | None
    until: Time | None


class ActionLine(Shape, frozen=True, kw_only=True):
    """One line of a list of requests for people; `request` is the id that an answer names.

    `steps` and `jobs` count who waits now, `waiting` has some of them, and `expires_at` is when the
    first of them waits no longer. An answered one has `by` and `data`, a withdrawn one `reason`.
    """

    request: UUID
    action: str
    cause: str
    message: str
    form: Any
    state: str  # open | answered | withdrawn
    steps: int
    jobs: int
    waiting: tuple[Waiter, ...]
    opened_at: Time
    expires_at: Time | None
    reminders: int
    ended_at: Time | None
    by: str
    data: Any
    reason: str


class RateLimit(Shape, frozen=True, kw_only=True):
    """So many orders in so many seconds."""

    count: float
    seconds: float


class LimitParts(Shape, frozen=True, kw_only=True):
    """The parts of a limit; null for none."""

    slots: int | None
    rate: RateLimit | None
    burst: int | None


class LimitKey(Shape, frozen=True, kw_only=True):
    """A limit for one key: how many steps hold it, and how many wait for what it lacks.

    `holders` is null where they were not counted.
    """

    key: str
    waiting: int
    holders: int | None
    lacking: str | None  # slots | rate


class LimitLine(Shape, frozen=True, kw_only=True):
    """A limit that people have changed or that is in use; a part that is null is as `defined`.

    `defined` is what the definition of a job says that uses it, null if none does now. `waiting`
    are steps at the latest samples of the flow, `holders` is of the logs: null where they were not
    counted. With them, jobs that wait for their start count among those waiting for `@jobs`.
    `since`, `by` and `reason` are of the last change.
    """

    name: str
    slots: int | None
    rate: RateLimit | None
    burst: int | None
    by: str
    reason: str
    since: Time | None
    defined: LimitParts | None
    waiting: int
    holders: int | None
    keys: tuple[LimitKey, ...]


class Fleet(Shape, frozen=True, kw_only=True):
    """The slots that serve each queue, and the endpoints that workers know, since a time."""

    slots: Mapping[str, int]
    endpoints: tuple[str, ...]
    since: Time
