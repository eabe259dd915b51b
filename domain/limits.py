"""Limits: how many orders of a kind may be out at once, and how many may go out in a time.

A limit is shared by all steps that name it with the same key. Slots are held from the order to the
end of its attempt; tokens are taken by the order and come back with time alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec

from warrener.domain.caps import NO_KEY, ROOT
from warrener.domain.control_events import LimitChanged
from warrener.domain.definition.model import Limit
from warrener.domain.definition.names import is_reserved
from warrener.domain.limit_shares import Ask, Share, ShareKey
from warrener.domain.limit_state import Claim, LimitState, Waiter
from warrener.domain.step_events import Held

OF_ONE_TREE: Final = frozenset({ROOT})  # a tree of jobs is in one partition: nobody shares these
STATES_KEPT_MIN = 10_000  # so many limits with different keys are kept without looking at them


class Limits:
    """All limits of a controller. `changes` gives what people set for a name, if anything."""

    def __init__(
        self,
        changes: Callable[[str], LimitChanged | None],
        quiet_since: datetime | None = None,
        *,
        shared: bool = False,
    ) -> None:
        """Begin with nothing out.

        No order can have gone out after `quiet_since` (None: none ever did): what went out before
        is forgotten, so that buckets are taken to have been empty then. What is `shared` with
        other partitions lets nothing out before `accept` says what of it is ours.
        """
        self._changes = changes
        self._quiet_since = quiet_since
        self._shared = shared
        self._states: dict[Held, LimitState] = {}
        self._held_by: dict[UUID, tuple[Held, ...]] = {}
        self._to_look_at: dict[Held, None] = {}
        self._look_at_size = STATES_KEPT_MIN
        self._to_ask: dict[Held, None] = {}  # shared ones in use, or granted to us
        self._soon: dict[Held, None] = {}  # those of them to ask for before their time

    def blocker(self, claims: Sequence[Claim], now: datetime) -> Held | None:
        """Return the first limit that lets nothing through now."""
        for claim in self._in_order(claims):
            if self._state(claim, now).room(now, self._quiet_since) < 1:
                return claim.held
        return None

    def reason(self, blocker: Held) -> str:
        """Return what of a limit is lacking, and of which: such as `slots per-account/7`.

        Of limits with reserved names, all keys have the same reason: there may be one for each job.
        """
        state = self._states[blocker]
        full = state.limit.slots is not None and len(state.holders) >= state.units("slots")
        key = NO_KEY if is_reserved(blocker.name) else blocker.key
        return f"{'slots' if full else 'rate'} {blocker.name}/{key}"

    def room_at(self, blocker: Held, now: datetime) -> datetime | None:
        """Return when time will give room to somebody, None if that is not up to time."""
        return self._current(blocker).room_at(now, self._quiet_since)

    def awaited(self, claims: Sequence[Claim]) -> Held | None:
        """Return the first of these limits that somebody waits for."""
        helds = (claim.held for claim in claims)
        return next(
            (held for held in helds if held in self._states and self._states[held].waiters), None
        )

    def bounds(self, blocker: Held) -> Limit:
        """Return what a limit lets out, as people have set it."""
        return self._current(blocker).limit

    def take(self, step: UUID, claims: Sequence[Claim], now: datetime) -> tuple[Held, ...]:
        """Let a step through; what it holds is given back by `give_back`."""
        for claim in claims:
            state = self._states.get(claim.held) or self._state(claim, now)
            state.used = True
            state.fresh.clear()
            state.holders[step] = None
            if state.limit.rate is not None:
                state.refill(now, self._quiet_since).tokens -= 1
        helds = tuple([claim.held for claim in claims])
        self._note(step, helds)
        return helds

    def hold(self, step: UUID, helds: tuple[Held, ...], defined: Iterable[Limit] = ()) -> None:
        """Note that a step is out and holds slots of these limits, too, which were defined so."""
        self._note(step, helds)
        limits = {limit.name: limit for limit in defined}
        for held in helds:
            state = self._states.get(held)
            if state is None:
                state = self._add(held, limits.get(held.name, Limit(name=held.name)))
            state.holders[step] = None

    def _note(self, step: UUID, helds: tuple[Held, ...]) -> None:
        if helds:
            known = self._held_by.get(step)
            self._held_by[step] = tuple(dict.fromkeys((*known, *helds))) if known else helds

    def give_back(self, step: UUID) -> None:
        """The attempt of a step has ended."""
        for held in self._held_by.pop(step, ()):
            state = self._states[held]
            state.holders.pop(step, None)
            self._to_look_at[held] = None
            if state.shared and not state.wanted:
                self._soon[held] = None

    def wait(self, blocker: Held, waiter: Waiter, claims: Sequence[Claim]) -> None:
        """Keep a step until a limit has room for it; others of its limits may have more now."""
        state = self._states[blocker]
        if self._shared:
            waiter = self._passing(blocker, waiter, claims)
        if state.shared and (not state.waiters or state.lacks):
            self._soon[blocker] = None
        state.waiters.add(waiter)
        known = (claim.held for claim in claims if claim.held in self._states)
        self._to_look_at.update(dict.fromkeys(known))

    def changed(self, name: str, at: datetime) -> None:
        """People have set a limit anew; up to then its buckets were filled as it was before."""
        known = dict.fromkeys(held for held in self._states if held.name == name)
        for state in map(self._states.__getitem__, known):
            if state.limit.rate is not None and state.bucket is not None:
                state.refill(at, self._quiet_since)
        self._to_look_at.update(known)
        self._soon.update((held, None) for held in known if self._states[held].shared)

    def freed(self, now: datetime, has_room: Callable[[str], bool]) -> Iterator[Waiter]:
        """Yield those whose turn it is to try again, while their queue has room for them.

        Those let through may not go after all and leave the room to the next: ask again until none
        come.
        """
        for held in list(self._to_look_at):
            state = self._current(held)
            room = max(0.0, state.room(now, self._quiet_since))
            count = int(min(room, float(len(state.waiters))))
            while count and (waiter := state.waiters.take(now, has_room)) is not None:
                count -= 1
                self._waits_no_more(waiter)
                yield waiter
            if not state.waiters or (room < 1 and state.limit.rate is None):
                del self._to_look_at[held]

    def let_go(self, queue: str) -> None:
        """Nobody of a queue waits any more."""
        for held, state in self._states.items():
            gone = state.waiters.let_go(queue)
            for waiter in gone:
                self._waits_no_more(waiter)
            if gone and state.shared:
                self._soon[held] = None

    def _waits_no_more(self, waiter: Waiter) -> None:
        for passed in waiter.passed:
            self._states[passed].passed -= 1

    def waiting(self) -> int:
        """Return how many ready steps limits hold back."""
        return sum(len(state.waiters) for state in self._states.values())

    def next_due(self, now: datetime, has_room: Callable[[str], bool]) -> datetime | None:
        """Return when time will give room to somebody who waits, and whose queue has room.

        That is now if there is room: more was granted since others were let through, or a queue
        has room that had none then.
        """
        states = (self._current(held) for held in self._to_look_at)
        waiting = [state for state in states if state.waiters.next(now, has_room) is not None]
        if any(each.room(now, self._quiet_since) >= 1 for each in waiting):
            return now
        times = [state.room_at(now, self._quiet_since) for state in waiting]
        return min((at for at in times if at is not None), default=None)

    def reserve(self, claims: Sequence[Claim], slots: int, now: datetime) -> None:
        """Have so many slots at hand, where others share these limits: for who cannot wait."""
        for claim in claims if self._shared else ():
            state = self._state(claim, now)
            if state.spare != slots:
                state.spare = slots
                self._soon[claim.held] = None

    def give_reserves_back(self) -> None:
        """Have nothing more at hand than what is wanted."""
        for held, state in self._states.items():
            if state.spare:
                state.spare = 0
                self._soon[held] = None

    # --- sharing with other partitions -----------------------------------------------------------

    @property
    def ask_soon(self) -> bool:
        """Say whether somebody waits for more of a shared limit, or has no more use for it."""
        return bool(self._soon)

    def asks(self, now: datetime, *, soon: bool = False) -> dict[ShareKey, Ask]:
        """Return what to ask for of all shared limits in use, or of those to ask for soon only."""
        found: dict[ShareKey, Ask] = {}
        for held in list(self._soon if soon else self._to_ask):
            state = self._current(held)
            for unit, ask in state.asks(now).items():
                found[ShareKey(held, unit)] = ask
            state.used = False
            if not state.in_use:
                del self._to_ask[held]
        self._soon.clear()
        return found

    def accept(
        self, asked: Mapping[ShareKey, Ask], shares: Mapping[ShareKey, Share], now: datetime
    ) -> None:
        """Take what was granted of what was asked for; `now` is after that."""
        known = {key: share for key, share in shares.items() if key.held in self._states}
        for key, share in known.items():
            state = self._current(key.held)
            if state.accept(key.unit, share, asked[key].total, now):
                self._to_look_at[key.held] = None
            if state.waiters and state.lacks:
                self._soon[key.held] = None

    def _in_order(self, claims: Sequence[Claim]) -> Sequence[Claim]:
        """Return claims in the order in which all ask for them, so that nobody waits in a ring."""
        if not self._shared or len(claims) < 2:
            return claims
        return sorted(claims, key=lambda claim: (claim.held.name, claim.held.key))

    def _passing(self, blocker: Held, waiter: Waiter, claims: Sequence[Claim]) -> Waiter:
        """Return a waiter with those limits that had room for it: it wants them, too."""
        helds = [claim.held for claim in self._in_order(claims)]
        passed = tuple(helds[: helds.index(blocker)])
        for held in passed:
            self._states[held].passed += 1
        same = passed == waiter.passed
        return waiter if same else msgspec.structs.replace(waiter, passed=passed)

    # --- states ----------------------------------------------------------------------------------

    def _state(self, claim: Claim, now: datetime) -> LimitState:
        state = self._states.get(claim.held)
        if state is None:
            self._forget_idle(now)
            return self._add(claim.held, claim.limit)
        state.defined = claim.limit
        return self._current(claim.held)

    def _add(self, held: Held, defined: Limit) -> LimitState:
        shared = self._shared and held.name not in OF_ONE_TREE
        self._states[held] = LimitState(defined, defined, grants={} if shared else None)
        return self._current(held)

    def _current(self, held: Held) -> LimitState:
        """Return a limit as people have set it, else as its definition says."""
        state = self._states[held]
        change = self._changes(state.defined.name)
        state.limit = state.defined if change is None else changed(state.defined, change)
        if state.shared and held not in self._to_ask:
            self._to_ask[held] = None
        return state

    def _forget_idle(self, now: datetime) -> None:
        """Forget limits that nobody holds or waits for, once there are twice as many as before."""
        if len(self._states) >= self._look_at_size:
            idle = [held for held in self._states if self._is_idle(held, now)]
            for held in idle:
                del self._states[held]
                self._to_look_at.pop(held, None)
                self._soon.pop(held, None)
            self._look_at_size = max(STATES_KEPT_MIN, 2 * len(self._states))

    def _is_idle(self, held: Held, now: datetime) -> bool:
        """Say whether nothing is lost if a limit is forgotten."""
        state = self._states[held]
        if state.shared or state.holders or state.waiters or state.passed:
            return state.shared and not state.wanted and held not in self._to_ask
        state = self._current(held)
        if state.bucket is None or state.limit.rate is None:
            return state.bucket is None
        return state.refill(now, self._quiet_since).tokens >= float(state.burst)


def changed(limit: Limit, change: LimitChanged) -> Limit:
    """Return a limit as people have set it."""
    return msgspec.structs.replace(
        limit,
        slots=limit.slots if change.slots is None else change.slots,
        rate=limit.rate if change.rate is None else change.rate,
        burst=limit.burst if change.burst is None else change.burst,
    )
