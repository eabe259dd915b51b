"""Limits: how many orders of a kind may be out at once, and how many may go out in a time.

A limit is shared by all steps that name it with the same key. Slots are held from the order to the
end of its attempt; tokens are taken by the order and come back with time alone.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from uuid import UUID

import msgspec

from warrener.domain.control_events import LimitChanged
from warrener.domain.definition.model import Limit
from warrener.domain.flow import Ready
from warrener.domain.step_events import Held

STATES_KEPT_MIN = 10_000  # so many limits with different keys are kept without looking at them
TICK_SECONDS = 0.001
LOOK_AHEAD_SECONDS_MAX = 365 * 86_400.0  # a bucket that fills more slowly is looked at again then
_HAIR = 1e-6  # what rounding may take from a whole token


class Claim(msgspec.Struct, frozen=True):
    """A limit that a step comes under, and its key there."""

    limit: Limit
    held: Held


class Waiter(msgspec.Struct, frozen=True):
    """A ready step that a limit holds back, and the queue that it is for."""

    queue: str
    ready: Ready


class _Bucket(msgspec.Struct):
    tokens: float
    at: datetime


class _State(msgspec.Struct):
    """What is known of one limit with one key."""

    limit: Limit
    holders: dict[UUID, None] = {}
    bucket: _Bucket | None = None
    waiters: deque[Waiter] = msgspec.field(default_factory=deque)


class Limits:
    """All limits of a controller. `changes` gives what people set for a name, if anything."""

    def __init__(
        self,
        changes: Callable[[str], LimitChanged | None],
        quiet_since: datetime | None = None,
    ) -> None:
        """Begin with nothing out.

        No order can have gone out after `quiet_since` (None: none ever did): what went out before
        is forgotten, so that buckets are taken to have been empty then.
        """
        self._changes = changes
        self._quiet_since = quiet_since
        self._states: dict[Held, _State] = {}
        self._held_by: dict[UUID, tuple[Held, ...]] = {}
        self._to_look_at: dict[Held, None] = {}
        self._look_at_size = STATES_KEPT_MIN

    def blocker(self, claims: Sequence[Claim], now: datetime) -> Held | None:
        """Return the first limit that lets nothing through now."""
        for claim in claims:
            if self._room(self._state(claim, now), now) < 1:
                return claim.held
        return None

    def take(self, step: UUID, claims: Sequence[Claim], now: datetime) -> tuple[Held, ...]:
        """Let a step through; what it holds is given back by `give_back`."""
        for claim in claims:
            state = self._state(claim, now)
            if self._limit(state).rate is not None:
                self._refill(state, now).tokens -= 1
        helds = tuple(claim.held for claim in claims)
        self.hold(step, helds)
        return helds

    def hold(self, step: UUID, helds: tuple[Held, ...]) -> None:
        """Note that a step is out and holds slots of these limits."""
        if helds:
            self._held_by[step] = helds
        for held in helds:
            state = self._states.setdefault(held, _State(Limit(name=held.name)))
            state.holders[step] = None

    def give_back(self, step: UUID) -> None:
        """The attempt of a step has ended."""
        for held in self._held_by.pop(step, ()):
            self._states[held].holders.pop(step, None)
            self._to_look_at[held] = None

    def wait(self, blocker: Held, waiter: Waiter, claims: Sequence[Claim]) -> None:
        """Keep a step until a limit has room for it; others of its limits may have more now."""
        self._states[blocker].waiters.append(waiter)
        known = (claim.held for claim in claims if claim.held in self._states)
        self._to_look_at.update(dict.fromkeys(known))

    def changed(self, name: str) -> None:
        """People have set a limit anew."""
        self._to_look_at.update(dict.fromkeys(held for held in self._states if held.name == name))

    def freed(self, now: datetime, has_room: Callable[[str], bool]) -> Iterator[Waiter]:
        """Yield those whose turn it is to try again, while their queue has room for them.

        Those let through may not go after all and leave the room to the next: ask again until none
        come.
        """
        for held in list(self._to_look_at):
            state = self._states[held]
            room = max(0.0, self._room(state, now))
            count = int(min(room, float(len(state.waiters))))
            while count and has_room(state.waiters[0].queue):
                count -= 1
                yield state.waiters.popleft()
            if not state.waiters or (room < 1 and self._limit(state).rate is None):
                del self._to_look_at[held]

    def waiting(self) -> int:
        """Return how many ready steps limits hold back."""
        return sum(len(state.waiters) for state in self._states.values())

    def next_due(self, now: datetime, has_room: Callable[[str], bool]) -> datetime | None:
        """Return when time will give room to somebody who waits, and whose queue has room."""
        states = (self._states[held] for held in self._to_look_at)
        waiting = [state for state in states if state.waiters and has_room(state.waiters[0].queue)]
        times = [self._room_at(state, now) for state in waiting]
        return min((at for at in times if at is not None), default=None)

    def _state(self, claim: Claim, now: datetime) -> _State:
        state = self._states.get(claim.held)
        if state is None:
            self._forget_idle(now)
            state = self._states[claim.held] = _State(claim.limit)
        state.limit = claim.limit
        return state

    def _forget_idle(self, now: datetime) -> None:
        """Forget limits that nobody holds or waits for, once there are twice as many as before."""
        if len(self._states) >= self._look_at_size:
            idle = [held for held, state in self._states.items() if self._is_idle(state, now)]
            for held in idle:
                del self._states[held]
                self._to_look_at.pop(held, None)
            self._look_at_size = max(STATES_KEPT_MIN, 2 * len(self._states))

    def _is_idle(self, state: _State, now: datetime) -> bool:
        """Say whether nothing is lost if a limit is forgotten."""
        if state.holders or state.waiters:
            return False
        if state.bucket is None or self._limit(state).rate is None:
            return state.bucket is None
        return self._refill(state, now).tokens >= float(self._limit(state).burst or 1)

    def _limit(self, state: _State) -> Limit:
        """Return a limit as people have set it, else as its definition says."""
        change = self._changes(state.limit.name)
        return state.limit if change is None else changed(state.limit, change)

    def _room(self, state: _State, now: datetime) -> float:
        """Return how many more orders a limit lets through now."""
        limit = self._limit(state)
        room = float("inf") if limit.slots is None else float(limit.slots - len(state.holders))
        if limit.rate is not None:
            room = min(room, self._refill(state, now).tokens + _HAIR)
        return room

    def _refill(self, state: _State, now: datetime) -> _Bucket:
        limit = self._limit(state)
        rate, burst = limit.rate, float(limit.burst or 1)
        assert rate is not None
        if state.bucket is None:
            state.bucket = _Bucket(burst, now)
            if self._quiet_since is not None:
                state.bucket = _Bucket(0.0, min(self._quiet_since, now))
        bucket = state.bucket
        passed = max(0.0, (now - bucket.at).total_seconds())
        tokens = bucket.tokens + passed * rate.count / rate.seconds
        bucket.tokens, bucket.at = min(burst, tokens), max(now, bucket.at)
        return bucket

    def _room_at(self, state: _State, now: datetime) -> datetime | None:
        """Return when a bucket has a token for somebody who waits, and for no slot."""
        limit = self._limit(state)
        rate = limit.rate
        full = limit.slots is not None and len(state.holders) >= limit.slots
        if rate is None or full or not state.waiters:
            return None
        missing = 1.0 - _HAIR - self._refill(state, now).tokens
        if missing <= 0:
            return now
        wait_seconds = max(missing * rate.seconds / rate.count, TICK_SECONDS)
        return now + timedelta(seconds=min(wait_seconds, LOOK_AHEAD_SECONDS_MAX))


def changed(limit: Limit, change: LimitChanged) -> Limit:
    """Return a limit as people have set it."""
    return msgspec.structs.replace(
        limit,
        slots=limit.slots if change.slots is None else change.slots,
        rate=limit.rate if change.rate is None else change.rate,
        burst=limit.burst if change.burst is None else change.burst,
    )
