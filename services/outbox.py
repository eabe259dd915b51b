"""The outbox: what must be published follows from committed events alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from uuid import UUID

import msgspec

from warrener.domain import ids
from warrener.domain.events import Recorded, StepReleased
from warrener.domain.messages import RunStep
from warrener.domain.ports import EventStore, Outgoing
from warrener.domain.topology import orders_queue
from warrener.services.working_set import WorkingSet, payload_bytes


class Outbox:
    """Turns releases into orders for the workers."""

    def __init__(self, memory: WorkingSet, store: EventStore, reply_to: str) -> None:
        """Orders ask workers to report to the queue `reply_to`."""
        self._memory = memory
        self._store = store
        self._reply_to = reply_to
        self._encode = msgspec.json.Encoder().encode

    def orders(
        self, events: Iterable[Recorded], fresh: Mapping[str, bytes] | None = None
    ) -> list[Outgoing]:
        """Return the orders that follow from events; `fresh` has their batch's blobs."""
        return [
            self.order(recorded.originator_id, recorded.event, fresh)
            for recorded in events
            if isinstance(recorded.event, StepReleased)
        ]

    def order(
        self, step: UUID, event: StepReleased, fresh: Mapping[str, bytes] | None = None
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
        body = self._encode(message)
        return Outgoing(orders_queue(event.queue), body, ids.message_id(step, event.attempt, "run"))
