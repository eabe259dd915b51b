"""Stores to check, copy and prune: filled with events, opened as the commands do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

from support.events import AT, recorded, stream_id

from warrener.adapters.memory_events import MemoryEventStore
from warrener.adapters.sqlite_events import open_sqlite
from warrener.domain.events import JobSubmitted, JobSucceeded, Recorded
from warrener.domain.ids import content_hash
from warrener.domain.payloads import Payload
from warrener.domain.step_events import StepSucceeded
from warrener.domain.stored import StoredCommit
from warrener.services.event_log import EventLog
from warrener.services.logs import LogSet
from warrener.services.upkeep.commits import Part, each_commit, parts_of

NOBODY = UUID(int=0)


@contextmanager
def sqlite_part(path: Path) -> Iterator[Part]:
    """Open a store of one partition."""
    logs = LogSet([EventLog(open_sqlite(str(path)))])
    try:
        yield parts_of(logs)[0]
    finally:
        logs.close()


def memory_part() -> Part:
    """Return an empty store in memory."""
    return parts_of(LogSet([MemoryEventStore()]))[0]


def memory_parts(count: int) -> list[Part]:
    """Return an empty store in memory with so many partitions."""
    return parts_of(LogSet([MemoryEventStore(partition=number) for number in range(count)]))


def commits_of(part: Part) -> list[StoredCommit]:
    """Return all commits of a partition."""
    return list(each_commit(part.commits, 0, part.log.head()))


def with_blob(stream: int, version: int, data: bytes) -> tuple[Recorded, dict[str, bytes]]:
    """Return an event that needs a blob, and the blob."""
    name = content_hash(data)
    result = Payload(blob=name, size=len(data))
    event = StepSucceeded(at=AT, cause="test", job=NOBODY, path="a", result=result)
    return Recorded(stream_id(stream), version, event), {name: data}


def submitted(number: int) -> Recorded:
    """Return the submission of a root job."""
    event = JobSubmitted(
        at=AT,
        cause="test",
        name="job",
        version=1,
        definition="0" * 64,
        params=Payload(json="{}"),
        params_digest="",
        root=stream_id(number),
        labels={"blob": "f" * 64},  # looks like a reference to a blob, and is none
    )
    return Recorded(stream_id(number), 1, event)


def ended(number: int, version: int = 2) -> Recorded:
    """Return the end of a job."""
    return Recorded(stream_id(number), version, JobSucceeded(at=AT, cause="test"))


def fill(part: Part, sizes: Sequence[int]) -> None:
    """Write commits of so many events over a few streams, every third with a blob."""
    versions: dict[int, int] = {}

    def next_version(stream: int) -> int:
        versions[stream] = versions.get(stream, 0) + 1
        return versions[stream]

    for number, size in enumerate(sizes):
        events, blobs = [], {}
        for place in range(size):
            stream = 1 + (number + place) % 4
            version = next_version(stream)
            if (number + place) % 3 == 0:
                event, blob = with_blob(stream, version, b"%d" % (number % 5) * 100)
                blobs.update(blob)
            else:
                event = recorded(stream, version, f"{number}/{place} é\0")
            events.append(event)
        part.log.commit(events, blobs, published=part.log.head() // 2)
