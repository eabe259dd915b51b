"""HTTP/1.1 by uvicorn and h11, for clients that may be slow on purpose."""

from __future__ import annotations

import asyncio
import resource
import socket
import struct
from typing import Any, Final

from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_SECONDS: Final = 10.0  # for all of a request before its body
TAKE_SECONDS: Final = 120.0  # for some of an answer to be taken, where some of it waits
TAKEN_BYTES_MIN: Final = 4_096
CONNECTIONS_MAX: Final = 2_000
FILES_LEFT: Final = 256  # for the store, and for connections that were not counted yet
_AT_ONCE: Final = struct.pack("ii", 1, 0)  # what waits is thrown away by the system, too
_FULL: Final = (
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\n"
    b"Connection: close\r\n\r\n"
)


class BoundedProtocol(H11Protocol):
    """Closes a connection whose request does not begin in time, or whose answer nobody takes.

    One that would be too many is closed at once: the store needs files, too.
    """

    _late: asyncio.TimerHandle | None = None
    _look: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Begin to wait for the first request."""
        super().connection_made(transport)
        if len(self.connections) > connections_max():
            transport.write(_FULL)
            transport.close()
        self._wait_for_request()
        self._look_later()

    def data_received(self, data: bytes) -> None:
        """Take what came; if it is not the head of a request yet, time runs."""
        super().data_received(data)
        self._wait_for_request()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing more."""
        self._stop_waiting()
        if self._look is not None:
            self._look.cancel()
        super().connection_lost(exc)

    def _wait_for_request(self) -> None:
        if self._at_work():
            self._stop_waiting()
        elif self._late is None:
            self._late = self.loop.call_later(HEAD_SECONDS, self._close_late)

    def _stop_waiting(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _close_late(self) -> None:
        self._late = None
        if not self._at_work():
            self.transport.close()

    def _at_work(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _look_later(self) -> None:
        """Note what waits to be taken of which answer, and look again."""
        noted = self.cycle, self.transport.get_write_buffer_size()
        self._look = self.loop.call_later(TAKE_SECONDS, self._look_again, *noted)

    def _look_again(self, cycle: Any, before: int) -> None:
        """Give up a connection that has taken next to nothing: closing it would wait for that."""
        left = self.transport.get_write_buffer_size()
        if before and left and cycle is self.cycle and before - left < TAKEN_BYTES_MIN:
            connection = self.transport.get_extra_info("socket")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
            self.transport.abort()
        else:
            self._look_later()


def connections_max() -> int:
    """Return how many connections there may be: some of the files of a process are for others."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files == resource.RLIM_INFINITY:
        return CONNECTIONS_MAX
    return min(CONNECTIONS_MAX, max(files // 2, files - FILES_LEFT))
