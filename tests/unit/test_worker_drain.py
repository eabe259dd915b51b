"""A worker that is asked to stop finishes what it has begun, and gives back the rest."""

from __future__ import annotations

import threading

import msgspec
import pytest
from structlog.testing import capture_logs
from support.by_hand import WORK, HandChannel, HandRunner
from support.endpoints_orders import SteppingClock, order, result_of
from support.endpoints_waiting import wait_until

from warrener import current_step, endpoint
from warrener.adapters.clock import SystemClock
from warrener.adapters.memory import MemoryBroker
from warrener.domain.errors import UsageError
from warrener.domain.messages import CancelStep, FleetMessage, StepReport, WorkerBye, WorkerHello
from warrener.domain.ports import Outgoing
from warrener.domain.topology import FLEET, reactor_queue, results_queue
from warrener.services.endpoints import Registry
from warrener.services.worker import ThreadRunner, Worker
from warrener.services.worker_daemon import WorkerDaemon, WorkerOptions


@pytest.fixture
def channel():
    return HandChannel()


@pytest.fixture
def runner():
    return HandRunner(slots=1)


@pytest.fixture
def worker(channel, runner):
    made = Worker(channel, runner, ["default"], 1, name="w", clock=SteppingClock())
    made.turn()
    channel.confirm_all()
    return made


def deliver(channel, worker, *tags):
    for tag in tags:
        channel.deliver(tag, order("any", _path=f"s{tag}"))
    worker.turn()


# --- the worker ----------------------------------------------------------------------------------


def test_orders_that_have_not_begun_go_back_and_the_others_go_on(channel, runner, worker):
    deliver(channel, worker, 1, 2, 3)

    worker.drain()

    assert channel.left == [WORK]
    assert channel.rejected == [(2, True), (3, True)]
    assert [run.path for run in worker.unfinished()] == ["s1"]
    assert not worker.drained


def test_orders_that_the_runner_has_not_begun_go_back_too(channel, runner, worker):
    runner.slots = 2
    deliver(channel, worker, 1, 2)
    runner.unbegun = [runner.running[1]]

    worker.drain()

    assert channel.rejected == [(2, True)]


def test_a_worker_is_drained_once_its_reports_and_its_goodbye_are_confirmed(
    channel, runner, worker
):
    deliver(channel, worker, 1)
    worker.drain()
    runner.finish(runner.running[0])
    worker.turn()
    assert not worker.drained

    channel.confirm_all()
    worker.turn()

    assert worker.drained
    assert channel.acked == [1]


def test_an_order_that_comes_while_the_worker_drains_goes_back(channel, runner, worker):
    worker.drain()

    deliver(channel, worker, 1)

    assert channel.rejected == [(1, True)]
    assert runner.submitted == []


def test_a_duplicate_of_a_running_attempt_joins_it_while_the_worker_drains(channel, runner, worker):
    deliver(channel, worker, 1)
    worker.drain()

    channel.deliver(9, order("any", _path="s1"))
    worker.turn()
    runner.finish(runner.running[0])
    worker.turn()
    channel.confirm_all()
    worker.turn()

    assert channel.rejected == []
    assert channel.acked == [1, 9]


def test_a_cancelled_order_that_is_withdrawn_does_not_go_back(channel, runner, worker):
    deliver(channel, worker, 1)
    run = order("any", _path="s1")
    channel.control(CancelStep(job=run.job, step=run.step, attempt=run.attempt))
    worker.turn()
    runner.unbegun = list(runner.running)

    worker.drain()

    assert (channel.acked, channel.rejected) == ([1], [])


def test_draining_twice_is_draining_once(channel, worker):
    worker.drain()
    worker.drain()

    assert channel.left == [WORK]


# --- the daemon ----------------------------------------------------------------------------------


class Site:
    """A daemon with threads on a broker in memory, and the other side of it."""

    def __init__(self, slots=1, **options):
        self.broker = MemoryBroker()
        self.other = self.broker.channel()
        self.other.consume(results_queue(), 1_000)
        self.other.subscribe(reactor_queue("r"), FLEET, ["worker.*"])
        self.gate = threading.Event()
        self.begun = []
        registry = Registry()

        @endpoint("work", registry=registry)
        def work() -> int:
            self.begun.append(current_step().path)
            self.gate.wait(20)
            return 7

        clock = SystemClock()
        runner = ThreadRunner(slots, clock, registry=registry)
        worker = Worker(self.broker.channel(), runner, ["default"], slots, name="w", clock=clock)
        self.ready = threading.Event()
        self.daemon = WorkerDaemon(worker, on_ready=self.ready.set, **options)
        self.thread = threading.Thread(target=self.daemon.run, daemon=True)
        self.reports = []
        self.said = []

    def start(self):
        self.thread.start()
        assert self.ready.wait(10)

    def send(self, *paths):
        bodies = [msgspec.json.encode(order("work", _path=path)) for path in paths]
        self.other.publish([Outgoing(WORK, body, "m") for body in bodies])

    def hear(self):
        for delivery in self.other.poll(1_000).deliveries:
            if delivery.tag:
                self.reports.append(msgspec.json.decode(delivery.body, type=StepReport))
            else:
                self.said.append(msgspec.json.decode(delivery.body, type=FleetMessage))
        return self.reports

    def ended(self):
        self.thread.join(20)
        return not self.thread.is_alive()


def test_a_stopped_daemon_finishes_what_runs_and_gives_back_the_rest():
    site = Site()
    site.start()
    site.send("a", "b", "c")
    wait_until(lambda: site.begun == ["a"])

    with capture_logs() as logs:
        site.daemon.stop()
        wait_until(lambda: site.broker.depth(WORK) == 2)
        assert site.thread.is_alive()
        site.gate.set()
        assert site.ended()

    (report,) = site.hear()
    assert result_of(report) == 7
    assert [type(said) for said in site.said] == [WorkerHello, WorkerBye]
    assert site.begun == ["a"]
    assert site.broker.depth(WORK) == 2
    assert [entry["event"] for entry in logs] == ["worker.draining", "worker.stopped"]


def test_what_is_not_finished_in_time_goes_back_and_is_named():
    site = Site(drain_seconds=0.05)
    site.start()
    site.send("a")
    wait_until(lambda: site.begun == ["a"])

    with capture_logs() as logs:
        site.daemon.stop()
        assert site.ended()
    site.gate.set()

    assert site.broker.depth(WORK) == 1
    assert site.hear() == []
    assert logs[-1]["event"] == "worker.stopped"
    assert [name.split("/")[1] for name in logs[-1]["given_back"]] == ["a"]


def test_an_idle_daemon_stops_within_a_poll():
    site = Site()
    site.start()

    site.daemon.stop()

    assert site.ended()


def test_a_daemon_that_fails_leaves_the_broker():
    site = Site()

    def fail(timeout_seconds=0.0):
        raise UsageError("children cannot load the modules")

    site.daemon.worker.turn = fail
    with pytest.raises(UsageError):
        site.daemon.run()

    site.send("a")
    assert site.broker.depth(WORK) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "a b"}, "--name a b: write letters"),
        ({"queues": ("fine", "not/fine")}, "--queues not/fine"),
        ({"mode": "threads", "children_tasks_max": 3}, "go with --processes"),
        ({"mode": "asyncio", "children_memory_bytes_max": 3}, "go with --processes"),
    ],
)
def test_options_that_cannot_be_are_refused(options, message):
    with pytest.raises(UsageError, match=message):
        WorkerOptions(modules=("m",), **options).check()
