"""Fills an empty store from a backup.

The file is read twice: first to check all of it, so that nothing is written from one that is cut
off, damaged or made to harm; then to write. Until the end the store has an epoch below zero, by
which others leave it alone, and by which a restore that was killed is known when it is run again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec

from warrener.domain.errors import UsageError
from warrener.services.upkeep.backup_check import BackupReader, CheckedCommit
from warrener.services.upkeep.backup_format import Header
from warrener.services.upkeep.commits import Part, Progress, last_commit
from warrener.services.upkeep.epoch import while_restored

BYTES_WRITTEN_AT_ONCE: Final = 4 * 1024 * 1024
EVENT_BYTES: Final = 200  # what an event takes beside its state, more or less


class Restored(msgspec.Struct, frozen=True):
    """What was restored; `epoch` is how often this log was by now."""

    file: str
    partitions: int
    commits: int
    events: int
    blobs: int
    epoch: int
    resumed: bool


def restore(
    parts: Sequence[Part],
    path: Path,
    on_progress: Progress | None = None,
) -> Restored:
    """Write what a backup holds into a store that is empty, or that this began to fill before.

    Raises `UsageError` if the file is not whole, or if the store holds something else.
    """
    checked = BackupReader(path, parts)
    for _ in checked.commits():
        if on_progress is not None:
            on_progress(*_twice(checked, 0))
    epoch = 1 + max(each.epoch for each in checked.header.partitions)
    resumed = _prepare(parts, checked.header, epoch)
    _write(parts, BackupReader(path, parts), on_progress)
    _finish(parts, checked, epoch)
    end, count = checked.end, len(parts)
    return Restored(str(path), count, end.commits, end.events, end.blobs, epoch, resumed)


def _prepare(parts: Sequence[Part], header: Header, epoch: int) -> bool:
    """Mark the store; say whether it was marked before. Raises `UsageError` if it is in use."""
    mark = while_restored(epoch)
    epochs = [part.commits.select_epoch() for part in parts]
    begun = mark in epochs
    for part, found, wanted in zip(parts, epochs, header.partitions, strict=True):
        ended = begun and found == epoch and part.log.head() == wanted.head
        if found != mark and part.log.head() and not ended:
            raise UsageError(
                f"the store is not empty: partition {part.partition} has {part.log.head()} events;"
                " restore into a new one, such as --store sqlite:///restored.db"
            )
        if found < 0 and found != mark:
            raise UsageError(
                "another backup was being restored into this store: run that again, or take a"
                " new store"
            )
    for part in parts:
        part.commits.set_epoch(mark)
    return begun


def _write(parts: Sequence[Part], backup: BackupReader, on_progress: Progress | None) -> None:
    """Write the commits that are not there yet, some at once."""
    group: list[CheckedCommit] = []
    size = 0
    for checked in _fresh(parts, backup):
        if group and (group[0].partition != checked.partition or size > BYTES_WRITTEN_AT_ONCE):
            _write_group(parts[group[0].partition], group)
            group, size = [], 0
            if on_progress is not None:
                on_progress(*_twice(backup, 1))
        group.append(checked)
        size += sum(len(row.state) + EVENT_BYTES for row in checked.commit.rows)
        size += sum(map(len, checked.blobs.values()))
    if group:
        _write_group(parts[group[0].partition], group)


def _twice(backup: BackupReader, before: int) -> tuple[int, int]:
    """Return how much is read of a file that is read two times."""
    done, total = backup.progress
    return done + before * total, 2 * total


def _fresh(parts: Sequence[Part], backup: BackupReader) -> Iterator[CheckedCommit]:
    """Yield the commits that are not there yet; raises `UsageError` if others are."""
    lasts = {part.partition: last_commit(part) for part in parts}
    for checked in backup.commits():
        there, commit = lasts[checked.partition], checked.commit
        if there is None or commit.first > there.last:
            yield checked
        elif commit.last > there.last or (commit.last == there.last and commit.link != there.link):
            raise UsageError("the store holds something else than this backup: take a new store")


def _write_group(part: Part, group: Sequence[CheckedCommit]) -> None:
    with part.alone():
        for each in group:
            if each.blobs:
                part.commits.insert_blobs(each.blobs)
            part.commits.insert_commit(each.commit, opened=each.opened, ended=each.ended)


def _finish(parts: Sequence[Part], checked: BackupReader, epoch: int) -> None:
    """Set what belongs to the logs; with the epoch, at last, others may work on them."""
    for part, header, published in zip(
        parts, checked.header.partitions, checked.published(), strict=True
    ):
        for archive in header.archives:
            part.commits.put_archive(archive)
        part.commits.set_published(published)
    for part in parts:
        part.commits.set_epoch(epoch)
