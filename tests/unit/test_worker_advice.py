"""A worker serves other queues for a time when the controller advises it, and goes back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from structlog.testing import capture_logs
from support.by_hand import HandChannel, HandRunner
from support.endpoints_orders import order

from warrener import endpoint
from warrener.adapters.memory import MemoryBroker
from warrener.domain.messages import (
    AdviseWorker,
    CancelStep,
    StepReport,
    WorkerBeat,
    WorkerBye,
    WorkerHello,
)
from warrener.domain.ports import Notice, Outgoing
from warrener.domain.topology import CONTROL, orders_queue, results_queue
from warrener.services.endpoints import Registry
from warrener.services.worker import InlineRunner, Worker

FETCH, PARSE, LOAD = map(orders_queue, ("fetch", "parse", "load"))
MINUTE = 60.0


class StoppedClock:
    """Both clocks of a worker, moved by hand."""

    def __init__(self):
        self.seconds = 1_000.0

    def now(self):
        return datetime(2030, 1, 1, tzinfo=UTC) + timedelta(seconds=self.seconds)

    def __call__(self):
        return self.seconds


@pytest.fixture
def clock():
    return StoppedClock()


@pytest.fixture
def channel():
    return HandChannel()


@pytest.fixture
def runner():
    return HandRunner(slots=2)


@pytest.fixture
def start(channel, runner, clock):
    def start(queues=("fetch",), **options):
        known = {"able": ("fetch", "load", "parse"), **options}
        worker = Worker(channel, runner, queues, 2, name="w", clock=clock, seconds=clock, **known)
        channel.confirm_all()
        worker.turn()
        channel.confirm_all()
        worker.turn()
        return worker

    return start


@pytest.fixture
def advise(channel, clock):
    """Have a worker hear of advice that ends after some seconds, and act."""

    def advise(worker, *queues, to="w", seconds=MINUTE):
        until = clock.now() + timedelta(seconds=seconds)
        channel.control(AdviseWorker(worker=to, queues=queues, until=until))
        worker.turn()
        worker.turn()
        channel.confirm_all()
        worker.turn()

    return advise


def served(channel):
    """Return the queues that a worker takes part in."""
    return set(channel.consumed)


def said(channel):
    """Return what the worker last announced as served and as possible."""
    state = channel.announced()[-1]
    return state.queues, state.able


def deliver(channel, worker, queue, *tags):
    for tag in tags:
        channel.deliver(tag, order("any", _path=f"s{tag}"), queue)
    worker.turn()


# --- being moved ---------------------------------------------------------------------------------


def test_a_worker_says_which_queues_it_could_serve_beside_its_own(channel, start):
    start()

    (hello,) = channel.announced()
    assert isinstance(hello, WorkerHello)
    assert said(channel) == (("fetch",), ("load", "parse"))


def test_advice_moves_a_worker_to_other_queues_and_the_fleet_hears_of_it_at_once(
    channel, start, advise
):
    worker = start()

    advise(worker, "parse", "load")

    assert served(channel) == {PARSE, LOAD}
    assert [type(each) for each in channel.announced()] == [WorkerHello, WorkerBeat]
    assert said(channel) == (("parse", "load"), ("fetch",))


def test_a_queue_of_its_own_that_is_advised_is_served_without_a_break(channel, start, advise):
    worker = start()

    advise(worker, "fetch", "parse")

    assert served(channel) == {FETCH, PARSE}
    assert channel.left == []


def test_advice_for_another_worker_changes_nothing(channel, start, advise):
    worker = start()

    advise(worker, "parse", to="w2")

    assert served(channel) == {FETCH}
    assert len(channel.announced()) == 1


def test_queues_that_it_cannot_serve_are_left_out_and_named_in_the_log(channel, start, advise):
    worker = start()

    with capture_logs() as logs:
        advise(worker, "paint", "parse")

    assert served(channel) == {PARSE}
    warnings = [each for each in logs if each["log_level"] == "warning"]
    assert warnings == [{"event": "advice.unable", "log_level": "warning", "queues": ["paint"]}]


def test_no_advice_leaves_a_worker_without_a_queue(channel, start, advise):
    worker = start()

    advise(worker, "paint")

    assert served(channel) == {FETCH}
    assert len(channel.announced()) == 1


def test_advice_that_comes_twice_moves_once(channel, start, advise):
    worker = start()

    advise(worker, "parse")
    advise(worker, "parse")

    assert channel.left == [FETCH]
    assert len(channel.announced()) == 2


def test_newer_advice_replaces_the_one_before(channel, start, advise):
    worker = start()
    advise(worker, "parse")

    advise(worker, "load")

    assert served(channel) == {LOAD}
    assert said(channel) == (("load",), ("fetch", "parse"))


def test_a_fixed_worker_offers_nothing_and_stays(channel, start, advise):
    worker = start(queues=["fetch", "load"], fixed=True)

    advise(worker, "parse")
    advise(worker, "load")

    assert said(channel) == (("fetch", "load"), ())
    assert served(channel) == {FETCH, LOAD}
    assert len(channel.announced()) == 1


def test_a_worker_of_the_queues_of_all_its_endpoints_can_be_given_fewer(channel, start, advise):
    worker = start(queues=["fetch", "parse"], able=["fetch", "parse"])
    assert said(channel) == (("fetch", "parse"), ())

    advise(worker, "parse")

    assert served(channel) == {PARSE}
    assert said(channel) == (("parse",), ("fetch",))


# --- going back ----------------------------------------------------------------------------------


def test_a_worker_goes_back_when_the_time_is_over_and_not_before(channel, start, advise, clock):
    worker = start()
    advise(worker, "parse")

    clock.seconds += MINUTE - 0.001
    worker.turn()
    assert served(channel) == {PARSE}
    channel.confirm_all()
    worker.turn()
    clock.seconds += 0.001
    worker.turn()

    assert served(channel) == {FETCH}
    assert said(channel) == (("fetch",), ("load", "parse"))


def test_the_same_advice_again_makes_the_time_longer(channel, start, advise, clock):
    worker = start()
    advise(worker, "parse")
    clock.seconds += MINUTE / 2
    advise(worker, "parse")

    clock.seconds += MINUTE - 0.001
    worker.turn()
    assert served(channel) == {PARSE}
    clock.seconds += 0.001
    worker.turn()

    assert served(channel) == {FETCH}


def test_a_turn_ends_when_the_advice_does(channel, start, advise, clock, monkeypatch):
    worker = start()
    advise(worker, "parse", seconds=1)
    waits = []

    def poll(count_max, timeout_seconds=0.0):
        waits.append(timeout_seconds)
        clock.seconds += timeout_seconds
        return HandChannel.poll(channel, count_max)

    monkeypatch.setattr(channel, "poll", poll)
    worker.turn(MINUTE)

    assert sum(waits) == pytest.approx(1)


def test_advice_without_queues_ends_it_at_once(channel, start, advise):
    worker = start()
    advise(worker, "parse")

    advise(worker)

    assert served(channel) == {FETCH}
    assert said(channel) == (("fetch",), ("load", "parse"))


def test_a_worker_goes_back_when_its_connection_was_lost(channel, start, advise):
    worker = start()
    advise(worker, "parse")

    channel.broken = True
    worker.turn()
    worker.turn()

    assert served(channel) == {FETCH}
    assert said(channel) == (("fetch",), ("load", "parse"))


def test_without_advice_neither_its_end_nor_a_lost_connection_changes_anything(
    channel, start, advise
):
    worker = start()

    advise(worker)
    channel.broken = True
    worker.turn()
    worker.turn()

    assert channel.left == []
    assert len(channel.announced()) == 1


def test_advice_that_comes_when_its_time_is_over_is_not_followed(channel, start, advise):
    worker = start()

    advise(worker, "parse", seconds=0)

    assert served(channel) == {FETCH}
    assert len(channel.announced()) == 1


@pytest.mark.parametrize("queue", ["parse", "load"])
def test_the_newest_advice_counts_even_where_its_time_is_over(channel, start, advise, queue):
    worker = start()
    advise(worker, "parse")

    advise(worker, queue, seconds=0)

    assert served(channel) == {FETCH}


# --- what is in hand ----------------------------------------------------------------------------


def test_what_has_begun_is_finished_and_the_rest_of_a_queue_that_is_left_goes_back(
    channel, runner, start, advise
):
    worker = start()
    deliver(channel, worker, FETCH, 1, 2, 3, 4)

    advise(worker, "parse")
    assert channel.rejected == [(3, True), (4, True)]
    for task in list(runner.running):
        runner.finish(task)
    worker.turn()
    channel.confirm_all()
    worker.turn()

    assert channel.acked == [1, 2]


def test_what_waits_of_a_queue_that_is_kept_stays(channel, runner, start, advise):
    worker = start()
    advise(worker, "fetch", "parse")
    deliver(channel, worker, FETCH, 1, 2, 3)
    deliver(channel, worker, PARSE, 4, 5)
    runner.unbegun = [runner.running[1]]

    advise(worker, "parse")
    assert channel.rejected == [(2, True), (3, True)]
    assert [task.tag for task in runner.running] == [1, 4]

    runner.finish(runner.running[0])
    worker.turn()
    assert [task.tag for task in runner.running] == [4, 5]


def test_what_the_runner_had_not_begun_of_a_queue_that_is_kept_is_given_to_it_again(
    channel, runner, start, advise
):
    worker = start()
    advise(worker, "fetch", "parse")
    deliver(channel, worker, PARSE, 1, 2)
    runner.unbegun = [runner.running[1]]

    advise(worker, "parse")

    assert channel.rejected == []
    assert [task.tag for task in runner.submitted] == [1, 2, 2]


def test_an_order_of_a_queue_that_was_left_goes_back_when_it_comes(channel, runner, start, advise):
    worker = start()
    advise(worker, "parse")

    deliver(channel, worker, FETCH, 1)

    assert channel.rejected == [(1, True)]
    assert runner.submitted == []


def test_a_cancelled_order_that_the_runner_had_not_begun_ends_with_the_move(
    channel, runner, start, advise
):
    worker = start()
    advise(worker, "fetch", "parse")
    deliver(channel, worker, PARSE, 1)
    run = runner.running[0].order
    channel.control(CancelStep(job=run.job, step=run.step, attempt=run.attempt))
    worker.turn()
    runner.unbegun = list(runner.running)

    advise(worker, "parse")

    assert (channel.acked, channel.rejected) == ([1], [])
    assert worker.unfinished() == []


def test_a_worker_that_drains_follows_no_advice_and_does_not_go_back(channel, start, advise, clock):
    worker = start()
    advise(worker, "parse")
    worker.drain()
    channel.confirm_all()

    advise(worker, "load")
    clock.seconds += 2 * MINUTE
    channel.broken = True
    worker.turn()

    assert served(channel) == set()
    assert isinstance(channel.announced()[-1], WorkerBye)
    assert said(channel) == (("parse",), ("fetch", "load"))


# --- on a broker ---------------------------------------------------------------------------------


def test_moved_by_a_broker_it_serves_the_other_queue_and_then_its_own_again(clock):
    broker, registry = MemoryBroker(), Registry()

    @endpoint("work", registry=registry)
    def work() -> int:
        return 7

    runner = InlineRunner(clock, registry=registry)
    worker = Worker(
        broker.channel(),
        runner,
        ["fetch"],
        2,
        name="w",
        clock=clock,
        able=["parse"],
        seconds=clock,
    )
    other = broker.channel()
    other.declare(PARSE)
    other.consume(results_queue(), 100)

    def reports(*sent):
        bodies = [(queue, msgspec.json.encode(order("work", _path=path))) for queue, path in sent]
        other.publish([Outgoing(queue, body, "m") for queue, body in bodies])
        for _ in range(5):
            worker.turn()
        found = [msgspec.json.decode(d.body, type=StepReport) for d in other.poll(100).deliveries]
        return len(found)

    assert reports((FETCH, "a"), (PARSE, "b")) == 1
    until = clock.now() + timedelta(seconds=MINUTE)
    advice = msgspec.json.encode(AdviseWorker(worker="w", queues=("parse",), until=until))
    other.publish([Notice(CONTROL, "worker.advise", advice, "advice")])
    assert reports((FETCH, "c")) == 1
    assert (broker.depth(FETCH), broker.depth(PARSE)) == (1, 0)
    clock.seconds += MINUTE
    assert reports() == 1
    worker.close()
