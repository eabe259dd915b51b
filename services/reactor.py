"""The reactor: takes what the inbox holds, has it decided, commits once, publishes, acknowledges.

The order is the promise: nothing is published before it is committed, and nothing is acknowledged
before everything that follows from it is published and confirmed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
import structlog

from warrener.domain import ids
from warrener.domain.control_events import LogTaken
from warrener.domain.errors import CommitTooLarge, Conflict, StoredDataError, WarrenerError
from warrener.domain.events import roots_of
from warrener.domain.ids import message_id
from warrener.domain.messages import InboxMessage, decoder
from warrener.domain.ports import Channel, Clock, Delivery, EventStore, Outgoing
from warrener.domain.topology import POISON, inbox_queue
from warrener.services.batch import Batch
from warrener.services.controller import Controller
from warrener.services.log_facts import facts_of
from warrener.services.poison import NoOrder, poisoned
from warrener.services.routing import Router
from warrener.services.sending import Sending

BATCH_SIZE_MAX = 1_000
BATCH_BYTES_MAX = 2 * 1024 * 1024  # of messages that are decided together
UNCONFIRMED_BATCHES_MAX = 100  # beyond these the reactor waits for the broker
CONFLICTS_MAX = 10
LOADS_MAX = 10
DRAIN_POLL_SECONDS = 0.05

log = structlog.get_logger()

decode_message: Callable[[bytes], InboxMessage] = decoder(InboxMessage)


def _no_fault(point: str) -> None:
    """Tests put crashes here; see `adapters.faults`."""


class Reactor:
    """Runs a controller over its inbox queues and one log."""

    def __init__(
        self,
        controller: Controller,
        store: EventStore,
        channel: Channel,
        clock: Clock,
        *,
        inboxes: Sequence[str],
        exclusive: bool = False,
        isolates_faults: bool = True,
        router: Router | None = None,
        at_point: Callable[[str], None] = _no_fault,
    ) -> None:
        """Take part in the queues `inboxes`; `own` or `take_over` come before the first turn.

        `exclusive` says that nobody else should write this log: if somebody does all the same, what
        is in memory is out of date and is loaded again before anything is refused or ignored.
        With `isolates_faults` a message that brings about a fault of ours goes into the quarantine,
        and does not come back for ever. `router` knows what other partitions have to hear of.
        """
        self._router = router
        self.controller = controller
        self.quarantined = 0
        self._store = store
        self._channel = channel
        self._clock = clock
        self._exclusive = exclusive
        self._isolates_faults = isolates_faults
        self._at_point = at_point
        self._roots: dict[UUID, None] = {}
        self._sending = Sending(
            channel, store.published(), at_point, pace=controller.pace, now=clock.now
        )
        self._settled = False  # nothing of ours is in the log since it was loaded
        self._last_position = store.head()
        self._inboxes = frozenset(inboxes)
        for inbox in inboxes:
            channel.declare(inbox)
            channel.consume(inbox, BATCH_SIZE_MAX)

    def own(self, roots: Iterable[UUID]) -> None:
        """Load jobs from the log and go on with them; all open attempts are sent again."""
        known = list(roots)
        self._roots.update(dict.fromkeys(known))
        unreadable = self.controller.recover(known, self._clock.now())
        if unreadable:
            raise StoredDataError("; ".join(unreadable.values()))
        self._sending.publish(self.controller.outbox.open_orders(), [], self._store.head())

    def take_over(self) -> None:
        """Load all jobs of the log that have not ended, and send what may not have been sent.

        What was confirmed before is still with the broker, unless that says it lost its queues. A
        restore sets the place of the outbox back, so that all that is open goes out once more.
        """
        self._load_again()

    def settle(self) -> None:
        """See to it that from now on nothing lands in the log that is not known here.

        A reactor that was here before may still be writing what it decided by an older state: once
        something of ours is in the log, that is refused. Loads again if it was faster.
        """
        for _ in range(CONFLICTS_MAX):
            if self._settled:
                return
            batch = Batch(self._clock.now())
            version = self.controller.memory.next_version(ids.WRITERS_ID)
            batch.append(ids.WRITERS_ID, version, LogTaken(at=batch.now, cause="take-over"))
            try:
                self._sending.publish([], [], self._commit(batch))
            except Conflict:
                self._load_again()
        if not self._settled:
            raise Conflict(f"the log grew {CONFLICTS_MAX} times in a row: who else writes here?")

    @property
    def idle(self) -> bool:
        """Say whether nothing that was sent waits for confirmation."""
        return self._sending.waiting == 0

    def turn(self, timeout_seconds: float = 0.0) -> Batch | None:
        """Do one turn; return its batch, None if there was nothing to do."""
        count_max = BATCH_SIZE_MAX if self._sending.waiting < UNCONFIRMED_BATCHES_MAX else 0
        poll = self._channel.poll(count_max, timeout_seconds)
        self._sending.confirm(poll.confirmed)
        if poll.lost:
            log.warning("broker.lost", action="all open attempts are sent again")
            self._sending.publish(self.controller.outbox.open_orders(), [], self._sending.published)
        now = self._clock.now()
        due = self.controller.next_due(now)
        if not poll.deliveries and (due is None or due > now):
            return None
        batch = None
        for part in _in_parts(self._mine(self._decode(poll.deliveries))):
            batch = self._take_in(part, now) or batch
        return batch

    def _take_in(
        self, messages: Sequence[tuple[Delivery, InboxMessage]], now: datetime
    ) -> Batch | None:
        """Have messages and due timers decided, and do what follows; return the batch."""
        try:
            batch, position = self._decide_and_commit(messages, now)
        except CommitTooLarge as error:
            if not messages:
                raise
            return self._take_apart(messages, now, error)
        except (WarrenerError, MemoryError):
            raise
        except Exception as fault:
            if not (messages and self._isolates_faults):
                raise
            return self._take_apart(messages, now, fault)
        self._remember_roots(batch)
        tags = [d.tag for d, _ in messages if d.tag and d.queue != POISON]
        self._at_point("before-publish")
        outgoing = [*self._copies(messages, batch), *self.controller.outgoing(batch, position)]
        self._sending.publish(outgoing, tags, position)
        self._at_point("after-publish")
        for delivery, _ in messages:
            if delivery.queue == POISON:
                self._channel.reject(delivery.tag, requeue=False, reason="delivered too often")
        return batch

    def look_at_log(self) -> None:
        """Take over what others have written to the log since, such as what people ask for."""
        if self._store.head() != self._last_position:
            log.info("log.grown", reason="somebody else has written to it")
            self._load_again()

    def _take_apart(
        self, messages: Sequence[tuple[Delivery, InboxMessage]], now: datetime, fault: Exception
    ) -> Batch | None:
        """Find the message that brings about a fault of ours, put it away, and take the others."""
        log.error("reactor.fault", messages=len(messages), exc_info=fault)
        self._load_again()
        if len(messages) == 1:
            delivery, message = messages[0]
            reason = f"a fault of the reactor: {type(fault).__name__}: {fault}"
            self._quarantine(delivery, reason, **facts_of(message))
            return None
        batches = [self._take_in([each], now) for each in messages]
        return next((batch for batch in reversed(batches) if batch is not None), None)

    def close(self) -> None:
        """Leave; what is not acknowledged goes back to its queue."""
        self._channel.close()

    def drain(self, timeout_seconds: float) -> bool:
        """Wait until what was sent is confirmed, taking nothing new; say whether it is.

        How far the log is sent is kept in the store, so that the next reactor sends nothing twice.
        """
        deadline = self._clock.now() + timedelta(seconds=timeout_seconds)
        while not self.idle and self._clock.now() < deadline:
            self._sending.confirm(self._channel.poll(0, DRAIN_POLL_SECONDS).confirmed)
        if self._sending.published > self._store.published():
            self._store.commit([], {}, self._sending.published)
        return self.idle

    def _catch_up(self) -> None:
        head = self._store.head()
        self._sending.publish(self.controller.outbox.catch_up(self._sending.published), [], head)

    def _decode(self, deliveries: Sequence[Delivery]) -> list[tuple[Delivery, InboxMessage]]:
        messages: list[tuple[Delivery, InboxMessage]] = []
        for delivery in deliveries:
            try:
                if delivery.queue == POISON:
                    self._poisoned(delivery, messages)
                else:
                    messages.append((delivery, decode_message(delivery.body)))
            except (msgspec.MsgspecError, NoOrder) as error:
                self._quarantine(delivery, str(error))
        return messages

    def _mine(
        self, messages: list[tuple[Delivery, InboxMessage]]
    ) -> list[tuple[Delivery, InboxMessage]]:
        """Hand on what other partitions decide; return what is decided here."""
        router = self._router
        if router is None:
            return messages
        mine: list[tuple[Delivery, InboxMessage]] = []
        handed_on: list[Outgoing] = []
        tags: list[int] = []
        for delivery, message in messages:
            home = router.elsewhere(message)
            if home is None:
                mine.append((delivery, message))
            else:
                name = delivery.message_id
                handed_on.append(Outgoing(inbox_queue(home), delivery.body, name))
                tags.append(delivery.tag)
        if handed_on:
            self._sending.publish(handed_on, tags, self._sending.published)
        return mine

    def _copies(
        self, messages: Sequence[tuple[Delivery, InboxMessage]], batch: Batch
    ) -> list[Outgoing]:
        """Return what other partitions have to hear of, too: nothing that was refused here."""
        if self._router is None:
            return []
        refused = {refusal.command for refusal in batch.refused}
        return [
            copy
            for delivery, message in messages
            if delivery.message_id not in refused
            for copy in self._router.copies(delivery, message)
        ]

    def _poisoned(self, delivery: Delivery, messages: list[tuple[Delivery, InboxMessage]]) -> None:
        """Have the attempt of a poisoned order ended by the reactor that waits for it."""
        report, reply_to = poisoned(delivery.body, self._clock.now())
        log.warning("step.poisoned", **facts_of(report))
        if reply_to in self._inboxes:
            messages.append((delivery, report))
            return
        name = message_id(report.step, report.attempt, "report")
        self._channel.publish([Outgoing(reply_to, msgspec.json.encode(report), name)])
        self._channel.reject(delivery.tag, requeue=False, reason="delivered too often")

    def _quarantine(self, delivery: Delivery, reason: str, **about: Any) -> None:
        self.quarantined += 1
        facts = {"message": delivery.message_id, "queue": delivery.queue, **about}
        log.warning("message.quarantined", **facts, reason=reason)
        self._channel.reject(delivery.tag, requeue=False, reason=reason)

    def _decide_and_commit(
        self, messages: Sequence[tuple[Delivery, InboxMessage]], now: datetime
    ) -> tuple[Batch, int]:
        """Return the committed batch and the position of the log after it."""
        named = [(delivery.message_id, message) for delivery, message in messages]
        for _ in range(CONFLICTS_MAX):
            batch = self.controller.handle(named, now)
            self._at_point("before-commit")
            try:
                self._check_up_to_date(batch)
                position = self._commit(batch)
            except Conflict as conflict:
                log.warning("commit.conflict", reason=str(conflict))
                self._load_again()
                continue
            self._at_point("after-commit")
            about = {name: facts_of(message) for name, message in named if batch.refused}
            for refusal in batch.refused:
                facts = about.get(refusal.command, {})
                log.warning(
                    "command.refused", command=refusal.command, **facts, reason=refusal.reason
                )
            return batch, position
        raise Conflict(f"gave up after {CONFLICTS_MAX} conflicts in a row: who else writes here?")

    def _check_up_to_date(self, batch: Batch) -> None:
        """Raise `Conflict` if a batch says no to something by what may be out of date.

        A report about an attempt that another reactor ordered must not be taken for a stray one.
        """
        doubtful = self._exclusive and (batch.ignored or batch.refused)
        if doubtful and self._store.head() != self._last_position:
            raise Conflict("another reactor has written to this log")

    def _commit(self, batch: Batch) -> int:
        """Commit a batch; return the position of the log after it."""
        events = batch.events
        if not events:
            return self._last_position
        after = self._last_position if self._exclusive else None
        began = self._clock.now()
        self._last_position = self._store.commit(
            events, batch.blobs, self._sending.published, after
        )
        self.controller.pace.committed(began, self._clock.now(), len(events))
        self._settled = True
        return self._last_position

    def _load_again(self) -> None:
        """Throw away what is in memory and load it from the log, with the jobs of others.

        Somebody who still writes meanwhile would leave us with parts from before and after it.
        """
        for _ in range(LOADS_MAX):
            self._settled = False
            self._last_position = self._store.head()
            self.controller.forget()
            roots = list(self._store.open_roots() if self._exclusive else self._roots)
            unreadable = self.controller.recover(roots, self._clock.now())
            if unreadable:  # a tree that was half loaded has left its traces in flow and limits
                self.controller.forget()
                readable = [root for root in roots if root not in unreadable]
                self.controller.recover(readable, self._clock.now())
            if not self._exclusive or self._store.head() == self._last_position:
                break
        else:
            raise Conflict(f"the log grew during each of {LOADS_MAX} loads: who else writes here?")
        self._roots = dict.fromkeys(root for root in roots if root not in unreadable)
        for root, reason in unreadable.items():
            log.error("job.unreadable", job=str(root), reason=reason)
        self._catch_up()

    def _remember_roots(self, batch: Batch) -> None:
        """Keep which jobs are ours, where the log may hold those of others, too."""
        if self._exclusive:
            return  # all that the log has open are ours
        opened, ended = roots_of(batch.events)
        self._roots.update(dict.fromkeys(opened))
        for job in ended:
            self._roots.pop(job, None)


def _in_parts(
    messages: Sequence[tuple[Delivery, InboxMessage]],
) -> Iterator[Sequence[tuple[Delivery, InboxMessage]]]:
    """Yield messages in parts whose bodies are not too much for a commit; one part at least."""
    part: list[tuple[Delivery, InboxMessage]] = []
    size = 0
    for each in messages:
        if part and size + len(each[0].body) > BATCH_BYTES_MAX:
            yield part
            part, size = [], 0
        part.append(each)
        size += len(each[0].body)
    yield part
