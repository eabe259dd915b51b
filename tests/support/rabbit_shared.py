"""One RabbitMQ for all test processes of a session: the first that asks starts it.

It belongs to the pytest process that rules the workers (or is the only one), and that one ends it:
a worker cannot know whether another still needs it. `WARRENER_TEST_BROKER_URL` names a server that
is there already; its management API then makes the virtual hosts.
"""

from __future__ import annotations

import atexit
import fcntl
import json
import os
import shutil
import tempfile
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from support.guard import end_guard
from support.rabbit import PrivateRabbit
from support.rabbit_node import Place, RabbitError, RabbitNode

BROKER_URL = "WARRENER_TEST_BROKER_URL"
API_URL = "WARRENER_TEST_BROKER_API_URL"
API_SECONDS = 30.0
_OWNER, _FOLDER = "WARRENER_TEST_SESSION_PID", "WARRENER_TEST_SESSION_FOLDER"


class ExternalRabbit:
    """The server that `WARRENER_TEST_BROKER_URL` names, ruled through its management API.

    The API is expected on port 15672 of the same host, or at `WARRENER_TEST_BROKER_API_URL`.
    """

    def __init__(self, url: str) -> None:
        self.parts = urlsplit(url)
        self.api = os.environ.get(API_URL, f"http://{self.parts.hostname}:15672").rstrip("/")
        self.user = unquote(self.parts.username or "guest")
        self.password = unquote(self.parts.password or "guest")

    def url(self, vhost: str = "/", user: str = "", password: str = "") -> str:
        login = f"{quote(user or self.user, safe='')}:{quote(password or self.password, safe='')}"
        host = self.parts.netloc.rpartition("@")[2]
        query = f"?{self.parts.query}" if self.parts.query else ""
        return f"{self.parts.scheme}://{login}@{host}/{quote(vhost, safe='')}{query}"

    def add_vhost(self, name: str) -> None:
        """Make a virtual host in which the user of the URL may do everything."""
        self._call("PUT", ("vhosts", name))
        self.set_permissions(self.user, name, ".*", ".*", ".*")

    def delete_vhost(self, name: str) -> None:
        """Delete a virtual host with all in it. Absent: no error."""
        self._call("DELETE", ("vhosts", name))

    def add_user(self, name: str, password: str, *tags: str) -> None:
        self._call("PUT", ("users", name), {"password": password, "tags": ",".join(tags)})

    def set_permissions(
        self, user: str, vhost: str, configure: str = "", write: str = "", read: str = ""
    ) -> None:
        """Set what a user may do in a virtual host, as regular expressions of names."""
        rights = {"configure": configure, "write": write, "read": read}
        self._call("PUT", ("permissions", vhost, user), rights)

    def queue_names(self, vhost: str = "/") -> list[str]:
        return sorted(queue["name"] for queue in self._call("GET", ("queues", vhost)))

    def _call(self, method: str, path: tuple[str, ...], body: dict[str, str] | None = None) -> Any:
        login = b64encode(f"{self.user}:{self.password}".encode()).decode()
        request = urllib.request.Request(
            "/".join([self.api, "api", *(quote(part, safe="") for part in path)]),
            json.dumps(body or {}).encode() if method == "PUT" else None,
            {"Authorization": f"Basic {login}", "Content-Type": "application/json"},
            method=method,
        )
        try:
            with urllib.request.urlopen(request, timeout=API_SECONDS) as answer:
                return json.loads(answer.read() or b"null")
        except urllib.error.URLError as error:
            if method == "DELETE" and getattr(error, "code", 0) == 404:
                return None
            raise RabbitError(
                f"{BROKER_URL} needs RabbitMQ's management API, for a virtual host each test; "
                f"{method} {request.full_url} failed: {error} (another address: {API_URL})"
            ) from error


def shared_rabbit() -> RabbitNode | ExternalRabbit:
    """Return the session's server, started if it is not there. Raise `RabbitError`."""
    if url := os.environ.get(BROKER_URL):
        return ExternalRabbit(url)
    if _FOLDER not in os.environ:
        open_session()
        atexit.register(close_session)
    folder = Path(os.environ[_FOLDER])
    folder.mkdir(exist_ok=True)
    record = folder / "rabbit.json"
    with _locked(folder / "lock"):
        if not record.exists():
            _start(record)
    place = json.loads(record.read_text())["place"]
    return RabbitNode(Place(**place | {"home": Path(place["home"])}))


def shared_broker_url() -> str:
    """Return the URL of the server for all tests; `WARRENER_TEST_BROKER_URL` where that is set."""
    return os.environ.get(BROKER_URL) or shared_rabbit().url()


def open_session() -> None:
    """Make this process the one that a shared server belongs to; its children find it."""
    os.environ[_OWNER] = str(os.getpid())
    os.environ[_FOLDER] = tempfile.mktemp(prefix="warrener-session-")


def close_session() -> None:
    """End the shared server, if there is one. For the process that opened the session."""
    if os.environ.pop(_OWNER, "") != str(os.getpid()):
        return
    folder = Path(os.environ.pop(_FOLDER))
    record = folder / "rabbit.json"
    if record.exists():
        started = json.loads(record.read_text())
        for guard in started["guards"]:
            end_guard(guard)
        shutil.rmtree(started["place"]["home"], ignore_errors=True)
    shutil.rmtree(folder, ignore_errors=True)


def _start(record: Path) -> None:
    rabbit = PrivateRabbit(owner=int(os.environ[_OWNER])).start()
    assert rabbit.epmd is not None
    assert rabbit.program is not None
    guards = [rabbit.program.guard.pid, rabbit.epmd.program.guard.pid]
    place = asdict(rabbit.place) | {"home": str(rabbit.place.home)}
    record.write_text(json.dumps({"place": place, "guards": guards}))


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
