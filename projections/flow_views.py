"""The documents of the flow: what people set, the latest figures, and incidents. They are bounded.

What a sample has more of than fits is left out, the least telling first.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final, Literal
from uuid import UUID

import msgspec

from warrener.domain.flow.figures import FlowSample
from warrener.domain.flow.incidents import Diagnosis, Measure, MeasureEnd, Victim
from warrener.domain.flow.settings import FlowSettings
from warrener.projections.views import View

FLOW: Final = "flow"
FLOW_POINTS: Final = "flow_points"
INCIDENTS: Final = "incidents"

POINTS_KEPT: Final = 120  # of each partition, the latest samples
QUEUES_MAX: Final = 200
STAGES_MAX: Final = 500  # of all queues together
REASONS_MAX: Final = 20  # for which steps of one stage are held back
OPEN_MAX: Final = 100
VICTIMS_MAX: Final = 50
EVIDENCE_MAX: Final = 50
MEASURES_MAX: Final = 50  # of one incident, the latest
OTHERS: Final = "others"  # all reasons beyond those

MeasureState = Literal["proposed", "taken", "ended"]


class FlowView(View, kw_only=True):
    """What people set last, as one partition heard it, and its two latest samples.

    `settings` is None while nobody has set anything; `incidents` were open at the latest sample.
    """

    partition: int = 0
    settings: FlowSettings | None = None
    by: str = ""
    reason: str = ""
    since: datetime | None = None  # when that was set
    sample: FlowSample | None = None
    before: FlowSample | None = None
    incidents: tuple[UUID, ...] = ()
    slot: int = 0  # of the newest point

    @property
    def key(self) -> int:
        """Return the partition."""
        return self.partition


class StagePoint(msgspec.Struct, frozen=True, array_like=True):
    """A stage at the time of a sample: how many steps wait, are held back and are out."""

    queue: str
    job: str
    step: str
    ready: int
    held: int
    out: int
    oldest_wait: float  # seconds


class FlowPointView(View, kw_only=True):
    """A sample in short, for charts. Each takes the place of the one `POINTS_KEPT` before it."""

    partition: int = 0
    slot: int
    at: datetime
    stages: tuple[StagePoint, ...] = ()

    @property
    def key(self) -> tuple[int, int]:
        """Return partition and slot, under which the document is kept."""
        return self.partition, self.slot


class MeasureView(msgspec.Struct, kw_only=True, omit_defaults=True):
    """Something that was proposed or done about an incident, and what became of it."""

    measure: Measure
    state: MeasureState = "proposed"
    proposed_at: datetime | None = None
    taken_at: datetime | None = None
    until: datetime | None = None
    ended_at: datetime | None = None
    by: str = ""  # who agreed, where a person was asked
    request: UUID | None = None
    why: MeasureEnd | None = None


class IncidentView(View, kw_only=True):
    """An incident of starvation; `measures` are the latest of it."""

    incident: UUID
    partition: int = 0
    queue: str
    diagnosis: Diagnosis
    victims: tuple[Victim, ...] = ()
    evidence: dict[str, float | str] = msgspec.field(default_factory=dict)
    since: datetime  # when the first of the victims became ready
    opened_at: datetime
    closed_at: datetime | None = None
    why: str = ""  # it ended
    measures: tuple[MeasureView, ...] = ()

    @property
    def key(self) -> UUID:
        """Return the id of the incident's stream."""
        return self.incident

    @property
    def state(self) -> str:
        """Return whether the incident is open or closed."""
        return "open" if self.closed_at is None else "closed"
