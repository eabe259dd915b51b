"""A web server that does as it is told, however rude: a thread, a port, and a script."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

PAUSE_SECONDS = 0.02  # between the drops of a slow answer
LIFE_SECONDS = 20.0  # of a connection: nothing outlives its test by much

Behaviour = Callable[["Connection"], None]


@dataclass
class Request:
    """A request as it came."""

    line: str
    headers: dict[str, str]  # names in lower case
    body: bytes


class Connection:
    """One connection, handed to a behaviour."""

    def __init__(self, link: socket.socket, ended: threading.Event) -> None:
        self.link = link
        self.heard: list[bytes] = []  # what a behaviour has read itself
        self._ended = ended

    def send(self, data: bytes) -> None:
        self.link.sendall(data)

    def pause(self) -> None:
        self._ended.wait(PAUSE_SECONDS)

    @property
    def open(self) -> bool:
        return not self._ended.is_set()

    def reset(self) -> None:
        """Close it so that the other side gets a reset."""
        self.link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.link.close()


class HttpServer:
    """Listens on an address; connection n gets behaviour n, those after the last the last one."""

    def __init__(
        self,
        *behaviours: Behaviour,
        address: str = "127.0.0.1",
        tls: ssl.SSLContext | None = None,
        port: int = 0,
        reads: bool = True,
    ) -> None:
        """With `reads` a request is read before the behaviour comes in."""
        self.requests: list[Request] = []
        self.served: list[Connection] = []
        self._reads = reads
        self.connections = 0
        self._behaviours: Sequence[Behaviour] = behaviours or (answer(200),)
        self._tls = tls
        self._ended = threading.Event()
        self._listener = socket.create_server((address, port))
        self.port: int = self._listener.getsockname()[1]

    def __enter__(self) -> Self:
        threading.Thread(target=self._listen, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        with contextlib.suppress(OSError):  # wakes the thread that accepts
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _listen(self) -> None:
        while not self._ended.is_set():
            try:
                link, _ = self._listener.accept()
            except OSError:
                return
            number = self.connections
            self.connections += 1
            behaviour = self._behaviours[min(number, len(self._behaviours) - 1)]
            threading.Thread(target=self._serve, args=(link, behaviour), daemon=True).start()

    def _serve(self, link: socket.socket, behaviour: Behaviour) -> None:
        link.settimeout(LIFE_SECONDS)
        with contextlib.suppress(OSError, ValueError):
            if self._tls is not None:
                link = self._tls.wrap_socket(link, server_side=True)
            with link:
                if self._reads:
                    self.requests.append(_read(link))
                connection = Connection(link, self._ended)
                self.served.append(connection)
                behaviour(connection)


def _read(link: socket.socket) -> Request:
    with link.makefile("rb") as stream:
        line = stream.readline().decode().strip()
        headers = {}
        while text := stream.readline().decode().strip():
            name, _, value = text.partition(":")
            headers[name.lower()] = value.strip()
        return Request(line, headers, stream.read(int(headers.get("content-length", "0"))))


def answer(status: int, body: bytes = b"", **headers: str) -> Behaviour:
    """A polite answer."""

    def behave(connection: Connection) -> None:
        lines = [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        lines += [f"Content-Length: {len(body)}", "Connection: close"]
        head = "\r\n".join([f"HTTP/1.1 {status} Words", *lines])
        connection.send(head.encode() + b"\r\n\r\n" + body)

    return behave


def silent(connection: Connection) -> None:
    """Says nothing and keeps the connection."""
    while connection.open:
        connection.pause()


def slow_headers(connection: Connection) -> None:
    """Sends a drop at a time, so that no single wait is long."""
    connection.send(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    while connection.open:
        connection.send(b"x")
        connection.pause()


def slow_body(connection: Connection) -> None:
    """Says that all is well, and drips."""
    connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
    while connection.open:
        connection.send(b"x")
        connection.pause()


def huge_body(connection: Connection) -> None:
    """Sends as fast as it can, and more than anybody wants."""
    connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10000000000\r\n\r\n")
    while connection.open:
        connection.send(b"x" * 65_536)


def endless_chunks(connection: Connection) -> None:
    """Never comes to an end, and says no size."""
    connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while connection.open:
        connection.send(b"1000\r\n" + b"x" * 4096 + b"\r\n")


def endless_headers(connection: Connection) -> None:
    """Sends headers for ever."""
    connection.send(b"HTTP/1.1 200 OK\r\n")
    while connection.open:
        connection.send(b"X-More: " + b"y" * 1000 + b"\r\n")


def endless_hints(connection: Connection) -> None:
    """Sends answers that precede the answer, for ever."""
    while connection.open:
        connection.send(b"HTTP/1.1 103 Early Hints\r\n\r\n")


def garbage(connection: Connection) -> None:
    """Speaks another protocol."""
    connection.send(b"\x00\x1b[2J not HTTP\r\n\r\n")


def reset(connection: Connection) -> None:
    """Cuts the connection."""
    connection.reset()


def closed(connection: Connection) -> None:
    """Hangs up."""
