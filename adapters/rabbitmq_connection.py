"""A connection of pika's that sends once a turn of the loop, and reads messages in one step.

`SelectConnection` gives the kernel each frame by itself, three for a message, and reads 4 KiB at a
time; with several hundred messages in flight that is most of its work. What is changed here is
what it does with bytes: what is to be sent is collected until `flush`, and frames of deliveries and
confirmations are read without pika's objects, see `rabbitmq_frames`. Handshake, heartbeats,
channels and all other methods are pika's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from pika.adapters.select_connection import IOLoop, SelectConnection
from pika.frame import decode_frame

from warrener.adapters.rabbitmq_frames import (
    ACK,
    AROUND,
    BODY,
    DELIVER,
    END,
    HEADER,
    METHOD,
    NACK,
    confirmation,
    frame_start,
    method_index,
    read_content_start,
    read_delivery,
)

MAIN = 1  # the channel whose messages and confirmations are read here
DECLARING = 2  # the channel on which queues are asked for: each that is missing closes it
READ_BYTES_MAX = 256 * 1024  # at a time
_START = AROUND - len(END)  # bytes before a frame's payload
_PROTOCOL_HEADER = ord("A")  # what a broker answers that speaks another version of AMQP

Delivered = Callable[[bytes, int, bool, str, bytes], None]
Confirmed = Callable[[int, bool, bool], None]


class Events(msgspec.Struct):
    """Whom a connection tells of messages and confirmations; set when its channel is opened.

    `delivered(consumer, tag, redelivered, message_id, body)`; `confirmed(tag, multiple, positive)`.
    """

    delivered: Delivered | None = None
    confirmed: Confirmed | None = None


class Connection(SelectConnection):  # type: ignore[misc]  # pika has no types
    """One connection. Belongs to the thread of its loop."""

    def __init__(
        self,
        parameters: Any,
        loop: IOLoop,
        on_open: Callable[[Connection], None],
        on_gone: Callable[[Connection, BaseException], None],
    ) -> None:
        """Begin to connect; `on_gone` also tells of a connection that was never opened."""
        self.events = Events()
        self._frame_buffer = b""
        self._outbox: list[bytes] = []
        self._consumer = b""
        self._tag = 0
        self._redelivered = False
        self._message_id = ""
        self._missing = 0  # bytes of the body that are still to come
        self._pieces: list[bytes] = []
        super().__init__(parameters, on_open, on_gone, on_gone, loop)

    @property
    def body_bytes_max(self) -> int:
        """Return how much of a body fits into one frame."""
        size: int = self._body_max_length
        return size

    def write(self, frames: bytes) -> None:
        """Send frames with the next `flush`."""
        self._outbox.append(frames)
        self.bytes_sent += len(frames)

    def flush(self) -> None:
        """Hand over to the kernel what was written in this turn of the loop."""
        if not self._outbox:
            return
        data = b"".join(self._outbox)
        self._outbox.clear()
        transport = self._transport
        if transport is None:
            return
        data = data[self._send_now(transport, data) :]
        if data:
            transport.write(data)

    def _send_now(self, transport: Any, data: bytes) -> int:
        """Return how much the kernel took at once.

        pika first asks whether it would, which takes four system calls and a turn of the loop.
        """
        idle = transport._state == transport._STATE_ACTIVE and not transport._tx_buffers
        if not idle or self.params.ssl_options is not None:
            return 0
        try:
            sent: int = transport._sock.send(data)
        except OSError:  # it is full, or broken: pika finds out and deals with it
            return 0
        return sent

    # --- in place of pika's ----------------------------------------------------------------------

    def _proto_connection_made(self, transport: Any) -> None:
        transport._MAX_RECV_BYTES = READ_BYTES_MAX
        # One read a turn: epoll tells of the rest, and it saves the read that finds nothing.
        transport._MAX_CONSUME_BYTES = 1
        super()._proto_connection_made(transport)

    def _output_marshaled_frames(self, marshaled_frames: list[bytes]) -> None:
        self.frames_sent += len(marshaled_frames)
        for frame in marshaled_frames:
            self.write(frame)

    def _on_data_available(self, data_in: bytes) -> None:
        data = self._frame_buffer + data_in if self._frame_buffer else data_in
        self.bytes_received += len(data_in)
        place, end = 0, len(data)
        while end - place >= AROUND:
            kind, channel, size = frame_start(data, place)
            after = place + AROUND + size
            if after > end and kind != _PROTOCOL_HEADER:
                break
            if channel != MAIN or not self._read(kind, data, place + _START, after - 1):
                _, frame = decode_frame(data[place:after])
                if frame is not None:
                    self._process_frame(frame)
            place = after
        self._frame_buffer = data[place:] if place else data

    def _read(self, kind: int, data: bytes, place: int, end: int) -> bool:
        """Read a payload if it belongs to a delivery or is a confirmation; say whether it was."""
        if kind == METHOD:
            index = method_index(data, place)[0]
            if index == DELIVER:
                self._consumer, self._tag, self._redelivered = read_delivery(data, place + 4)
            elif index in (ACK, NACK) and self.events.confirmed is not None:
                tag, bits = confirmation(data, place + 4)
                self.events.confirmed(tag, bits & 1 == 1, index == ACK)
            else:
                return False
        elif not self._consumer:
            return False  # of a message that came back: pika puts it together
        elif kind == HEADER:
            self._missing, self._message_id = read_content_start(data, place, end)
            if not self._missing:
                self._deliver(b"")
        elif kind == BODY:
            self._read_body(data[place:end])
        return True

    def _read_body(self, piece: bytes) -> None:
        self._missing -= len(piece)
        if self._missing > 0:
            self._pieces.append(piece)
            return
        if self._pieces:
            piece = b"".join((*self._pieces, piece))
            self._pieces.clear()
        self._deliver(piece)

    def _deliver(self, body: bytes) -> None:
        consumer, self._consumer = self._consumer, b""
        if self.events.delivered is not None:
            self.events.delivered(consumer, self._tag, self._redelivered, self._message_id, body)
