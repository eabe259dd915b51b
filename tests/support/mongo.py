"""A MongoDB for tests: SecantusDB as a process of its own, one for each test process.

It speaks MongoDB's wire protocol and says that it is a replica set of one member. It is started
when a test asks for it first. `WARRENER_TEST_MONGO_URL` names a MongoDB that is there already, such
as mongodb://host1,host2/?replicaSet=rs0; each test makes databases with names of their own in it.
"""

from __future__ import annotations

import atexit
import os
import secrets
import shutil
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import urlsplit

from pymongo import MongoClient
from pymongo.errors import PyMongoError
from support.guard import GuardedProgram
from support.rabbit_node import free_port

MONGO_URL = "WARRENER_TEST_MONGO_URL"
START_SECONDS = 30.0
FORGET_MILLISECONDS = 15_000
STOP_SECONDS = 10.0
DATABASES = "warrener-test-"  # what the names of all databases of tests begin with


class MongoError(Exception):
    """The private server did not start."""


class ExternalMongo:
    """The server, or servers, that `WARRENER_TEST_MONGO_URL` names."""

    def __init__(self, url: str) -> None:
        self._parts = urlsplit(url)
        self._given: set[str] = set()

    def url(self, database: str = "test", options: str = "") -> str:
        """Return the URL of a database, with more options such as `appName=x`."""
        self._given.add(database)
        query = "&".join(part for part in (self._parts.query, options) if part)
        return self._parts._replace(path=f"/{database}", query=query).geturl()

    def stop(self) -> None:
        """Leave it as it was."""
        with MongoClient[dict[str, object]](self._parts.geturl()) as client:
            for database in self._given:
                client.drop_database(database)


class PrivateMongo:
    """A SecantusDB with a folder and a port of its own; ended by its pid, at the latest with us."""

    def __init__(self, *options: str) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="warrener-mongo-"))
        self.port = free_port()
        self._options = options
        self.program: GuardedProgram | None = None

    def url(self, database: str = "test", options: str = "") -> str:
        """Return the URL of a database, with more options such as `appName=x`."""
        query = "&".join(part for part in ("directConnection=true", options) if part)
        return f"mongodb://127.0.0.1:{self.port}/{database}?{query}"

    def start(self) -> PrivateMongo:
        """Start the server on its folder and wait until it answers. Raise `MongoError`."""
        place = ["--port", str(self.port), "--storage-path", str(self.home / "data")]
        rest = ["--host", "127.0.0.1", "--log-level", "WARNING", "--cache-size", "256M"]
        command = [_secantus(), *place, *rest, *self._options]
        self.program = GuardedProgram(command, self.home / "log", folder=self.home)
        try:
            self._wait()
        except BaseException:
            self.stop()
            raise
        return self

    def kill(self) -> None:
        """End the server at once, as a crash does; its folder stays, for `start`."""
        assert self.program is not None
        self.program.kill()

    def stop(self) -> None:
        """End the server and forget its data."""
        if self.program is not None:
            self.program.kill()
        shutil.rmtree(self.home, ignore_errors=True)

    def _wait(self) -> None:
        assert self.program is not None
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                with MongoClient[dict[str, object]](
                    self.url(), serverSelectionTimeoutMS=200
                ) as client:
                    client.admin.command("hello")
            except PyMongoError as error:
                if not self.program.running or time.monotonic() > deadline:
                    said = (self.home / "log").read_text()[-1000:]
                    raise MongoError(f"SecantusDB did not start: {error} {said}") from error
            else:
                return


def shared_mongo() -> PrivateMongo | ExternalMongo:
    """Return the server that all tests of this process share, started if it is not there."""
    if not _shared:
        url = os.environ.get(MONGO_URL)
        _shared.append(ExternalMongo(url) if url else PrivateMongo().start())
        atexit.register(_shared[0].stop)
    return _shared[0]


def fresh_mongo_url(options: str = "") -> str:
    """Return the URL of a database of the shared server that nobody else has."""
    return shared_mongo().url(f"{DATABASES}{secrets.token_hex(6)}", options)


def forget_database(url: str) -> None:
    """Delete a database with all in it. Absent: no error.

    SecantusDB has been seen to stand still for ever in the midst of this: such a server is
    replaced, for it would hold up all tests that come after.
    """
    try:
        with MongoClient[dict[str, object]](url, socketTimeoutMS=FORGET_MILLISECONDS) as client:
            client.drop_database(client.get_default_database())
    except PyMongoError:
        server = shared_mongo()
        if isinstance(server, ExternalMongo):
            raise
        server.stop()
        _shared.clear()


_shared: list[PrivateMongo | ExternalMongo] = []


def _secantus() -> str:
    beside = Path(sys.executable).with_name("secantusd-py")
    found = str(beside) if beside.exists() else shutil.which("secantusd-py")
    if found is None:
        raise MongoError(
            "secantusd-py is missing: pip install -e .[test], or name a MongoDB with"
            f" {MONGO_URL}=mongodb://..."
        )
    return found
