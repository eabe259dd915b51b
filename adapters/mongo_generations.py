"""Generations of the read models in one MongoDB database: which is seen, which is being built.

A generation has collections of its own, with its number in their names. One document says which one
every process sees; so all of them change at one moment. What a process still writes to a generation
after its end is in collections that nobody reads, which are swept away with the next change.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import msgspec
from eventsourcing.persistence import PersistenceError
from pymongo import IndexModel, errors
from pymongo.collection import Collection
from pymongo.database import Database

from warrener.adapters.mongo_client import Document, MongoDatabase
from warrener.adapters.mongo_places import (
    STATE,
    Place,
    begin_forgetting,
    end_forgetting,
    place_id,
    place_of,
)
from warrener.adapters.mongo_tables import LAYOUT_VERSION, TABLES
from warrener.domain.errors import Conflict, StoredDataError, StoreUnavailable

_LAYOUT: Final = "layout"
_NAME: Final = re.compile(r"view_([0-9]+)_[a-z_]+")
_TRIES: Final = 20
_BUSY: Final = "others change the read models all the time: try again"


class Layout(msgspec.Struct, frozen=True):
    """What all processes share: `last` is the highest number that a generation was given.

    `building` is the generation that becomes the next one, 0 without any.
    """

    version: int
    generation: int
    building: int
    last: int

    def to_document(self) -> Document:
        """Return it as it is stored."""
        return {"_id": _LAYOUT, **msgspec.structs.asdict(self)}


class Generations:
    """The generations in a database, and the positions of each."""

    def __init__(self, database: MongoDatabase) -> None:
        """Make the first generation, or a new one in the place of an older layout.

        Raises `StoredDataError` if a newer version of Warrener made the views.
        """
        self._database = database
        for _ in range(_TRIES):
            found = self._find()
            if found is not None and found.version == LAYOUT_VERSION:
                return
            last = 1 if found is None else found.last + 1
            self._begin(last)
            if self._replace(found, Layout(LAYOUT_VERSION, last, 0, last)):
                self._sweep()
                return
        raise StoreUnavailable(_BUSY)

    def layout(self) -> Layout:
        """Return what is seen and built now."""
        found = self._find()
        if found is None:
            raise StoreUnavailable("the read models were deleted: start again, to have them anew")
        return found

    def look(self, generation: int, partition: int) -> tuple[Layout, Place]:
        """Return the layout and a partition as they are at one moment."""
        place = place_id(generation, partition)
        with self.using() as db:
            found = {
                each["_id"]: each for each in db[STATE].find({"_id": {"$in": [_LAYOUT, place]}})
            }
        layout = _layout(found[_LAYOUT]) if _LAYOUT in found else self.layout()
        return layout, place_of(generation, partition, found.get(place))

    def forget(self, place: Place) -> None:
        """Forget what a partition has, or end what somebody else has begun; raises `Conflict`."""
        with self.using() as db:
            of = place if place.forgetting else begin_forgetting(db, place)
            over = {"partition": of.partition, "era": {"$gte": 0, "$lt": of.era}}
            for table, kept in TABLES.items():
                if not kept.shared:
                    collection(db, of.generation, table).delete_many(over)
            end_forgetting(db, of)

    def build(self) -> int:
        """Begin a generation that nobody sees, in the place of any that was being built."""
        return self._change(
            lambda old: Layout(old.version, old.generation, old.last + 1, old.last + 1)
        )

    def reset(self, built: int | None = None) -> int:
        """Begin an empty generation in the place of the one that is seen, or of one being built."""

        def changed(old: Layout) -> Layout:
            number = old.last + 1
            if built is None:
                return Layout(old.version, number, old.building, number)
            _check_building(old, built)
            return Layout(old.version, old.generation, number, number)

        return self._change(changed)

    def switch(self, built: int) -> None:
        """Let everybody see what was built; raises `Conflict` if it is that no more."""

        def changed(old: Layout) -> Layout:
            _check_building(old, built)
            return Layout(old.version, built, 0, old.last)

        self._change(changed)

    @contextmanager
    def using(self) -> Iterator[Database[Document]]:
        """Give the database; errors are ours."""
        try:
            with self._database.using() as db:
                yield db
        except PersistenceError as error:
            raise StoreUnavailable(f"the read models cannot be used: {error}") from error

    def _change(self, changed: Callable[[Layout], Layout]) -> int:
        """Change the layout, making a new generation if it has one; return the highest number."""
        for _ in range(_TRIES):
            old = self.layout()
            new = changed(old)
            if new.last > old.last:
                self._begin(new.last)
            if self._replace(old, new):
                self._sweep()
                return new.last
        raise StoreUnavailable(_BUSY)

    def _find(self) -> Layout | None:
        with self.using() as db:
            found = db[STATE].find_one({"_id": _LAYOUT})
        return None if found is None else _layout(found)

    def _replace(self, old: Layout | None, new: Layout) -> bool:
        """Write the layout unless somebody else has changed it."""
        with self.using() as db:
            if old is not None:
                done = db[STATE].replace_one(old.to_document(), new.to_document())
                return bool(done.matched_count)
            try:
                db[STATE].insert_one(new.to_document())
            except errors.DuplicateKeyError:
                return False
        return True

    def _begin(self, generation: int) -> None:
        """Make the collections of a generation, with their indexes."""
        with self.using() as db:
            db[STATE].create_index("generation")
            for table, of in TABLES.items():
                indexes = [IndexModel(list(each.keys), sparse=each.sparse) for each in of.indexes]
                if indexes:
                    db[collection_name(generation, table)].create_indexes(indexes)

    def _sweep(self) -> None:
        """Drop the collections and positions of generations that have come to their end."""
        layout = self.layout()
        kept = (layout.generation, layout.building)
        with self.using() as db:
            for name in db.list_collection_names():
                found = _NAME.fullmatch(name)
                # A higher number is one that another process is just making.
                if found and int(found[1]) not in kept and int(found[1]) <= layout.last:
                    db.drop_collection(name)
            over = {"$nin": list(kept), "$lte": layout.last}
            db[STATE].delete_many({"_id": {"$ne": _LAYOUT}, "generation": over})


def _check_building(layout: Layout, built: int) -> None:
    if layout.building != built:
        raise Conflict("another rebuild of the read models has begun, or this one was switched to")


def collection_name(generation: int, table: str) -> str:
    """Return the name of a collection."""
    return f"view_{generation}_{table}"


def collection(db: Database[Document], generation: int, table: str) -> Collection[Document]:
    """Return a collection of a generation."""
    return db[collection_name(generation, table)]


def _layout(found: Document) -> Layout:
    version = found["version"]
    if version > LAYOUT_VERSION:
        raise StoredDataError(
            "the read models were made by a newer version of Warrener"
            f" (layout {version}, this version knows {LAYOUT_VERSION}): use that version"
        )
    return msgspec.convert(found, Layout)
