"""A relay in front of a server, whose connections a test can cut."""

from __future__ import annotations

import contextlib
import socket
from threading import Event, Lock, Thread
from typing import Self
from urllib.parse import urlsplit

CHUNK_BYTES = 64 * 1024


class Relay:
    """Passes on what comes to its own port of 127.0.0.1; `url` is the server's with that port.

    `lose` makes it cut connections at requests that have some bytes in them.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._target = (parts.hostname, parts.port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        user, at, _ = parts.netloc.rpartition("@")
        port = self._listener.getsockname()[1]
        self.url = parts._replace(netloc=f"{user}{at}127.0.0.1:{port}").geturl()
        self.connections = 0  # so far
        self.lost = 0  # how many requests were cut off
        self._open: list[socket.socket] = []
        self._lock = Lock()
        self._marks: list[tuple[bytes, bool]] = []

    def __enter__(self) -> Self:
        Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()
        self.cut()

    def cut(self) -> None:
        """Close all connections, as a network does: nobody is told why."""
        with self._lock:
            for end in self._open:
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
            self._open.clear()

    def lose(self, mark: bytes, times: int = 1, *, request: bool = False) -> None:
        """Lose the answers to the next requests with these bytes, or the requests themselves."""
        with self._lock:
            self._marks += [(mark, request)] * times

    def _fate(self, chunk: bytes) -> tuple[bool, bool]:
        """Return whether a request is lost, and whether its answer is."""
        with self._lock:
            for entry in self._marks:
                if entry[0] in chunk:
                    self._marks.remove(entry)
                    self.lost += 1
                    return entry[1], not entry[1]
        return False, False

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._target)
                with self._lock:
                    self.connections += 1
                    self._open += [client, server]
                deaf = Event()  # the client is to hear no more
                for pass_on in (self._ask, self._answer):
                    Thread(target=pass_on, args=(client, server, deaf), daemon=True).start()

    def _ask(self, client: socket.socket, server: socket.socket, deaf: Event) -> None:
        with contextlib.suppress(OSError):
            while chunk := client.recv(CHUNK_BYTES):
                request_lost, answer_lost = self._fate(chunk)
                if request_lost:
                    break
                if answer_lost:
                    deaf.set()
                server.sendall(chunk)
        _shut(client, server)

    def _answer(self, client: socket.socket, server: socket.socket, deaf: Event) -> None:
        with contextlib.suppress(OSError):
            while (chunk := server.recv(CHUNK_BYTES)) and not deaf.is_set():
                client.sendall(chunk)
        _shut(client, server)


def _shut(*ends: socket.socket) -> None:
    for end in ends:
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
