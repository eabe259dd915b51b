"""Checks a store: its positions, versions, chain of hashes, events and blobs.

Memory is bounded: of each partition one page of commits is held, and the last versions of the
streams that were written last; those of others are asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final
from uuid import UUID

import msgspec

from warrener.domain.errors import StoredDataError
from warrener.domain.ids import content_hash
from warrener.domain.stored import NO_LINK, StoredCommit, StoredRow, link
from warrener.services.upkeep.commits import Part, Progress, each_commit

STREAMS_KEPT_MAX: Final = 100_000
BLOBS_KEPT_MAX: Final = 10_000  # names of blobs that were looked at last

_RESTORE: Final = "restore a backup that was made before, into a new store"
_CHANGED: Final = f"somebody or something changed the store beside Warrener: {_RESTORE}"


class Damage(msgspec.Struct, frozen=True):
    """One thing that is wrong, and what to do about it."""

    partition: int
    position: int
    what: str
    advice: str = _CHANGED


class Checked(msgspec.Struct, frozen=True):
    """What was looked at in a partition; `link` is that of the last commit, in hexadecimal."""

    partition: int
    first: int
    last: int
    commits: int
    blobs: int
    link: str
    damages: int


class Expected(msgspec.Struct, frozen=True):
    """The link that the commit ending at a position had when somebody kept it."""

    partition: int
    position: int
    link: bytes


def verify_part(
    part: Part,
    on_damage: Callable[[Damage], None],
    *,
    start: int = 1,
    expected: Mapping[int, bytes] | None = None,
    on_progress: Progress | None = None,
) -> Checked:
    """Check a partition from a position on; `expected` are links by position.

    What is written meanwhile is left to the next check.
    """
    check = _Check(part, on_damage, dict(expected or {}))
    head = part.log.head()
    check.begin(start)
    for commit in each_commit(part.commits, check.last, head):
        check.commit(commit)
        if on_progress is not None:
            on_progress(min(commit.last, head), head)
    check.end(head)
    return Checked(
        partition=part.partition,
        first=check.start,
        last=check.last,
        commits=check.commits,
        blobs=check.blobs.count,
        link=check.link.hex(),
        damages=check.damages,
    )


class _Check:
    """Follows the commits of a partition."""

    def __init__(
        self, part: Part, on_damage: Callable[[Damage], None], expected: dict[int, bytes]
    ) -> None:
        self.part = part
        self.on_damage = on_damage
        self.expected = expected
        self.versions = _Versions(part)
        self.blobs = _Blobs(part)
        self.start, self.last, self.link = 1, 0, NO_LINK
        self.anchored = True  # the link before the next commit is known
        self.commits = self.damages = 0

    def begin(self, start: int) -> None:
        """Find the first commit that begins at or after a position; the one before is trusted."""
        if start <= 1:
            return
        page = self.part.commits.select_commits(start - 1, 1)
        self.last = page[0].first - 1 if page else self.part.log.head()
        self.start, self.anchored = self.last + 1, False

    def commit(self, commit: StoredCommit) -> None:
        """Check one commit."""
        self.commits += 1
        if commit.first != self.last + 1:
            self.tell(self.last + 1, f"events are missing before position {commit.first}")
        if not commit.rows:
            self.tell(commit.first, "a commit has no events any more")
        if self.anchored and _link(self.link, commit) != commit.link:
            what = f"the events to position {commit.last} are not those that were committed here"
            self.tell(commit.first, what)
        self.link, self.anchored = commit.link, True
        for position, row in enumerate(commit.rows, start=commit.first):
            for what in self._wrong_with(position, row):
                self.tell(position, what)
        self.last = max(self.last, commit.last)
        self._compare(commit)

    def end(self, head: int) -> None:
        """Check what is left when the last commit was seen."""
        if self.last < head:
            self.tell(self.last + 1, f"the events to position {head} belong to no commit")
        published = self.part.log.published()
        if published > head:
            what = f"what follows from position {published} was sent, but the log ends at {head}"
            self.tell(head, f"{what}: its end is missing")
        for position in sorted(self.expected):
            self.tell(position, "no commit ends at this position, though its link was kept")

    def tell(self, position: int, what: str) -> None:
        """Report a damage."""
        self.damages += 1
        self.on_damage(Damage(self.part.partition, position, what))

    def _compare(self, commit: StoredCommit) -> None:
        kept = self.expected.pop(commit.last, None)
        if kept is not None and kept != commit.link:
            what = "the link of the commit that ends here is another than the one that was kept"
            self.tell(commit.last, f"{what}: something at or before this position was changed")

    def _wrong_with(self, position: int, row: StoredRow) -> Iterator[str]:
        yield from self.versions.wrong_with(position, row)
        try:
            self.part.decode(row)
        except StoredDataError as error:
            yield str(error)
        for name in self.part.blobs_of(row):
            yield from self.blobs.wrong_with(name)


def _link(before: bytes, commit: StoredCommit) -> bytes | None:
    """Return the link that a commit must have; None if an event in it cannot tell its digest."""
    try:
        return link(before, commit.first, commit.rows)
    except (msgspec.MsgspecError, ValueError):
        return None


class _Versions:
    """The last version of each stream, of a bounded number of them."""

    def __init__(self, part: Part) -> None:
        self._log = part.log
        self._last: dict[UUID, int] = {}  # the one that was written last comes last

    def wrong_with(self, position: int, row: StoredRow) -> Iterator[str]:
        """Say whether an event is not the next one of its stream."""
        known = self._last.pop(row.stream, None)
        stream, version = row.stream, row.version
        named = f"event {version} of stream {stream}"
        if known is not None and version != known + 1:
            twice = version <= known
            yield f"{named} is there twice" if twice else f"{named} follows event {known}"
        elif known is None and not self._follows(position, row):
            yield f"{named} is there twice, or the one before is missing"
        self._last[stream] = version
        if len(self._last) > STREAMS_KEPT_MAX:
            self._forget()

    def _follows(self, position: int, row: StoredRow) -> bool:
        if self._log.position(row.stream, row.version) != position:
            return False
        if row.version == 1:
            return True
        before = self._log.position(row.stream, row.version - 1)
        return before is not None and before < position

    def _forget(self) -> None:
        for stream in list(self._last)[: STREAMS_KEPT_MAX // 2]:
            del self._last[stream]


class _Blobs:
    """The blobs that were looked at."""

    def __init__(self, part: Part) -> None:
        self._log = part.log
        self._seen: set[str] = set()
        self.count = 0

    def wrong_with(self, name: str) -> Iterator[str]:
        """Say whether a blob is not what its name says."""
        if name in self._seen:
            return
        if len(self._seen) >= BLOBS_KEPT_MAX:
            self._seen.clear()
        self._seen.add(name)
        self.count += 1
        try:
            data = self._log.blob(name)
        except StoredDataError:
            yield f"blob {name}, which this event needs, is missing"
            return
        if content_hash(data) != name:
            yield f"blob {name}, which this event needs, has other content than its name says"
