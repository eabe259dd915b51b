"""Small events to fill stores with."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import UUID

from warrener.domain.events import JobCancelling, Recorded

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def stream_id(number: int) -> UUID:
    """Return the id of a stream by a number."""
    return UUID(int=number)


def recorded(stream: int, version: int, text: str = "") -> Recorded:
    """Return an event of a stream; `text` tells it from others."""
    return Recorded(stream_id(stream), version, JobCancelling(at=AT, cause="test", reason=text))


def run_of(stream: int, first: int, last: int, text: str = "") -> Sequence[Recorded]:
    """Return the events of a stream from version `first` to `last`."""
    return [recorded(stream, version, text) for version in range(first, last + 1)]
