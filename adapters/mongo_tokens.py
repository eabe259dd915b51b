"""Tokens in the MongoDB of the log."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import msgspec
from eventsourcing.persistence import IntegrityError, PersistenceError

from warrener.adapters.mongo_client import MongoDatabase
from warrener.domain.errors import Conflict, StoreUnavailable
from warrener.domain.tokens import TOKENS_MAX, AccessToken

TOKENS: Final = "access_tokens"
SECRETS: Final = "access_secret"
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(AccessToken).decode


class MongoTokens:
    """Keeps tokens; a majority has what was written in its journal when a call returns."""

    def __init__(self, database: MongoDatabase | str) -> None:
        """Use a database that is open, or open the one that a URL names and close it at the end.

        Raises `UsageError` and `StoreUnavailable`.
        """
        opened = MongoDatabase(database) if isinstance(database, str) else database
        self._database = opened
        self._own = opened is not database

    def add(self, token: AccessToken) -> None:
        """Keep a token."""
        with _translated():
            try:
                with self._database.using() as db:
                    if db[TOKENS].count_documents({}, limit=TOKENS_MAX) >= TOKENS_MAX:
                        raise Conflict(f"there are {TOKENS_MAX} tokens already")
                    db[TOKENS].insert_one({"_id": token.name, "doc": _encode(token)})
            except IntegrityError:
                raise Conflict(f"there is a token {token.name!r} already") from None

    def all(self) -> Sequence[AccessToken]:
        """Return all tokens by name."""
        with _translated(), self._database.using() as db:
            return [_decode(each["doc"]) for each in db[TOKENS].find().sort("_id", 1)]

    def remove(self, name: str) -> bool:
        """Forget a token; say whether there was one."""
        with _translated(), self._database.using() as db:
            return db[TOKENS].delete_one({"_id": name}).deleted_count > 0

    def secret(self, fresh: bytes) -> bytes:
        """Return the secret."""
        with _translated(), self._database.using() as db:
            kept = {"$setOnInsert": {"secret": fresh}}
            db[SECRETS].update_one({"_id": "sessions"}, kept, upsert=True)
            found = db[SECRETS].find_one({"_id": "sessions"})
        assert found is not None
        return bytes(found["secret"])

    def close(self) -> None:
        """Close the database if it was opened here."""
        if self._own:
            self._database.close()


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except PersistenceError as error:
        raise StoreUnavailable(f"the tokens cannot be used: {error}") from error
