"""Removes from a store what an archive has. Doing it again goes on where it ended before."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Final, TypeVar
from uuid import UUID

import msgspec

from warrener.domain.errors import StoredDataError
from warrener.domain.events import EventPruned
from warrener.domain.references import maybe_blobs
from warrener.domain.stored import PRUNED_TOPIC, StoredRow, digest
from warrener.projections.ports import ViewStore
from warrener.services.archive_format import ArchiveReader, BlobLine, EventLine, TreeHeader
from warrener.services.commits import Part, Progress, each_commit
from warrener.services.zstd_lines import reading

T = TypeVar("T")
EVENTS_AT_ONCE: Final = 1_000
JOBS_AT_ONCE: Final = 200
_PRUNED: Final = msgspec.json.Decoder(EventPruned)


class Applied(msgspec.Struct):
    """What was removed; `left` are trees that had changed since they were archived."""

    trees: int = 0
    jobs: int = 0
    events: int = 0
    blobs: int = 0
    left: int = 0


class _Changed(Exception):
    """A tree is not what the archive has."""


def apply_archive(
    path: Path,
    parts: Sequence[Part],
    views: ViewStore | None,
    on_progress: Progress | None = None,
) -> Applied:
    """Put `EventPruned` in the place of all events in an archive; forget their blobs and documents.

    Each tree is pruned at once, while nobody else writes its log; one that has changed stays.
    """
    done = Applied()
    blobs: dict[int, set[str]] = {}
    with reading(path) as file:
        reader = ArchiveReader(path, file)
        places = reader.trees()
        for number, at in enumerate(places, start=1):
            header = _header(reader, at)
            part = parts[header.partition]
            if _prune_tree(reader, at, header, part):
                _forget(views, header.jobs)
                names = (line.name for line in reader.tree(at) if isinstance(line, BlobLine))
                blobs.setdefault(header.partition, set()).update(names)
                done.trees, done.jobs = done.trees + 1, done.jobs + len(header.jobs)
                done.events += header.events
            else:
                done.left += 1
            if on_progress is not None:
                on_progress(number, len(places))
    done.blobs = sum(_sweep(parts[number], names) for number, names in blobs.items())
    return done


def _header(reader: ArchiveReader, at: int) -> TreeHeader:
    header = next(reader.tree(at))
    assert isinstance(header, TreeHeader)  # the reader sees to it
    return header


def _prune_tree(reader: ArchiveReader, at: int, header: TreeHeader, part: Part) -> bool:
    """Replace the events of a tree; say whether they are replaced now."""
    try:
        with part.alone():
            _check_unchanged(reader, at, header, part)
            for lines in _chunks(_events(reader, at), EVENTS_AT_ONCE):
                rows = _replacements(part, lines, header.root, reader.header.id)
                if rows:
                    part.commits.replace_rows(rows)
    except _Changed:
        return False
    return True


def _events(reader: ArchiveReader, at: int) -> Iterator[EventLine]:
    return (line for line in reader.tree(at) if isinstance(line, EventLine))


def _check_unchanged(reader: ArchiveReader, at: int, header: TreeHeader, part: Part) -> None:
    """Whatever happens to a tree is told by the stream of one of its jobs first."""
    versions = dict.fromkeys(header.jobs, 0)
    for line in _events(reader, at):
        if line.row.stream in versions:
            versions[line.row.stream] = line.row.version
    for job, version in versions.items():
        last = part.log.last(job)
        if last is None or last.originator_version != version:
            raise _Changed


def _replacements(
    part: Part, lines: Sequence[EventLine], root: UUID, archive: str
) -> dict[int, StoredRow]:
    """Return what comes in the place of events, of those that were not replaced before."""
    found = {}
    for position, row in _stored(part, lines):
        found[position] = row
    rows = {}
    for line in lines:
        archived, stored = line.stored(), found.get(line.position)
        if stored == archived:
            rows[line.position] = _pruned(part, archived, root, archive)
        elif stored is None or not _is_replaced(stored, archived, archive):
            raise _Changed
    return rows


def _stored(part: Part, lines: Sequence[EventLine]) -> Iterator[tuple[int, StoredRow]]:
    for first in dict.fromkeys(line.commit for line in lines):
        for commit in part.commits.select_commits(first - 1, 1):
            yield from enumerate(commit.rows, start=commit.first)


def _pruned(part: Part, row: StoredRow, root: UUID, archive: str) -> StoredRow:
    event = part.decode(row).event
    pruned = EventPruned(
        at=event.at,
        cause=event.cause,
        topic=row.topic,
        digest=digest(row).hex(),
        job=root,
        archive=archive,
    )
    return StoredRow(row.stream, row.version, PRUNED_TOPIC, msgspec.json.encode(pruned))


def _is_replaced(stored: StoredRow, archived: StoredRow, archive: str) -> bool:
    if stored.topic != PRUNED_TOPIC:
        return False
    try:
        pruned = _PRUNED.decode(stored.state)
    except msgspec.MsgspecError as error:
        raise StoredDataError(f"a pruned event of {stored.stream} cannot be read") from error
    return (pruned.archive, pruned.digest) == (archive, digest(archived).hex())


def _forget(views: ViewStore | None, jobs: Sequence[UUID]) -> None:
    if views is not None:
        for some in _chunks(iter(jobs), JOBS_AT_ONCE):
            views.forget_jobs(some)


def _sweep(part: Part, names: set[str]) -> int:
    """Delete those blobs that no event needs any more; return how many."""
    left = set(names)
    head = part.log.head()
    _keep_needed(part, left, 0, head)  # most of the log, while others may write
    with part.alone():
        _keep_needed(part, left, head, part.log.head())
        there = [name for name in left if _is_there(part, name)]
        part.commits.delete_blobs(there)
    return len(there)


def _keep_needed(part: Part, names: set[str], after: int, until: int) -> None:
    for commit in each_commit(part.commits, after, until):
        if not names:
            return
        for row in commit.rows:
            names.difference_update(maybe_blobs(row.state))


def _is_there(part: Part, name: str) -> bool:
    try:
        part.log.blob(name)
    except StoredDataError:
        return False
    return True


def _chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk
