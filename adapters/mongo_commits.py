"""Commits as documents of MongoDB, and back.

    _id       the commit's own id, by which a commit with an unknown outcome is found again
    k         the partition
    p, q      the positions of the first and the last event
    h         the link of the chain (see `domain.stored`)
    o         the streams that it has events of, as hexadecimal text
    f         for each stream `STREAM:VERSION` with the first of its versions here; and with version
              1 if that is here, for streams may begin with 0 or 1
    e         stream -> its events: place in the commit, version, topic, state
    opened    root jobs that it leaves open
    ended     jobs that it leaves ended
    outbox    the place of the outbox after it, which only rises
    readers   how far those are who write here what they make of other logs: name and place

A commit is one document, for that is what MongoDB writes atomically without a transaction. `f` is
unique: a writer sees that a stream ends right before its own first version, and the key tells if
somebody else has gone on from there meanwhile. So versions stay dense without a key for each event.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final
from uuid import UUID

import msgspec
from bson import ObjectId
from eventsourcing.persistence import (
    DataError,
    IntegrityError,
    ProgrammingError,
    StoredEvent,
    Tracking,
)

from warrener.adapters.mongo_client import Document
from warrener.domain.stored import NO_LINK, StoredCommit, StoredRow, link

# MongoDB refuses documents over 16 MiB; what the fields themselves need is counted roughly.
COMMIT_BYTES_MAX: Final = 15 * 1024 * 1024
EVENT_BYTES: Final = 64
STREAM_BYTES: Final = 192
_LINK_FIELDS: Final = ("p", "q", "h", "outbox", "readers")
TIP_FIELDS: Final = dict.fromkeys(_LINK_FIELDS, 1)


class Tip(msgspec.Struct, frozen=True):
    """What the last commit of a log hands on to the next one."""

    position: int = 0
    link: bytes = NO_LINK
    outbox: int = 0
    readers: Mapping[str, int] = {}


class Draft(msgspec.Struct, frozen=True):
    """A commit that is to be written, wherever the log ends by then, or `after` a position only."""

    id: ObjectId
    rows: tuple[StoredRow, ...]
    body: Document  # what does not depend on the place
    outbox: int = 0
    tracking: Tracking | None = None
    link: bytes | None = None  # of a commit that comes from elsewhere
    after: int | None = None

    def at(self, partition: int, tip: Tip) -> Document:
        """Return the document that follows a tip.

        Raises `IntegrityError` if the tracking is not ahead of what the log has.
        """
        first = tip.position + 1
        document = {
            "_id": self.id,
            "k": partition,
            "p": first,
            "q": tip.position + len(self.rows),
            "h": link(tip.link, first, self.rows) if self.link is None else self.link,
            **self.body,
        }
        outbox, readers = max(self.outbox, tip.outbox), _moved(tip.readers, self.tracking)
        if outbox:
            document["outbox"] = outbox
        if readers:
            document["readers"] = list(readers.items())
        return document


def draft(
    rows: Sequence[StoredRow], opened: Iterable[UUID] = (), ended: Iterable[UUID] = ()
) -> Draft:
    """Return a commit of these events; raises `DataError` if they are too much for a document."""
    streams: dict[str, list[Document]] = {}
    keys: list[str] = []
    for place, row in enumerate(rows):
        name = row.stream.hex
        events = streams.get(name)
        if events is None:
            events = streams[name] = []
            keys.append(f"{name}:{row.version}")
        elif row.version == 1:
            keys.append(f"{name}:1")
        events.append({"n": place, "v": row.version, "t": row.topic, "s": row.state})
    _check_size(rows, len(streams))
    body: Document = {"o": list(streams), "f": keys, "e": streams}
    for field, jobs in (("opened", opened), ("ended", ended)):
        if names := [job.hex for job in jobs]:
            body[field] = names
    return Draft(ObjectId(), tuple(rows), body)


def row_of(stored: StoredEvent) -> StoredRow:
    """Return an event of the library as it is stored."""
    stream = stored.originator_id
    if not isinstance(stream, UUID):
        raise ProgrammingError(f"a stream is named by a UUID here, not by {stream!r}")
    return StoredRow(stream, stored.originator_version, stored.topic, stored.state)


def tip_of(document: Document) -> Tip:
    """Return what a commit, read with `TIP_FIELDS`, hands on."""
    readers = dict(document.get("readers", ()))
    return Tip(document["q"], document["h"], document.get("outbox", 0), readers)


def commit_of(document: Document) -> StoredCommit:
    """Return a commit whose document was read as a whole."""
    return StoredCommit(document["p"], rows_of(document), document["h"])


def rows_of(document: Document) -> tuple[StoredRow, ...]:
    """Return the events of a commit in their order, or those of the streams that were read."""
    found = [
        (event["n"], StoredRow(stream, event["v"], event["t"], event["s"]))
        for stream, events in _streams(document)
        for event in events
    ]
    found.sort(key=_place)
    return tuple(row for _, row in found)


def place_of(document: Document, position: int) -> tuple[str, int]:
    """Return where in a commit the event at a position is: its stream, and its place there."""
    wanted = position - document["p"]
    for name, events in document["e"].items():
        for index, event in enumerate(events):
            if event["n"] == wanted:
                return name, index
    raise DataError(f"the commit at position {document['p']} has no event at {position}")


def _place(found: tuple[int, StoredRow]) -> int:
    return found[0]


def _streams(document: Document) -> Iterable[tuple[UUID, list[Any]]]:
    for name, events in document.get("e", {}).items():
        yield UUID(int=int(name, 16)), events


def _moved(readers: Mapping[str, int], tracking: Tracking | None) -> Mapping[str, int]:
    if tracking is None:
        return readers
    name, place = tracking.application_name, tracking.notification_id
    if place <= readers.get(name, 0):
        raise IntegrityError(f"{name} is at position {place} already")
    return {**readers, name: place}


def _check_size(rows: Sequence[StoredRow], streams: int) -> None:
    size = sum(len(row.state) + len(row.topic) + EVENT_BYTES for row in rows)
    size += streams * STREAM_BYTES
    if size > COMMIT_BYTES_MAX:
        raise DataError(
            f"a commit of {len(rows)} events has about {size} bytes; it is one document in MongoDB,"
            f" for which {COMMIT_BYTES_MAX} is the most: write less at once"
        )
