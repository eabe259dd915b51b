"""Fewer system calls for pika's connections.

pika sends each frame by itself, three for a message, and reads 4 KiB at a time. Each of these calls
gives the interpreter to another thread, so they cost more than they look. What is changed here is
internal to pika, whose version is pinned; where it is not found, nothing is changed.
"""

from __future__ import annotations

from typing import Any

READ_BYTES = 16 * 1024  # pika copies what is left for each frame, so more is slower again
JOINED_BYTES_MAX = 256 * 1024


def read_more(connection: Any) -> None:
    """Let an open connection read more at once."""
    transport: Any = getattr(connection, "_transport", None)
    if hasattr(transport, "_MAX_RECV_BYTES"):
        transport._MAX_RECV_BYTES = READ_BYTES


def join_writes(connection: Any) -> None:
    """Let what was written to a connection, and not sent yet, leave in one piece."""
    transport = getattr(connection, "_transport", None)
    waiting = getattr(transport, "_tx_buffers", None)
    if waiting is None or len(waiting) < 2:
        return
    if getattr(transport, "_tx_buffered_byte_count", JOINED_BYTES_MAX) >= JOINED_BYTES_MAX:
        return
    joined = b"".join(waiting)
    waiting.clear()
    waiting.append(joined)
