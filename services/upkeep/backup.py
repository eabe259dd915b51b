"""Copies a store into one file while it is in use."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import msgspec

from warrener.domain.errors import StoredDataError, UsageError
from warrener.domain.stored import StoredCommit
from warrener.services.upkeep.backup_format import (
    FORMAT,
    VERSION,
    BlobLine,
    End,
    Header,
    PartHeader,
    commit_lines,
)
from warrener.services.upkeep.commits import Part, Progress, each_commit, last_commit
from warrener.services.upkeep.zstd_lines import LineWriter, written_whole


class BackedUp(msgspec.Struct, frozen=True):
    """What a backup holds; `bytes` is the size of its file."""

    file: str
    partitions: int
    commits: int
    events: int
    blobs: int
    bytes: int
    sha256: str


def backup(
    parts: Sequence[Part],
    path: Path,
    now: datetime,
    made_by: str,
    *,
    replace: bool = False,
    on_progress: Progress | None = None,
) -> BackedUp:
    """Write everything up to the present heads into a file; raises `UsageError` if it is there.

    Heads come first: what is committed meanwhile is left out, and nothing before them changes.
    """
    headers = tuple(map(_header, parts))
    header = Header(FORMAT, VERSION, now, made_by, headers)
    with written_whole(path, replace=replace) as file:
        writer = LineWriter(file)
        writer.write(header)
        work = _Work(writer, sum(each.head for each in headers), on_progress)
        for part, until in zip(parts, headers, strict=True):
            work.part(part, until.head)
        end = End(work.commits, work.events, work.blobs, writer.sha256())
        writer.write(end)
        writer.close()
    size, count = path.stat().st_size, len(parts)
    return BackedUp(str(path), count, end.commits, end.events, end.blobs, size, end.sha256)


def _header(part: Part) -> PartHeader:
    epoch = part.commits.select_epoch()
    if epoch < 0:
        raise UsageError(
            "the store was not restored to the end: run warrener store restore again first"
        )
    last, archives = last_commit(part), tuple(part.commits.select_archives())
    if last is None:
        return PartHeader(part.partition, 0, "", epoch, 0, archives)
    published = min(part.log.published(), last.last)
    return PartHeader(part.partition, last.last, last.link.hex(), epoch, published, archives)


class _Work:
    """Writes the commits of one partition after the other."""

    def __init__(self, writer: LineWriter, total: int, on_progress: Progress | None) -> None:
        self._writer = writer
        self._total = total
        self._on_progress = on_progress
        self.commits = self.events = self.blobs = 0

    def part(self, part: Part, head: int) -> None:
        """Write the commits of a partition up to a position, each after its blobs."""
        written: set[bytes] = set()
        for found in each_commit(part.commits, 0, head):
            commit, blobs = _with_blobs(part, found, written)
            for name, data in blobs.items():
                self._writer.write(BlobLine(part.partition, name, data))
                written.add(bytes.fromhex(name))
            for line in commit_lines(part.partition, commit):
                self._writer.write(line)
            self.commits += 1
            self.events += len(commit.rows)
            self.blobs += len(blobs)
            if self._on_progress is not None:
                self._on_progress(self.events, self._total)


def _with_blobs(
    part: Part, commit: StoredCommit, written: set[bytes]
) -> tuple[StoredCommit, dict[str, bytes]]:
    """Return a commit with the blobs that it needs and that were not written yet.

    One whose events were pruned since it was read is read again: they need no blobs then.
    """
    try:
        return commit, _blobs(part, commit, written)
    except StoredDataError:
        (again,) = part.commits.select_commits(commit.first - 1, 1)
        if again == commit:
            raise
        return again, _blobs(part, again, written)


def _blobs(part: Part, commit: StoredCommit, written: set[bytes]) -> dict[str, bytes]:
    names = {name: None for row in commit.rows for name in part.blobs_of(row)}
    return {name: part.log.blob(name) for name in names if bytes.fromhex(name) not in written}
