"""No commit is more than a store takes at once, and what is all the same does no harm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from warrener.adapters.clock import VirtualClock
from warrener.adapters.memory import MemoryBroker
from warrener.adapters.memory_events import MemoryEventStore
from warrener.domain.definition.model import JobDefinition
from warrener.domain.errors import CommitTooLarge
from warrener.domain.events import Recorded
from warrener.domain.flow.lanes import Flow
from warrener.domain.messages import RunStep, StepReport
from warrener.domain.payloads import INLINE_BYTES_MAX
from warrener.domain.ports import Outgoing
from warrener.domain.topology import QUARANTINE, inbox_queue, orders_queue, results_queue
from warrener.services.batch import INLINE_BYTES_IN_ALL, Batch
from warrener.services.controller import Controller
from warrener.services.reactor import BATCH_BYTES_MAX, Reactor
from warrener.services.submission import Source, submission
from warrener.services.turn import Chance

NOW = datetime(2030, 1, 1, tzinfo=UTC)
ITEMS = 200
FAN: dict[str, Any] = {
    "job": "fan",
    "params": {"type": "object"},
    "steps": {
        "many": {"for_each": "${{ params.xs }}", "call": "t.work", "with": {"x": "${{ item }}"}}
    },
}


class BoundedStore(MemoryEventStore):
    """Takes so much at once, and keeps in mind how much the largest commit was."""

    def __init__(self, bytes_max: int = 1 << 60) -> None:
        super().__init__()
        self.bytes_max = bytes_max
        self.largest = 0

    def commit(
        self,
        events: Sequence[Recorded],
        blobs: Mapping[str, bytes],
        published: int = 0,
        after: int | None = None,
    ) -> int:
        size = sum(len(self.mapper.to_stored_event(each).state) for each in events)
        if size > self.bytes_max:
            raise CommitTooLarge(f"{size} bytes")
        self.largest = max(self.largest, size)
        return super().commit(events, blobs, published, after)


class World:
    def __init__(self, store: BoundedStore) -> None:
        self.store = store
        self.broker = MemoryBroker()
        chance = Chance(lambda: "0" * 32, lambda: 0.5)
        controller = Controller(store, lambda: Flow(lambda _: 10 * ITEMS), chance, results_queue())
        self.reactor = Reactor(
            controller,
            store,
            self.broker.channel(),
            VirtualClock(NOW),
            inboxes=[results_queue(), inbox_queue()],
            exclusive=True,
        )
        self.reactor.take_over()
        self.worker = self.broker.channel()
        self.worker.consume(orders_queue("default"), 10 * ITEMS)

    def submit(self, key: str, size: int = 1, items: int = ITEMS) -> None:
        params = {"xs": ["x" * size for _ in range(items)]}
        message = submission(Source(msgspec.convert(FAN, JobDefinition)), params, key=key)
        self.send(inbox_queue(), message)

    def send(self, queue: str, message: Any) -> None:
        self.worker.publish([Outgoing(queue, msgspec.json.encode(message), "m")])

    def answer(self, size: int) -> None:
        """Report success of everything that was ordered, with results of this size."""
        for delivery in self.worker.poll(10 * ITEMS).deliveries:
            order = msgspec.json.decode(delivery.body, type=RunStep)
            report = StepReport(
                job=order.job, step=order.step, attempt=order.attempt, token=order.token,
                worker="w", outcome="succeeded", started_at=NOW, ended_at=NOW,
                result=msgspec.Raw(msgspec.json.encode("r" * size)),
            )  # fmt: skip
            self.send(results_queue(), report)


def test_many_large_arguments_and_results_are_never_one_large_commit() -> None:
    world = World(BoundedStore())

    world.submit("k", size=60_000)
    world.reactor.turn()
    world.answer(size=60_000)
    world.reactor.turn()

    assert not list(world.store.open_roots())
    assert world.store.largest < INLINE_BYTES_IN_ALL + BATCH_BYTES_MAX
    assert ITEMS * 60_000 > 2 * (INLINE_BYTES_IN_ALL + BATCH_BYTES_MAX)


def test_payloads_of_a_crowded_batch_are_read_back_the_same() -> None:
    batch = Batch(NOW)

    payloads = [batch.payload(b'"%d%b"' % (n, b"x" * 50_000)) for n in range(100)]

    inline = [payload for payload in payloads if payload.json is not None]
    assert sum(len(payload.json or "") for payload in inline) < (
        INLINE_BYTES_IN_ALL + INLINE_BYTES_MAX
    )
    assert len(inline) + len(batch.blobs) == 100
    assert batch.payload(b"1").json == "1"


def test_a_message_that_is_too_much_by_itself_goes_into_the_quarantine_and_others_are_taken() -> (
    None
):
    world = World(BoundedStore())
    world.reactor.turn()
    world.store.bytes_max = 20_000

    world.submit("small", items=1)
    world.submit("large", size=25_000, items=1)
    world.submit("other", items=1)
    world.reactor.turn()

    assert world.broker.depth(QUARANTINE) == 1
    assert len(list(world.store.open_roots())) == 2
