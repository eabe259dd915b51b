"""What partitions have been granted of their limits, in the MongoDB of the log.

_id       hash of the limit's name and key, and of what is shared of it
name, key, unit     the same for people
seen      another id after each change: whoever changes an entry names the one that it read
parts     partition, epoch, granted, wanted, ticket and since of each part
members   the partitions that have a part
total, fill, left, at, tickets      as in `domain.limit_shares.Entry`
gone      when it can go, if nobody has a part: MongoDB deletes it some time after that
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec
from bson import ObjectId
from eventsourcing.persistence import IntegrityError, PersistenceError
from msgspec.structs import astuple
from pymongo import ASCENDING, IndexModel

from warrener.adapters.mongo_client import Document, MongoDatabase
from warrener.domain.errors import StoreUnavailable
from warrener.domain.ids import content_hash
from warrener.domain.limit_shares import Ask, Entry, Part, Share, ShareKey, balance
from warrener.domain.step_events import Held

SHARES: Final = "log_limit_shares"
KEYS_AT_ONCE: Final = 1_000
TRIES_MAX: Final = 10
GONE_SECONDS: Final = 3_600  # more than clocks differ: an entry that is gone has a full bucket


class MongoLimitShares:
    """Keeps one document for each limit with a key that is in use, changed if it is as it was."""

    def __init__(self, database: MongoDatabase | str) -> None:
        """Use a database that is open, or open the one that a URL names and close it at the end.

        Raises `UsageError` and `StoreUnavailable`.
        """
        opened = MongoDatabase(database) if isinstance(database, str) else database
        self._database = opened
        self._own = opened is not database
        indexes = [
            IndexModel([("members", ASCENDING)]),
            IndexModel([("gone", ASCENDING)], expireAfterSeconds=GONE_SECONDS),
        ]
        with _translated(), opened.using() as db:
            db[SHARES].create_indexes(indexes)

    def balance(
        self, partition: int, epoch: int, asks: Mapping[ShareKey, Ask], now: float
    ) -> Mapping[ShareKey, Share]:
        """Ask for the shares of a partition whose lease has this epoch."""
        shares: dict[ShareKey, Share] = {}
        open_yet = dict(asks)
        for _ in range(TRIES_MAX):
            found = self._find(list(open_yet))
            for key, ask in list(open_yet.items()):
                document = found.get(_id(key))
                before = None if document is None else _entry(document)
                after, share = balance(before, partition, epoch, ask, now)
                if after == before or self._change(key, document, after):
                    shares[key] = share
                    del open_yet[key]
            if not open_yet:
                break
        return shares

    def of(self, partition: int) -> Mapping[ShareKey, Entry]:
        """Return the entries in which a partition has a part."""
        with _translated(), self._database.using() as db:
            found = list(db[SHARES].find({"members": partition}))
        return {_key(document): _entry(document) for document in found}

    def close(self) -> None:
        """Close the database if it was opened here."""
        if self._own:
            self._database.close()

    def _find(self, keys: Sequence[ShareKey]) -> dict[str, Document]:
        """Return the documents that there are, by id."""
        found: dict[str, Document] = {}
        for first in range(0, len(keys), KEYS_AT_ONCE):
            wanted = [_id(key) for key in keys[first : first + KEYS_AT_ONCE]]
            with _translated(), self._database.using() as db:
                found |= {each["_id"]: each for each in db[SHARES].find({"_id": {"$in": wanted}})}
        return found

    def _change(self, key: ShareKey, before: Document | None, after: Entry | None) -> bool:
        """Change an entry if it is still as it was read; say whether it was."""
        if before is None:
            assert after is not None
            return self._add(_document(key, after))
        known = {"_id": before["_id"], "seen": before["seen"]}
        with _translated(), self._database.using() as db:
            if after is None:
                return db[SHARES].delete_one(known).deleted_count == 1
            return db[SHARES].replace_one(known, _document(key, after)).matched_count == 1

    def _add(self, document: Document) -> bool:
        try:
            with _translated(), self._database.using() as db:
                db[SHARES].insert_one(document)
        except IntegrityError:  # somebody else was the first
            return False
        return True


def _id(key: ShareKey) -> str:
    return content_hash(msgspec.json.encode(key))


def _key(document: Document) -> ShareKey:
    return ShareKey(Held(document["name"], document["key"]), document["unit"])


def _document(key: ShareKey, entry: Entry) -> Document:
    document: dict[str, Any] = {
        "_id": _id(key),
        "name": key.held.name,
        "key": key.held.key,
        "unit": key.unit,
        "seen": ObjectId(),
        "parts": [[partition, *astuple(part)] for partition, part in entry.parts.items()],
        "members": list(entry.parts),
        "total": entry.total,
        "fill": entry.fill,
        "left": entry.left,
        "at": entry.at,
        "tickets": entry.tickets,
    }
    if not entry.parts:
        seconds = min(entry.full_at - entry.at, timedelta(days=365).total_seconds())
        document["gone"] = datetime.fromtimestamp(entry.at, UTC) + timedelta(seconds=seconds)
    return document


def _entry(document: Document) -> Entry:
    return Entry(
        parts={partition: Part(*part) for partition, *part in document["parts"]},
        total=document["total"],
        fill=document["fill"],
        left=document["left"],
        at=document["at"],
        tickets=document["tickets"],
    )


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except IntegrityError:  # means something to whoever writes
        raise
    except PersistenceError as error:
        raise StoreUnavailable(f"the shares of limits cannot be used: {error}") from error
