"""How a store lies in a MongoDB database: collections, indexes, and what it says of itself.

    log_meta         one document, `store`: version of the layout, number of partitions, birth
    log_commits      one document for each commit of any partition (see `mongo_commits`)
    log_blobs        blobs by partition and name; what is large lies in GridFS (see `mongo_blobs`)
    log_partitions   for each partition what belongs to no commit: outbox, restores
    log_open_roots   for each partition the open jobs up to some position (see `mongo_open_roots`)
    log_tracking     how far readers of other logs are that write nothing here

The key of a partition, `k`, begins every key of commits and blobs: on a sharded cluster shard both
by `{k: 1}`, so that a partition lies on one shard and unique keys hold.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from eventsourcing.persistence import IntegrityError
from pymongo import ASCENDING, IndexModel

from warrener.adapters.mongo_client import Document, MongoDatabase
from warrener.domain.errors import StoredDataError

LAYOUT_VERSION: Final = 1
META: Final = "log_meta"
COMMITS: Final = "log_commits"
BLOBS: Final = "log_blobs"
FILES: Final = "log_files"  # of GridFS
PARTITIONS: Final = "log_partitions"
OPEN_ROOTS: Final = "log_open_roots"
TRACKING: Final = "log_tracking"
POSITION_MAX: Final = 2**63 - 1
_STORE: Final = "store"


def _index(*fields: str, unique: bool) -> IndexModel:
    return IndexModel([(field, ASCENDING) for field in fields], unique=unique)


_INDEXES: Final[dict[str, Sequence[IndexModel]]] = {
    COMMITS: (
        _index("k", "p", unique=True),  # of two who write at the same place, one is refused
        _index("k", "f", unique=True),  # and so of two who write the same version of a stream
        _index("k", "o", "p", unique=False),  # the commits of a stream, in order
    ),
    BLOBS: (_index("k", "n", unique=True),),
}


def make_indexes(database: MongoDatabase) -> None:
    """Make what is missing of collections and indexes."""
    with database.using() as db:
        for name, indexes in _INDEXES.items():
            db[name].create_indexes(list(indexes))


def make_store(database: MongoDatabase, partitions: int) -> int:
    """Make a store where there is none; return how many partitions it has.

    Raises `StoredDataError` if a newer version of Warrener made the one that is there.
    """
    make_indexes(database)
    meta: Document = {"_id": _STORE, "layout": LAYOUT_VERSION, "partitions": partitions}
    try:
        with database.using() as db:
            created = db.command("hello").get("localTime")  # by the server's clock
            db[META].insert_one({**meta, "created": created})
    except IntegrityError:  # somebody else made it, before or at the same time
        pass
    found = find_store(database)
    return partitions if found is None else found


def find_store(database: MongoDatabase) -> int | None:
    """Return how many partitions the store has, None if there is no store.

    Raises `StoredDataError` if a newer version of Warrener made it, or nobody we know.
    """
    with database.using() as db:
        meta = db[META].find_one({"_id": _STORE})
    if meta is None:
        return None
    layout, partitions = meta.get("layout"), meta.get("partitions")
    if not isinstance(layout, int) or not isinstance(partitions, int) or partitions < 1:
        raise StoredDataError(f"{database.shown} is not a store: its log_meta cannot be read")
    if layout > LAYOUT_VERSION:
        raise StoredDataError(
            f"the store {database.shown} was made by a newer version of Warrener (its layout has"
            f" version {layout}, known here is {LAYOUT_VERSION}): upgrade"
        )
    return partitions
