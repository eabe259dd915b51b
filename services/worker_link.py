"""Frames between a worker and its child processes, over two socket pairs.

One carries the orders and is served by the thread that performs them; over the other the child can
be told, and can tell, something meanwhile.
"""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Iterator
from itertools import count
from uuid import UUID

import msgspec

HELLO, READY, UNFIT = b"H", b"U", b"F"  # at the start: what to load, done so, cannot
ORDER, REPORT, FULL = b"O", b"R", b"M"  # then: work, its outcome, memory used up
CANCEL, PULSE = b"C", b"P"  # on the second pair, for another thread of the child

_HEADER_BYTES = 5  # kind, then the length of the body in four bytes
_CHUNK_BYTES = 256 * 1024
_CHUNKS_AT_ONCE_MAX = 64


def frame(kind: bytes, body: bytes) -> bytes:
    """Return the bytes of one frame."""
    return b"".join((kind, len(body).to_bytes(4, "big"), body))


class Hello(msgspec.Struct, frozen=True):
    """What a child is told first. `memory_bytes_max` only where the worker cannot measure it.

    `log` is the setting by which endpoints log; None leaves that to the modules. `otlp_url` is
    where spans go, if anywhere.
    """

    worker: str
    modules: list[str]
    base: str
    pulse_seconds: float = 5.0  # how often the child may tell of progress
    memory_bytes_max: int | None = None
    log: str | None = None
    otlp_url: str = ""


class Progress(msgspec.Struct, frozen=True, array_like=True):
    """What an attempt in a child says of itself."""

    step: UUID
    attempt: int
    share: float | None
    note: str | None


class Cancel(msgspec.Struct, frozen=True, array_like=True):
    """Which attempt nobody waits for any more."""

    step: UUID
    attempt: int


class FrameBuffer:
    """Puts frames together from the chunks that arrive."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def feed(self, chunk: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Add a chunk; return the frames that are whole now, as pairs of kind and body."""
        buffer = self._bytes
        buffer += chunk
        begin = 0
        while len(buffer) - begin >= _HEADER_BYTES:
            end = begin + _HEADER_BYTES + int.from_bytes(buffer[begin + 1 : begin + 5], "big")
            if end > len(buffer):
                break
            yield bytes(buffer[begin : begin + 1]), bytes(buffer[begin + _HEADER_BYTES : end])
            begin = end
        del buffer[:begin]


class Link:
    """The worker's end: never blocks, so that two big messages can cross."""

    def __init__(self, end: socket.socket) -> None:
        end.setblocking(False)
        self.socket = end
        self.closed = False
        self._frames = FrameBuffer()
        self._unsent: deque[memoryview] = deque()

    @property
    def sending(self) -> bool:
        """Say whether bytes wait for the other side to read."""
        return bool(self._unsent) and not self.closed

    def send(self, kind: bytes, body: bytes) -> None:
        """Send a frame, now as far as it goes, the rest by `flush`."""
        self._unsent.append(memoryview(frame(kind, body)))
        self.flush()

    def flush(self) -> None:
        """Send what the other side has room for."""
        try:
            while self._unsent:
                sent = self.socket.send(self._unsent[0])
                if sent < len(self._unsent[0]):
                    self._unsent[0] = self._unsent[0][sent:]
                else:
                    self._unsent.popleft()
        except BlockingIOError:
            pass
        except OSError:  # the other side is gone; what it sent before can still be read
            self._unsent.clear()

    def receive(self, *, to_the_end: bool = False) -> list[tuple[bytes, bytes]]:
        """Return the frames that have arrived; `closed` tells that no more will come.

        A bounded part at a time, so that no child is heard at the cost of others; `to_the_end`
        takes all there is.
        """
        found: list[tuple[bytes, bytes]] = []
        for _ in count() if to_the_end else range(_CHUNKS_AT_ONCE_MAX):
            try:
                chunk = self.socket.recv(_CHUNK_BYTES)
            except BlockingIOError:
                break
            except OSError:
                chunk = b""
            if not chunk:
                self.closed = True
                break
            found.extend(self._frames.feed(chunk))
            if len(chunk) < _CHUNK_BYTES and not to_the_end:
                break
        return found
