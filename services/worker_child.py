"""What runs in a child process of a worker: load the endpoints, then perform order by order."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from warrener.domain.errors import UsageError
from warrener.domain.messages import RunStep
from warrener.services.child_memory import peak_bytes
from warrener.services.endpoints import REGISTRY
from warrener.services.modules import load_endpoint_modules
from warrener.services.perform import perform
from warrener.services.worker_link import (
    FULL,
    HELLO,
    ORDER,
    READY,
    REPORT,
    UNFIT,
    FrameBuffer,
    Hello,
    frame,
)
from warrener.services.worker_side import ORPHAN_SECONDS, SideThread

__all__ = ["ORPHAN_SECONDS", "main"]

UNFIT_EXIT_CODE = 3

_CHUNK_BYTES = 256 * 1024


class SystemClock:
    """The clock of the machine."""

    def now(self) -> datetime:
        """Return the current time in UTC."""
        return datetime.now(UTC)


def main(orders: int, side: int) -> int:
    """Serve the worker at the other end of these sockets until it closes; return the exit code."""
    _settle(orders, side)
    with socket.socket(fileno=orders) as link:
        try:
            return _serve(link, socket.socket(fileno=side))
        except (BrokenPipeError, ConnectionResetError):
            return 0


def _settle(*descriptors: int) -> None:
    """Leave signals to the worker: it ends its children by closing the sockets.

    The handlers do nothing (rather than SIG_IGN, which programs started from here would inherit).
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    for descriptor in descriptors:
        os.set_inheritable(descriptor, False)
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]


def _serve(link: socket.socket, side: socket.socket) -> int:
    frames = _frames(link)
    first = next(frames, None)
    if first is None or first[0] != HELLO:
        return 0
    hello = msgspec.json.decode(first[1], type=Hello)
    thread = SideThread(side, hello.pulse_seconds)
    thread.start()
    if hello.log is not None:
        from warrener.services.program_log import configure

        configure(hello.log, "info")
    try:
        load_endpoint_modules(hello.modules, Path(hello.base))
        end_spans = _trace(hello.otlp_url)
    except UsageError as error:
        link.sendall(frame(UNFIT, str(error).encode("utf-8", "backslashreplace")))
        return UNFIT_EXIT_CODE
    link.sendall(frame(READY, msgspec.json.encode(REGISTRY.queues())))
    try:
        _work(link, frames, thread, hello)
    finally:
        end_spans()
    return 0


def _trace(otlp_url: str) -> Callable[[], None]:
    """Run endpoints inside spans, if a collector is set; return what sends the last of them."""
    if not otlp_url:
        return lambda: None
    from warrener.services.wiring_traces import trace_endpoints

    return trace_endpoints(otlp_url)


def _work(
    link: socket.socket, frames: Iterator[tuple[bytes, bytes]], side: SideThread, hello: Hello
) -> None:
    decode, encode, clock = msgspec.json.Decoder(RunStep).decode, msgspec.json.encode, SystemClock()
    for kind, body in frames:
        if kind == ORDER:
            order = decode(body)
            pulse = side.begin(order)
            made = perform(order, hello.worker, clock, pulse=pulse)
            side.end()
            link.sendall(frame(REPORT, encode(made)))
            if hello.memory_bytes_max is not None and peak_bytes() > hello.memory_bytes_max:
                link.sendall(frame(FULL, b""))


def _frames(link: socket.socket) -> Iterator[tuple[bytes, bytes]]:
    buffer = FrameBuffer()
    while chunk := link.recv(_CHUNK_BYTES):
        yield from buffer.feed(chunk)
