"""Positions of readers of the log, in the MongoDB of the log.

They are not among the read models: those are emptied and folded anew at any time, and nobody wants
to be told everything again because of that.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from eventsourcing.persistence import PersistenceError

from warrener.adapters.mongo_client import MongoDatabase
from warrener.domain.errors import StoreUnavailable

POSITIONS: Final = "log_positions"


class MongoPositions:
    """Keeps how far each reader has come; a majority has a save in its journal when it returns."""

    def __init__(self, database: MongoDatabase | str) -> None:
        """Use a database that is open, or open the one that a URL names and close it at the end.

        Raises `UsageError` and `StoreUnavailable`.
        """
        opened = MongoDatabase(database) if isinstance(database, str) else database
        self._database = opened
        self._own = opened is not database

    def get(self, name: str) -> int | None:
        """Return the position of a reader, None if it never saved one."""
        with _translated(), self._database.using() as db:
            found = db[POSITIONS].find_one({"_id": name})
        return None if found is None else int(found["position"])

    def save(self, name: str, position: int) -> None:
        """Set the position of a reader."""
        with _translated(), self._database.using() as db:
            db[POSITIONS].replace_one({"_id": name}, {"position": position}, upsert=True)

    def close(self) -> None:
        """Close the database if it was opened here."""
        if self._own:
            self._database.close()


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except PersistenceError as error:
        raise StoreUnavailable(f"the positions cannot be used: {error}") from error
