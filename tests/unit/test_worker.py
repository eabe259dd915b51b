"""The worker: from its queues to a confirmed report, and only then the acknowledgement."""

from __future__ import annotations

import re
import threading

import msgspec
import pytest
from support.by_hand import WORK, HandChannel, HandRunner
from support.endpoints_orders import SteppingClock, order, result_of, task
from support.endpoints_waiting import reports

from warrener import endpoint
from warrener.adapters.memory import MemoryBroker
from warrener.domain import ids
from warrener.domain.messages import StepReport
from warrener.domain.ports import Outgoing
from warrener.domain.topology import CONTROL, QUARANTINE, results_queue, worker_queue
from warrener.services.endpoints import Registry
from warrener.services.worker import InlineRunner, ThreadRunner, Worker, decode_order

REGISTRY = Registry()


@endpoint("work.double", registry=REGISTRY)
def double(number: int) -> int:
    return 2 * number


@pytest.fixture
def channel():
    return HandChannel()


@pytest.fixture
def worker(channel):
    clock = SteppingClock()
    runner = InlineRunner(clock, registry=REGISTRY)
    return Worker(channel, runner, ["default"], 4, name="worker-1", clock=clock)


def body_of(run):
    return msgspec.json.encode(run)


def test_a_report_goes_to_the_queue_that_the_order_names_under_the_attempts_id(channel, worker):
    run = order("work.double", number=4)
    channel.deliver(1, body_of(run))

    assert worker.turn()

    (message,) = channel.published
    assert message.queue == results_queue()
    assert message.message_id == ids.message_id(run.step, run.attempt, "report")
    assert result_of(msgspec.json.decode(message.body, type=StepReport)) == 8


def test_an_order_is_acknowledged_only_once_its_report_is_confirmed(channel, worker):
    channel.deliver(1, body_of(order("work.double", number=4)))
    worker.turn()
    worker.turn()
    assert channel.acked == []

    channel.confirmations.append(channel.batches[0])
    worker.turn()

    assert channel.acked == [1]


def test_confirmations_in_another_order_acknowledge_their_own_orders(channel, worker):
    for tag in (1, 2):
        channel.deliver(tag, body_of(order("work.double", _path=f"s{tag}", number=tag)))
        worker.turn()

    channel.confirmations.append(channel.batches[1])
    worker.turn()

    assert channel.acked == [2]


def test_reports_of_one_turn_are_published_together(channel, worker):
    for tag in range(1, 5):
        channel.deliver(tag, body_of(order("work.double", _path=f"s{tag}", number=tag)))

    worker.turn()

    assert len(channel.published) == 4
    assert len(channel.batches) == 1


def changed(**fields):
    return msgspec.json.encode({**msgspec.json.decode(body_of(order("work.double"))), **fields})


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not json",
        b"\xff\xfe",
        b"[]",
        b"[" * 100_000,
        changed(v=2),
        changed(type="StepReport"),
        changed(step="no-id"),
        changed(attempt="1"),
        changed(attempt=0),
        changed(reply_to=""),
        changed(reply_to="warrener.inbox.0"),
        changed(reply_to="elsewhere"),
        changed(reply_to="warrener.results." + "9" * 300),
        b" " * 17_000_000,
    ],
    ids=lambda body: body[:20].decode("latin1"),
)
def test_an_order_that_cannot_be_understood_is_put_away_and_the_next_one_done(
    channel, worker, body
):
    channel.deliver(1, body)
    channel.deliver(2, body_of(order("work.double", number=1)))

    worker.turn()

    assert channel.rejected == [(1, False)]
    assert channel.reasons[0]
    assert worker.quarantined == 1
    assert len(channel.published) == 1


def test_unknown_fields_of_an_order_do_no_harm():
    assert decode_order(changed(added_later=1)) == order("work.double")


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (changed(v=2), "unknown protocol version 2"),
        (b" " * 17_000_000, "17000000 bytes are over"),
        (changed(attempt=0), r"\$.attempt"),
        (changed(reply_to="elsewhere"), "reply_to 'elsewhere' is no queue of results"),
    ],
    ids=["version", "size", "field", "reply_to"],
)
def test_the_quarantine_is_told_why(channel, worker, body, reason):
    channel.deliver(1, body)

    worker.turn()

    assert re.search(reason, channel.reasons[0])


def test_a_turn_without_work_says_so(worker):
    assert not worker.turn()
    assert not worker.turn(0.02)


def test_the_worker_takes_little_more_than_it_has_slots_for(channel, worker):
    assert channel.consumed == {WORK: 10}


def test_the_worker_hears_control_messages_on_a_queue_of_its_own(channel, worker):
    assert channel.subscribed == {
        worker_queue("worker-1"): (CONTROL, ("step.cancel", "worker.call", "worker.advise"))
    }


def test_closing_leaves_the_channel_so_that_orders_go_back(channel, worker):
    worker.close()

    assert channel.closed


def test_orders_wait_in_the_worker_while_its_runner_has_no_room(channel):
    gate = threading.Event()
    registry = Registry()
    endpoint("work.wait", registry=registry)(lambda: gate.wait(10) and None)
    clock = SteppingClock()
    worker = Worker(channel, ThreadRunner(1, clock, registry=registry), ["default"], 1, name="w", clock=clock)  # noqa: E501  # fmt: skip
    for tag in range(1, 4):
        channel.deliver(tag, body_of(order("work.wait", _path=f"s{tag}")))

    worker.turn()
    assert worker.runner.busy() == 1
    gate.set()

    for _ in range(3):
        worker.turn(10)
    assert len(channel.published) == 3
    worker.close()


def test_a_bound_of_unconfirmed_reports_holds_up_the_next_orders(channel):
    runner = HandRunner(slots=200)
    worker = Worker(channel, runner, ["default"], 4, name="w", clock=SteppingClock())
    for tag in range(100):
        channel.deliver(tag + 1, order("any", _path=f"s{tag}"))
    while worker.turn():
        for begun in list(runner.running):
            runner.finish(begun)
    channel.deliver(101, order("any", _path="next"))

    worker.turn()
    assert len(runner.submitted) == 100
    channel.confirm_all()
    worker.turn()

    assert len(runner.submitted) == 101


def test_crashes_can_be_put_before_and_after_the_report_and_before_the_acknowledgement(channel):
    seen = []

    def at_point(point):
        seen.append((point, len(channel.published), len(channel.acked)))

    clock = SteppingClock()
    runner = InlineRunner(clock, registry=REGISTRY)
    worker = Worker(channel, runner, ["default"], 1, name="w", clock=clock, at_point=at_point)
    channel.deliver(1, order("work.double", number=1))

    worker.turn()
    channel.confirm_all()
    worker.turn()

    assert seen == [("before-report", 0, 0), ("after-report", 1, 0), ("before-ack", 1, 0)]


class Crash(Exception):
    pass


def work_off(worker):
    while worker.turn():
        pass


@pytest.mark.parametrize(
    ("point", "reports", "runs"),
    [("before-report", 1, 2), ("after-report", 2, 2), ("before-ack", 2, 2)],
)
def test_an_order_outlives_a_worker_that_dies_at_any_point(point, reports, runs):
    broker, clock, registry, ran = MemoryBroker(), SteppingClock(), Registry(), []
    endpoint("work", registry=registry)(lambda: ran.append(1))
    other = broker.channel()
    other.consume(results_queue(), 100)

    def crash(reached):
        if reached == point:
            raise Crash

    def start(name, **more):
        runner = InlineRunner(clock, registry=registry)
        return Worker(broker.channel(), runner, ["default"], 1, name=name, clock=clock, **more)

    first = start("first", at_point=crash)
    other.publish([Outgoing(WORK, body_of(order("work")), "m")])
    with pytest.raises(Crash):
        work_off(first)
    first.close()
    second = start("second")
    work_off(second)

    found = other.poll(100).deliveries
    assert (len(found), len(ran)) == (reports, runs)
    assert len({delivery.message_id for delivery in found}) == 1
    assert broker.depth(WORK) == 0
    second.close()
    assert broker.depth(WORK) == 0


def test_threads_perform_at_the_same_time():
    registry = Registry()
    meeting = threading.Barrier(2, timeout=10)

    @endpoint("work.meet", registry=registry)
    def meet() -> str:
        meeting.wait()
        return threading.current_thread().name

    runner = ThreadRunner(2, SteppingClock(), worker="w", registry=registry)
    runner.submit(task(1, order("work.meet")))
    runner.submit(task(2, order("work.meet")))
    assert (runner.room(), runner.busy()) == (0, 2)

    found = reports(runner, 2)

    assert {result_of(report) for report in found.values()} == {"w-1", "w-2"}
    assert (runner.room(), runner.busy()) == (2, 0)
    runner.close()


def test_a_thread_outlives_an_endpoint_that_raises_an_interrupt():
    registry = Registry()

    @endpoint("work.interrupt", registry=registry)
    def interrupt() -> None:
        raise KeyboardInterrupt

    runner = ThreadRunner(1, SteppingClock(), registry=registry)
    runner.submit(task(1, order("work.interrupt")))
    assert reports(runner, 1)[1].error.type == "KeyboardInterrupt"

    runner.submit(task(2, order("work.interrupt")))

    assert reports(runner, 1)[2].outcome == "failed"
    runner.close()


def test_through_a_broker_nothing_is_left_once_the_reports_are_fetched():
    broker = MemoryBroker()
    clock = SteppingClock()
    client = broker.channel()
    worker = Worker(
        broker.channel(),
        InlineRunner(clock, registry=REGISTRY),
        ["default"],
        2,
        name="w",
        clock=clock,
    )
    client.consume(results_queue(), 100)
    orders = [order("work.double", _path=f"s{n}", number=n) for n in range(20)]
    client.publish([Outgoing(WORK, body_of(run), run.path) for run in orders])
    client.publish([Outgoing(WORK, b"no order", "odd")])

    while worker.turn():
        pass

    found = [msgspec.json.decode(d.body, type=StepReport) for d in client.poll(100).deliveries]
    assert [result_of(report) for report in found] == [2 * n for n in range(20)]
    assert (broker.depth(WORK), broker.depth(QUARANTINE)) == (0, 1)
    worker.close()
    assert broker.depth(WORK) == 0


def test_what_a_worker_has_not_done_goes_back_to_the_queue_when_it_closes():
    broker = MemoryBroker()
    clock = SteppingClock()
    gate = threading.Event()
    registry = Registry()
    endpoint("work.wait", registry=registry)(lambda: gate.wait(10) and None)
    runner = ThreadRunner(1, clock, registry=registry)
    worker = Worker(broker.channel(), runner, ["default"], 1, name="w", clock=clock)
    bodies = [body_of(order("work.wait", _path=f"s{n}")) for n in range(3)]
    broker.channel().publish([Outgoing(WORK, body, str(n)) for n, body in enumerate(bodies)])
    worker.turn()
    assert broker.depth(WORK) == 0

    worker.close()
    gate.set()

    assert broker.depth(WORK) == 3
