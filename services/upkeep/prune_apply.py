"""Removes from a store what an archive has. Doing it again goes on where it ended before."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
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
from warrener.services.upkeep.archive_format import ArchiveReader, BlobLine, EventLine, TreeHeader
from warrener.services.upkeep.commits import Part, Progress, each_commit
from warrener.services.upkeep.zstd_lines import reading

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
    blobs: dict[int, dict[str, int]] = {}  # by partition: names, and a tree that has each
    with reading(path) as file:
        reader = ArchiveReader(path, file)
        places = reader.trees()
        for number, at in enumerate(places, start=1):
            header = _header(reader, at)
            part = parts[header.partition]
            if _prune_tree(reader, at, header, part):
                _forget(views, header.jobs)
                names = (line.name for line in reader.tree(at) if isinstance(line, BlobLine))
                blobs.setdefault(header.partition, {}).update(dict.fromkeys(names, at))
                done.trees, done.jobs = done.trees + 1, done.jobs + len(header.jobs)
                done.events += header.events
            else:
                done.left += 1
            if on_progress is not None:
                on_progress(number, len(places))
        done.blobs = sum(_sweep(reader, parts[each], names) for each, names in blobs.items())
    return done


def _header(reader: ArchiveReader, at: int) -> TreeHeader:
    header = next(reader.tree(at))
    assert isinstance(header, TreeHeader)  # the reader sees to it
    return header


def _prune_tree(reader: ArchiveReader, at: int, header: TreeHeader, part: Part) -> bool:
    """Replace the events of a tree; say whether they are replaced now.

    The last event of each job goes first: from then on, whoever is asked to begin the job anew sees
    that it is pruned. Where others can write meanwhile, one that was faster is told by a new event:
    then everything is put back.
    """
    try:
        with part.alone():
            lasts = _last_events(reader, at, header, part)
            _replace(reader, part, header.root, lasts)
            try:
                for lines in _chunks(_events(reader, at), EVENTS_AT_ONCE):
                    _replace(reader, part, header.root, lines)
                _check_lasts(part, lasts)
            except _Changed:
                _put_back(reader, at, part)
                raise
    except _Changed:
        return False
    return True


def _events(reader: ArchiveReader, at: int) -> Iterator[EventLine]:
    return (line for line in reader.tree(at) if isinstance(line, EventLine))


def _last_events(reader: ArchiveReader, at: int, header: TreeHeader, part: Part) -> list[EventLine]:
    """Return the last event of each job, if nothing has come after them.

    Whatever happens to a tree is told by the stream of one of its jobs first.
    """
    jobs = set(header.jobs)
    lasts = {line.row.stream: line for line in _events(reader, at) if line.row.stream in jobs}
    _check_lasts(part, lasts.values())
    return list(lasts.values())


def _check_lasts(part: Part, lasts: Iterable[EventLine]) -> None:
    for line in lasts:
        last = part.log.last(line.row.stream)
        if last is None or last.originator_version != line.row.version:
            raise _Changed


def _replace(reader: ArchiveReader, part: Part, root: UUID, lines: Sequence[EventLine]) -> None:
    rows = _replacements(part, lines, root, reader.header.id)
    if rows:
        part.commits.replace_rows(rows)


def _put_back(reader: ArchiveReader, at: int, part: Part) -> None:
    """Put the events of a tree back that were replaced by others from this archive."""
    for lines in _chunks(_events(reader, at), EVENTS_AT_ONCE):
        stored = dict(_stored(part, lines))
        rows = {
            line.position: line.stored()
            for line in lines
            if line.position in stored
            and _is_replaced(stored[line.position], line.stored(), reader.header.id)
        }
        if rows:
            part.commits.replace_rows(rows)


def _replacements(
    part: Part, lines: Sequence[EventLine], root: UUID, archive: str
) -> dict[int, StoredRow]:
    """Return what comes in the place of events, of those that were not replaced before."""
    found, rows = dict(_stored(part, lines)), {}
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


def _sweep(reader: ArchiveReader, part: Part, names: Mapping[str, int]) -> int:
    """Delete those blobs that no event needs any more; return how many.

    What is needed by then, because others could write meanwhile after all, is put back.
    """
    unneeded = set(names)
    head = part.log.head()
    _keep_needed(part, unneeded, 0, head)  # most of the log, while others may write
    with part.alone():
        _keep_needed(part, unneeded, head, part.log.head())
        gone = {name for name in unneeded if _is_there(part, name)}
        part.commits.delete_blobs(gone)
    still = set(gone)
    _keep_needed(part, still, head, part.log.head())
    for name in gone - still:
        lines = (line for line in reader.tree(names[name]) if isinstance(line, BlobLine))
        part.commits.insert_blobs({line.name: line.data for line in lines if line.name == name})
    return len(still)


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
