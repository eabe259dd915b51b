"""Stores in MongoDB: how one is made and opened, with all its partitions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final
from uuid import UUID

from eventsourcing.persistence import PersistenceError

from warrener.adapters.mongo_client import MongoDatabase
from warrener.adapters.mongo_events import MongoRecorder
from warrener.adapters.mongo_layout import COMMITS, find_store, make_indexes, make_store
from warrener.domain.errors import StoredDataError, StoreUnavailable, UsageError
from warrener.domain.partitions import PARTITIONS_MAX

PARTITIONS: Final = 16  # of a store that is made without a number


class MongoLogs:
    """The partitions of an open store, over one client."""

    def __init__(self, database: MongoDatabase, count: int) -> None:
        """Take a database with a store in it; it is closed with this."""
        self._database = database
        self._count = count

    @property
    def count(self) -> int:
        """Return how many partitions there are."""
        return self._count

    def recorder(self, partition: int) -> MongoRecorder:
        """Return a recorder of one partition; it uses the client of all."""
        if not 0 <= partition < self._count:
            raise UsageError(f"the store has the partitions 0 to {self._count - 1}: no {partition}")
        return MongoRecorder(self._database, partition, create_table=False)

    def find(self, stream: UUID) -> int | None:
        """Return the lowest partition that has events of a stream, None if none has."""
        with _translated(self._database), self._database.using() as db:
            for partition in range(self._count):
                wanted = {"k": partition, "o": stream.hex}
                if db[COMMITS].find_one(wanted, {"_id": 1}) is not None:
                    return partition
        return None

    def close(self) -> None:
        """Close the database; a second time does nothing."""
        self._database.close()


def init_logs(url: str, partitions: int = PARTITIONS) -> None:
    """Make a store where there is none; doing so again changes nothing.

    Raises `UsageError` for a store that has another number of partitions, `StoredDataError` for one
    of a newer version, and `StoreUnavailable`.
    """
    if not 1 <= partitions <= PARTITIONS_MAX:
        raise UsageError(f"a store has 1 to {PARTITIONS_MAX} partitions, not {partitions}")
    database = MongoDatabase(url)
    try:
        with _translated(database):
            found = make_store(database, partitions)
    finally:
        database.close()
    if found != partitions:
        raise UsageError(
            f"the store {database.shown} has {found} partitions, and that cannot be changed: give"
            f" {found}, or another database"
        )


def open_logs(url: str, create: bool) -> MongoLogs:
    """Open a store; with `create` it is made where there is none, with 16 partitions.

    Raises `UsageError` if there is none, else as `init_logs` does.
    """
    database = MongoDatabase(url)
    try:
        with _translated(database):
            count = find_store(database)
            if count is None and create:
                count = make_store(database, PARTITIONS)
            elif count is not None and create:
                make_indexes(database)  # whoever made the store may have been interrupted
        if count is None:
            raise UsageError(
                f"there is no store in {database.shown}: make one with `warrener store init`"
            )
        return MongoLogs(database, count)
    except BaseException:
        database.close()
        raise


@contextmanager
def _translated(database: MongoDatabase) -> Iterator[None]:
    try:
        yield
    except StoredDataError:
        raise
    except PersistenceError as error:
        raise StoreUnavailable(f"the store {database.shown} cannot be used: {error}") from error
