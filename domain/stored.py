"""Commits as they are stored, and the chain of hashes that runs through those of a partition.

Whoever keeps the link of the last commit can tell later whether anything before it was changed.
An event may be pruned: its digest stays in its place, so that the chain still holds.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Final, Protocol
from uuid import UUID

import msgspec

PRUNED_TOPIC: Final = "EventPruned:1"
NO_LINK: Final = bytes(32)  # what comes before the first commit


class StoredRow(msgspec.Struct, frozen=True):
    """An event as it is stored: its state is what the codec made of it."""

    stream: UUID
    version: int
    topic: str
    state: bytes


class StoredCommit(msgspec.Struct, frozen=True):
    """Events that were written at once, the position of the first of them, and their link."""

    first: int
    rows: tuple[StoredRow, ...]
    link: bytes

    @property
    def last(self) -> int:
        """Return the position of the last event."""
        return self.first + len(self.rows) - 1


class _Pruned(msgspec.Struct):
    """What is left of an event: see `domain.events.EventPruned`, which it is stored as."""

    digest: str


_decode_pruned = msgspec.json.Decoder(_Pruned).decode


def digest(row: StoredRow) -> bytes:
    """Return the SHA-256 of an event, that of the original if it was pruned.

    Raises `msgspec.MsgspecError` or `ValueError` if a pruned one does not say it.
    """
    if row.topic == PRUNED_TOPIC:
        return bytes.fromhex(_decode_pruned(row.state).digest)
    topic = row.topic.encode()
    head = b"%b%d,%d,%b," % (row.stream.bytes, row.version, len(topic), topic)
    return hashlib.sha256(head + row.state).digest()


def link(before: bytes, first: int, rows: Iterable[StoredRow]) -> bytes:
    """Return the link of a commit: the SHA-256 of the link before, its place and its events."""
    parts = [before, b"%d" % first, *map(digest, rows)]
    return hashlib.sha256(b"".join(parts)).digest()


class Archive(msgspec.Struct, frozen=True):
    """Where events are that were pruned from a partition; `done` once they all are."""

    id: str
    file: str  # path, as it was when the archive was made
    made_at: datetime
    done: bool = False


class Measured(msgspec.Struct, frozen=True):
    """How much a partition holds; `bytes` is the size on disk of the whole store, where known."""

    commits: int
    blobs: int
    bytes: int | None = None


class CommitStore(Protocol):
    """The commits of one partition, whole, for whoever checks, copies or prunes a log.

    Obligations: every commit is kept with its link; what `insert_commit` writes is read back the
    same, by `EventStore` as well; positions stay gap-free. A log that was damaged is read as far as
    it can be, so that whoever checks it sees what is wrong. Errors are those of `LogRecorder`.
    """

    def select_commits(self, after_position: int, limit: int) -> Sequence[StoredCommit]:
        """Return up to `limit` commits that begin after a position, in order."""
        ...

    def insert_commit(
        self, commit: StoredCommit, *, opened: Sequence[UUID] = (), ended: Sequence[UUID] = ()
    ) -> None:
        """Write a commit from elsewhere as the next one; raises `IntegrityError` if it is not.

        `opened` and `ended` are as for `insert_events`.
        """
        ...

    def replace_rows(self, rows: Mapping[int, StoredRow]) -> None:
        """Put other topics and states in the place of events, by position; links stay.

        Raises `IntegrityError` if an event of another stream or version is there.
        """
        ...

    def select_blob_names(self, after: str, limit: int) -> Sequence[str]:
        """Return names of blobs of this partition in order, those after one."""
        ...

    def insert_blobs(self, blobs: Mapping[str, bytes]) -> None:
        """Write blobs that are not there yet."""
        ...

    def delete_blobs(self, names: Iterable[str]) -> None:
        """Forget blobs that no event needs any more."""
        ...

    def set_published(self, position: int) -> None:
        """Set the place of the outbox, as after a restore."""
        ...

    def select_epoch(self) -> int:
        """Return how often this log was restored from a backup."""
        ...

    def set_epoch(self, epoch: int) -> None:
        """Set how often it was."""
        ...

    def select_archives(self) -> Sequence[Archive]:
        """Return the archives that events of this partition were pruned into, oldest first."""
        ...

    def put_archive(self, archive: Archive) -> None:
        """Keep where an archive is, in the place of what was kept of it before."""
        ...

    def measure(self) -> Measured:
        """Return how much there is."""
        ...
