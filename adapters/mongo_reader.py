"""Reads the commits of a partition: by position, by stream, by version of a stream.

What is asked for by position has both ends named: positions have no gaps, so that a span of them is
also a bound on how much comes back.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Final
from uuid import UUID

from pymongo import ASCENDING, DESCENDING

from warrener.adapters.mongo_client import Document, MongoDatabase
from warrener.adapters.mongo_commits import commit_of, rows_of
from warrener.adapters.mongo_layout import COMMITS, POSITION_MAX
from warrener.domain.stored import StoredCommit, StoredRow

SPAN_EVENTS_MIN: Final = 100
SPAN_EVENTS_MAX: Final = 5_000
FAR_VERSION: Final = 32  # from where on it pays to look for the place to begin at
KEYS_AT_ONCE: Final = 64


class MongoReader:
    """The commits of one partition that a majority has."""

    def __init__(self, database: MongoDatabase, partition: int) -> None:
        """Take a database that is open."""
        self._database = database
        self._partition = partition
        self._begins = 1  # a position at which a commit begins, or will: followers ask for it

    def rows(
        self, start: int, stop: int, limit: int, topics: Sequence[str] = ()
    ) -> list[tuple[int, StoredRow]]:
        """Return up to `limit` events with their positions, from `start` to `stop`."""
        span = min(SPAN_EVENTS_MAX, max(limit, SPAN_EVENTS_MIN) if topics else limit)
        found = (
            (position, row)
            for document in self.documents(max(start, 1), stop, max(span, 1))
            for position, row in enumerate(rows_of(document), document["p"])
            if start <= position <= stop and (not topics or row.topic in topics)
        )
        return list(islice(found, limit))

    def commits(self, after: int, limit: int) -> list[StoredCommit]:
        """Return up to `limit` commits that begin after a position."""
        documents = self.documents(after + 1, POSITION_MAX, SPAN_EVENTS_MIN)
        begun = (commit_of(each) for each in documents if each["p"] > after)
        return list(islice(begun, limit))

    def documents(self, start: int, stop: int, span: int) -> Iterator[Document]:
        """Yield whole commits in order, from the one that `start` is in; so many events a query."""
        at = start
        while at <= stop:
            found = self._between(at, min(stop, at + span - 1))
            inside = at == start and start != self._begins and (not found or found[0]["p"] > at)
            if inside and (around := self.around(start)) is not None:
                found.insert(0, around)
            if not found:
                return
            yield from found
            at = self._begins = found[-1]["q"] + 1

    def around(self, position: int) -> Document | None:
        """Return the commit that has the event at a position."""
        for low in (max(0, position - SPAN_EVENTS_MIN), 0):
            wanted = {"k": self._partition, "p": {"$gte": low, "$lte": position}}
            with self._database.using() as db:
                found = db[COMMITS].find_one(wanted, sort=[("p", DESCENDING)])
            if found is not None:
                return found if position <= found["q"] else None
        return None

    def stream(
        self,
        stream: UUID,
        gt: int | None = None,
        lte: int | None = None,
        *,
        desc: bool = False,
        limit: int | None = None,
    ) -> list[StoredRow]:
        """Return events of one stream by version, from above `gt` to `lte`."""
        wanted: Document = {"k": self._partition, "o": stream.hex}
        if gt is not None and gt >= FAR_VERSION:
            first = self._with_version(stream, gt + 1)
            if first is None:
                return []
            wanted["p"] = {"$gte": first["p"], "$lte": POSITION_MAX}
        # Each commit that comes has at least one event that is wanted, if none is left out.
        whole = (lte is None) if desc else (gt is None)
        commits = self._of_stream(stream, wanted, desc, limit if whole else None)
        rows = (
            row
            for document in commits
            for row in _ordered(rows_of(document), desc)
            if (gt is None or row.version > gt) and (lte is None or row.version <= lte)
        )
        return list(islice(rows, limit))

    def last_version(self, stream: UUID) -> int | None:
        """Return the last version of a stream, None if there is no event of it."""
        rows = self.stream(stream, desc=True, limit=1)
        return rows[0].version if rows else None

    def find_position(self, stream: UUID, version: int) -> int | None:
        """Return the position of one event, None if there is none."""
        document = self._with_version(stream, version)
        if document is None:
            return None
        place: int = next(each["n"] for each in _events(document, stream) if each["v"] == version)
        return int(document["p"]) + place

    def _between(self, first: int, last: int) -> list[Document]:
        wanted = {"k": self._partition, "p": {"$gte": first, "$lte": last}}
        with self._database.using() as db:
            return list(db[COMMITS].find(wanted).sort("p", ASCENDING))

    def _of_stream(
        self, stream: UUID, wanted: Mapping[str, Any], desc: bool, limit: int | None
    ) -> Iterable[Document]:
        fields = {"p": 1, f"e.{stream.hex}": 1}
        with self._database.using() as db:
            found = db[COMMITS].find(wanted, fields)
            return list(found.sort("p", DESCENDING if desc else ASCENDING).limit(limit or 0))

    def _with_version(self, stream: UUID, version: int) -> Document | None:
        """Return the commit with a version of a stream, and of its events those of the stream.

        Mostly it begins there with this version; else it begins with one not far before it.
        """
        found = self._beginning_with(stream, [version])
        if found is None:
            last = self.last_version(stream)
            if last is None or not 0 <= version <= last:
                return None
        before = version - 1
        while found is None and before >= 0:
            versions = range(max(0, before - KEYS_AT_ONCE + 1), before + 1)
            found = self._beginning_with(stream, versions)
            before -= KEYS_AT_ONCE
        if found is None or version not in (each["v"] for each in _events(found, stream)):
            return None
        return found

    def _beginning_with(self, stream: UUID, versions: Iterable[int]) -> Document | None:
        """Return the last commit whose events of a stream begin with one of these versions."""
        keys = [f"{stream.hex}:{version}" for version in versions]
        wanted = {"k": self._partition, "f": keys[0] if len(keys) == 1 else {"$in": keys}}
        found = self._of_stream(stream, wanted, True, 1)
        return next(iter(found), None)


def _events(document: Document, stream: UUID) -> list[Document]:
    events: list[Document] = document["e"][stream.hex]
    return events


def _ordered(rows: Sequence[StoredRow], desc: bool) -> Iterable[StoredRow]:
    return reversed(rows) if desc else rows
