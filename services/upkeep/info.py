"""What there is to know about a store as a whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import msgspec

from warrener.domain.ports import Lease
from warrener.services.lag import Lag
from warrener.services.shapes import format_time
from warrener.services.upkeep.commits import Part, last_commit


class LeaseInfo(msgspec.Struct, frozen=True):
    """Who took a partition last; `held` says whether it is still theirs."""

    holder: str
    until: str
    epoch: int
    held: bool


class PartInfo(msgspec.Struct, frozen=True):
    """One partition; `link` is that of its last commit, to be kept and to verify with later."""

    partition: int
    events: int
    commits: int
    blobs: int
    published: int
    open_roots: int
    epoch: int
    restoring: bool
    link: str | None
    archives: tuple[str, ...]
    lease: LeaseInfo | None
    views: tuple[Lag, ...]


class StoreInfo(msgspec.Struct, frozen=True):
    """A store; `bytes` is its size on disk, where known."""

    store: str
    kind: str
    partitions: int
    events: int
    commits: int
    blobs: int
    open_roots: int
    epoch: int
    bytes: int | None
    views: str | None
    logs: tuple[PartInfo, ...]


def describe(
    part: Part, leases: Mapping[int, Lease], lags: Sequence[Lag], now: datetime
) -> tuple[PartInfo, int | None]:
    """Return what is known about a partition, and the size of the store on disk."""
    head, measured, epoch = part.log.head(), part.commits.measure(), part.log.epoch()
    last = last_commit(part)
    found = PartInfo(
        partition=part.partition,
        events=head,
        commits=measured.commits,
        blobs=measured.blobs,
        published=part.log.published(),
        open_roots=sum(1 for _ in part.log.open_roots()),
        epoch=max(0, epoch),
        restoring=epoch < 0,
        link=last.link.hex() if last else None,
        archives=tuple(archive.file for archive in part.commits.select_archives()),
        lease=_lease(leases.get(part.partition), now),
        views=tuple(each for each in lags if each.partition == part.partition),
    )
    return found, measured.bytes


def summed(
    store: str, kind: str, views: str | None, logs: tuple[PartInfo, ...], size: int | None
) -> StoreInfo:
    """Return what is known about a store with these partitions."""
    return StoreInfo(
        store=store,
        kind=kind,
        partitions=len(logs),
        events=sum(each.events for each in logs),
        commits=sum(each.commits for each in logs),
        blobs=sum(each.blobs for each in logs),
        open_roots=sum(each.open_roots for each in logs),
        epoch=max(each.epoch for each in logs),
        bytes=size,
        views=views,
        logs=logs,
    )


def _lease(lease: Lease | None, now: datetime) -> LeaseInfo | None:
    if lease is None:
        return None
    return LeaseInfo(lease.holder, format_time(lease.until), lease.epoch, lease.until > now)
