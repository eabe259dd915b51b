"""What one turn of the controller decides: events and blobs to commit, and who is done."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol, TypeVar
from uuid import UUID

import msgspec

from warrener.domain.events import Error, Event, Recorded
from warrener.domain.job_state import Job
from warrener.domain.payloads import CROWDED_BYTES_MAX, INLINE_BYTES_MAX, Payload, to_payload
from warrener.domain.ports import Notice, Outgoing

INLINE_BYTES_IN_ALL = 2 * 1024 * 1024


class Aggregate(Protocol):
    """What a batch needs of an aggregate to give an event its place."""

    id: UUID
    version: int


AggregateT = TypeVar("AggregateT", bound=Aggregate)


class Ended(msgspec.Struct, frozen=True):
    """The end of a root job."""

    job: UUID
    state: str
    result: Payload | None
    error: Error | None
    steps: dict[str, int]


class Refusal(msgspec.Struct, frozen=True):
    """A command that was not carried out, by its message id, and why."""

    command: str
    reason: str


class Batch:
    """Collects the outcome of one turn, in the order in which it was decided."""

    def __init__(self, now: datetime) -> None:
        """Begin an empty batch at the time of its decisions."""
        self.now = now
        self.blobs: dict[str, bytes] = {}
        self.ended: list[Ended] = []
        self.left: dict[UUID, Job] = {}  # all jobs that ended in this batch
        self.refused: list[Refusal] = []
        self.ignored = 0  # reports and beats about no attempt that is out
        self.replies: list[Outgoing | Notice] = []  # to clients and workers, in answer to them
        self._slots: list[Recorded | None] = []
        self._inline_bytes = 0

    @property
    def events(self) -> list[Recorded]:
        """Return the events in order."""
        return [slot for slot in self._slots if slot is not None]

    def append(self, stream: UUID, version: int, event: Event) -> None:
        """Add an event that its aggregate has evolved by already."""
        self._slots.append(Recorded(stream, version, event))

    def reserve(self) -> int:
        """Keep a place for an event that is known only at the end of the turn."""
        self._slots.append(None)
        return len(self._slots) - 1

    def fill(self, place: int, stream: UUID, version: int, event: Event) -> None:
        """Put an event into its reserved place."""
        self._slots[place] = Recorded(stream, version, event)

    def payload(self, data: bytes) -> Payload:
        """Return the payload for encoded JSON; large ones go along as blobs.

        Once there are many in a batch, smaller ones do, too: a store takes only so much at once.
        """
        crowded = self._inline_bytes > INLINE_BYTES_IN_ALL
        payload, blobs = to_payload(data, CROWDED_BYTES_MAX if crowded else INLINE_BYTES_MAX)
        self.blobs.update(blobs)
        self._inline_bytes += 0 if blobs else len(data)
        return payload
