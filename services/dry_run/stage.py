"""What a controller of a dry run works on: a log in memory, and a flow and timers that are held.

Nothing goes out and no time brings anything about unless it is let: the record says when.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from warrener.domain.events import Recorded
from warrener.domain.flow.lanes import Flow
from warrener.domain.flow.ready import Queued, Ready, Standing
from warrener.domain.limit_state import Claim
from warrener.domain.limits import Limits
from warrener.domain.ports import EventStore, Positioned
from warrener.domain.step import Step
from warrener.domain.step_events import Held
from warrener.domain.timers import Due, Kind
from warrener.services.partial_log import PartialLog
from warrener.services.working_set import WorkingSet

Key = tuple[UUID, str]  # job, path in it


class Scratch(PartialLog):
    """A log in memory that one writer fills; blobs that it lacks come from the recorded one."""

    def __init__(self, blob: Callable[[str], bytes]) -> None:
        """Begin empty; `blob` gives blobs of the record."""
        super().__init__(())
        self._recorded_blob = blob
        self._blobs: dict[str, bytes] = {}

    def commit(
        self,
        events: Sequence[Recorded],
        blobs: Mapping[str, bytes],
        published: int = 0,  # noqa: ARG002
        after: int | None = None,  # noqa: ARG002
    ) -> int:
        """Add events; return the position after them."""
        for recorded in events:
            placed = Positioned(len(self._events) + 1, recorded, self.partition)
            self._positions.append(placed.position)
            self._events.append(placed)
            self._streams.setdefault(recorded.originator_id, []).append(placed)
        self._blobs.update(blobs)
        return len(self._events)

    def blob(self, name: str) -> bytes:
        """Return a blob by its hash; raises `StoredDataError`."""
        found = self._blobs.get(name)
        return self._recorded_blob(name) if found is None else found


class HeldFlow(Flow):
    """Ready steps wait until they are let out, one by one; policies and windows do not matter."""

    def __init__(self) -> None:
        """Begin with nothing ready, and the intake closed."""
        super().__init__(lambda _: 0)
        self.measures.intake_held = True
        self.ready: dict[Key, Queued] = {}
        self.fresh: list[Key] = []  # became ready since somebody looked
        self._let: set[Key] = set()  # may go as soon as they are ready
        self._out: deque[Queued] = deque()

    def let(self, key: Key) -> None:
        """Let a step out, now or as soon as it is ready."""
        queued = self.ready.pop(key, None)
        if queued is None:
            self._let.add(key)
        else:
            self._out.append(queued)

    def no_longer(self, key: Key) -> None:
        """A step that was let, and did not become ready, is not to go any more."""
        self._let.discard(key)

    def add(self, queued: Queued) -> None:
        """A step became ready."""
        key = (queued.ready.job, queued.ready.path)
        if key in self._let:
            self._let.discard(key)
            self._out.append(queued)
        else:
            self.ready[key] = queued
            self.fresh.append(key)

    def add_items(
        self, job: UUID, step: str, standing: Standing, since: datetime, *, items: range
    ) -> None:
        """Items of a fan-out became ready."""
        for index in items:
            self.add(Queued(Ready(job, step, index), standing, since))

    def add_again(self, queued: Queued, reason: str) -> None:  # noqa: ARG002
        """A step that was let out while its job was paused goes out now."""
        self._out.append(queued)

    def let_go(self, queued: Queued, reason: str) -> None:
        """Do nothing: nobody counts what is held back."""

    def hold(self, queued: Queued, reason: str) -> None:
        """Do nothing: nobody counts what is held back."""

    def take(self, now: datetime) -> Queued | None:  # noqa: ARG002
        """Return the next step that was let out."""
        return self._out.popleft() if self._out else None

    def has_room(self, queue: str) -> bool:  # noqa: ARG002
        """Say that there is room."""
        return True

    def released(self, step: UUID, queued: Queued, at: datetime, *, again: bool = False) -> None:
        """Do nothing: orders go nowhere."""

    def measured(self, step: UUID, seconds: float, *, succeeded: bool) -> None:
        """Do nothing: nobody asks how long it took."""

    def completed(self, step: UUID, now: datetime) -> None:
        """Do nothing: orders go nowhere."""


class FreeLimits(Limits):
    """Limits that hold nobody back: when each step went out is recorded."""

    def blocker(
        self,
        claims: Sequence[Claim],  # noqa: ARG002
        now: datetime,  # noqa: ARG002
    ) -> Held | None:
        """Return None: everything goes through."""
        return None

    def take(
        self,
        step: UUID,  # noqa: ARG002
        claims: Sequence[Claim],
        now: datetime,  # noqa: ARG002
    ) -> tuple[Held, ...]:
        """Return what a step comes under."""
        return tuple(claim.held for claim in claims)


class StillMemory(WorkingSet):
    """A working set in which time brings about only what is told to."""

    def __init__(self, store: EventStore, **bounds: Any) -> None:
        """Begin empty."""
        super().__init__(store, **bounds)
        self.limits = FreeLimits(self.limit_change)
        self._told: dict[UUID, Kind | None] = {}
        self._now: datetime | None = None

    def bring_about(self, about: UUID, kind: Kind | None = None) -> None:
        """Let the next turn do what time does to a step (of that kind), or to a job (None)."""
        self._told[about] = kind

    def set_timer(self, at: datetime, about: UUID) -> None:
        """Do nothing: what is due is told."""

    def watch(self, step: Step) -> None:
        """Do nothing: what is due is told."""

    def due(self, step: Step) -> list[Due]:
        """Return what was told about a step, else what is due."""
        kind = self._told.get(step.id)
        if kind is None or self._now is None:
            return super().due(step)
        return [Due(self._now, kind)]

    def take_due(self, now: datetime) -> Iterator[UUID]:
        """Yield what was told."""
        self._now = now
        for about in list(self._told):
            if about in self.steps or about in self.jobs:
                yield about
        self._told.clear()
