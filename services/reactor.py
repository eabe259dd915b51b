"""The reactor: takes what the inbox holds, has it decided, commits once, publishes, acknowledges.

The order is the promise: nothing is published before it is committed, and nothing is acknowledged
before everything that follows from it is published and confirmed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from uuid import UUID

import msgspec
import structlog

from warrener.domain.errors import Conflict
from warrener.domain.messages import PROTOCOL_VERSION, InboxMessage
from warrener.domain.ports import Channel, Clock, Delivery, EventStore, Outgoing
from warrener.services.batch import Batch
from warrener.services.controller import Controller

BATCH_SIZE_MAX = 1_000
CONFLICTS_MAX = 10

log = structlog.get_logger()


def _no_fault(point: str) -> None:
    """Tests put crashes here; see `adapters.faults`."""


class Reactor:
    """Runs a controller over one inbox queue and one log."""

    def __init__(
        self,
        controller: Controller,
        store: EventStore,
        channel: Channel,
        clock: Clock,
        *,
        inbox: str,
        at_point: Callable[[str], None] = _no_fault,
    ) -> None:
        """Take part in the queue `inbox`; `recover` must come before the first turn."""
        self.controller = controller
        self.quarantined = 0
        self._store = store
        self._channel = channel
        self._clock = clock
        self._at_point = at_point
        self._roots: dict[UUID, None] = {}
        self._decoder = msgspec.json.Decoder(InboxMessage)
        self._batches = 0
        self._unconfirmed: dict[int, list[int]] = {}  # batch -> deliveries to acknowledge
        channel.declare(inbox)
        channel.consume(inbox, BATCH_SIZE_MAX)

    def own(self, roots: Iterable[UUID]) -> None:
        """Load jobs from the log and go on with them; open attempts are sent again."""
        known = list(roots)
        self._roots.update(dict.fromkeys(known))
        self._publish(self.controller.recover(known, self._clock.now()), [])

    def turn(self, timeout_seconds: float = 0.0) -> Batch | None:
        """Do one turn; return its batch, None if there was nothing to do."""
        poll = self._channel.poll(BATCH_SIZE_MAX, timeout_seconds)
        self._acknowledge(poll.confirmed)
        now = self._clock.now()
        due = self.controller.next_due()
        if not poll.deliveries and (due is None or due > now):
            return None
        messages = self._decode(poll.deliveries)
        batch = self._decide_and_commit(messages, now)
        self._remember_roots(batch)
        tags = [delivery.tag for delivery, _ in messages]
        self._at_point("before-publish")
        self._publish(self.controller.orders(batch), tags)
        self._at_point("after-publish")
        return batch

    def _decode(self, deliveries: Sequence[Delivery]) -> list[tuple[Delivery, InboxMessage]]:
        messages = []
        for delivery in deliveries:
            try:
                message = self._decoder.decode(delivery.body)
                if message.v != PROTOCOL_VERSION:
                    raise msgspec.ValidationError(f"unknown protocol version {message.v}")
            except (msgspec.MsgspecError, RecursionError) as error:
                self._quarantine(delivery, str(error))
            else:
                messages.append((delivery, message))
        return messages

    def _quarantine(self, delivery: Delivery, reason: str) -> None:
        self.quarantined += 1
        log.warning("message.quarantined", message=delivery.message_id, reason=reason)
        self._channel.reject(delivery.tag, requeue=False)

    def _decide_and_commit(
        self, messages: Sequence[tuple[Delivery, InboxMessage]], now: datetime
    ) -> Batch:
        named = [(delivery.message_id, message) for delivery, message in messages]
        for _ in range(CONFLICTS_MAX):
            batch = self.controller.handle(named, now)
            self._at_point("before-commit")
            try:
                if batch.events:
                    self._store.commit(batch.events, batch.blobs)
            except Conflict as conflict:
                log.warning("commit.conflict", reason=str(conflict))
                self.controller.forget()
                self._publish(self.controller.recover(self._roots, now), [])
                continue
            self._at_point("after-commit")
            for reason in batch.refused:
                log.warning("command.refused", reason=reason)
            return batch
        raise Conflict(f"gave up after {CONFLICTS_MAX} conflicts in a row: who else writes here?")

    def _remember_roots(self, batch: Batch) -> None:
        self._roots.update(dict.fromkeys(self.controller.memory.trees))
        for ended in batch.ended:
            self._roots.pop(ended.job, None)

    def _publish(self, orders: list[Outgoing], tags: list[int]) -> None:
        if not orders:
            self._channel.ack(tags)
            return
        for queue in {order.queue: None for order in orders}:
            self._channel.declare(queue)
        self._batches += 1
        self._unconfirmed[self._batches] = tags
        self._channel.publish(orders, self._batches)

    def _acknowledge(self, confirmed: Sequence[int]) -> None:
        for batch in confirmed:
            self._at_point("before-ack")
            self._channel.ack(self._unconfirmed.pop(batch, []))
