"""Events to stored bytes and back: msgspec JSON under an explicit name and version.

The table below is the only place that connects stored names with classes; nothing is ever imported
by a name that comes from the store. Entries are added, never changed or removed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

import msgspec
from eventsourcing.persistence import Mapper, StoredEvent, Transcoder

from warrener.domain import control_events, events, step_events
from warrener.domain.errors import StoredDataError
from warrener.domain.events import Event, Recorded

TOPICS: dict[str, type[Event]] = {
    "DefinitionStored:1": events.DefinitionStored,
    "JobSubmitted:1": events.JobSubmitted,
    "JobStarted:1": events.JobStarted,
    "JobAdvanced:1": events.JobAdvanced,
    "JobPaused:1": events.JobPaused,
    "JobResumed:1": events.JobResumed,
    "JobCancelling:1": events.JobCancelling,
    "JobOverdue:1": events.JobOverdue,
    "JobSignalled:1": events.JobSignalled,
    "JobRerun:1": events.JobRerun,
    "JobAdjusted:1": events.JobAdjusted,
    "JobSucceeded:1": events.JobSucceeded,
    "JobFailed:1": events.JobFailed,
    "JobCancelled:1": events.JobCancelled,
    "StepReleased:1": step_events.StepReleased,
    "StepStarted:1": step_events.StepStarted,
    "StepProgressed:1": step_events.StepProgressed,
    "StepParked:1": step_events.StepParked,
    "StepReadied:1": step_events.StepReadied,
    "StepRenewed:1": step_events.StepRenewed,
    "StepOpened:1": step_events.StepOpened,
    "StepSucceeded:1": step_events.StepSucceeded,
    "StepRetryScheduled:1": step_events.StepRetryScheduled,
    "StepFailed:1": step_events.StepFailed,
    "StepSkipped:1": step_events.StepSkipped,
    "StepCancelled:1": step_events.StepCancelled,
    "UserActionRequested:1": control_events.UserActionRequested,
    "UserActionReminded:1": control_events.UserActionReminded,
    "UserActionAnswered:1": control_events.UserActionAnswered,
    "UserActionWithdrawn:1": control_events.UserActionWithdrawn,
    "LimitChanged:1": control_events.LimitChanged,
    "FleetChanged:1": control_events.FleetChanged,
    "FlowChanged:1": control_events.FlowChanged,
    "FlowSampled:1": control_events.FlowSampled,
    "StarvationDetected:1": control_events.StarvationDetected,
    "StarvationEnded:1": control_events.StarvationEnded,
    "MeasureProposed:1": control_events.MeasureProposed,
    "MeasureTaken:1": control_events.MeasureTaken,
    "MeasureEnded:1": control_events.MeasureEnded,
    "LogTaken:1": control_events.LogTaken,
    "EventPruned:1": events.EventPruned,
}

# A topic of an older version -> the function that turns its fields into those of the next version,
# and the topic of that version. Such a topic leaves `TOPICS`; its events are read through here.
Upcaster = tuple[Callable[[dict[str, Any]], dict[str, Any]], str]
UPCASTERS: dict[str, Upcaster] = {}

# What decoders raise on broken bytes, and upcasters on fields that are not what they were.
_UNREADABLE = (msgspec.MsgspecError, RecursionError, LookupError, TypeError, ValueError)


class _NoTranscoder(Transcoder):
    """The library asks for a transcoder; the codec needs none."""

    def encode(self, obj: Any) -> bytes:
        """Refuse: events are encoded whole."""
        raise TypeError(type(obj).__name__)

    def decode(self, data: bytes) -> Any:
        """Refuse: events are decoded whole."""
        raise TypeError(type(data).__name__)


class EventMapper(Mapper[UUID]):
    """Maps `Recorded` events to the library's stored events and back."""

    def __init__(
        self,
        topics: dict[str, type[Event]] | None = None,
        upcasters: dict[str, Upcaster] | None = None,
    ) -> None:
        """Use the tables above, or others in tests."""
        super().__init__(_NoTranscoder())
        self._classes = TOPICS if topics is None else topics
        self._upcasters = UPCASTERS if upcasters is None else upcasters
        self._topics = {class_: topic for topic, class_ in self._classes.items()}
        self._decoders = {
            topic: msgspec.json.Decoder(class_).decode for topic, class_ in self._classes.items()
        }
        self._encode = msgspec.json.Encoder().encode

    def knows(self, topic: str) -> bool:
        """Say whether events of a type can be read."""
        return topic in self._classes or topic in self._upcasters

    def to_stored_event(self, domain_event: Recorded) -> StoredEvent:  # type: ignore[override]
        """Encode an event."""
        event = domain_event.event
        return StoredEvent(
            domain_event.originator_id,
            domain_event.originator_version,
            self._topics[type(event)],
            self._encode(event),
        )

    def to_domain_event(self, stored_event: StoredEvent) -> Recorded:
        """Decode an event; raises `StoredDataError` if it is not one this version can read."""
        decoder = self._decoders.get(stored_event.topic)
        try:
            event = (
                decoder(stored_event.state)
                if decoder is not None
                else self._upcast(stored_event.topic, stored_event.state)
            )
        except _UNREADABLE as error:
            known = isinstance(error, msgspec.MsgspecError)
            reason = str(error) if known else f"{type(error).__name__}: {error}"
            raise StoredDataError(
                f"event {stored_event.originator_version} of stream {stored_event.originator_id}"
                f" ({stored_event.topic!r}) cannot be read: {reason}",
                event=stored_event.topic.partition(":")[0],
            ) from error
        originator_id = stored_event.originator_id
        stream = originator_id if isinstance(originator_id, UUID) else UUID(originator_id)
        return Recorded(stream, stored_event.originator_version, event)

    def _upcast(self, topic: str, state: bytes) -> Event:
        fields: dict[str, Any] = msgspec.json.decode(state)
        while topic not in self._classes:
            if topic not in self._upcasters:
                raise msgspec.ValidationError("this version of Warrener does not know its type")
            step, topic = self._upcasters[topic]
            fields = step(fields)
        return msgspec.convert(fields, self._classes[topic])
