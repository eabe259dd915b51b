"""Prunes a store: trees of jobs that ended long ago go into an archive, and leave the log.

The order bears a kill at any point: the archive is on disk before anything is removed, the store
knows of it before the first event goes, and a prune that was not ended is ended by the next one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path

import msgspec

from warrener.domain.errors import UsageError
from warrener.domain.partitions import Logs
from warrener.domain.stored import Archive
from warrener.projections.ports import ViewStore
from warrener.services.projector import catch_up_all
from warrener.services.upkeep.archive import write_archive
from warrener.services.upkeep.archive_format import FORMAT, VERSION, ArchiveHeader
from warrener.services.upkeep.commits import Part, Progress, parts_of
from warrener.services.upkeep.prune_apply import Applied, apply_archive
from warrener.services.upkeep.prune_select import TREES_AT_ONCE_MAX, Tree, select_trees

Work = Callable[[str, str], AbstractContextManager[Progress]]  # unit, what is done


class Wish(msgspec.Struct, frozen=True):
    """What is to be pruned: trees that ended before a time; `archive` is the id of the archive."""

    before: datetime
    folder: Path
    archive: str
    now: datetime
    made_by: str
    keep_failed: bool = False

    @property
    def file(self) -> Path:
        """Return where the archive is written."""
        return self.folder / f"warrener-{self.archive}.zst"


class Found(msgspec.Struct, frozen=True):
    """What may be pruned; `more` says that this is not all, so that it is to be run again."""

    trees: int
    jobs: int
    events: int
    more: bool


class Pruned(msgspec.Struct, frozen=True):
    """What was pruned; `file` is the archive, None if there was nothing; `left` had changed."""

    file: str | None
    trees: int
    jobs: int
    events: int
    blobs: int
    left: int
    more: bool
    completed: tuple[str, ...]  # archives of earlier prunes that had been interrupted


def look(logs: Logs, wish: Wish, work: Work) -> Found:
    """Return what would be pruned, and change nothing."""
    return _summed(_select(parts_of(logs), wish, work))


def prune(logs: Logs, views: ViewStore, wish: Wish, work: Work) -> Pruned:
    """End what an earlier prune has begun; then archive and remove what is asked for.

    Raises `UsageError` if an archive cannot be written, or one that is still needed is gone.
    """
    catch_up_all(logs, views)  # what comes later would bring documents of pruned jobs back
    parts = parts_of(logs)
    completed = _complete(parts, views, work)
    trees = _select(parts, wish, work)
    found = _summed(trees)
    applied = Applied()
    if found.trees:
        applied = _archive(parts, views, wish, trees, work)
    return Pruned(
        file=str(wish.file) if found.trees else None,
        trees=applied.trees,
        jobs=applied.jobs,
        events=applied.events,
        blobs=applied.blobs,
        left=applied.left,
        more=found.more,
        completed=completed,
    )


def _select(parts: Sequence[Part], wish: Wish, work: Work) -> dict[int, list[Tree]]:
    found = {}
    for part in parts:
        with work("events", f"looking for jobs in partition {part.partition}") as report:
            found[part.partition] = select_trees(
                part, wish.before, keep_failed=wish.keep_failed, on_progress=report
            )
    return found


def _summed(trees: dict[int, list[Tree]]) -> Found:
    every = [tree for each in trees.values() for tree in each]
    return Found(
        trees=len(every),
        jobs=sum(len(tree.jobs) for tree in every),
        events=sum(len(tree.positions) for tree in every),
        more=any(len(each) >= TREES_AT_ONCE_MAX for each in trees.values()),
    )


def _archive(
    parts: Sequence[Part], views: ViewStore, wish: Wish, trees: dict[int, list[Tree]], work: Work
) -> Applied:
    header = ArchiveHeader(FORMAT, VERSION, wish.archive, wish.now, wish.made_by)
    with work("events", "writing the archive") as report:
        write_archive(wish.file, header, trees, parts, report)
    archive = Archive(wish.archive, str(wish.file.resolve()), wish.now)
    touched = [part for part in parts if trees[part.partition]]
    for part in touched:
        part.commits.put_archive(archive)
    return _apply(archive, parts, touched, views, work)


def _apply(
    archive: Archive, parts: Sequence[Part], touched: Sequence[Part], views: ViewStore, work: Work
) -> Applied:
    with work("trees", "removing what is archived") as report:
        applied = apply_archive(Path(archive.file), parts, views, report)
    for part in touched:
        part.commits.put_archive(msgspec.structs.replace(archive, done=True))
    return applied


def _complete(parts: Sequence[Part], views: ViewStore, work: Work) -> tuple[str, ...]:
    """End the prunes that were interrupted; return their archives."""
    open_ones: dict[str, Archive] = {}
    for part in parts:
        found = [archive for archive in part.commits.select_archives() if not archive.done]
        open_ones.update({archive.id: archive for archive in found})
    for archive in open_ones.values():
        if not Path(archive.file).exists():
            raise UsageError(
                f"a prune was interrupted, and its archive {archive.file} is gone: put it back"
                " there, then run this again"
            )
        touched = [
            part
            for part in parts
            if any(each.id == archive.id for each in part.commits.select_archives())
        ]
        _apply(archive, parts, touched, views, work)
    return tuple(archive.file for archive in open_ones.values())
