"""Facts that concern more than one job: requests for people's help, limits, and the fleet."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import msgspec

from warrener.domain.definition.model import Rate
from warrener.domain.events import Event, Recorded, event_of
from warrener.domain.flow.figures import FlowSample
from warrener.domain.flow.incidents import Diagnosis, Measure, MeasureEnd, Victim
from warrener.domain.flow.settings import DEFAULT_SETTINGS, FlowSettings
from warrener.domain.payloads import Payload

# --- user actions: one stream for each request ---------------------------------------------------


class UserActionEvent(Event, frozen=True, kw_only=True):
    """Base of the events of a user action's stream."""


class UserActionRequested(UserActionEvent, frozen=True, kw_only=True, omit_defaults=True):
    """A person is asked for help; all steps that name the same `subject` wait for one answer.

    Without a `job` the service itself asks, such as what to do about an incident.
    """

    action: str
    subject: str  # the `cause` that endpoints name
    message: str = ""
    form: Payload | None = None  # JSON Schema of the answer
    job: UUID | None = None  # of the step that asked first
    path: str = ""
    shared: bool = True  # with all steps that name the subject; a `wait:` has its own


class UserActionReminded(UserActionEvent, frozen=True, kw_only=True):
    """Nobody has answered yet: those who were told are told again."""

    number: int  # of the reminder, from 1


class UserActionAnswered(UserActionEvent, frozen=True, kw_only=True, omit_defaults=True):
    """A person answered; every step that waits goes on."""

    by: str = ""
    reason: str = ""
    data: Payload


class UserActionWithdrawn(UserActionEvent, frozen=True, kw_only=True):
    """No step waits for the answer any more."""

    why: str


# --- limits: one stream for each name ----------------------------------------------------------


class LimitChanged(Event, frozen=True, kw_only=True, omit_defaults=True):
    """A limit is not what definitions say of it; None leaves a part as they say."""

    by: str = ""
    reason: str = ""
    name: str
    slots: int | None = None
    rate: Rate | None = None
    burst: int | None = None


# --- the fleet: one stream ---------------------------------------------------------------------


class FleetChanged(Event, frozen=True, kw_only=True, omit_defaults=True):
    """Workers came or went: the slots that serve each queue now, and the endpoints they know."""

    slots: dict[str, int] = msgspec.field(default_factory=dict)
    endpoints: tuple[str, ...] = ()


# --- the flow: what people set is one stream, samples another, and each incident has its own ------


class FlowChanged(Event, frozen=True, kw_only=True, omit_defaults=True):
    """People have set how ready steps are released, and what is done about starvation."""

    by: str = ""
    reason: str = ""
    settings: FlowSettings


def flow_settings(last: Recorded | None) -> FlowSettings:
    """Return what holds after the last event of the stream; without one, what holds by itself."""
    change = event_of(last, FlowChanged)
    return DEFAULT_SETTINGS if change is None else change.settings


class FlowSampled(Event, frozen=True, kw_only=True, omit_defaults=True):
    """The figures of the flow now, and the incidents that are open, or have measures in force."""

    sample: FlowSample
    incidents: tuple[UUID, ...] = ()


class StarvationEvent(Event, frozen=True, kw_only=True):
    """Base of the events of an incident's stream."""


class StarvationDetected(StarvationEvent, frozen=True, kw_only=True, omit_defaults=True):
    """Steps wait beyond their bound. `evidence` are the figures that the diagnosis goes by."""

    queue: str
    diagnosis: Diagnosis
    victims: tuple[Victim, ...]
    evidence: dict[str, float | str] = msgspec.field(default_factory=dict)
    since: datetime  # when the first of the victims became ready


class StarvationEnded(StarvationEvent, frozen=True, kw_only=True, omit_defaults=True):
    """Nobody of an incident starves any longer, or it is diagnosed otherwise now."""

    why: str = ""


class MeasureProposed(StarvationEvent, frozen=True, kw_only=True, omit_defaults=True):
    """What would be done about an incident; with a `request` a person is asked whether to."""

    measure: Measure
    request: UUID | None = None


class MeasureTaken(StarvationEvent, frozen=True, kw_only=True, omit_defaults=True):
    """Something is done about an incident, until a time at the latest.

    `victims_wait` is how long its victims waited then, in seconds: it is to become less.
    """

    measure: Measure
    until: datetime
    victims_wait: float = 0.0
    by: str = ""  # who agreed, where a person was asked


class MeasureEnded(StarvationEvent, frozen=True, kw_only=True, omit_defaults=True):
    """What was done about an incident is done no longer; declined: a person did not want it."""

    measure: Measure
    why: MeasureEnd


# --- the log itself: one stream in each partition ----------------------------------------------


class LogTaken(Event, frozen=True, kw_only=True):
    """A reactor goes on with this log from here: what others decided before is not written."""
