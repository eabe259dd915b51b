"""A relay in front of a server, whose connections a test can cut."""

from __future__ import annotations

import contextlib
import socket
from threading import Lock, Thread
from typing import Self
from urllib.parse import urlsplit

CHUNK_BYTES = 64 * 1024


class Relay:
    """Passes on what comes to its own port of 127.0.0.1; `url` is the server's with that port."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._target = (parts.hostname, parts.port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        user, at, _ = parts.netloc.rpartition("@")
        port = self._listener.getsockname()[1]
        self.url = parts._replace(netloc=f"{user}{at}127.0.0.1:{port}").geturl()
        self.connections = 0  # so far
        self._open: list[socket.socket] = []
        self._lock = Lock()

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

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._target)
                with self._lock:
                    self.connections += 1
                    self._open += [client, server]
                for source, sink in ((client, server), (server, client)):
                    Thread(target=_pass_on, args=(source, sink), daemon=True).start()


def _pass_on(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while chunk := source.recv(CHUNK_BYTES):
            sink.sendall(chunk)
    for end in (source, sink):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
