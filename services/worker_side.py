"""The other thread of a child process: hears of cancellations, tells of progress, leaves no orphan.

The thread that performs orders never waits for it: both only assign to what they share.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import time
from threading import Thread
from uuid import UUID

import msgspec

from warrener.domain.messages import RunStep
from warrener.services.perform import Pulse
from warrener.services.worker_link import CANCEL, PULSE, Cancel, FrameBuffer, Progress, frame

ORPHAN_SECONDS = 2.0  # how long a step may go on once the worker is gone
LOOK_SECONDS_MAX = 0.5  # an order that must beat more often than others may come at any time
CANCELLED_MAX = 1_000  # attempts to remember that were cancelled before they came

_CHUNK_BYTES = 64 * 1024


class SideThread(Thread):
    """Serves the second socket pair until the worker closes it, then ends the process."""

    def __init__(self, link: socket.socket, pulse_seconds: float) -> None:
        """Take this end of the pair; progress is told every `pulse_seconds` at most."""
        super().__init__(daemon=True)
        self._link = link
        self._pulse_seconds = pulse_seconds
        self._current: tuple[RunStep, Pulse] | None = None
        self._cancelled: dict[tuple[UUID, int], None] = {}
        self._told: Progress | None = None
        self._tell_at = 0.0

    def begin(self, order: RunStep) -> Pulse:
        """Note what is performed now; the pulse of an attempt that is cancelled says so."""
        pulse = Pulse()
        self._current = (order, pulse)  # first, so that a cancellation is seen here or there
        if self._cancelled and (order.step, order.attempt) in self._cancelled:
            pulse.cancelled = True
        return pulse

    def end(self) -> None:
        """Nothing is performed now."""
        self._current = None

    def run(self) -> None:
        """Serve the pair; a step that outlives its worker is cut short."""
        with contextlib.suppress(OSError):
            self._serve()
        time.sleep(ORPHAN_SECONDS)
        os._exit(1)

    def _serve(self) -> None:
        frames = FrameBuffer()
        poll = select.poll()
        poll.register(self._link, select.POLLIN)
        while True:
            if poll.poll(1_000 * min(self._pulse_seconds, LOOK_SECONDS_MAX)):
                chunk = self._link.recv(_CHUNK_BYTES)
                if not chunk:
                    return
                for kind, body in frames.feed(chunk):
                    if kind == CANCEL:
                        self._cancel(msgspec.json.decode(body, type=Cancel))
            self._tell()

    def _cancel(self, cancel: Cancel) -> None:
        key = (cancel.step, cancel.attempt)
        self._cancelled[key] = None
        if len(self._cancelled) > CANCELLED_MAX:
            del self._cancelled[next(iter(self._cancelled))]
        current = self._current
        if current is not None and (current[0].step, current[0].attempt) == key:
            current[1].cancelled = True

    def _tell(self) -> None:
        """Send what the running attempt says of itself, if that is new."""
        current = self._current
        if current is None:
            return
        order, pulse = current
        now = time.monotonic()
        if now < self._tell_at:
            return
        often = self._pulse_seconds if order.beat_seconds is None else order.beat_seconds / 2
        self._tell_at = now + min(often, self._pulse_seconds)
        told = Progress(order.step, order.attempt, pulse.share, pulse.note)
        if told != self._told and (told.share is not None or told.note is not None):
            self._told = told
            self._link.sendall(frame(PULSE, msgspec.json.encode(told)))
