"""Archives of pruned jobs: one compressed frame for each tree, and an index of all jobs at the end.

A program that knows zstd reads the whole file as JSON lines; one job is read back by the index
alone. Nothing in a file is trusted: whatever is wrong with it is a `UsageError`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import IO, Final
from uuid import UUID

import msgspec

from warrener.domain.errors import UsageError
from warrener.domain.stored import StoredRow
from warrener.services.upkeep.backup_format import Row
from warrener.services.upkeep.zstd_lines import LineReader, LineWriter, decoded

FORMAT: Final = "warrener-archive"
VERSION: Final = 1
# A frame that decompressors skip: its magic number and size, then where the index is, and a mark.
_FOOTER: Final = struct.Struct("<IIQ8s")
_SKIPPED: Final = 0x184D2A50
_MARK: Final = b"WARRENER"


class ArchiveHeader(msgspec.Struct, frozen=True, tag="archive"):
    """The first line of the file, in a frame of its own."""

    format: str
    version: int
    id: str
    made_at: datetime
    made_by: str


class TreeHeader(msgspec.Struct, frozen=True, tag="tree"):
    """The first line of a tree of jobs."""

    root: UUID
    partition: int
    name: str
    ended_at: datetime
    jobs: tuple[UUID, ...]
    events: int


class EventLine(msgspec.Struct, frozen=True, tag="event"):
    """An event of the tree, its position, and the first position of its commit."""

    position: int
    commit: int
    row: Row

    def stored(self) -> StoredRow:
        """Return the event as it stood in the store."""
        return self.row.stored()


class BlobLine(msgspec.Struct, frozen=True, tag="blob"):
    """A blob that events of the tree need."""

    name: str
    data: bytes


class TreeEnd(msgspec.Struct, frozen=True, tag="tree_end"):
    """The last line of a tree."""

    events: int
    blobs: int


class IndexLine(msgspec.Struct, frozen=True, tag="job"):
    """Where in the file the tree of a job begins; all of them are in the last frame."""

    job: UUID
    at: int


class IndexEnd(msgspec.Struct, frozen=True, tag="end"):
    """The last line of the file."""

    jobs: int
    trees: int


TreeLine = TreeHeader | EventLine | BlobLine | TreeEnd
_HEADER: Final = msgspec.json.Decoder(ArchiveHeader)
_TREE: Final = msgspec.json.Decoder(TreeLine)
_INDEX: Final = msgspec.json.Decoder(IndexLine | IndexEnd)


class ArchiveWriter:
    """Writes an archive into an open file."""

    def __init__(self, file: IO[bytes], header: ArchiveHeader) -> None:
        """Begin with the header."""
        self._file = file
        self._index: list[IndexLine] = []
        self._trees = 0
        self._frame = LineWriter(file)
        self._frame.write(header)
        self._frame.close()

    def begin(self, header: TreeHeader) -> None:
        """Begin with a tree."""
        at = self._file.tell()
        self._index += [IndexLine(job, at) for job in header.jobs]
        self._trees += 1
        self._frame = LineWriter(self._file)
        self._frame.write(header)

    def write(self, line: EventLine | BlobLine) -> None:
        """Write a line of the present tree."""
        self._frame.write(line)

    def end(self, end: TreeEnd) -> None:
        """End the present tree."""
        self._frame.write(end)
        self._frame.close()

    def close(self) -> None:
        """Write the index; the file stays open."""
        at = self._file.tell()
        frame = LineWriter(self._file)
        for line in sorted(self._index, key=lambda line: line.job):
            frame.write(line)
        frame.write(IndexEnd(len(self._index), self._trees))
        frame.close()
        self._file.write(_FOOTER.pack(_SKIPPED, _FOOTER.size - 8, at, _MARK))


class ArchiveReader:
    """Reads an archive from an open file."""

    def __init__(self, path: Path, file: IO[bytes]) -> None:
        """Read the header and find the index."""
        self._path = path
        self._file = file
        lines = self._lines(0)
        self.header = decoded(path, next(lines, b""), _HEADER)
        if self.header.format != FORMAT:
            raise self._wrong("it is no archive of a Warrener store")
        if self.header.version != VERSION:
            raise self._wrong(
                f"its format has version {self.header.version}, known here is {VERSION}: use the"
                " version of Warrener that made it, or a newer one"
            )
        self._index_at = self._find_index()

    def index(self) -> Iterator[IndexLine]:
        """Yield where the tree of each job is, by job."""
        for line in self._lines(self._index_at):
            told = decoded(self._path, line, _INDEX)
            if isinstance(told, IndexEnd):
                return
            yield told
        raise self._wrong("the end of its index is missing")

    def find(self, job: UUID) -> int | None:
        """Return where the tree of a job is, None if the job is not in this archive."""
        return next((line.at for line in self.index() if line.job == job), None)

    def trees(self) -> list[int]:
        """Return where each tree is."""
        return sorted({line.at for line in self.index()})

    def tree(self, at: int) -> Iterator[TreeLine]:
        """Yield the lines of a tree: its header first; the end is checked and not yielded."""
        header: TreeHeader | None = None
        events = blobs = 0
        for line in self._lines(at):
            told: TreeLine = decoded(self._path, line, _TREE)
            if isinstance(told, TreeEnd):
                if header is None or (events, blobs) != (told.events, told.blobs):
                    break
                return
            if isinstance(told, TreeHeader) is not (header is None):
                break
            header = told if isinstance(told, TreeHeader) else header
            events += isinstance(told, EventLine)
            blobs += isinstance(told, BlobLine)
            yield told
        raise self._wrong("a tree of jobs in it is not whole")

    def _lines(self, at: int) -> Iterator[bytes]:
        self._file.seek(at)
        return LineReader(self._path, self._file).lines()

    def _find_index(self) -> int:
        try:
            self._file.seek(-_FOOTER.size, 2)
            magic, _, at, mark = _FOOTER.unpack(self._file.read(_FOOTER.size))
        except (OSError, struct.error):
            magic, at, mark = 0, 0, b""
        if magic != _SKIPPED or mark != _MARK or at >= self._file.tell():
            raise self._wrong("it was cut off: its index is missing")
        return int(at)

    def _wrong(self, what: str) -> UsageError:
        return UsageError(f"{self._path} cannot be read: {what}")
