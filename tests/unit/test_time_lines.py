"""After a restore: what was ordered before it counts no more, and what is open is sent again."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec
import pytest

from warrener.adapters.clock import VirtualClock
from warrener.adapters.memory import MemoryBroker
from warrener.adapters.memory_events import MemoryEventStore
from warrener.domain.definition.model import JobDefinition
from warrener.domain.flow.lanes import Flow
from warrener.domain.messages import Beat, RunStep, StepReport
from warrener.domain.ports import Channel, Outgoing
from warrener.domain.topology import inbox_queue, orders_queue, results_queue
from warrener.services.controller import Controller
from warrener.services.reactor import Reactor
from warrener.services.submission import Source, submission
from warrener.services.time_lines import marked, unmarked
from warrener.services.turn import Chance

NOW = datetime(2030, 1, 1, tzinfo=UTC)
SOME_ID = UUID(int=1)
ORDERS = orders_queue("default")
ONE: dict[str, Any] = {"job": "one", "steps": {"a": {"call": "t.work"}}}


class Restored:
    """A log that was restored while the order of its one step was with a worker."""

    def __init__(self) -> None:
        self.store = MemoryEventStore()
        self.broker = MemoryBroker()
        self.worker: Channel = self.broker.channel()
        self.worker.consume(ORDERS, 10)
        before = self.new_reactor()
        before.take_over()
        asked = submission(Source(msgspec.convert(ONE, JobDefinition)), {}, key="k")
        self.send(inbox_queue(), asked)
        before.turn()
        self.lost = self.next_order()
        before.close()
        self.store.set_epoch(1)
        self.store.set_published(0)
        self.reactor = self.new_reactor()

    def new_reactor(self) -> Reactor:
        chance = Chance(lambda: "0" * 32, lambda: 0.5)
        controller = Controller(self.store, lambda: Flow(lambda _: 4), chance, results_queue())
        inboxes = [results_queue(), inbox_queue()]
        channel, clock = self.broker.channel(), VirtualClock(NOW)
        return Reactor(controller, self.store, channel, clock, inboxes=inboxes, exclusive=True)

    def send(self, queue: str, message: Any) -> None:
        self.worker.publish([Outgoing(queue, msgspec.json.encode(message), "m")])

    def next_order(self) -> RunStep:
        (delivery,) = self.worker.poll(10).deliveries
        return msgspec.json.decode(delivery.body, type=RunStep)


def report(order: RunStep) -> StepReport:
    return StepReport(
        job=order.job,
        step=order.step,
        attempt=order.attempt,
        token=order.token,
        worker="w",
        outcome="succeeded",
        result=msgspec.Raw(b"1"),
        started_at=NOW,
        ended_at=NOW,
    )


def test_what_was_open_at_the_backup_is_ordered_again_under_another_token() -> None:
    world = Restored()

    world.reactor.take_over()
    again = world.next_order()

    assert (again.step, again.attempt) == (world.lost.step, world.lost.attempt)
    assert again.token != world.lost.token


def test_a_report_of_the_lost_time_line_is_ignored_and_one_of_this_is_taken() -> None:
    world = Restored()
    world.reactor.take_over()
    again = world.next_order()

    world.send(results_queue(), report(world.lost))
    world.reactor.turn()
    assert world.reactor.controller.ignored == 1
    assert list(world.store.open_roots())

    world.send(results_queue(), report(again))
    world.reactor.turn()
    assert not list(world.store.open_roots())


def test_the_next_reactor_after_a_restore_sends_nothing_again() -> None:
    world = Restored()
    world.reactor.take_over()
    world.next_order()
    world.reactor.turn()
    assert world.reactor.drain(1.0)
    world.reactor.close()

    world.new_reactor().take_over()

    assert not world.worker.poll(10).deliveries


@pytest.mark.parametrize("token", ["", "abc", "abc@", "abc@1", "abc@3", "@2", "abc@2@3"])
def test_tokens_of_other_time_lines_answer_to_nothing(token: str) -> None:
    beat = Beat(
        job=SOME_ID, step=SOME_ID, attempt=1, token=token, worker="w", at=NOW, progress=None
    )

    assert unmarked(beat, 2).token == ""


def test_a_token_comes_back_as_it_was_and_without_a_restore_nothing_is_marked() -> None:
    beat = Beat(job=SOME_ID, step=SOME_ID, attempt=1, token=marked("abc", 2), worker="w", at=NOW)

    assert unmarked(beat, 2).token == "abc"
    assert marked("abc", 0) == "abc"
    assert unmarked(beat, 0) is beat
