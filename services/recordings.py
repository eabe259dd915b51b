"""What the log has of the attempts of one step: what each was given, and what became of it."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID

import msgspec

from warrener.domain import step as steps
from warrener.domain.control_events import UserActionRequested
from warrener.domain.events import Error, event_of
from warrener.domain.payloads import Payload
from warrener.domain.ports import EventStore
from warrener.domain.step import Step
from warrener.domain.step_events import (
    StepCancelled,
    StepEvent,
    StepFailed,
    StepParked,
    StepReleased,
    StepRetryScheduled,
    StepSkipped,
    StepStarted,
    StepSucceeded,
)
from warrener.domain.timers import TIMEOUT_CODES

Ended = StepSucceeded | StepFailed | StepRetryScheduled | StepParked | StepSkipped | StepCancelled

_ENDS = (StepSucceeded, StepFailed, StepRetryScheduled, StepParked, StepSkipped, StepCancelled)
_OUTCOMES: dict[type[StepEvent], str] = {
    StepSucceeded: "succeeded",
    StepFailed: "failed",
    StepRetryScheduled: "retry",
    StepParked: "parked",
    StepSkipped: "skipped",
    StepCancelled: "cancelled",
}


class Recording(msgspec.Struct, frozen=True, kw_only=True):
    """An attempt as the log has it. `ended` is None while it is under way.

    `answer` is what a person had answered by then. `asked` is what a parked attempt asked for.
    """

    released: StepReleased
    generation: int = 1
    answer: Payload | None = None
    worker: str | None = None
    ended: Ended | None = None
    asked: UserActionRequested | None = None

    @property
    def number(self) -> int:
        """Return the number of the attempt."""
        return self.released.attempt

    @property
    def outcome(self) -> str | None:
        """Return what became of it, in the words of `show --attempts`."""
        error = self.error
        if error is not None and error.code in TIMEOUT_CODES:
            return "timed_out"
        return None if self.ended is None else _OUTCOMES[type(self.ended)]

    @property
    def error(self) -> Error | None:
        """Return why it failed."""
        return self.ended.error if isinstance(self.ended, StepFailed | StepRetryScheduled) else None

    @property
    def result(self) -> Payload | None:
        """Return what it gave."""
        return self.ended.result if isinstance(self.ended, StepSucceeded) else None

    @property
    def failed(self) -> bool:
        """Say whether it came to nothing by a failure."""
        return self.error is not None


def recordings(log: EventStore, step: UUID) -> Iterator[Recording]:
    """Yield the attempts of a step by number; the last one may be under way."""
    found: Recording | None = None
    known: Step | None = None
    for recorded in log.stream(step):
        event = recorded.event
        known = steps.project(known, [recorded])
        if isinstance(event, StepReleased) and known is not None:
            if found is not None:
                yield found
            found = Recording(released=event, answer=known.answer, generation=known.generation)
        elif isinstance(event, StepStarted) and found is not None:
            found = msgspec.structs.replace(found, worker=event.worker)
        elif isinstance(event, _ENDS) and found is not None and found.ended is None:
            found = _ended(log, found, event)
    if found is not None:
        yield found


def _ended(log: EventStore, found: Recording, event: Ended) -> Recording:
    asked = None
    if isinstance(event, StepParked):
        asked = event_of(next(iter(log.stream(event.request)), None), UserActionRequested)
    worker = getattr(event, "worker", None) or found.worker
    return msgspec.structs.replace(found, ended=event, worker=worker, asked=asked)
