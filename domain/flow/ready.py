"""What waits for its release: a step, what the order of release goes by, and since when."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import msgspec

from warrener.domain.ids import item_path


class Ready(msgspec.Struct, frozen=True):
    """A step that may run: a named one (`index` None) or an item of a fan-out."""

    job: UUID
    step: str
    index: int | None = None

    @property
    def path(self) -> str:
        """Return the path of the step in its job."""
        return self.step if self.index is None else item_path(self.step, self.index)


class Stage(msgspec.Struct, frozen=True, order=True, cache_hash=True):
    """The steps of one name in all jobs of one name, that go to one queue."""

    queue: str
    job: str  # the name of the definition
    step: str

    def __str__(self) -> str:
        return f"{self.job}/{self.step}"


class Standing(msgspec.Struct, frozen=True):
    """What an order of release may go by; the same for all steps of one name in one job.

    `submitted_at` is that of the root job, `depth` of the job below it; `remaining` counts the
    steps at most on a way from this one to the end of its job.
    """

    stage: Stage
    root: UUID
    submitted_at: datetime
    priority: int = 0
    fair: str = ""  # the fairness key, "" for all jobs without one
    deadline: datetime | None = None
    depth: int = 0
    remaining: int = 0
    endpoint: str = ""


class Queued(msgspec.Struct, frozen=True):
    """A ready step with its standing; it has waited for its release since `since`."""

    ready: Ready
    standing: Standing
    since: datetime

    @property
    def queue(self) -> str:
        """Return the queue that its order goes to."""
        return self.standing.stage.queue
