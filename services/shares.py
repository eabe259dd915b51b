"""How several daemons of one kind share the partitions of a store among themselves, by leases."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

import msgspec

from warrener.domain.ports import Lease, Leases

LEASE_SECONDS = 6.0
LOOK_SECONDS = 0.25  # how soon it is seen that somebody came, left, or let go of a lease
RENEWALS_PER_LEASE = 3
# The reactor of `warrener up` is always named so: one takes over from one that was killed at once.
UP_NAME = "up"


class Identity(msgspec.Struct, frozen=True):
    """Which daemon this is, and for how long its leases last."""

    name: str
    lease_seconds: float = LEASE_SECONDS


class Change(NamedTuple):
    """What a `refresh` found. Deal with `lost` first, then `taken`: a partition may be in both.

    Such a one was somebody else's in between, so that nothing known about it is sure any more.
    `surplus` is still held: finish what is begun there, then call `give_up` for each. They are
    named again at every refresh until then, the same ones first.
    """

    taken: tuple[int, ...] = ()
    lost: tuple[int, ...] = ()
    surplus: tuple[int, ...] = ()


class PartitionShare:
    """The partitions that one member holds, and its fair share of them.

    With N partitions and M members everybody ends up with N / M, rounded down or up. Nobody takes
    more than the lower number while another member has less; whoever has more than the upper one,
    or has one more than somebody needs, has a surplus to give up. Belongs to one thread, does
    nothing between calls, and takes the time from its caller; errors are `StoreUnavailable`, and
    what was taken or lost before one is told by the next `refresh`.

    Names of members must differ. A member that is started again under its old name has its leases
    back at once.
    """

    def __init__(
        self, leases: Leases, name: str, partitions: int, lease_seconds: float = LEASE_SECONDS
    ) -> None:
        """Take leases of one role, and how many partitions there are; `refresh` begins."""
        self.name = name
        self.lease_seconds = lease_seconds
        self._leases = leases
        self._partitions = partitions
        self._epochs: dict[int, int] = {}
        self._taken: set[int] = set()
        self._lost: set[int] = set()
        self._surplus: tuple[int, ...] = ()
        self._members: tuple[str, ...] = ()
        self._renewed: datetime | None = None
        self._looked: datetime | None = None

    @property
    def held(self) -> dict[int, int]:
        """Return the partitions that it holds, in order, each with the epoch of its lease."""
        return dict(sorted(self._epochs.items()))

    @property
    def members(self) -> tuple[str, ...]:
        """Return who was there at the last look, itself included."""
        return self._members

    def holds(self, partition: int, now: datetime) -> bool:
        """Say whether the lease of a partition lasts still, without asking the store."""
        if partition not in self._epochs or self._renewed is None:
            return False
        return self._renewed <= now < self._renewed + timedelta(seconds=self.lease_seconds)

    def refresh(self, now: datetime) -> Change:
        """Renew what is held and take what is free, each when it is time to; say what changed.

        To be called before each round of work, and several times a second: it asks the store only
        when something is due, and at once if the clock went back. Call it while able to work only,
        for members who never take their share keep it from the others.
        """
        self.keep(now)
        if _is_due(now, self._looked, LOOK_SECONDS):
            self._look(now)
        change = Change(tuple(sorted(self._taken)), tuple(sorted(self._lost)), self._surplus)
        self._taken, self._lost = set(), set()
        return change

    def keep(self, now: datetime) -> None:
        """Renew what is held when it is time to, in the midst of work that takes long.

        What it finds is told by the next `refresh`.
        """
        if _is_due(now, self._renewed, self.lease_seconds / RENEWALS_PER_LEASE):
            self._renew(now)

    def give_up(self, partition: int) -> None:
        """Let go of a partition, so that somebody else has it at once."""
        self._leases.give_up(partition, self.name)
        self._epochs.pop(partition, None)
        self._taken.discard(partition)
        self._surplus = tuple(each for each in self._surplus if each != partition)

    def give_up_all(self) -> None:
        """Let go of everything and leave; a later `refresh` joins again."""
        for partition in self.held:
            self.give_up(partition)
        self._leases.withdraw(self.name)
        self._renewed = self._looked = None

    def _renew(self, now: datetime) -> None:
        self._leases.announce(self.name, now, self.lease_seconds)
        for partition, epoch in self.held.items():
            found = self._leases.take(partition, self.name, now, self.lease_seconds)
            if found != epoch:
                self._lose(partition)
            if found:
                self._gain(partition, found)
        self._renewed = now

    def _look(self, now: datetime) -> None:
        """See who is there and what is free."""
        leases = self._leases.all()
        if any(_is_not(leases.get(each), self.name, epoch) for each, epoch in self._epochs.items()):
            self._renew(now)
            leases = self._leases.all()
        self._members = tuple(sorted({self.name, *self._leases.members(now)}))
        free = [each for each in self._in_turn() if _is_free(leases.get(each), self.name, now)]
        free = [each for each in free if each not in self._epochs]
        lower, upper = self._bounds()
        lacking = self._lacking(leases, lower, now)
        for partition in free[: max(0, (lower if lacking else upper) - len(self._epochs))]:
            epoch = self._leases.take(partition, self.name, now, self.lease_seconds)
            if epoch:
                self._gain(partition, epoch)
        needed = max(0, lacking - len(free))
        keep = min(upper, max(lower, len(self._epochs) - needed))
        self._surplus = tuple(reversed(list(self.held)[keep:]))
        self._looked = now

    def _bounds(self) -> tuple[int, int]:
        """Return the share of a member, rounded down and up."""
        members = len(self._members)
        return self._partitions // members, -(-self._partitions // members)

    def _lacking(self, leases: dict[int, Lease], lower: int, now: datetime) -> int:
        """Return how many partitions the other members are short of."""
        counts = dict.fromkeys(self._members, 0)
        for lease in leases.values():
            if lease.until > now and lease.holder in counts:
                counts[lease.holder] += 1
        del counts[self.name]
        return sum(max(0, lower - count) for count in counts.values())

    def _in_turn(self) -> Sequence[int]:
        """Return all partitions, beginning where no other member begins, if there are enough."""
        rank = self._members.index(self.name)
        start = rank * self._partitions // len(self._members)
        return [(start + each) % self._partitions for each in range(self._partitions)]

    def _gain(self, partition: int, epoch: int) -> None:
        if partition not in self._epochs:
            self._epochs[partition] = epoch
            self._taken.add(partition)

    def _lose(self, partition: int) -> None:
        del self._epochs[partition]
        if partition in self._taken:  # nobody was told of it
            self._taken.discard(partition)
        else:
            self._lost.add(partition)


def _is_due(now: datetime, last: datetime | None, seconds: float) -> bool:
    """Say whether it is time again; it is, too, if the clock went back."""
    return last is None or now < last or now >= last + timedelta(seconds=seconds)


def _is_free(lease: Lease | None, name: str, now: datetime) -> bool:
    """Say whether a lease is to be had; one's own is, if nobody knows that it was taken."""
    return lease is None or lease.holder == name or lease.until <= now


def _is_not(lease: Lease | None, name: str, epoch: int) -> bool:
    return lease is None or lease.holder != name or lease.epoch != epoch
