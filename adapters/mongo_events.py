"""The log in MongoDB: recorders of the `eventsourcing` library that keep what the log promises.

A commit is one document of `log_commits` (see `mongo_commits`), written behind the last one of its
partition (see `mongo_writer`): of two writers one is refused, so that positions have no gaps and
nothing appears behind a reader's back. Nothing needs a transaction over several documents.

A commit is limited to `mongo_commits.COMMIT_BYTES_MAX`, 15 MiB: MongoDB takes no larger documents.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from eventsourcing.persistence import (
    AggregateRecorder,
    IntegrityError,
    Notification,
    ProcessRecorder,
    StoredEvent,
    Tracking,
)
from msgspec.structs import replace
from pymongo import ASCENDING, IndexModel

from warrener.adapters.mongo_client import MongoDatabase
from warrener.adapters.mongo_commits import draft, row_of, rows_of
from warrener.adapters.mongo_layout import POSITION_MAX, TRACKING
from warrener.adapters.mongo_partition import MongoPartition
from warrener.adapters.subscriptions import Listeners, PollingSubscription
from warrener.domain.stored import StoredRow


class MongoAggregateRecorder(AggregateRecorder):
    """Keeps events of streams without a common order: what the library keeps snapshots with."""

    def __init__(
        self, database: MongoDatabase, collection: str, *, create_table: bool = True
    ) -> None:
        """Use a collection of a database; its name must not come from outside."""
        self.database = database
        self._collection = collection
        if create_table:
            indexes = [IndexModel("f", unique=True), IndexModel([("o", ASCENDING)])]
            with database.using() as db:
                db[collection].create_indexes(indexes)

    def insert_events(
        self, stored_events: Sequence[StoredEvent], **_kwargs: Any
    ) -> Sequence[int] | None:
        """Write events as one document; raises `IntegrityError` if a version is taken."""
        rows = [row_of(stored) for stored in stored_events]
        if not rows:
            return None
        keys = [f"{row.stream.hex}:{row.version}" for row in rows]
        if len(set(keys)) < len(keys):  # the index does not look inside a document
            raise IntegrityError("the same version of a stream twice")
        with self.database.using() as db:
            db[self._collection].insert_one({**draft(rows).body, "f": keys})
        return None

    def select_events(
        self,
        originator_id: UUID | str,
        *,
        gt: int | None = None,
        lte: int | None = None,
        desc: bool = False,
        limit: int | None = None,
    ) -> Sequence[StoredEvent]:
        """Return events of one stream by version, from above `gt` to `lte`."""
        if not isinstance(originator_id, UUID):
            return []
        name = originator_id.hex
        with self.database.using() as db:
            documents = list(db[self._collection].find({"o": name}, {f"e.{name}": 1}))
        rows = [
            row
            for document in documents
            for row in rows_of(document)
            if (gt is None or row.version > gt) and (lte is None or row.version <= lte)
        ]
        rows.sort(key=_version, reverse=desc)
        return [_stored(row) for row in rows[:limit]]


class MongoRecorder(MongoPartition, ProcessRecorder):
    """The log of one partition, with its blobs, and the places of those who follow it."""

    def __init__(
        self, database: MongoDatabase | str, partition: int = 0, *, create_table: bool = True
    ) -> None:
        """Use a database that is open, or open the one that a URL names and close it at the end.

        Raises `UsageError`, `StoreUnavailable` and `StoredDataError`.
        """
        super().__init__(database, partition, create_table=create_table)
        self._listeners = Listeners()

    def insert_events(
        self,
        stored_events: Sequence[StoredEvent],
        *,
        tracking: Tracking | None = None,
        blobs: Mapping[str, bytes] | None = None,
        opened: Sequence[UUID] = (),
        ended: Sequence[UUID] = (),
        published: int = 0,
        after: int | None = None,
        **_kwargs: Any,
    ) -> Sequence[int]:
        """Write blobs, then the events with all else in one document; return the positions.

        `opened` are root jobs that the events submit, `ended` jobs that they end; `published` is
        the place of the outbox, which only rises. Raises `IntegrityError` if a version is taken or
        skips its predecessor or the log does not end at `after`, `DataError` if the commit is too
        large, and `OperationalError` if it is not known whether it is written.
        """
        rows = [row_of(stored) for stored in stored_events]
        self._versions.check(rows)
        commit = draft(rows, opened, ended)
        if tracking is not None:
            self._check_tracking(tracking)
        if blobs:
            self.insert_blobs(blobs)
        if not rows:
            if tracking is not None:
                self.insert_tracking(tracking)
            if published:
                self.raise_published(published)
            return []
        last = self.append(
            replace(commit, outbox=published, tracking=tracking, after=after), opened, ended
        )
        self._listeners.notify()
        return list(range(last - len(rows) + 1, last + 1))

    def select_events(
        self,
        originator_id: UUID | str,
        *,
        gt: int | None = None,
        lte: int | None = None,
        desc: bool = False,
        limit: int | None = None,
    ) -> Sequence[StoredEvent]:
        """Return events of one stream by version, from above `gt` to `lte`."""
        if not isinstance(originator_id, UUID):
            return []
        rows = self._reader.stream(originator_id, gt, lte, desc=desc, limit=limit)
        self._versions.note(rows)
        return [_stored(row) for row in rows]

    def select_notifications(
        self,
        start: int | None,
        limit: int,
        stop: int | None = None,
        topics: Sequence[str] = (),
        *,
        inclusive_of_start: bool = True,
    ) -> Sequence[Notification]:
        """Return up to `limit` events of the log from position `start` to `stop`, in order."""
        begin = (start or 0) + (not inclusive_of_start)
        found = self._reader.rows(begin, POSITION_MAX if stop is None else stop, limit, topics)
        return [
            Notification(row.stream, row.version, row.topic, row.state, position)
            for position, row in found
        ]

    def max_notification_id(self) -> int | None:
        """Return the last position, None for an empty log."""
        return self._writer.tip().position or None

    def find_position(self, originator_id: UUID, originator_version: int) -> int | None:
        """Return the position of one event, None if there is none."""
        return self._reader.find_position(originator_id, originator_version)

    def insert_tracking(self, tracking: Tracking) -> None:
        """Note how far a reader is; raises `IntegrityError` if it is that far already.

        One process at a time is expected to follow another log under one name.
        """
        self._check_tracking(tracking)
        name, place = tracking.application_name, tracking.notification_id
        before = {"_id": f"{self.partition}:{name}", "place": {"$lt": place}}
        try:
            with self.database.using() as db:
                db[TRACKING].update_one(before, {"$set": {"place": place}}, upsert=True)
        except IntegrityError as error:
            raise _already(tracking) from error

    def max_tracking_id(self, application_name: str) -> int | None:
        """Return how far a reader is, None if it has not begun."""
        with self.database.using() as db:
            found = db[TRACKING].find_one({"_id": f"{self.partition}:{application_name}"})
        places = [found["place"]] if found is not None else []
        in_commits = self._writer.tip().readers.get(application_name)
        return max([*places, *([] if in_commits is None else [in_commits])], default=None)

    def subscribe(self, gt: int | None = None, topics: Sequence[str] = ()) -> PollingSubscription:
        """Follow the log from above position `gt`, with what other processes write, too."""
        return PollingSubscription(self, self._listeners, gt, topics)

    def _check_tracking(self, tracking: Tracking) -> None:
        before = self.max_tracking_id(tracking.application_name)
        if before is not None and tracking.notification_id <= before:
            raise _already(tracking)


def _already(tracking: Tracking) -> IntegrityError:
    return IntegrityError(
        f"{tracking.application_name} is at position {tracking.notification_id} already"
    )


def _stored(row: StoredRow) -> StoredEvent:
    return StoredEvent(row.stream, row.version, row.topic, row.state)


def _version(row: StoredRow) -> int:
    return row.version
