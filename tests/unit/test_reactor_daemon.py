"""Reactor daemons, workers and clients together, over a broker in memory."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any
from uuid import UUID

import msgspec
import pytest
from support.fleet import Fleet
from support.log_checks import eventually

from warrener import endpoint
from warrener.adapters.clock import SystemClock
from warrener.adapters.memory import MemoryBroker
from warrener.domain import ids
from warrener.domain.definition.model import JobDefinition
from warrener.domain.errors import UsageError
from warrener.domain.events import JobCancelling
from warrener.domain.messages import RunStep
from warrener.domain.ports import Outgoing
from warrener.domain.step_events import StepReleased, StepSucceeded
from warrener.domain.topology import POISON, QUARANTINE, inbox_queue, orders_queue, results_queue
from warrener.services.client_async import AsyncClient
from warrener.services.endpoints import Registry
from warrener.services.settings import Settings
from warrener.services.submission import Source, submission
from warrener.services.wiring import open_leases
from warrener.services.wiring_runs import hold_job

REGISTRY = Registry()
DIAMOND: dict[str, Any] = {
    "job": "diamond",
    "steps": {
        "a": {"call": "t.twice", "with": {"n": "${{ params.n }}"}},
        "b": {"call": "t.twice", "with": {"n": "${{ steps.a.result }}"}},
        "c": {"call": "t.twice", "with": {"n": "${{ steps.a.result }}"}},
        "d": {"call": "t.sum", "with": {"ns": "${{ [steps.b.result, steps.c.result] }}"}},
    },
    "result": "${{ steps.d.result }}",
}
HELD: dict[str, Any] = {"job": "held", "steps": {"a": {"call": "t.twice", "queue": "nobody"}}}


@endpoint("t.twice", registry=REGISTRY)
def twice(n: int) -> int:
    return 2 * n


@endpoint("t.sum", registry=REGISTRY)
def total(ns: list[int]) -> int:
    return sum(ns)


def job(document: dict[str, Any] = DIAMOND) -> JobDefinition:
    return msgspec.convert(document, JobDefinition)


def events(fleet: Fleet) -> list[Any]:
    return [p.recorded.event for p in fleet.store.read(0, 10_000)]


def test_a_submitted_job_runs_on_the_fleet_and_its_outcome_comes_back():
    with Fleet(REGISTRY) as fleet:
        fleet.reactor()
        fleet.worker()
        client = fleet.client()

        outcome = client.wait(client.submit(job(), {"n": 3}), timeout_seconds=10)

    assert (outcome.state, outcome.result, outcome.steps) == ("succeeded", 24, {"succeeded": 4})


def test_a_job_that_is_submitted_before_there_is_a_reactor_waits_for_one():
    with Fleet(REGISTRY) as fleet:
        client = fleet.client()
        submitted = client.submit(job(), {"n": 1}, answer_seconds=0.01)

        fleet.worker()
        fleet.reactor()

        assert client.wait(submitted, timeout_seconds=10).result == 8


def test_the_same_key_gives_the_same_job_once():
    with Fleet(REGISTRY) as fleet:
        fleet.reactor()
        fleet.worker()
        client = fleet.client()

        first = client.submit(job(), {"n": 1}, key="k")
        client.wait(first, timeout_seconds=10)
        second = client.submit(job(), {"n": 1}, key="k")

        assert first == second == ids.job_id("k")
        assert client.wait(second, timeout_seconds=10).result == 8
    assert Counter(map(type, events(fleet)))[StepSucceeded] == 4


def test_a_job_is_cancelled_by_a_client_and_one_that_is_unknown_is_refused():
    with Fleet(REGISTRY) as fleet:
        fleet.reactor()
        client = fleet.client()
        submitted = client.submit(job(HELD), {})

        assert client.cancel(submitted, "no need", by="ada")
        assert client.wait(submitted, timeout_seconds=10).state == "cancelled"
        assert client.cancel(submitted)  # asking twice is harmless
        with pytest.raises(UsageError, match=r"cannot cancel .*: no job"):
            client.cancel(UUID(int=7))

    (asked,) = [event for event in events(fleet) if isinstance(event, JobCancelling)]
    assert (asked.by, asked.reason) == ("ada", "no need")


def test_waiting_has_an_end():
    with Fleet(REGISTRY) as fleet:
        fleet.reactor()
        client = fleet.client()
        submitted = client.submit(job(HELD), {})

        with pytest.raises(TimeoutError):
            client.wait(submitted, timeout_seconds=0.05)


def test_the_asyncio_client_does_the_same():
    async def go(fleet: Fleet) -> Any:
        async with AsyncClient(broker=fleet.broker) as client:
            jobs = [await client.submit(job(), {"n": n}) for n in range(3)]
            return [(await client.wait(each)).result for each in jobs]

    with Fleet(REGISTRY) as fleet:
        fleet.reactor()
        fleet.worker()

        assert asyncio.run(go(fleet)) == [0, 8, 16]


def test_a_second_reactor_stands_by_and_takes_over_what_the_first_left():
    with Fleet(REGISTRY) as fleet:
        first = fleet.reactor("r1")
        client = fleet.client()
        submitted = client.submit(job(), {"n": 1})
        eventually(lambda: fleet.leases.holder(0))
        fleet.reactor("r2")

        first.stop()
        eventually(lambda: (fleet.leases.holder(0) or ("",))[0] == "r2", "r2 takes over")
        fleet.worker()

        assert client.wait(submitted, timeout_seconds=20).result == 8
    released = [e for e in events(fleet) if isinstance(e, StepReleased)]
    assert [e.attempt for e in released] == [1, 1, 1, 1]


def test_a_reactor_that_stops_in_good_order_leaves_nothing_to_send_again():
    with Fleet(REGISTRY) as fleet:
        first = fleet.reactor("r1")
        client = fleet.client()
        client.submit(job(HELD), {})
        queue = orders_queue("nobody")
        first.stop()
        eventually(lambda: fleet.leases.holder(0) is None)

        fleet.reactor("r2")
        eventually(lambda: fleet.leases.holder(0))
        client.submit(job(HELD), {})

        assert fleet.broker.depth(queue) == 1  # the window of a queue that nobody serves
    assert fleet.store.published() == fleet.store.head()


def test_what_nobody_understands_goes_into_the_quarantine_with_a_reason():
    with Fleet(REGISTRY) as fleet:
        fleet.reactor()
        fleet.worker()
        client = fleet.client()
        sender = fleet.broker.channel()
        bodies = [b"", b"{", b"[]", b'{"type":"Unknown"}', b'{"type":"WaitJob","v":9,"job":1}']
        sender.publish([Outgoing(inbox_queue(), body, "odd") for body in bodies])
        sender.publish([Outgoing(results_queue(), b"\xff" * 1000, "odd")])

        assert client.wait(client.submit(job(), {"n": 1}), timeout_seconds=10).result == 8
        eventually(lambda: fleet.broker.depth(QUARANTINE) == 6)
        assert all(fleet.broker.reasons())


def test_an_order_that_the_broker_gave_up_on_fails_its_step_for_good():
    with Fleet(REGISTRY) as fleet:
        fleet.reactor()
        client = fleet.client()
        submitted = client.submit(job(HELD), {})
        taker = fleet.broker.channel()
        taker.consume(orders_queue("nobody"), 1)
        (delivery,) = eventually(lambda: taker.poll(1).deliveries)

        taker.publish([Outgoing(POISON, delivery.body, delivery.message_id)])
        outcome = client.wait(submitted, timeout_seconds=10)

        assert (outcome.state, outcome.error.code) == ("failed", "poison")
        eventually(lambda: fleet.broker.depth(QUARANTINE) == 1)
        assert msgspec.json.decode(delivery.body, type=RunStep).job == submitted


def test_many_jobs_are_submitted_and_waited_for_at_once():
    with Fleet(REGISTRY) as fleet:
        fleet.reactor()
        fleet.worker()
        client = fleet.client()
        messages = [submission(Source(job()), {"n": n}, key=f"k{n}") for n in range(50)]

        outcomes = client.wait_all(client.send_all(messages), timeout_seconds=20)

    assert [outcome.result for outcome in outcomes.values()] == [8 * n for n in range(50)]


def test_a_run_beside_a_reactor_on_the_same_store_is_refused(tmp_path):
    settings = Settings(store_url=f"sqlite:///{tmp_path}/jobs.db", views_url="")
    leases = open_leases(settings.store_url)
    now = SystemClock().now()
    assert leases.take(0, "r1", now, 60)

    with pytest.raises(UsageError, match="the reactor r1 works on this store"):
        hold_job(settings, ids.job_id("k"))

    leases.give_up(0, "r1")
    with hold_job(settings, ids.job_id("k")):
        pass
    leases.close()


class CountingBroker(MemoryBroker):
    """Knows how many channels are open."""

    def __init__(self) -> None:
        super().__init__()
        self.open = 0

    def channel(self) -> Any:
        self.open += 1
        channel = super().channel()
        close = channel.close

        def closing() -> None:
            self.open -= 1
            close()

        channel.close = closing  # type: ignore[method-assign]
        return channel


def test_a_reactor_that_has_lost_its_partition_has_no_channel_to_the_broker():
    broker = CountingBroker()
    with Fleet(REGISTRY, broker) as fleet:
        fleet.reactor("r1")
        eventually(lambda: broker.open == 1, "it works")

        fleet.leases.give_up(0, "r1")
        assert fleet.leases.take(0, "r2", fleet.clock.now(), 60.0)

        eventually(lambda: broker.open == 0, "it stands by")
