"""How far the read models in MongoDB are: one document for each generation and partition.

It has the positions of the models, those that have stopped, and an `era` that rises each time that
the partition is forgotten. Documents carry the era in which they were written, so that whoever
deletes those of an older one can be as slow as he likes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec
from bson.binary import Binary
from pymongo import errors
from pymongo.database import Database

from warrener.adapters.mongo_client import Document
from warrener.domain.errors import Conflict
from warrener.projections.ports import StoppedModel

STATE: Final = "view_state"
_ENCODE: Final = msgspec.json.Encoder().encode
_DECODE: Final = msgspec.json.Decoder(StoppedModel).decode


class Place(msgspec.Struct, frozen=True):
    """A partition in a generation, as it was found."""

    id: str
    generation: int
    partition: int
    positions: Mapping[str, int] = {}
    stopped: Mapping[str, Mapping[str, Any]] = {}
    era: int = 0
    forgetting: bool = False


def place_id(generation: int, partition: int) -> str:
    """Return the id of the document of a partition."""
    return f"{generation}/{partition}"


def place_of(generation: int, partition: int, found: Document | None) -> Place:
    """Return a partition from its document, or one of which nothing is known yet."""
    kept = {} if found is None else found
    return Place(
        place_id(generation, partition),
        generation,
        partition,
        kept.get("positions", {}),
        kept.get("stopped", {}),
        kept.get("era", 0),
        kept.get("forgetting", False),
    )


def move(db: Database[Document], place: Place, model: str, after: int, position: int) -> None:
    """Move the position of a model, and end its standstill; raises `Conflict`."""
    name = f"positions.{model}"
    wanted: Document = {
        "_id": place.id,
        name: after if after else {"$exists": False},
        "era": place.era if place.era else {"$exists": False},
    }
    _change(db, wanted, {"$set": {name: position, **_keys(place)}}, after == 0, model)
    if model in place.stopped:
        passed = {"_id": place.id, f"stopped.{model}.position": {"$lte": position}}
        db[STATE].update_one(passed, {"$unset": {f"stopped.{model}": ""}})


def stop(db: Database[Document], place: Place, stopped: StoppedModel) -> None:
    """Keep that a model has stopped."""
    kept = {"position": stopped.position, "doc": Binary(_ENCODE(stopped))}
    change = {"$set": {f"stopped.{stopped.model}": kept, **_keys(place)}}
    db[STATE].update_one({"_id": place.id}, change, upsert=True)


def stopped(db: Database[Document], generation: int) -> Iterator[StoppedModel]:
    """Yield the models that have stopped in any partition."""
    for found in db[STATE].find({"generation": generation}):
        for kept in found.get("stopped", {}).values():
            yield _DECODE(kept["doc"])


def begin_forgetting(db: Database[Document], place: Place) -> Place:
    """Begin a new era, in which nothing is saved until `end_forgetting`; raises `Conflict`."""
    wanted: Document = {
        "_id": place.id,
        "positions": place.positions or {"$in": [None, {}]},
        "era": place.era if place.era else {"$exists": False},
    }
    fresh = {"era": place.era + 1, "forgetting": True, "positions": {}, **_keys(place)}
    _change(db, wanted, {"$set": fresh, "$unset": {"stopped": ""}}, not place.positions, "any")
    return msgspec.structs.replace(
        place, era=place.era + 1, forgetting=True, positions={}, stopped={}
    )


def end_forgetting(db: Database[Document], place: Place) -> None:
    """Let the partition be folded anew."""
    db[STATE].update_one({"_id": place.id, "era": place.era}, {"$unset": {"forgetting": ""}})


def _keys(place: Place) -> Document:
    return {"generation": place.generation, "partition": place.partition}


def _change(
    db: Database[Document], wanted: Document, change: Document, is_new: bool, model: str
) -> None:
    try:
        done = db[STATE].update_one(wanted, change, upsert=is_new)
    except errors.DuplicateKeyError:
        done = None
    if done is None or not (done.matched_count or done.upserted_id):
        raise Conflict(f"somebody else has moved the position of {model} read model meanwhile")
