"""What concerns everybody: the orders that are out, and what they hold and took of limits.

One pass over the log; what is kept is bounded by the orders that are out at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from uuid import UUID

import msgspec

from warrener.domain.control_events import LimitChanged
from warrener.domain.events import Event
from warrener.domain.flow.ready import Queued
from warrener.domain.limit_state import Claim, Waiter
from warrener.domain.limits import Limits
from warrener.domain.ports import Positioned
from warrener.domain.step_events import Held, StepEvent, StepProgressed, StepReleased, StepStarted


class Out(msgspec.Struct):
    """An order that is out."""

    job: UUID
    path: str
    queue: str
    since: datetime
    limits: tuple[Held, ...]
    released_at: datetime
    state: str = "released"


class World:
    """The orders that are out, and those limits that somebody asks about."""

    def __init__(
        self, claims: Sequence[Claim], is_under: Callable[[StepReleased, Held], bool] | None = None
    ) -> None:
        """Take the limits to look at, and what tells which orders are under them."""
        self.out: dict[UUID, Out] = {}  # by step, the oldest first
        self.changes: dict[str, LimitChanged] = {}
        self._claims = {claim.held: claim for claim in claims}
        self._limits = Limits(self.changes.get)
        self._is_under = is_under or _names

    def fold(self, events: Iterable[Positioned]) -> None:
        """Take events in the order of the log."""
        for positioned in events:
            recorded = positioned.recorded
            event = recorded.event
            if isinstance(event, StepEvent):
                self._step(recorded.originator_id, event)
            elif isinstance(event, LimitChanged):
                self.changes[event.name] = event
                self._limits.changed(event.name, event.at)

    def queue(self, queue: str) -> list[Out]:
        """Return the orders of a queue that are out."""
        return [out for out in self.out.values() if out.queue == queue]

    def holders(self, held: Held) -> list[Out]:
        """Return the orders that hold a slot of a limit."""
        return [out for out in self.out.values() if held in out.limits]

    def blocker(self, now: datetime) -> Claim | None:
        """Return the first of the limits that lets nothing through."""
        held = self._limits.blocker(list(self._claims.values()), now)
        return None if held is None else self._claims[held]

    def room_at(self, claim: Claim, queued: Queued, now: datetime) -> datetime | None:
        """Return when time will give a token to a step that waits for one, None if it need not."""
        self._limits.wait(claim.held, Waiter(queued), [claim])
        due = self._limits.next_due(now, lambda _: True)
        return due and due + timedelta(microseconds=-due.microsecond % 1_000)  # its hair rounded up

    def _step(self, step: UUID, event: Event) -> None:
        match event:
            case StepReleased():
                self._take(step, event)
            case StepStarted():
                if step in self.out:
                    self.out[step].state, self.out[step].since = "running", event.at
            case StepProgressed():
                pass
            case _:
                if self.out.pop(step, None) is not None:
                    self._limits.give_back(step)

    def _take(self, step: UUID, event: StepReleased) -> None:
        under = tuple(held for held in self._claims if self._is_under(event, held))
        at, held = event.at, tuple(dict.fromkeys((*event.limits, *under)))
        self.out[step] = Out(event.job, event.path, event.queue, at, held, at)
        claims = [self._claims[held] for held in under if held in event.limits]
        if claims:
            self._limits.take(step, claims, event.at)
        self._limits.hold(step, under)


def _names(order: StepReleased, held: Held) -> bool:
    return held in order.limits
