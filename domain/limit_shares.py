"""How partitions share a limit: what each may hold of it, as an entry in the store has it.

A limit with one key is counted in the controller of each partition. So that all of them together
stay under it, each is granted a part: of `slots`, or of `burst`, the size of the bucket of a rate.
With u of b units of burst a partition has a bucket of size u that is filled at u/b of the rate.
The grants together are never more than there is; what a partition holds of a grant that is taken
back stays granted until it is free. Units move with the tokens in them and gain none on their way,
so that in any time no more goes out than with one bucket. An entry that is not there means that
nobody holds anything, and that the bucket is full.

Every function here is pure: the store changes an entry only if it is still as it was read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal, Protocol

import msgspec
from msgspec.structs import replace

from warrener.domain.step_events import Held

TURN_SECONDS = 5.0  # how long one keeps a unit that others want as well

Unit = Literal["slots", "burst"]


class ShareKey(msgspec.Struct, frozen=True):
    """What is shared: the slots, or the burst, of a limit with a key."""

    held: Held
    unit: Unit


class Ask(msgspec.Struct, frozen=True):
    """What a partition says when it asks for its share.

    `total` is how many units there are as far as it knows, `held` how many its attempts hold now,
    `wanted` those with what it could use beside them; `tokens` are in its bucket now, and `fill`
    is what a unit gains in a second. `spent` says that it has used what it was granted, or could
    have, so that it is the turn of others.
    """

    total: int
    held: int = 0
    wanted: int = 0
    tokens: float = 0.0
    fill: float = 0.0
    spent: bool = True


class Share(msgspec.Struct, frozen=True):
    """What a partition may hold from now on, and the tokens in its bucket.

    If it holds more than `units`, nothing more goes out until enough of that has ended.
    """

    units: int = 0
    tokens: float = 0.0


class Part(msgspec.Struct, frozen=True):
    """What the store knows of one partition.

    `total` is how many units there are as far as it knows; the lowest that anybody knows counts,
    for a change reaches partitions one after the other. `ticket` orders those who want more than
    there is, `since` is when a turn began with a unit that does not go round, in seconds, 0 without
    one.
    """

    epoch: int
    granted: int = 0
    wanted: int = 0
    total: int = 0
    ticket: int = 0
    since: float = 0.0


class Entry(msgspec.Struct, frozen=True):
    """All parts of a limit with a key. `left` are the tokens of the units that nobody has, `at`."""

    parts: Mapping[int, Part] = {}
    total: int = 0
    fill: float = 0.0
    left: float = 0.0
    at: float = 0.0
    tickets: int = 0

    @property
    def full_at(self) -> float:
        """Return when the bucket is full if nobody takes part, in seconds."""
        missing = max(0.0, self.total - self.left)
        return self.at + (missing / (self.fill * self.total) if self.fill and self.total else 0.0)


class LimitShares(Protocol):
    """What the partitions of a store have been granted of their limits.

    Obligations: each entry changes as the function `balance` says, and only if it is still as it
    was read. An entry that others changed all the time is missing in the answer; the partition's
    part of it is as before. Errors are `StoreUnavailable`: then nobody knows what was changed, and
    the partition must count anew before it lets anything out.
    """

    def balance(
        self, partition: int, epoch: int, asks: Mapping[ShareKey, Ask], now: float
    ) -> Mapping[ShareKey, Share]:
        """Ask for the shares of a partition whose lease has this epoch."""
        ...

    def of(self, partition: int) -> Mapping[ShareKey, Entry]:
        """Return the entries in which a partition has a part."""
        ...

    def close(self) -> None:
        """Release connections."""
        ...


def balance(
    entry: Entry | None, partition: int, epoch: int, ask: Ask, now: float
) -> tuple[Entry | None, Share]:
    """Return an entry after a partition has asked, None if it is to go, and the share granted.

    Who asks with an older epoch than was there before gets nothing and changes nothing.
    """
    full = float(ask.total) if ask.fill else 0.0
    entry = entry or Entry(total=ask.total, fill=ask.fill, left=full, at=now)
    known = entry.parts.get(partition, Part(epoch))
    if known.epoch > epoch:
        return entry, Share()
    others = {each: part for each, part in entry.parts.items() if each != partition}
    total = min([ask.total, *(part.total for part in others.values())])
    queued, tickets = _queued(known, entry.tickets, ask, now)
    mine, units = _granting(queued, others, partition, total, now)
    mine = replace(mine, epoch=epoch, granted=max(ask.held, units), total=ask.total)
    parts = {**others, partition: mine} if mine.granted or mine.wanted else others
    left, tokens = _moved(entry, known.granted, mine.granted, ask, now)
    left = min(left, float(max(0, total - _granted(parts.values()))))
    if not parts and (not ask.fill or left >= total):
        return None, Share(units, tokens)
    changed = Entry(parts, total, ask.fill, left, entry.at, tickets)
    if changed != entry:
        changed = replace(changed, at=max(entry.at, now))
    return changed, Share(units, tokens)


def _granting(
    mine: Part, others: Mapping[int, Part], partition: int, total: int, now: float
) -> tuple[Part, int]:
    """Return a part with the begin of its turn, if it has one, and the units that it may hold."""
    fair, extra = _fair({**others, partition: mine}, total)[partition]
    units = min(fair + extra, max(0, total - _granted(others.values())))
    return replace(mine, since=(mine.since or now) if units > fair else 0.0), units


def _queued(known: Part, tickets: int, ask: Ask, now: float) -> tuple[Part, int]:
    """Return a part with what it wants now and its place in the queue, and the tickets given out.

    Whose turn with a unit is over has to queue up anew; who wants nothing leaves the queue.
    """
    wanted = max(0, min(ask.wanted, ask.total))
    over = known.since and ask.spent and not 0 <= now - known.since < TURN_SECONDS
    if not wanted:
        return replace(known, wanted=0, ticket=0, since=0.0), tickets
    if over or not known.ticket:
        return replace(known, wanted=wanted, ticket=tickets + 1, since=0.0), tickets + 1
    return replace(known, wanted=wanted), tickets


def _fair(parts: Mapping[int, Part], total: int) -> dict[int, tuple[int, int]]:
    """Return for each the units that go round, and 1 more for the first who want it besides.

    Everybody gets up to the same number, as high as it can be, and nobody more than it wants.
    """
    wants = sorted(min(part.wanted, total) for part in parts.values())
    level, rest = 0, total
    for place, want in enumerate(wants):
        sharers = len(wants) - place
        step = min(want - level, rest // sharers)
        level, rest = level + step, rest - step * sharers
        if level < want:
            break
    more = [each for each, part in parts.items() if min(part.wanted, total) > level]
    first = set(sorted(more, key=lambda each: parts[each].ticket)[:rest])
    return {
        each: (min(part.wanted, total, level), int(each in first)) for each, part in parts.items()
    }


def _moved(entry: Entry, before: int, after: int, ask: Ask, now: float) -> tuple[float, float]:
    """Return the tokens of units that nobody has, and of the partition, once units have moved."""
    free = max(0, entry.total - _granted(entry.parts.values()))
    left = min(float(free), entry.left + max(0.0, now - entry.at) * entry.fill * free)
    if after > before:
        gained = min(left, float(after - before))
        return left - gained, ask.tokens + gained
    kept = min(ask.tokens, float(after))
    return left + ask.tokens - kept, kept


def _granted(parts: Iterable[Part]) -> int:
    return sum(part.granted for part in parts)
