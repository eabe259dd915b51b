"""The commits of a store's partitions, for what checks, copies and prunes them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, cast
from uuid import UUID

import msgspec
from eventsourcing.persistence import IntegrityError, PersistenceError, StoredEvent

from warrener.domain.errors import Conflict, StoredDataError, StoreUnavailable
from warrener.domain.events import Recorded
from warrener.domain.partitions import Logs
from warrener.domain.ports import EventStore
from warrener.domain.references import blobs_of, maybe_blobs
from warrener.domain.stored import Archive, CommitStore, Measured, StoredCommit, StoredRow
from warrener.services.event_log import EventLog

COMMITS_AT_FIRST = 4  # until it is known how large they are
COMMITS_AT_ONCE = 200
EVENTS_AT_ONCE = 5_000  # in a page, more or less

Progress = Callable[[int, int], None]  # how much is done, of how much


class Commits:
    """A `CommitStore` whose errors are ours: `Conflict` and `StoreUnavailable`."""

    def __init__(self, store: CommitStore) -> None:
        """Take what keeps the commits."""
        self._store = store

    def select_commits(self, after_position: int, limit: int) -> Sequence[StoredCommit]:
        """Return up to `limit` commits that begin after a position, in order."""
        with _translated():
            return self._store.select_commits(after_position, limit)

    def insert_commit(
        self, commit: StoredCommit, *, opened: Sequence[UUID] = (), ended: Sequence[UUID] = ()
    ) -> None:
        """Write a commit from elsewhere as the next one; raises `Conflict` if it is not."""
        with _translated():
            self._store.insert_commit(commit, opened=opened, ended=ended)

    def replace_rows(self, rows: Mapping[int, StoredRow]) -> None:
        """Put other topics and states in the place of events; raises `Conflict` on others."""
        with _translated():
            self._store.replace_rows(rows)

    def select_blob_names(self, after: str, limit: int) -> Sequence[str]:
        """Return names of blobs in order, those after one."""
        with _translated():
            return self._store.select_blob_names(after, limit)

    def insert_blobs(self, blobs: Mapping[str, bytes]) -> None:
        """Write blobs that are not there yet."""
        with _translated():
            self._store.insert_blobs(blobs)

    def delete_blobs(self, names: Iterable[str]) -> None:
        """Forget blobs that no event needs any more."""
        with _translated():
            self._store.delete_blobs(names)

    def set_published(self, position: int) -> None:
        """Set the place of the outbox."""
        with _translated():
            self._store.set_published(position)

    def select_epoch(self) -> int:
        """Return how often this log was restored from a backup."""
        with _translated():
            return self._store.select_epoch()

    def set_epoch(self, epoch: int) -> None:
        """Set how often it was."""
        with _translated():
            self._store.set_epoch(epoch)

    def select_archives(self) -> Sequence[Archive]:
        """Return the archives that events were pruned into, oldest first."""
        with _translated():
            return self._store.select_archives()

    def put_archive(self, archive: Archive) -> None:
        """Keep where an archive is."""
        with _translated():
            self._store.put_archive(archive)

    def measure(self) -> Measured:
        """Return how much there is."""
        with _translated():
            return self._store.measure()


class Part(msgspec.Struct, frozen=True):
    """One partition of a store: its log as events and as commits."""

    partition: int
    log: EventStore
    commits: Commits
    decoder: Callable[[StoredEvent], Recorded]

    def decode(self, row: StoredRow) -> Recorded:
        """Return an event from how it is stored; raises `StoredDataError` if it cannot be read."""
        return self.decoder(StoredEvent(row.stream, row.version, row.topic, row.state))

    def blobs_of(self, row: StoredRow) -> list[str]:
        """Return the names of the blobs that an event needs; one that is not read needs none."""
        found = maybe_blobs(row.state)
        if not found:
            return found
        try:
            return list(dict.fromkeys(blobs_of(self.decode(row).event)))
        except StoredDataError:
            return []

    def alone(self) -> AbstractContextManager[Any]:
        """Keep every other writer of the partition waiting until the block ends."""
        alone = getattr(self.log, "alone", nullcontext)
        return cast(AbstractContextManager[Any], alone())


def parts_of(logs: Logs) -> list[Part]:
    """Return all partitions of a store, by number."""
    return [_part(number, logs.log(number)) for number in range(logs.count)]


def part_of(logs: Logs, partition: int) -> Part:
    """Return one partition of a store."""
    return _part(partition, logs.log(partition))


def each_commit(commits: CommitStore, after: int, until: int) -> Iterator[StoredCommit]:
    """Yield the commits that begin after a position and not after another, in bounded pages.

    Where a damaged log has a commit without events, it is yielded as well.
    """
    count = min(COMMITS_AT_FIRST, COMMITS_AT_ONCE)
    while after < until:
        page = commits.select_commits(after, count)
        events = sum(len(commit.rows) for commit in page)
        count = max(1, min(COMMITS_AT_ONCE, EVENTS_AT_ONCE * len(page) // max(1, events)))
        for commit in page:
            if commit.first > until:
                return
            yield commit
        if not page or max(page[-1].last, page[-1].first) <= after:
            return
        after = max(page[-1].last, page[-1].first)


def last_commit(part: Part) -> StoredCommit | None:
    """Return the newest commit of a partition, None if there is none."""
    head, width = part.log.head(), 1
    while head:
        after = max(0, head - width)
        newest = deque(each_commit(part.commits, after, head), maxlen=1)
        if newest or not after:
            return newest[0] if newest else None
        width *= 8
    return None


def _part(number: int, log: EventStore) -> Part:
    kept: Any = log.recorder if isinstance(log, EventLog) else log
    return Part(number, log, Commits(kept), kept.mapper.to_domain_event)


@contextmanager
def _translated() -> Iterator[None]:
    """Turn errors of the library into ours."""
    try:
        yield
    except IntegrityError as error:
        raise Conflict(str(error)) from error
    except PersistenceError as error:
        raise StoreUnavailable(f"the store cannot be used: {error}") from error
