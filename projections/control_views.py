"""The documents of what jobs share: requests for people, limits, the fleet. They are bounded."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import msgspec

from warrener.domain.definition.model import Rate
from warrener.domain.payloads import Payload
from warrener.projections.views import View

ACTIONS = "actions"
LIMITS = "limits"
FLEET = "fleet"


class ActionView(View, kw_only=True):
    """A request for a person; `job` and `path` are those of the step that asked first.

    The service itself asks, too: then there is no `job`.
    Who waits for the answer is told by the documents of the steps.
    """

    request: UUID
    action: str
    subject: str  # the cause that endpoints name
    message: str = ""
    form: Payload | None = None
    job: UUID | None = None
    path: str = ""
    state: str = "open"  # open | answered | withdrawn
    opened_at: datetime
    ended_at: datetime | None = None
    by: str = ""  # who answered
    data: Payload | None = None
    reason: str = ""  # why it was withdrawn
    shared: bool = True  # all steps that name the cause wait for the same answer
    reminders: int = 0

    @property
    def key(self) -> UUID:
        """Return the id of the request's stream."""
        return self.request


class LimitView(View, kw_only=True):
    """What a limit is for everybody; a part that is None is as definitions say.

    Every partition keeps it; they hear of a change one after another.
    """

    name: str
    partition: int = 0
    slots: int | None = None
    rate: Rate | None = None
    burst: int | None = None
    by: str = ""
    reason: str = ""
    since: datetime

    @property
    def key(self) -> tuple[str, int]:
        """Return name and partition, under which the document is kept."""
        return self.name, self.partition


class FleetView(View, kw_only=True):
    """The slots that serve each queue now, and the endpoints that workers know.

    Every partition keeps what its reactor heard last.
    """

    partition: int = 0
    slots: dict[str, int] = msgspec.field(default_factory=dict)
    endpoints: tuple[str, ...] = ()
    since: datetime

    @property
    def key(self) -> int:
        """Return the partition."""
        return self.partition
