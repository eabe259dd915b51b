"""Reads a history file as a log: nothing in it is trusted, and all of it is checked first."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
from eventsourcing.persistence import StoredEvent

from warrener.domain.errors import PayloadError, StoredDataError, UsageError
from warrener.domain.ids import content_hash
from warrener.domain.payloads import decode_json
from warrener.domain.ports import Positioned
from warrener.services.histories.checks import Checks
from warrener.services.histories.file_format import (
    FORMAT,
    VERSION,
    BlobLine,
    Codec,
    End,
    EventLine,
    Header,
    Line,
    blob_data,
    is_header,
)
from warrener.services.histories.file_lines import FileLines, Progress
from warrener.services.partial_log import PartialLog

HEADER_SHOWN: Final = "export one with: warrener replay JOB --export FILE"
_LINE: Final[msgspec.json.Decoder[Line]] = msgspec.json.Decoder(Line)


class History(msgspec.Struct, frozen=True):
    """A file that was read: its header, and its events as a log that takes none."""

    path: Path
    header: Header
    log: PartialLog


def read_history(path: Path, codec: Codec, on_progress: Progress | None = None) -> History:
    """Read a whole file; raises `UsageError` that names the file and the line."""
    reader = _Reader(FileLines(path, on_progress), codec)
    log = PartialLog(reader.events(), reader.blob)
    assert reader.header is not None
    return History(path, reader.header, log)


def read_header(path: Path) -> Header:
    """Read the first line alone; raises `UsageError`."""
    lines = FileLines(path)
    return _header(lines, next(iter(lines), b""))


def is_history(path: Path) -> bool:
    """Say whether a file is a history file, by how it begins; False if it cannot be read."""
    try:
        return is_header(next(iter(FileLines(path)), b""))
    except UsageError:
        return False


class _Reader:
    def __init__(self, lines: FileLines, codec: Codec) -> None:
        self.header: Header | None = None
        self._lines = lines
        self._codec = codec
        self._blobs: dict[str, bytes] = {}

    def blob(self, name: str) -> bytes:
        """Return a blob; raises `StoredDataError`."""
        data = self._blobs.get(name)
        if data is None:
            raise StoredDataError(f"blob {name} is not in {self._lines.path}")
        return data

    def events(self) -> Iterator[Positioned]:
        """Yield the events, each when it was checked; keeps the header and the blobs."""
        lines = iter(self._lines)
        self.header = _header(self._lines, next(lines, b""))
        checks = Checks(self.header, self._blobs)
        for line in lines:
            told = _decoded(self._lines, line)
            try:
                if isinstance(told, End):
                    checks.end()
                    self._end(told, lines)
                    return
                if isinstance(told, BlobLine):
                    self._keep(told)
                    continue
                each = self._event(told)
                checks.take(each)
            except ValueError as error:
                raise self._lines.wrong(str(error)) from error
            yield each
        self._lines.number += 1
        raise self._lines.wrong("the end is missing: the file was cut off")

    def _event(self, told: Line) -> Positioned:
        if not isinstance(told, EventLine):
            raise ValueError("a second header")
        if not self._codec.knows(told.topic):
            assert self.header is not None
            raise ValueError(
                f"this version of Warrener does not know events of type {told.topic!r}: use"
                f" {self.header.made_by}, which made the file, or a newer one"
            )
        stored = StoredEvent(told.stream, told.version, told.topic, bytes(told.event))
        try:
            return Positioned(told.position, self._codec.to_domain_event(stored))
        except StoredDataError as error:
            raise ValueError(str(error)) from error

    def _keep(self, line: BlobLine) -> None:
        data = blob_data(line)
        if content_hash(data) != line.name:
            raise ValueError(f"blob {line.name} does not fit its hash")
        try:
            decode_json(data)
        except PayloadError as error:
            raise ValueError(f"blob {line.name} cannot be used: {error}") from error
        self._blobs[line.name] = data

    def _end(self, end: End, lines: Iterator[Any]) -> None:
        assert self.header is not None
        sha256 = self._lines.sha256()
        if next(lines, None) is not None:
            raise ValueError("the file goes on after its end")
        if (end.events, end.blobs) != (self.header.events, len(self._blobs)):
            raise ValueError("there is more or less in the file than the last line says")
        if end.sha256 != sha256:
            raise ValueError(
                "the file was changed after it was made: the hash in this line is not that of the"
                " lines before it. Take the file as it was exported"
            )


def _header(lines: FileLines, line: bytes) -> Header:
    if not is_header(line):
        lines.number = max(lines.number, 1)
        raise lines.wrong(f"not the first line of a history file: {HEADER_SHOWN}")
    version = msgspec.json.decode(line, type=dict[str, msgspec.Raw]).get("version")
    if version is None or bytes(version) != b"%d" % VERSION:
        told = "none" if version is None else bytes(version)[:20].decode(errors="replace")
        raise lines.wrong(
            f"the format has version {told}, known here is {VERSION}: use the version of Warrener"
            " that made it, or a newer one"
        )
    found = _decoded(lines, line)
    if not isinstance(found, Header) or found.format != FORMAT:
        raise lines.wrong("the first line is no header")
    if found.made_at.tzinfo is None:
        raise lines.wrong("the time at which the file was made has no time zone")
    return found


def _decoded(lines: FileLines, line: bytes) -> Line:
    try:
        return _LINE.decode(line)
    except (msgspec.MsgspecError, RecursionError, UnicodeError, ValueError) as error:
        raise lines.wrong(f"not what a line of a history file must be: {error}") from error
