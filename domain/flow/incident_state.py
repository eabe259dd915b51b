"""The incidents that are open, and the measures in force: what their events say."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from uuid import UUID

import msgspec

from warrener.domain.control_events import (
    MeasureEnded,
    MeasureProposed,
    MeasureTaken,
    StarvationDetected,
    StarvationEnded,
)
from warrener.domain.events import Event
from warrener.domain.flow.incidents import Diagnosis, Measure, Victim

MeasureKey = tuple[str, str, str, str]  # kind, queue, and the stage if it is about one


class Taken(msgspec.Struct):
    """A measure in force, with what its victims waited when it was taken, in seconds.

    `lowest` is the shortest wait of theirs that was seen since.
    """

    measure: Measure
    at: datetime
    until: datetime
    victims_wait: float
    lowest: float
    lowest_at: datetime


class Proposed(msgspec.Struct, frozen=True):
    """A measure that is proposed; a person is asked if there is a request."""

    measure: Measure
    request: UUID | None


class Incident(msgspec.Struct):
    """An incident that is open, or has ended a short time ago: measures may be in force yet."""

    id: UUID
    queue: str
    diagnosis: Diagnosis
    victims: tuple[Victim, ...]
    detected_at: datetime
    ended_at: datetime | None = None
    taken: list[Taken] = []
    proposed: list[Proposed] = []
    proposals: int = 0  # made so far
    tried: dict[MeasureKey, int] = {}  # how often each measure was taken
    declined_at: datetime | None = None

    @property
    def key(self) -> tuple[str, Diagnosis]:
        """Return what no two open incidents share."""
        return self.queue, self.diagnosis


class Incidents:
    """All incidents that are open or have measures in force; `evolve` only assigns."""

    def __init__(self) -> None:
        """Begin with none."""
        self.known: dict[UUID, Incident] = {}
        self.ended_at: dict[MeasureKey, datetime] = {}  # when each measure ended the last time

    def evolve(self, stream: UUID, event: Event) -> None:
        """Take an event of an incident's stream; others are passed over."""
        if isinstance(event, StarvationDetected):
            found = Incident(stream, event.queue, event.diagnosis, event.victims, event.at)
            self.known[stream] = found
            return
        incident = self.known.get(stream)
        if incident is None:
            return
        match event:
            case MeasureProposed():
                incident.proposed.append(Proposed(event.measure, event.request))
                incident.proposals += 1
            case MeasureTaken():
                _drop(incident, event.measure)
                wait = event.victims_wait
                taken = Taken(event.measure, event.at, event.until, wait, wait, event.at)
                incident.taken.append(taken)
                key = key_of(event.measure)
                incident.tried[key] = incident.tried.get(key, 0) + 1
            case MeasureEnded():
                self._end(incident, event)
            case StarvationEnded():
                incident.ended_at = event.at
                incident.proposed.clear()
        if incident.ended_at is not None and not incident.taken:
            del self.known[stream]

    def open(self) -> list[Incident]:
        """Return the incidents that have not ended."""
        return [each for each in self.known.values() if each.ended_at is None]

    def in_force(self) -> Iterator[Measure]:
        """Yield all measures in force."""
        for incident in self.known.values():
            yield from (taken.measure for taken in incident.taken)

    def proposed(self) -> Iterator[Measure]:
        """Yield all measures that are proposed."""
        for incident in self.known.values():
            yield from (each.measure for each in incident.proposed)

    def requests(self) -> dict[UUID, UUID]:
        """Return the open requests to people, request -> incident."""
        return {
            each.request: incident.id
            for incident in self.known.values()
            for each in incident.proposed
            if each.request is not None
        }

    def asking(self, request: UUID) -> tuple[Incident, Measure] | None:
        """Return the incident that asked a person, and for which measure."""
        for incident in self.known.values():
            for each in incident.proposed:
                if each.request == request:
                    return incident, each.measure
        return None

    def _end(self, incident: Incident, event: MeasureEnded) -> None:
        _drop(incident, event.measure)
        key = key_of(event.measure)
        incident.taken = [each for each in incident.taken if key_of(each.measure) != key]
        self.ended_at[key] = event.at
        if event.why == "declined":
            incident.declined_at = event.at


def key_of(measure: Measure) -> MeasureKey:
    """Return what tells measures apart."""
    return measure.kind, measure.queue, measure.job, measure.step


def _drop(incident: Incident, measure: Measure) -> None:
    key = key_of(measure)
    incident.proposed = [each for each in incident.proposed if key_of(each.measure) != key]
