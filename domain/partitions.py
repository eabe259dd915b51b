"""Partitions: a tree of jobs belongs to one, and each has a log and one writer of its own."""

from __future__ import annotations

from typing import Protocol
from uuid import UUID

from warrener.domain.ports import EventStore

PARTITIONS_MAX = 1_024


def partition_of(root: UUID, count: int) -> int:
    """Return the partition, from 0, of the tree under a root job, of `count` that there are.

    The last 62 bits of an id are hashed or random whatever its kind, so that no more is needed.
    """
    return root.int % (1 << 62) % count


class Logs(Protocol):
    """The logs of a store, one for each partition.

    Obligations: their number never changes; streams of one job tree are all in the log that
    `partition_of` its root names. What jobs share (requests for people, limits, the fleet,
    definitions) has a stream in the log of each partition that uses it. Errors are
    `StoreUnavailable`.
    """

    @property
    def count(self) -> int:
        """Return how many partitions there are."""
        ...

    def log(self, partition: int) -> EventStore:
        """Return the log of one partition; it is closed with all others."""
        ...

    def find(self, stream: UUID) -> int | None:
        """Return the lowest partition that has events of a stream, None if none has."""
        ...

    def close(self) -> None:
        """Release connections."""
        ...
