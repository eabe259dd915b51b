"""History files in tests: written from a store, read back, and asked in the place of it."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

from warrener.adapters.codec import EventMapper
from warrener.adapters.sqlite_views import SqliteViewStore
from warrener.domain.ports import EventStore
from warrener.services.histories.export import Exporter, Source
from warrener.services.histories.read import History, read_history
from warrener.services.histories.rules import Rules
from warrener.services.logs import LogSet
from warrener.services.queries import Queries

MADE_AT = datetime(2030, 1, 2, tzinfo=UTC)
MADE_BY = "warrener 0"


def queries_of(log: EventStore) -> Queries:
    """Return what is asked of a log, with read models of its own."""
    return Queries(LogSet([log]), SqliteViewStore(":memory:"))


def exported(
    log: EventStore,
    root: UUID,
    rules: Rules | None = None,
    *,
    queries: Queries | None = None,
    compressed: bool = False,
) -> bytes:
    """Return the bytes of the history file of a tree; without rules nothing is taken out."""
    asked = queries or queries_of(log)
    source = Source(root, asked.tree_events(root), log.blob, EventMapper())
    made = io.BytesIO()
    Exporter(source, rules).write(made, MADE_AT, MADE_BY, compressed=compressed)
    return made.getvalue()


def imported(path: Path, data: bytes) -> History:
    """Return what is read of these bytes, as from a file."""
    path.write_bytes(data)
    return read_history(path, EventMapper())
