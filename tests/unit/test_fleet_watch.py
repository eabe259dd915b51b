"""Who is there, as those hear it who only look."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from support.log_checks import eventually

from warrener.adapters.clock import VirtualClock
from warrener.adapters.memory import MemoryBroker
from warrener.domain.messages import WorkerBeat, WorkerBye, WorkerHello
from warrener.domain.ports import Notice
from warrener.domain.topology import CONTROL, FLEET, worker_queue
from warrener.services.fleet_watch import FleetWatch


class Side:
    """A broker on which workers announce themselves, and somebody who looks."""

    def __init__(self) -> None:
        self.clock = VirtualClock(datetime(2030, 1, 1, tzinfo=UTC))
        self.broker = MemoryBroker()
        self.channel = self.broker.channel()
        self.channel.subscribe(worker_queue("w"), CONTROL, ["worker.call"])
        self.watch = FleetWatch(self.broker, self.clock)

    def say(self, kind: type[Any], worker: str = "w1", **fields: Any) -> None:
        message = kind(
            worker=worker, host="h", pid=7, endpoints=("a", "b"), queues=("q",), slots=2, **fields
        )
        self.send(msgspec.json.encode(message))

    def send(self, body: bytes) -> None:
        self.channel.publish([Notice(FLEET, "worker.beat", body, "beat")])

    def called(self) -> bool:
        return bool(self.channel.poll(10).deliveries)


@pytest.fixture
def side() -> Iterator[Side]:
    side = Side()
    side.watch.start()
    eventually(side.called, "the call for beats")
    yield side
    side.watch.close()


def test_workers_are_there_as_they_announced_themselves_last(side: Side) -> None:
    side.say(WorkerHello, "w2")
    side.say(WorkerHello, "w1")
    side.say(WorkerBeat, "w1", busy=1)

    eventually(lambda: [each.busy for each in side.watch.workers()] == [1, 0], "both")
    first, _ = side.watch.workers()
    assert (first.worker, first.host, first.pid, first.endpoints) == ("w1", "h", 7, 2)


def test_who_takes_leave_or_falls_silent_is_there_no_more(side: Side) -> None:
    side.say(WorkerHello, "w1", beat_seconds=10.0)
    side.say(WorkerHello, "w2", beat_seconds=10.0)
    eventually(lambda: len(side.watch.workers()) == 2, "both")

    side.say(WorkerBye, "w1")
    eventually(lambda: [each.worker for each in side.watch.workers()] == ["w2"], "w2 alone")
    side.clock.advance(31)

    assert side.watch.workers() == ()


@pytest.mark.parametrize("body", [b"", b"{", b'{"type":"WorkerHello"}', b"\xff", b"[" * 100_000])
def test_what_nobody_understands_is_passed_over(side: Side, body: bytes) -> None:
    side.send(body)
    side.say(WorkerHello)

    eventually(lambda: len(side.watch.workers()) == 1, "the worker after it")
