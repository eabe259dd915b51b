"""One partition of a store in MongoDB: its commits, and what is kept beside them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any
from uuid import UUID

from eventsourcing.persistence import IntegrityError, OperationalError, PersistenceError
from msgspec.structs import replace

from warrener.adapters.codec import EventMapper
from warrener.adapters.mongo_blobs import MongoBlobs
from warrener.adapters.mongo_client import Document, MongoDatabase
from warrener.adapters.mongo_commits import Draft, draft, place_of
from warrener.adapters.mongo_layout import COMMITS, PARTITIONS, make_store
from warrener.adapters.mongo_open_roots import OpenRoots
from warrener.adapters.mongo_reader import MongoReader
from warrener.adapters.mongo_versions import Versions
from warrener.adapters.mongo_writer import COMMIT_SECONDS, MongoWriter, Patience
from warrener.domain.errors import StoredDataError, StoreUnavailable
from warrener.domain.stored import StoredCommit, StoredRow


class MongoPartition:
    """A `CommitStore`. Threads may share it; they write one by one."""

    commit_seconds = COMMIT_SECONDS  # how long a commit is tried

    def __init__(
        self, database: MongoDatabase | str, partition: int, *, create_table: bool
    ) -> None:
        """Use a database that is open, or open the one that a URL names and close it at the end.

        Raises `UsageError`, `StoreUnavailable` and `StoredDataError`.
        """
        opened = MongoDatabase(database) if isinstance(database, str) else database
        self.database = opened
        self.partition = partition
        self.mapper = EventMapper()
        self._own = opened is not database
        self._reader = MongoReader(opened, partition)
        self._versions = Versions(self._reader.last_version)
        self._roots = OpenRoots(opened, partition)
        self._writer = MongoWriter(
            opened, partition, self._reader, self._roots.floor, self.commit_seconds
        )
        self._blobs = MongoBlobs(opened, partition)
        try:
            if create_table:
                make_store(opened, partition + 1)
        except (PersistenceError, StoredDataError) as error:
            self.close()
            if isinstance(error, StoredDataError):
                raise
            raise StoreUnavailable(f"the store {opened.shown} cannot be used: {error}") from error

    def close(self) -> None:
        """Close the database if it was opened here."""
        if self._own:
            self.database.close()

    def alone(self) -> AbstractContextManager[None]:
        """Refuse what is written in the block if somebody else has written since it began."""
        return self._writer.alone()

    def append(self, commit: Draft, opened: Sequence[UUID], ended: Sequence[UUID]) -> int:
        """Write a commit behind the last one; return the position of its last event."""
        last = self._writer.append(commit)
        self._versions.note(commit.rows)
        self._roots.note(last, len(commit.rows), opened, ended)
        return last

    def select_published(self) -> int:
        """Return the place of the outbox."""
        beside: int = self._beside().get("published", 0)
        return max(beside, self._writer.tip().outbox)

    def select_open_roots(self) -> Sequence[UUID]:
        """Return the root jobs that were submitted and have not ended, the oldest first."""
        return self._roots.select()

    def select_blob(self, name: str) -> bytes | None:
        """Return a blob by its name, None if there is none."""
        return self._blobs.get(name)

    def select_epoch(self) -> int:
        """Return how often this log was restored from a backup."""
        epoch: int = self._beside().get("epoch", 0)
        return epoch

    def select_commits(self, after_position: int, limit: int) -> Sequence[StoredCommit]:
        """Return up to `limit` commits that begin after a position, in order."""
        return self._reader.commits(after_position, limit)

    def insert_commit(
        self, commit: StoredCommit, *, opened: Sequence[UUID] = (), ended: Sequence[UUID] = ()
    ) -> None:
        """Write a commit from elsewhere as the next one; raises `IntegrityError` if it is not."""
        self._versions.check(commit.rows)
        copy = replace(draft(commit.rows, opened, ended), link=commit.link)
        with self.alone():
            position = self._writer.tip().position
            if commit.first != position + 1:
                raise IntegrityError(
                    f"a commit at position {commit.first} is not the next one: the log has"
                    f" {position} events"
                )
            self.append(copy, opened, ended)

    def replace_rows(self, rows: Mapping[int, StoredRow]) -> None:
        """Put other topics and states in the place of events, by position; links stay."""
        changes: dict[Any, Document] = {}
        for position, row in sorted(rows.items()):
            commit = self._reader.around(position)
            if commit is None:
                raise IntegrityError(f"there is no event at position {position}")
            name, index = place_of(commit, position)
            if (name, commit["e"][name][index]["v"]) != (row.stream.hex, row.version):
                raise IntegrityError(f"the event at position {position} is another one")
            place = f"e.{name}.{index}"
            fields = {f"{place}.t": row.topic, f"{place}.s": row.state}
            changes.setdefault(commit["_id"], {}).update(fields)
        for key, fields in changes.items():
            with self.database.using() as db:
                db[COMMITS].update_one({"_id": key, "k": self.partition}, {"$set": fields})

    def select_blob_names(self, after: str, limit: int) -> Sequence[str]:
        """Return names of blobs of this partition in order, those after one."""
        return self._blobs.names(after, limit)

    def insert_blobs(self, blobs: Mapping[str, bytes]) -> None:
        """Write blobs that are not there yet; doing so again does no harm."""
        patience = Patience(self.commit_seconds)
        while True:
            try:
                self._blobs.put(blobs)
            except OperationalError as error:
                patience.failed(error)
                patience.pause()
            else:
                return

    def delete_blobs(self, names: Iterable[str]) -> None:
        """Forget blobs that no event needs any more."""
        self._blobs.delete(names)

    def raise_published(self, position: int) -> None:
        """Note the place of the outbox without a commit; it only rises."""
        self._set_beside({"$max": {"published": position}})

    def set_published(self, position: int) -> None:
        """Set the place of the outbox, as after a restore: nobody else may write meanwhile."""
        self._set_beside({"$set": {"published": position}})
        head = self._reader.around(self._writer.tip().position)
        if head is not None and "outbox" in head:
            with self.database.using() as db:
                change = {"$set": {"outbox": position}}
                db[COMMITS].update_one({"_id": head["_id"], "k": self.partition}, change)
        self._writer.forget_tip()

    def set_epoch(self, epoch: int) -> None:
        """Set how often this log was restored."""
        self._set_beside({"$set": {"epoch": epoch}})

    def _beside(self) -> Document:
        """Return what is kept of the partition outside its commits."""
        with self.database.using() as db:
            return db[PARTITIONS].find_one({"_id": self.partition}) or {}

    def _set_beside(self, change: Document) -> None:
        with self.database.using() as db:
            db[PARTITIONS].update_one({"_id": self.partition}, change, upsert=True)
