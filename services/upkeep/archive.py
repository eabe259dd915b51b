"""Writes trees of jobs into an archive."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from warrener.domain.errors import Conflict
from warrener.services.upkeep.archive_format import (
    ArchiveHeader,
    ArchiveWriter,
    BlobLine,
    EventLine,
    TreeEnd,
    TreeHeader,
)
from warrener.services.upkeep.backup_format import Row
from warrener.services.upkeep.commits import Part, Progress
from warrener.services.upkeep.prune_select import Tree
from warrener.services.upkeep.zstd_lines import written_whole


def write_archive(
    path: Path,
    header: ArchiveHeader,
    trees: Mapping[int, Sequence[Tree]],
    parts: Sequence[Part],
    on_progress: Progress | None = None,
) -> None:
    """Write trees, by partition, into a file that is on disk when this returns."""
    total = sum(len(tree.positions) for each in trees.values() for tree in each)
    done = 0
    with written_whole(path) as file:
        writer = ArchiveWriter(file, header)
        for part in parts:
            for tree in trees.get(part.partition, ()):
                _write_tree(writer, part, tree)
                done += len(tree.positions)
                if on_progress is not None:
                    on_progress(done, total)
        writer.close()


def _write_tree(writer: ArchiveWriter, part: Part, tree: Tree) -> None:
    count = len(tree.positions)
    jobs = tuple(tree.jobs)
    writer.begin(TreeHeader(tree.root, part.partition, tree.name, tree.ended_at, jobs, count))
    names: dict[str, None] = {}
    for line in _events(part, tree):
        writer.write(line)
        names.update(dict.fromkeys(part.blobs_of(line.stored())))
    for name in names:
        writer.write(BlobLine(name, part.log.blob(name)))
    writer.end(TreeEnd(count, len(names)))


def _events(part: Part, tree: Tree) -> Iterator[EventLine]:
    wanted = set(tree.positions)
    for first in tree.commits:
        found = part.commits.select_commits(first - 1, 1)
        if not found or found[0].first != first:
            raise Conflict(f"the commit at position {first} is not there any more")
        for position, row in enumerate(found[0].rows, start=first):
            if position in wanted:
                yield EventLine(position, first, Row.of(row))
