"""How documents of the read models are written to MongoDB: in order, each only where it belongs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from bson.binary import Binary
from pymongo import InsertOne, UpdateOne, errors
from pymongo.collection import Collection

from warrener.adapters.mongo_client import Document
from warrener.adapters.mongo_places import Place
from warrener.adapters.mongo_tables import TABLES
from warrener.domain.errors import Conflict

Write = InsertOne[Document] | UpdateOne
_ENCODER: Final = msgspec.json.Encoder()
_TAKEN: Final = (11000, 11001)


def write_documents(
    collection: Collection[Document],
    table: str,
    views: Mapping[Any, Any],
    loaded: Mapping[Any, Any],
    place: Place,
) -> None:
    """Write documents in the place of those that were loaded; raises `Conflict` at another.

    A new one that is there already, at this very position, comes from a batch that was half
    written: it stays as it is.
    """

    def write(key: Any, *, again: bool) -> Write:
        before = loaded.get(key)
        if before is not None:
            return _update(table, before, views[key], place)
        return _new(_document(table, views[key], place), again=again)

    keys = list(views)
    start = _written(collection, [write(key, again=False) for key in keys])
    if start is None:
        return
    if keys[start] not in loaded:
        rest = [write(key, again=True) for key in keys[start:]]
        if _written(collection, rest) is None:
            return
    raise Conflict(f"somebody else has written documents of {table} meanwhile")


def _written(collection: Collection[Document], writes: list[Write]) -> int | None:
    """Write up to the first that finds another document; return which one that is, None if none."""
    if not writes:
        return None
    try:
        collection.bulk_write(writes, ordered=True)
    except errors.BulkWriteError as error:
        first: Document = next(iter((error.details or {}).get("writeErrors", [])), {})
        if first.get("code") not in _TAKEN:
            raise
        return int(first["index"])
    return None


def _document(table: str, view: Any, place: Place) -> Document:
    return {
        "_id": TABLES[table].id(view.key),
        **_always(view, place),
        **TABLES[table].fields(view),
    }


def _always(view: Any, place: Place) -> Document:
    document = Binary(_ENCODER.encode(view))
    written_for = {"partition": place.partition, "era": place.era}
    return {"position": view.position, **written_for, "doc": document}


def _update(table: str, before: Any, view: Any, place: Place) -> UpdateOne:
    """Return a write of what has changed, for MongoDB looks at the indexes of those fields alone.

    If the document is another by now, the write tries to add a second one under its id and fails.
    """
    old, new = TABLES[table].fields(before), TABLES[table].fields(view)
    changed = {name: value for name, value in new.items() if old.get(name) != value}
    change: Document = {"$set": {**_always(view, place), **changed}}
    gone = {name: "" for name in old if name not in new}
    if gone:
        change["$unset"] = gone
    wanted = {"_id": TABLES[table].id(view.key), "position": before.position}
    return UpdateOne(wanted, change, upsert=True)


def _new(document: Document, *, again: bool) -> Write:
    if not again:
        return InsertOne(document)  # several times as fast
    wanted = {"_id": document["_id"], "position": document["position"]}
    return UpdateOne(wanted, {"$setOnInsert": document}, upsert=True)
