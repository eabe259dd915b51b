"""The port through which the log is read, as it was at the moment that is asked about."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Protocol
from uuid import UUID

from warrener.domain.events import Recorded
from warrener.domain.job_state import Job
from warrener.domain.plan import Plan
from warrener.domain.ports import Positioned


class Past(Protocol):
    """The log up to a position, and the time that it is then."""

    @property
    def now(self) -> datetime:
        """Return the time that is asked about."""
        ...

    @property
    def silent_since(self) -> datetime | None:
        """Return the time of the last event."""
        ...

    @property
    def partitions(self) -> int:
        """Return how many partitions the store has; only one of them is looked at."""
        ...

    def stream(self, stream: UUID) -> Iterable[Recorded]:
        """Return the events of one stream in order of version."""
        ...

    def last(self, stream: UUID) -> Recorded | None:
        """Return the newest event of one stream."""
        ...

    def position(self, stream: UUID, version: int) -> int | None:
        """Return the position of one event of a stream."""
        ...

    def limit_keys(self, job: Job, plan: Plan, path: str) -> list[str]:
        """Return the evaluated keys of the limits of a step; raises what expressions raise."""
        ...

    def out(self, whole: bool) -> Iterator[Positioned]:
        """Return the events that tell what is out, with `whole` from the beginning of the log."""
        ...

    def keeper(self) -> str:
        """Return what is known of who works on the log now; "" about the past."""
        ...
