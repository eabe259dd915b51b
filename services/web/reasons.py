"""Why something does not run, as the command `why` tells it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from uuid import UUID

from warrener.domain.errors import StoredDataError
from warrener.domain.ports import Leases
from warrener.services.logs import partition_of_job
from warrener.services.shapes import Why
from warrener.services.web.reader import Opened
from warrener.services.why import LogPast, ask, locate, moment_at, unreadable


def why_now(
    opened: Opened,
    leases: Callable[[], Leases],
    place: tuple[UUID, str | None],
    at: int | datetime | None,
    now: datetime,
) -> Why:
    """Return why a job, or the step of it at a path, is in its state at a moment."""
    job, path = place
    logs = opened.logs
    try:
        partition = partition_of_job(logs, job)
        store = logs.log(partition)
        moment = moment_at(store, at, now)
        asked = leases if at is None else None
        past = LogPast(store, moment, asked, partition=partition, partitions=logs.count)
        return ask(past, locate(past, job, path))
    except StoredDataError as error:
        return unreadable(error, now)
