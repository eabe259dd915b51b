"""The lines of a backup: a header, then blobs and commits of each partition, then the end.

A blob stands before the first commit that needs it. A commit that is large goes over several lines,
of which the last has its link.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec

from warrener.domain.stored import Archive, StoredCommit, StoredRow

FORMAT: Final = "warrener-backup"
VERSION: Final = 1
PIECE_BYTES: Final = 8 * 1024 * 1024  # of a commit in one line, more or less
COMMIT_BYTES_MAX: Final = 1024 * 1024 * 1024


class PartHeader(msgspec.Struct, frozen=True):
    """Where a partition was when the backup was begun."""

    partition: int
    head: int
    link: str  # of the last commit, in hexadecimal; empty without any
    epoch: int
    published: int
    archives: tuple[Archive, ...] = ()


class Header(msgspec.Struct, frozen=True, tag="header"):
    """The first line."""

    format: str
    version: int
    made_at: datetime
    made_by: str
    partitions: tuple[PartHeader, ...]


class Row(msgspec.Struct, frozen=True, array_like=True):
    """An event; its state is text where it can be, else bytes."""

    stream: UUID
    version: int
    topic: str
    text: str = ""
    raw: bytes | None = None

    @classmethod
    def of(cls, row: StoredRow) -> Row:
        """Return an event as it stands in a file."""
        try:
            return cls(row.stream, row.version, row.topic, row.state.decode())
        except UnicodeDecodeError:
            return cls(row.stream, row.version, row.topic, raw=row.state)

    def stored(self) -> StoredRow:
        """Return the event as it stands in a store."""
        state = self.text.encode() if self.raw is None else self.raw
        return StoredRow(self.stream, self.version, self.topic, state)


class BlobLine(msgspec.Struct, frozen=True, tag="blob"):
    """A blob that the next commit of the partition needs."""

    partition: int
    name: str
    data: bytes


class CommitLine(msgspec.Struct, frozen=True, tag="commit"):
    """A commit, or the next piece of one: all but the last have no link."""

    partition: int
    first: int
    rows: tuple[Row, ...]
    link: str | None = None


class End(msgspec.Struct, frozen=True, tag="end"):
    """The last line: what all lines before it hold, and their SHA-256."""

    commits: int
    events: int
    blobs: int
    sha256: str


Line = Header | BlobLine | CommitLine | End


def commit_lines(partition: int, commit: StoredCommit) -> Iterator[CommitLine]:
    """Yield the lines that a commit takes."""
    rows: list[Row] = []
    size, first = 0, commit.first
    for row in commit.rows:
        if size > PIECE_BYTES:
            yield CommitLine(partition, first, tuple(rows))
            first, size, rows = first + len(rows), 0, []
        rows.append(Row.of(row))
        size += len(row.state)
    yield CommitLine(partition, first, tuple(rows), commit.link.hex())


def whole_commit(pieces: Sequence[CommitLine]) -> StoredCommit:
    """Return the commit that lines tell; raises `ValueError` if its link is no hash."""
    rows = tuple(row.stored() for piece in pieces for row in piece.rows)
    made = bytes.fromhex(pieces[-1].link or "")
    if len(made) != 32:
        raise ValueError("a link has 64 hexadecimal digits")
    return StoredCommit(pieces[0].first, rows, made)
