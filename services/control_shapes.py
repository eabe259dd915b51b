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


class LimitLine(Shape, frozen=True, kw_only=True):
    """A limit that people have changed; a part that is null is as definitions say."""

    name: str
    slots: int | None
    rate: RateLimit | None
    burst: int | None
    by: str
    reason: str
    since: Time


class Fleet(Shape, frozen=True, kw_only=True):
    """The slots that serve each queue, and the endpoints that workers know, since a time."""

    slots: Mapping[str, int]
    endpoints: tuple[str, ...]
    since: Time
