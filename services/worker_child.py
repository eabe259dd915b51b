"""What runs in a child process of a worker: load the endpoints, then perform order by order."""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from threading import Thread

import msgspec

from warrener.domain.errors import UsageError
from warrener.domain.messages import RunStep
from warrener.services.modules import load_endpoint_modules
from warrener.services.perform import perform
from warrener.services.worker_link import HELLO, ORDER, READY, REPORT, UNFIT, FrameBuffer, frame

ORPHAN_SECONDS = 2.0  # how long a step may go on once the worker is gone
UNFIT_EXIT_CODE = 3

_CHUNK_BYTES = 256 * 1024


class Hello(msgspec.Struct, frozen=True):
    """What a child is told first."""

    worker: str
    modules: list[str]
    base: str


class SystemClock:
    """The clock of the machine."""

    def now(self) -> datetime:
        """Return the current time in UTC."""
        return datetime.now(UTC)


def main(descriptor: int) -> int:
    """Serve the worker at the other end of this socket until it closes; return the exit code."""
    _settle(descriptor)
    with socket.socket(fileno=descriptor) as link:
        Thread(target=_end_with_the_worker, args=(descriptor,), daemon=True).start()
        try:
            return _serve(link)
        except (BrokenPipeError, ConnectionResetError):
            return 0


def _settle(descriptor: int) -> None:
    """Leave signals to the worker: it ends its children by closing the socket.

    The handlers do nothing (rather than SIG_IGN, which programs started from here would inherit).
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    os.set_inheritable(descriptor, False)
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]


def _end_with_the_worker(descriptor: int) -> None:
    """Leave no orphan: a step that outlives its worker is cut short."""
    poll = select.poll()
    poll.register(descriptor, 0)  # tells of a hang-up only
    poll.poll()
    time.sleep(ORPHAN_SECONDS)
    os._exit(1)


def _serve(link: socket.socket) -> int:
    frames = _frames(link)
    first = next(frames, None)
    if first is None or first[0] != HELLO:
        return 0
    hello = msgspec.json.decode(first[1], type=Hello)
    try:
        load_endpoint_modules(hello.modules, Path(hello.base))
    except UsageError as error:
        link.sendall(frame(UNFIT, str(error).encode("utf-8", "backslashreplace")))
        return UNFIT_EXIT_CODE
    link.sendall(frame(READY, b""))
    decode, encode, clock = msgspec.json.Decoder(RunStep).decode, msgspec.json.encode, SystemClock()
    for kind, body in frames:
        if kind == ORDER:
            link.sendall(frame(REPORT, encode(perform(decode(body), hello.worker, clock))))
    return 0


def _frames(link: socket.socket) -> Iterator[tuple[bytes, bytes]]:
    buffer = FrameBuffer()
    while chunk := link.recv(_CHUNK_BYTES):
        yield from buffer.feed(chunk)
