"""Reads a backup and checks everything that it says of itself. Nothing in it is trusted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final
from uuid import UUID

import msgspec

from warrener.domain.errors import StoredDataError, UsageError
from warrener.domain.events import roots_of
from warrener.domain.ids import content_hash
from warrener.domain.partitions import PARTITIONS_MAX
from warrener.domain.payloads import PAYLOAD_BYTES_MAX
from warrener.domain.stored import NO_LINK, StoredCommit, link
from warrener.services.upkeep.backup_format import (
    COMMIT_BYTES_MAX,
    FORMAT,
    VERSION,
    BlobLine,
    CommitLine,
    End,
    Header,
    Line,
    PartHeader,
    whole_commit,
)
from warrener.services.upkeep.commits import Part
from warrener.services.upkeep.zstd_lines import LineReader, decoded, reading

BLOBS_PENDING_MAX: Final = 10_000  # of one commit
_LINES: Final = msgspec.json.Decoder(Line)


class CheckedCommit(msgspec.Struct, frozen=True):
    """A commit with the blobs that it is the first to need, and the jobs it opens and ends."""

    partition: int
    commit: StoredCommit
    blobs: dict[str, bytes]
    opened: tuple[UUID, ...]
    ended: tuple[UUID, ...]


def partitions_of(path: Path) -> int:
    """Return how many partitions a backup has, by its header alone."""
    with reading(path) as file:
        line = next(LineReader(path, file).lines(), b"")
    return len(_header(path, line).partitions)


def _header(path: Path, line: bytes) -> Header:
    header: Line = decoded(path, line, _LINES)
    if not isinstance(header, Header) or header.format != FORMAT:
        raise _wrong(path, "it is no backup of a Warrener store")
    if header.version != VERSION:
        raise _wrong(
            path,
            f"its format has version {header.version}, known here is {VERSION}: use the"
            " version of Warrener that made it, or a newer one",
        )
    count = len(header.partitions)
    numbers = [part.partition for part in header.partitions]
    if numbers != list(range(count)) or not 0 < count <= PARTITIONS_MAX:
        raise _wrong(path, "its header does not name every partition once")
    return header


def _wrong(path: Path, what: str) -> UsageError:
    return UsageError(f"{path} cannot be restored: {what}")


class BackupReader:
    """Yields the commits of a backup; `header` is known with the first, `end` after the last.

    Every error is a `UsageError` that says what is wrong with the file.
    """

    header: Header
    end: End

    def __init__(self, path: Path, parts: Sequence[Part]) -> None:
        """Take the file, and the partitions that it is for, whose events it must hold."""
        self._path = path
        self._parts = parts
        self._checks: list[_Part] = []
        self.progress = (0, 0)  # bytes of the file that were read, and all of them

    def commits(self) -> Iterator[CheckedCommit]:
        """Read the file from its beginning to its end."""
        with reading(self._path) as file:
            reader = LineReader(self._path, file)
            lines = reader.lines()
            self._begin(_header(self._path, next(lines, b"")))
            for line in lines:
                told = self._line(line)
                self.progress = (reader.done, reader.size)
                if isinstance(told, End):
                    self._finish(told, reader.sha256())
                    if next(lines, None) is not None:
                        raise self._wrong("something follows after its end")
                    return
                yield from self._take(told)
        raise self._wrong("it was cut off: its end is missing")

    def published(self) -> list[int]:
        """Return, by partition, up to where everything was sent and is not to be sent again."""
        return [check.published() for check in self._checks]

    def _line(self, line: bytes) -> Line:
        found: Line = decoded(self._path, line, _LINES)
        return found

    def _begin(self, header: Header) -> None:
        count = len(header.partitions)
        if count != len(self._parts):
            raise self._wrong(
                f"it has {count} partitions and the store {len(self._parts)}: restore into a"
                f" store that was made with --partitions {count}"
            )
        self.header = header
        pairs = zip(self._parts, header.partitions, strict=True)
        self._checks = [_Part(part, wanted) for part, wanted in pairs]

    def _take(self, line: Line) -> Iterator[CheckedCommit]:
        if not isinstance(line, BlobLine | CommitLine) or line.partition >= len(self._checks):
            raise self._wrong("a line is out of place")
        check = self._checks[line.partition]
        try:
            found = None
            if isinstance(line, BlobLine):
                check.blob(line)
            else:
                found = check.commit(line)
        except (StoredDataError, msgspec.MsgspecError, ValueError) as error:
            raise self._wrong(str(error)) from error
        if found is not None:
            yield found

    def _finish(self, end: End, sha256: str) -> None:
        if end.sha256 != sha256:
            raise self._wrong("its content is not what was written: its SHA-256 is another")
        for check in self._checks:
            if not check.is_whole():
                raise self._wrong(f"partition {check.wanted.partition} is not whole")
        self.end = end

    def _wrong(self, what: str) -> UsageError:
        return _wrong(self._path, what)


class _Part:
    """What was read of one partition. Raises `ValueError` or `StoredDataError` on what is wrong."""

    def __init__(self, part: Part, wanted: PartHeader) -> None:
        self.wanted = wanted
        self._part = part
        self._last, self._link = 0, NO_LINK
        self._pieces: list[CommitLine] = []
        self._bytes = 0  # of the pieces
        self._fresh: dict[str, bytes] = {}  # blobs that the next commit is to need
        self._known: set[bytes] = set()  # names of all blobs so far
        self._open: dict[UUID, int] = {}  # where each open job was opened

    def is_whole(self) -> bool:
        """Say whether the partition ends where and as its header says."""
        made = "" if not self._last else self._link.hex()
        whole = not self._pieces and not self._fresh
        return whole and (self._last, made) == (self.wanted.head, self.wanted.link)

    def published(self) -> int:
        """Return a place before everything that an open job has asked for."""
        firsts = (first - 1 for first in self._open.values())
        return min([max(0, min(self.wanted.published, self._last)), *firsts])

    def blob(self, line: BlobLine) -> None:
        """Take a blob."""
        if content_hash(line.data) != line.name or len(line.data) > PAYLOAD_BYTES_MAX:
            raise ValueError(f"blob {line.name[:100]} has other content than its name says")
        if self._pieces or len(self._fresh) >= BLOBS_PENDING_MAX:
            raise ValueError("blobs are out of place")
        self._fresh[line.name] = line.data

    def commit(self, line: CommitLine) -> CheckedCommit | None:
        """Take a commit or a piece of it; return it once it is whole."""
        expected = self._last + 1 + sum(len(piece.rows) for piece in self._pieces)
        if line.first != expected or not line.rows:
            raise ValueError(f"the events at position {expected} are missing")
        self._pieces.append(line)
        self._bytes += sum(len(row.text) + len(row.raw or b"") for row in line.rows)
        if self._bytes > COMMIT_BYTES_MAX:
            raise ValueError(f"a commit is larger than {COMMIT_BYTES_MAX} bytes")
        if line.link is None:
            return None
        found = self._checked(whole_commit(self._pieces))
        self._pieces, self._bytes, self._fresh = [], 0, {}
        return found

    def _checked(self, commit: StoredCommit) -> CheckedCommit:
        if link(self._link, commit.first, commit.rows) != commit.link:
            raise ValueError(f"the chain of hashes does not hold at position {commit.first}")
        recorded = [self._part.decode(row) for row in commit.rows]
        needed = {name for row in commit.rows for name in self._part.blobs_of(row)}
        self._known.update(bytes.fromhex(name) for name in self._fresh)
        missing = [name for name in needed if bytes.fromhex(name) not in self._known]
        if missing or not self._fresh.keys() <= needed:
            raise ValueError(f"the blobs at position {commit.first} are not those that it needs")
        opened, ended = roots_of(recorded)
        self._open.update({job: commit.first for job in opened if job not in self._open})
        for job in ended:
            self._open.pop(job, None)
        self._last, self._link = commit.last, commit.link
        return CheckedCommit(
            self.wanted.partition, commit, self._fresh, tuple(opened), tuple(ended)
        )
