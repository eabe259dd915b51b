"""The log of a partition in memory: a first-class adapter that keeps what the log promises."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from itertools import islice
from threading import RLock
from typing import cast
from uuid import UUID

from eventsourcing.persistence import IntegrityError, StoredEvent

from warrener.adapters.codec import EventMapper
from warrener.domain.errors import Conflict, StoredDataError
from warrener.domain.events import Recorded, roots_of
from warrener.domain.ports import Positioned
from warrener.domain.stored import (
    NO_LINK,
    Archive,
    Measured,
    StoredCommit,
    StoredRow,
    link,
)


class _Commits:
    """The part of the store that is `CommitStore`."""

    def __init__(self) -> None:
        self._lock = RLock()
        self._log: list[StoredEvent] = []
        self._streams: dict[UUID, list[int]] = {}  # places in the log, by version
        self._commits: list[tuple[int, bytes]] = []  # last position and link of each
        self._blobs: dict[str, bytes] = {}
        self._open_roots: dict[UUID, None] = {}
        self._published = 0
        self._epoch = 0
        self._archives: dict[str, Archive] = {}

    def alone(self) -> AbstractContextManager[object]:
        """Keep every other writer waiting until the block ends."""
        return self._lock

    def select_commits(self, after_position: int, limit: int) -> Sequence[StoredCommit]:
        """Return up to `limit` commits that begin after a position, in order."""
        with self._lock:
            firsts = [0, *(last for last, _ in self._commits)]
            wanted = (
                StoredCommit(before + 1, tuple(map(_row, self._log[before:last])), made)
                for before, (last, made) in zip(firsts, self._commits, strict=False)
                if before >= after_position
            )
            return list(islice(wanted, limit))

    def insert_commit(
        self, commit: StoredCommit, *, opened: Sequence[UUID] = (), ended: Sequence[UUID] = ()
    ) -> None:
        """Write a commit from elsewhere as the next one; raises `IntegrityError` if it is not."""
        with self._lock:
            before = self._commits[-1][1] if self._commits else NO_LINK
            follows = commit.first == len(self._log) + 1 and bool(commit.rows)
            if not follows or link(before, commit.first, commit.rows) != commit.link:
                raise IntegrityError(f"the commit at {commit.first} is not the next one")
            stored = [StoredEvent(r.stream, r.version, r.topic, r.state) for r in commit.rows]
            refused = self._refused_at(stored)
            if refused is not None:
                raise IntegrityError(f"{_named(stored[refused])} does not follow the last one")
            self._append(stored, opened, ended)

    def replace_rows(self, rows: Mapping[int, StoredRow]) -> None:
        """Put other topics and states in the place of events, by position; links stay."""
        with self._lock:
            for position, row in rows.items():
                found = self._log[position - 1] if position <= len(self._log) else None
                if found is None or (found.originator_id, found.originator_version) != (
                    row.stream,
                    row.version,
                ):
                    raise IntegrityError(f"another event is at position {position}")
            for position, row in rows.items():
                event = StoredEvent(row.stream, row.version, row.topic, row.state)
                self._log[position - 1] = event

    def select_blob_names(self, after: str, limit: int) -> Sequence[str]:
        """Return names of blobs in order, those after one."""
        with self._lock:
            return sorted(name for name in self._blobs if name > after)[:limit]

    def insert_blobs(self, blobs: Mapping[str, bytes]) -> None:
        """Write blobs that are not there yet."""
        with self._lock:
            self._blobs.update({**blobs, **self._blobs})

    def delete_blobs(self, names: Iterable[str]) -> None:
        """Forget blobs that no event needs any more."""
        with self._lock:
            for name in names:
                self._blobs.pop(name, None)

    def set_published(self, position: int) -> None:
        """Set the place of the outbox, as after a restore."""
        self._published = position

    def select_epoch(self) -> int:
        """Return how often this log was restored from a backup."""
        return self._epoch

    def set_epoch(self, epoch: int) -> None:
        """Set how often it was."""
        self._epoch = epoch

    def select_archives(self) -> Sequence[Archive]:
        """Return the archives that events were pruned into, oldest first."""
        found = list(self._archives.values())
        return sorted(found, key=lambda archive: (archive.made_at, archive.id))

    def put_archive(self, archive: Archive) -> None:
        """Keep where an archive is, in the place of what was kept of it before."""
        self._archives[archive.id] = archive

    def measure(self) -> Measured:
        """Return how much there is."""
        return Measured(len(self._commits), len(self._blobs))

    def _refused_at(self, stored: Sequence[StoredEvent]) -> int | None:
        """Return the place of the first event that does not follow its predecessor."""
        lengths: dict[UUID, int] = {}
        for place, event in enumerate(stored):
            stream = cast(UUID, event.originator_id)
            length = lengths.get(stream)
            if length is None:
                length = len(self._streams.get(stream, ()))
            if event.originator_version != length + 1:
                return place
            lengths[stream] = length + 1
        return None

    def _append(
        self, stored: Sequence[StoredEvent], opened: Sequence[UUID], ended: Sequence[UUID]
    ) -> None:
        """Write a commit, with its link."""
        first = len(self._log) + 1
        for place, event in enumerate(stored, start=first - 1):
            self._streams.setdefault(cast(UUID, event.originator_id), []).append(place)
        self._log.extend(stored)
        before = self._commits[-1][1] if self._commits else NO_LINK
        self._commits.append((len(self._log), link(before, first, map(_row, stored))))
        self._open_roots.update(dict.fromkeys(opened))
        for job in ended:
            self._open_roots.pop(job, None)


class MemoryEventStore(_Commits):
    """The log in memory. Events are kept encoded, so that logs can be compared byte for byte."""

    def __init__(self, mapper: EventMapper | None = None, partition: int = 0) -> None:
        """Begin empty."""
        super().__init__()
        self.partition = partition
        self.mapper = mapper or EventMapper()

    def commit(
        self,
        events: Sequence[Recorded],
        blobs: Mapping[str, bytes],
        published: int = 0,
        after: int | None = None,
    ) -> int:
        """Append the events with their blobs; return the position of the last one.

        Raises `Conflict` if a version is taken or the one before is missing, unless these very
        events were committed before, and if the log does not end at `after`.
        """
        stored = list(map(self.mapper.to_stored_event, events))
        with self._lock:
            refused = self._refused_at(stored)
            if refused is not None:
                return self._position_of(stored, stored[refused])
            if stored and after not in (None, len(self._log)):
                raise Conflict(f"the log ends at {len(self._log)} and not at {after}")
            self._published = max(self._published, published)
            self._blobs.update(blobs)
            if stored:
                self._append(stored, *roots_of(events))
            return len(self._log)

    def stream(self, stream: UUID, after_version: int = 0) -> Iterable[Recorded]:
        """Return the events of one stream in order of version."""
        with self._lock:
            stored = [self._log[place] for place in self._streams.get(stream, ())[after_version:]]
        return map(self.mapper.to_domain_event, stored)

    def last(self, stream: UUID) -> Recorded | None:
        """Return the newest event of one stream."""
        with self._lock:
            places = self._streams.get(stream)
            stored = self._log[places[-1]] if places else None
        return self.mapper.to_domain_event(stored) if stored else None

    def position(self, stream: UUID, version: int) -> int | None:
        """Return the position of one event of a stream, None if there is none."""
        with self._lock:
            places = self._streams.get(stream, ())
            return places[version - 1] + 1 if 0 < version <= len(places) else None

    def read(self, after_position: int, limit: int) -> Sequence[Positioned]:
        """Return up to `limit` events of the log after a position, in order."""
        stored = self._log[after_position : after_position + limit]
        return [
            Positioned(position, self.mapper.to_domain_event(event), self.partition)
            for position, event in enumerate(stored, start=after_position + 1)
        ]

    def head(self) -> int:
        """Return the last position, 0 for an empty log."""
        return len(self._log)

    def published(self) -> int:
        """Return the position up to which everything that follows from the log was sent."""
        return self._published

    def open_roots(self) -> Iterable[UUID]:
        """Return the root jobs that were submitted and have not ended, the oldest first."""
        return list(self._open_roots)

    def blob(self, name: str) -> bytes:
        """Return a blob by its hash."""
        try:
            return self._blobs[name]
        except KeyError:
            raise StoredDataError(f"blob {name} is not in the store") from None

    def epoch(self) -> int:
        """Return how often the log was restored from a backup."""
        return self._epoch

    def dump(self) -> bytes:
        """Return the whole log as JSON lines."""
        return b"".join(
            b'["%b",%d,"%b",%b]\n'
            % (str(e.originator_id).encode(), e.originator_version, e.topic.encode(), e.state)
            for e in self._log
        )

    def close(self) -> None:
        """Nothing to release."""

    def _position_of(self, stored: Sequence[StoredEvent], refused: StoredEvent) -> int:
        """Return the position of a commit of exactly these events; raises `Conflict`."""
        last = stored[-1]
        places = self._streams.get(cast(UUID, last.originator_id), ())
        if 0 < last.originator_version <= len(places):
            position = places[last.originator_version - 1] + 1
            if self._log[max(0, position - len(stored)) : position] == stored:
                return position
        raise Conflict(f"{_named(refused)} is taken, or does not follow the last one")


def _row(event: StoredEvent) -> StoredRow:
    stream = cast(UUID, event.originator_id)
    return StoredRow(stream, event.originator_version, event.topic, event.state)


def _named(event: StoredEvent) -> str:
    return f"version {event.originator_version} of stream {event.originator_id}"
