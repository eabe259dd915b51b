"""Connections to MongoDB: one client for each URL and process, however many parties use it.

A write is acknowledged once a majority has it in the journal; a read sees what a majority has, on
the primary. Writes are not retried by the driver: who writes knows how to find out what became of
a write whose answer was lost. Every wait is bounded. Errors of the driver come out as those of the
`eventsourcing` library, which recorders owe; a deployment that cannot be opened is told in our own
words. What was opened belongs to the process that opened it: connections must not cross a fork.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any, Final

from bson.errors import BSONError
from eventsourcing import persistence
from pymongo import MongoClient, errors
from pymongo.database import Database

from warrener.adapters.mongo_url import EXAMPLE, STANDALONE, MongoTarget, mongo_target
from warrener.domain.errors import StoreUnavailable, UsageError

Document = dict[str, Any]

# Where the URL does not set them. A write that a majority has not got after `wTimeoutMS` may still
# reach it: its outcome is unknown, not "no".
TIMEOUTS_MS: Final = {
    "serverSelectionTimeoutMS": 5_000,
    "connectTimeoutMS": 5_000,
    "socketTimeoutMS": 20_000,
    "wTimeoutMS": 10_000,
}
_ALWAYS: Final[dict[str, Any]] = {
    "w": "majority",
    "journal": True,
    "readConcernLevel": "majority",
    "readPreference": "primary",
    "retryWrites": False,
    "retryReads": True,
    "tz_aware": True,
    "uuidRepresentation": "standard",
}
_DENIED: Final = (13, 18, 8000)  # Unauthorized, AuthenticationFailed, AtlasError
_DUPLICATE: Final = 11_000
_LOST: Final = (errors.ConnectionFailure, errors.WriteConcernError, errors.ExecutionTimeout)


class _Shared:
    """A client, and how many `MongoDatabase` use it."""

    def __init__(self, client: MongoClient[Document]) -> None:
        self.client = client
        self.users = 0
        self.checked = False


# By process as well: after a fork the child has the parent's, which it must not touch.
_clients: dict[tuple[int, str], _Shared] = {}
_lock = Lock()


class MongoDatabase:
    """An open database. Threads may share it, and others with the same URL share its client."""

    def __init__(self, url: str) -> None:
        """Open what a URL names and see that it can do what the log needs.

        Raises `UsageError` for a URL that is none or names an unfit deployment, and
        `StoreUnavailable` if it does not answer.
        """
        self._target = mongo_target(url)
        self.shown = self._target.shown
        self._process = os.getpid()
        self._closed = False
        self._shared = _take(self._target)
        try:
            self._check_deployment()
        except BaseException:
            self.close()
            raise

    @contextmanager
    def using(self) -> Iterator[Database[Document]]:
        """Give the database for reading and writing; errors are those of the library.

        Of a write that ends in `OperationalError` it is not known whether it was made.
        """
        self._check_usable()
        with translated():
            yield self._shared.client[self._target.database]

    def close(self) -> None:
        """Let go of the client; a second time does nothing."""
        if self._closed or self._process != os.getpid():
            return
        self._closed = True
        _give_back(self._target)

    def _check_usable(self) -> None:
        if self._closed:
            raise persistence.InterfaceError(f"the store {self.shown} is closed")
        if self._process != os.getpid():
            text = f"the store {self.shown} was opened in another process: open it here again"
            raise persistence.InterfaceError(text)

    def _check_deployment(self) -> None:
        """Refuse what cannot promise that an acknowledged write is kept; once for each client."""
        if self._shared.checked:
            return
        admin = self._shared.client.admin
        try:
            hello = admin.command("hello")
            self._check_topology(hello)
            self._check_engine(_status(admin))
        except (errors.PyMongoError, BSONError) as error:
            raise StoreUnavailable(self._why_not_opened(error)) from error
        self._shared.checked = True

    def _check_topology(self, hello: Document) -> None:
        if not hello.get("isWritablePrimary"):
            raise StoreUnavailable(
                f"the server at {self.shown} takes no writes, as a secondary does: name all"
                " members of the replica set in the URL, or leave directConnection out"
            )
        replicated = "setName" in hello or hello.get("msg") == "isdbgrid"
        if not replicated and not self._target.standalone:
            raise UsageError(
                f"{self.shown} is a standalone server: what it acknowledges may be lost with its"
                " machine. Make it a replica set (mongod --replSet and rs.initiate(); one member"
                f" will do), or add {STANDALONE}=yes to the URL to take that risk"
            )

    def _check_engine(self, status: Document) -> None:
        engine = status.get("storageEngine", {})
        if not engine.get("persistent", True):
            raise UsageError(
                f"{self.shown} keeps its data in memory only (its storage engine is"
                f" {engine.get('name')}): use one with a journal, such as wiredTiger"
            )
        if not engine.get("supportsCommittedReads", True):
            raise UsageError(
                f"{self.shown} cannot read what a majority has (its storage engine is"
                f" {engine.get('name')}): use wiredTiger"
            )

    def _why_not_opened(self, error: Exception) -> str:
        if isinstance(error, errors.OperationFailure) and error.code in _DENIED:
            return (
                f"{self.shown} refuses this user or password: {plain(error)}. If the user is"
                " defined in another database, name it in the URL with authSource=admin"
            )
        return f"the store {self.shown} cannot be opened: {plain(error)}"


def _status(admin: Database[Document]) -> Document:
    """Return what the server says of itself, nothing where we may not ask: mongos has no engine."""
    try:
        return admin.command("serverStatus", metrics=0, locks=0, wiredTiger=0)
    except errors.OperationFailure:
        return {}


def _take(target: MongoTarget) -> _Shared:
    key = (os.getpid(), target.url)
    with _lock:
        if key not in _clients:
            _clients[key] = _Shared(_connect(target))
        shared = _clients[key]
        shared.users += 1
        return shared


def _give_back(target: MongoTarget) -> None:
    key = (os.getpid(), target.url)
    with _lock:
        shared = _clients[key]
        shared.users -= 1
        if not shared.users:
            del _clients[key]
            shared.client.close()


def _connect(target: MongoTarget) -> MongoClient[Document]:
    """Return a client that connects when it is used first."""
    times: dict[str, Any] = {
        name: ms for name, ms in TIMEOUTS_MS.items() if name.lower() not in target.options
    }
    named: dict[str, Any] = {} if "appname" in target.options else {"appname": "warrener"}
    try:
        return MongoClient(target.url, connect=False, **_ALWAYS, **times, **named)
    except (errors.PyMongoError, ValueError, TypeError, OSError) as error:
        raise UsageError(
            f"the options in the store's URL do not work ({plain(error)}): it is to be like"
            f" {EXAMPLE}"
        ) from None


@contextmanager
def translated() -> Iterator[None]:
    """Turn errors of the driver into those of the library."""
    try:
        yield
    except errors.DuplicateKeyError as error:
        raise persistence.IntegrityError(plain(error)) from error
    except errors.BulkWriteError as error:
        raise _of_bulk(error) from error
    except _LOST as error:
        raise persistence.OperationalError(plain(error)) from error
    except (BSONError, OverflowError) as error:  # a document that cannot be one
        raise persistence.DataError(plain(error)) from error
    except errors.OperationFailure as error:
        raise _of_failure(error) from error
    except errors.PyMongoError as error:
        raise persistence.InterfaceError(plain(error)) from error


def plain(error: Exception) -> str:
    """Return what the driver says without its view of the whole deployment."""
    text = str(error)
    for mark in (", Timeout:", " (configured timeouts:", ", full error:"):
        text = text.partition(mark)[0]
    return text


def _of_bulk(error: errors.BulkWriteError) -> persistence.PersistenceError:
    """Return what became of several documents; each that is there already counts as taken."""
    details: Document = dict(error.details or {})
    refused = details.get("writeErrors", [])
    text = refused[0].get("errmsg", "") if refused else plain(error)
    taken = refused and all(each.get("code") == _DUPLICATE for each in refused)
    if taken and not details.get("writeConcernErrors"):
        return persistence.IntegrityError(text)
    return persistence.OperationalError(text)


def _of_failure(error: errors.OperationFailure) -> persistence.PersistenceError:
    if error.code in _DENIED:
        return persistence.ProgrammingError(plain(error))
    return persistence.OperationalError(plain(error))


def taken_fields(error: persistence.IntegrityError) -> frozenset[str]:
    """Return the fields of the unique key that a write was refused for."""
    cause = error.__cause__
    details = getattr(cause, "details", None) or {}
    return frozenset(details.get("keyPattern", ()))
