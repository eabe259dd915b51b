"""The lines of a history file: a header, then blobs and events, then the end.

A blob stands before the first event that needs it. `ops/docs/history-files.md` says what is in each
line; the decoders here are its only readers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime
from typing import IO, Any, Final, Protocol
from uuid import UUID

import msgspec
import zstandard
from eventsourcing.persistence import StoredEvent

from warrener.domain.events import Recorded

FORMAT: Final = "warrener-history"
VERSION: Final = 1
LEVEL: Final = 6  # of compression
SUFFIX: Final = ".zst"  # of a file that is to be compressed


class Redaction(msgspec.Struct, frozen=True):
    """What was taken out: by which rules, how many values by each, and definitions it changed."""

    rules: tuple[str, ...] = ()
    counts: dict[str, int] = {}
    definitions: tuple[str, ...] = ()  # hashes that do not fit their text any more

    @property
    def values(self) -> int:
        """Return how many values were taken out."""
        return sum(self.counts.values())


class Header(msgspec.Struct, frozen=True, tag="header", kw_only=True):
    """The first line. `state` is that of the root at `last`, the highest position in the file."""

    format: str
    version: int
    made_at: datetime
    made_by: str
    root: UUID
    name: str
    state: str
    first: int
    last: int
    jobs: int
    events: int
    blobs: int
    redaction: Redaction


class EventLine(msgspec.Struct, frozen=True, tag="event"):
    """An event at its place in the log that it was taken from, as it is stored there."""

    position: int
    stream: UUID
    version: int
    topic: str
    event: msgspec.Raw


class BlobLine(msgspec.Struct, frozen=True, tag="blob", omit_defaults=True):
    """A large JSON value, as it is; as text where it takes several lines."""

    name: str
    value: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    text: str | msgspec.UnsetType = msgspec.UNSET


class End(msgspec.Struct, frozen=True, tag="end"):
    """The last line: what there is before it, and the SHA-256 of all lines before it."""

    events: int
    blobs: int
    sha256: str


Line = Header | EventLine | BlobLine | End


class Codec(Protocol):
    """Turns events into what is stored, and back; raises `StoredDataError` where it cannot."""

    def to_stored_event(self, domain_event: Recorded) -> StoredEvent:
        """Encode an event."""
        ...

    def to_domain_event(self, stored_event: StoredEvent) -> Recorded:
        """Decode an event."""
        ...

    def knows(self, topic: str) -> bool:
        """Say whether events of a type can be decoded."""
        ...


class LineSink:
    """Writes lines into an open file, compressed or not; knows how many bytes, and their hash."""

    def __init__(self, file: IO[bytes], *, compressed: bool = False) -> None:
        """Write from the present place of the file on."""
        self._file = file
        self._sha = hashlib.sha256()
        made = zstandard.ZstdCompressor(level=LEVEL) if compressed else None
        self._stream = None if made is None else made.stream_writer(file, closefd=False)
        self.written = 0

    def write(self, data: bytes) -> None:
        """Write whole lines, or a part of them."""
        self._sha.update(data)
        self.written += len(data)
        (self._stream or self._file).write(data)

    def sha256(self) -> str:
        """Return the hash of all that was written, in hexadecimal."""
        return self._sha.hexdigest()

    def close(self) -> None:
        """End the compressed data; the file stays open."""
        if self._stream is not None:
            self._stream.flush(zstandard.FLUSH_FRAME)


_encode = msgspec.json.Encoder().encode


def encoded(line: Line) -> bytes:
    """Return a line with its end."""
    return _encode(line) + b"\n"


def event_line(position: int, stored: StoredEvent) -> EventLine:
    """Return the line of an event."""
    stream = stored.originator_id
    assert isinstance(stream, UUID)
    state = msgspec.Raw(stored.state)
    return EventLine(position, stream, stored.originator_version, stored.topic, state)


def blob_line(name: str, data: bytes) -> BlobLine:
    """Return the line of a blob."""
    if b"\n" in data or b"\r" in data:
        return BlobLine(name, text=data.decode())
    return BlobLine(name, value=msgspec.Raw(data))


def blob_data(line: BlobLine) -> bytes:
    """Return the blob of a line, byte by byte; raises `ValueError` if it says none, or two."""
    if isinstance(line.value, msgspec.UnsetType) is isinstance(line.text, msgspec.UnsetType):
        raise ValueError("a blob has either a value or a text")
    return line.text.encode() if isinstance(line.text, str) else bytes(_raw(line.value))


def _raw(value: Any) -> msgspec.Raw:
    assert isinstance(value, msgspec.Raw)
    return value


def is_header(line: bytes) -> bool:
    """Say whether a line begins a history file, of whatever version."""
    try:
        found: Mapping[str, Any] = msgspec.json.decode(line, type=dict[str, msgspec.Raw])
    except (msgspec.MsgspecError, RecursionError, UnicodeError):
        return False
    return bytes(found.get("format", msgspec.Raw(b""))) == f'"{FORMAT}"'.encode()
