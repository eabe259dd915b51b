"""The logs of all partitions of a store, as the services see them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from uuid import UUID

from warrener.domain.errors import PrunedJob, StoredDataError, UnknownJob
from warrener.domain.events import EventPruned, JobSubmitted, Recorded
from warrener.domain.partitions import Logs, partition_of
from warrener.domain.ports import EventStore


def _nothing() -> None:
    """Do nothing."""


class LogSet:
    """`Logs` over stores that are open already; they are closed with it."""

    def __init__(
        self,
        stores: Sequence[EventStore],
        *,
        find: Callable[[UUID], int | None] | None = None,
        close: Callable[[], None] = _nothing,
    ) -> None:
        """Take the log of each partition, by number; `find` is a shorter way than asking each.

        `close` releases what they share, after they are closed themselves.
        """
        self._stores = tuple(stores)
        self._find = find
        self._close = close

    @property
    def count(self) -> int:
        """Return how many partitions there are."""
        return len(self._stores)

    def log(self, partition: int) -> EventStore:
        """Return the log of one partition."""
        return self._stores[partition]

    def find(self, stream: UUID) -> int | None:
        """Return the lowest partition that has events of a stream, None if none has."""
        if self._find is not None:
            return self._find(stream)
        found = (n for n, store in enumerate(self._stores) if store.last(stream) is not None)
        return next(found, None)

    def close(self) -> None:
        """Close all logs."""
        for store in self._stores:
            store.close()
        self._close()


def log_of_root(logs: Logs, root: UUID) -> EventStore:
    """Return the log that a root job and everything below it is in."""
    return logs.log(partition_of(root, logs.count))


def log_of_job(logs: Logs, job: UUID) -> EventStore:
    """Return the log that a job is in, root or not; raises `UnknownJob`."""
    return logs.log(partition_of_job(logs, job))


def partition_of_job(logs: Logs, job: UUID) -> int:
    """Return the partition that a job is in, root or not; raises `UnknownJob`."""
    own = partition_of(job, logs.count)
    if logs.log(own).last(job) is not None:
        return own
    partition = logs.find(job)
    if partition is None:
        raise UnknownJob(f"no job {job} in the store")
    return partition


def blob_of(logs: Logs, name: str) -> bytes:
    """Return a blob by its hash, whichever partition has it; raises `StoredDataError`."""
    missing = StoredDataError(f"blob {name} is not in the store")
    for log in each_log(logs):
        try:
            return log.blob(name)
        except StoredDataError as error:
            missing = error
    raise missing


def each_log(logs: Logs) -> Iterator[EventStore]:
    """Yield the log of every partition, by number."""
    return (logs.log(partition) for partition in range(logs.count))


def refuse_pruned(job: UUID, first: Recorded | None) -> None:
    """Raise `PrunedJob` if this event of a job says that it is in an archive."""
    if first is not None and isinstance(first.event, EventPruned):
        raise PrunedJob(
            f"job {job} was pruned into the archive {first.event.archive}:"
            f" warrener history {job} and warrener replay {job} read it back"
        )


def root_of(store: EventStore, job: UUID) -> UUID:
    """Return the root above a job, itself if it is one; raises `UnknownJob`."""
    first = next(iter(store.stream(job)), None)
    refuse_pruned(job, first)
    if first is None or not isinstance(first.event, JobSubmitted):
        raise UnknownJob(f"no job {job} in the store")
    return first.event.root
