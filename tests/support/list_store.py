"""An event store for histories by hand."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from uuid import UUID

from warrener.domain.events import Recorded
from warrener.domain.ports import Positioned


class ListEventStore:
    """An `EventStore` over a list."""

    def __init__(self, partition: int = 0) -> None:
        self.partition = partition
        self.log: list[Positioned] = []
        self.blobs: dict[str, bytes] = {}
        self.reads = 0

    def commit(self, events: Sequence[Recorded], blobs: Mapping[str, bytes]) -> int:
        for recorded in events:
            self.log.append(Positioned(len(self.log) + 1, recorded, self.partition))
        self.blobs.update(blobs)
        return len(self.log)

    def stream(self, stream: UUID, after_version: int = 0) -> Iterable[Recorded]:
        return [
            each.recorded
            for each in self.log
            if each.recorded.originator_id == stream
            and each.recorded.originator_version > after_version
        ]

    def last(self, stream: UUID) -> Recorded | None:
        return next(reversed(list(self.stream(stream))), None)

    def position(self, stream: UUID, version: int) -> int | None:
        wanted = (stream, version)
        for each in self.log:
            if (each.recorded.originator_id, each.recorded.originator_version) == wanted:
                return each.position
        return None

    def read(self, after_position: int, limit: int) -> Sequence[Positioned]:
        self.reads += 1
        return self.log[after_position : after_position + limit]

    def head(self) -> int:
        return len(self.log)

    def blob(self, name: str) -> bytes:
        return self.blobs[name]

    def close(self) -> None:
        pass
