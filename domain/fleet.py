"""Which workers there are and what they serve, by what they announce themselves."""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec

from warrener.domain.messages import FleetMessage, WorkerBye, WorkerState

BEATS_MISSED_MAX = 3
WORKERS_MAX = 10_000
ENDPOINTS_TOLD_MAX = 1_000


class Member(msgspec.Struct, frozen=True):
    """A worker as it announced itself last, and when it counts as gone without another word."""

    state: WorkerState
    seen_at: datetime
    gone_at: datetime


class Fleet:
    """The workers that are alive, and the slots they give to each queue."""

    def __init__(self) -> None:
        """Begin with nobody; workers announce themselves again with every beat."""
        self.members: dict[str, Member] = {}
        self.changed = False  # since somebody last looked: slots or endpoints
        self._slots: dict[str, int] = {}
        self._look_at: datetime | None = None  # nobody is gone before

    def slots(self, queue: str) -> int:
        """Return the slots of all workers that serve a queue, by the name definitions use."""
        return self._slots.get(queue, 0)

    def served(self) -> tuple[dict[str, int], tuple[str, ...]]:
        """Return the slots that serve each queue, and the endpoints that workers know."""
        known: set[str] = set()
        for member in self.members.values():
            known.update(member.state.endpoints)
        return dict(self._slots), tuple(sorted(known)[:ENDPOINTS_TOLD_MAX])

    def movable(self, to: str) -> list[WorkerState]:
        """Return the workers that do not serve a queue but could, by name."""
        states = [self.members[name].state for name in sorted(self.members)]
        return [state for state in states if to in state.able and to not in state.queues]

    def hear(self, message: FleetMessage, now: datetime) -> None:
        """Take what a worker announces."""
        known = self.members.get(message.worker)
        if isinstance(message, WorkerBye):
            self.members.pop(message.worker, None)
        elif known is not None or len(self.members) < WORKERS_MAX:
            patience = timedelta(seconds=BEATS_MISSED_MAX * max(message.beat_seconds, 1.0))
            gone_at = now + patience
            self.members[message.worker] = Member(message, now, gone_at)
            self._look_at = min(gone_at, self._look_at or gone_at)
        if known is None or _serves(known.state) != _serves(message):
            self._count()

    def expire(self, now: datetime) -> list[str]:
        """Forget the workers that have not been heard of for too long; return their names."""
        if self._look_at is None or now < self._look_at:
            return []
        gone = [name for name, member in self.members.items() if member.gone_at <= now]
        for name in gone:
            del self.members[name]
        self._count()
        self._look_at = min((m.gone_at for m in self.members.values()), default=None)
        return gone

    def _count(self) -> None:
        self.changed = True
        self._slots = {}
        for member in self.members.values():
            for queue in member.state.queues:
                self._slots[queue] = self._slots.get(queue, 0) + member.state.slots


def _serves(state: WorkerState) -> tuple[tuple[str, ...], int, bool]:
    return state.queues, state.slots, isinstance(state, WorkerBye)
