"""Ready steps made by hand."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from warrener.domain.flow.ready import Queued, Ready, Stage, Standing

QUEUE = "default"
START = datetime(2030, 1, 1, tzinfo=UTC)


def standing(
    step: str = "a", *, queue: str = QUEUE, name: str = "job", root: int = 1, **rest: Any
) -> Standing:
    return Standing(
        Stage(queue, name, step), UUID(int=root), rest.pop("submitted_at", START), **rest
    )


def queued(
    job: int | UUID = 1,
    step: str = "a",
    index: int | None = None,
    *,
    since: datetime = START,
    **rest: Any,
) -> Queued:
    """Return a ready step; what is named beside it is its standing's."""
    job = job if isinstance(job, UUID) else UUID(int=job)
    rest.setdefault("root", job.int)
    return Queued(Ready(job, step, index), standing(step, **rest), since)
