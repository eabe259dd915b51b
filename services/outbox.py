"""The outbox: what must be published follows from committed events alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from uuid import UUID

import msgspec

from warrener.domain import ids
from warrener.domain.events import (
    Event,
    JobCancelled,
    JobEnded,
    JobFailed,
    JobSucceeded,
    Recorded,
    StepCancelled,
    StepFailed,
    StepReleased,
    StepRetryScheduled,
)
from warrener.domain.job import Job, project
from warrener.domain.messages import CancelStep, EventNotice, RunStep
from warrener.domain.ports import EventStore, Notice, Outgoing, Positioned
from warrener.domain.step import OUT
from warrener.domain.topology import CONTROL, EVENTS, orders_queue
from warrener.services.working_set import WorkingSet, payload_bytes

CATCH_UP_EVENTS = 1_000
KEYS: dict[type[Event], str] = {
    JobSucceeded: "job.succeeded",
    JobFailed: "job.failed",
    JobCancelled: "job.cancelled",
    StepFailed: "step.failed",
    StepRetryScheduled: "step.retrying",
}
_ENCODE = msgspec.json.Encoder().encode

JobOf = Callable[[UUID], Job | None]


class Outbox:
    """Turns events into orders for workers, cancellations, and notices for everybody."""

    def __init__(
        self, memory: WorkingSet, store: EventStore, reply_to: str, *, announces: bool = True
    ) -> None:
        """Orders ask workers to report to the queue `reply_to`.

        Without `announces` nothing goes to the events exchange.
        """
        self._memory = memory
        self._store = store
        self._reply_to = reply_to
        self._announces = announces

    def follows(
        self,
        events: Iterable[Positioned],
        job_of: JobOf,
        fresh: Mapping[str, bytes] | None = None,
    ) -> list[Outgoing | Notice]:
        """Return what follows from events just committed; `fresh` has their batch's blobs.

        `job_of` gives the jobs of these events, those that have ended by now included.
        """
        return [
            message for positioned in events for message in self._follow(positioned, job_of, fresh)
        ]

    def catch_up(self, after: int) -> list[Outgoing | Notice]:
        """Return what follows from the log after a position, as far as it is still of use."""
        job_of = _Jobs(self._memory, self._store).get
        return [
            message
            for positioned in self._log(after)
            if self._is_open(positioned.recorded)
            for message in self._follow(positioned, job_of, None)
        ]

    def open_orders(self) -> list[Outgoing | Notice]:
        """Return the orders of all attempts that are out, from the log."""
        found: list[Outgoing | Notice] = []
        for step in self._memory.steps.values():
            if step.state in OUT:
                events = [recorded.event for recorded in self._store.stream(step.id)]
                released = [event for event in events if isinstance(event, StepReleased)]
                found.append(self._order(step.id, released[-1], None))
        return found

    def _log(self, after: int) -> Iterator[Positioned]:
        while batch := self._store.read(after, CATCH_UP_EVENTS):
            yield from batch
            after = batch[-1].position

    def _is_open(self, recorded: Recorded) -> bool:
        """Say whether an event from the log is no order, or one whose attempt is still out."""
        event = recorded.event
        if not isinstance(event, StepReleased):
            return True
        step = self._memory.steps.get(recorded.originator_id)
        return step is not None and step.state in OUT and step.attempt == event.attempt

    def _follow(
        self, positioned: Positioned, job_of: JobOf, fresh: Mapping[str, bytes] | None
    ) -> Sequence[Outgoing | Notice]:
        stream, event = positioned.recorded.originator_id, positioned.recorded.event
        if isinstance(event, StepReleased):
            return (self._order(stream, event, fresh),)
        if isinstance(event, StepCancelled):
            return () if event.attempt is None else (_cancellation(stream, event),)
        if type(event) in KEYS and self._announces:
            notice = _notice(positioned, job_of)
            return () if notice is None else (notice,)
        return ()

    def _order(
        self, step: UUID, event: StepReleased, fresh: Mapping[str, bytes] | None
    ) -> Outgoing:
        """Return the order for one release; the same release always gives the same order."""
        active = self._memory.jobs.get(event.job)
        context = (
            {}
            if active is None
            else {"root": str(active.tree.root), "labels": dict(active.job.labels)}
        )
        message = RunStep(
            job=event.job,
            step=step,
            path=event.path,
            endpoint=event.endpoint,
            attempt=event.attempt,
            token=event.token,
            args=msgspec.Raw(payload_bytes(event.args, self._store, fresh)),
            reply_to=self._reply_to,
            context=context,
        )
        name = ids.message_id(step, event.attempt, "run")
        return Outgoing(orders_queue(event.queue), _ENCODE(message), name)


class _Jobs:
    """Jobs of events that are caught up with: from memory, or as the log has them."""

    def __init__(self, memory: WorkingSet, store: EventStore) -> None:
        self._memory = memory
        self._store = store
        self._known: dict[UUID, Job | None] = {}

    def get(self, job: UUID) -> Job | None:
        active = self._memory.jobs.get(job)
        if active is not None:
            return active.job
        if job not in self._known:
            self._known[job] = project(None, self._store.stream(job))
        return self._known[job]


def _cancellation(step: UUID, event: StepCancelled) -> Notice:
    attempt = event.attempt or 0
    message = CancelStep(job=event.job, step=step, attempt=attempt)
    name = ids.message_id(step, attempt, "cancel")
    return Notice(CONTROL, "step.cancel", _ENCODE(message), name)


def _notice(positioned: Positioned, job_of: JobOf) -> Notice | None:
    stream, event = positioned.recorded.originator_id, positioned.recorded.event
    job = job_of(stream if isinstance(event, JobEnded) else event.job)  # type: ignore[attr-defined]
    if job is None:
        return None
    key = KEYS[type(event)]
    message = EventNotice(
        event=key,
        position=positioned.position,
        at=event.at,
        job=job.id,
        root=job.root or job.id,
        name=job.name,
        path=getattr(event, "path", None),
        labels=job.labels,
        error=getattr(event, "error", None),
    )
    return Notice(EVENTS, key, _ENCODE(message), f"event/{positioned.position}")
