"""Signs of life: of the worker to the fleet, and of its long attempts to their reactors."""

from __future__ import annotations

import os
import socket

import msgspec
import pytest
from support.by_hand import HandChannel, HandRunner
from support.endpoints_orders import SteppingClock, order

from warrener.domain.messages import Beat, CallWorkers, CancelStep, WorkerBeat, WorkerBye
from warrener.domain.messages import WorkerHello as Hello
from warrener.domain.topology import FLEET, results_queue
from warrener.services.worker import Worker

BEAT = 10.0


class Stopwatch:
    """The clock of `time.monotonic`, moved by hand."""

    def __init__(self):
        self.now = 1_000.0

    def __call__(self):
        return self.now


@pytest.fixture
def channel():
    return HandChannel()


@pytest.fixture
def runner():
    return HandRunner()


@pytest.fixture
def watch():
    return Stopwatch()


@pytest.fixture
def worker(channel, runner, watch):
    return Worker(
        channel,
        runner,
        ["fetch", "default"],
        4,
        name="w",
        clock=SteppingClock(),
        beat_seconds=BEAT,
        endpoints=["a.b", "c.d"],
        seconds=watch,
    )


@pytest.fixture
def after(channel, worker, watch):
    """Let time pass, with everything confirmed that was said before."""

    def after(seconds):
        channel.confirm_all()
        worker.turn()
        watch.now += seconds
        worker.turn()

    return after


def running(channel, runner, worker, watch, tag=1, path="some"):
    channel.deliver(tag, order("any", _path=path))
    worker.turn()
    task = runner.running[-1]
    task.pulse.begun = watch.now
    return task


def beats(channel):
    return [msgspec.json.decode(message.body, type=Beat) for message in channel.published]


# --- of the worker -------------------------------------------------------------------------------


def test_a_worker_says_hello_with_all_that_the_fleet_must_know(channel, worker):
    worker.turn()

    (hello,) = channel.announced()
    assert hello == Hello(
        worker="w",
        host=socket.gethostname(),
        pid=os.getpid(),
        endpoints=("a.b", "c.d"),
        queues=("fetch", "default"),
        slots=4,
        beat_seconds=BEAT,
    )
    assert (channel.notices[0].exchange, channel.notices[0].routing_key) == (FLEET, "worker.hello")


def test_a_worker_beats_every_interval_and_says_how_busy_it_is(
    channel, runner, worker, watch, after
):
    running(channel, runner, worker, watch)

    after(BEAT - 1)
    assert len(channel.notices) == 1
    after(1)
    after(BEAT)

    assert [type(said) for said in channel.announced()] == [Hello, WorkerBeat, WorkerBeat]
    assert [said.busy for said in channel.announced()] == [0, 1, 1]
    assert channel.notices[1].routing_key == "worker.beat"
    assert len({notice.message_id for notice in channel.notices}) == 3


def test_no_more_than_the_slots_are_said_to_be_busy(channel, runner, worker, watch, after):
    runner.slots = 8
    for tag in range(1, 8):
        running(channel, runner, worker, watch, tag, f"s{tag}")

    after(BEAT)

    assert channel.announced()[-1].busy == 4


def test_a_worker_beats_at_once_when_a_reactor_calls(channel, worker, watch, after):
    worker.turn()
    after(1)

    channel.control(CallWorkers())
    worker.turn()
    worker.turn()

    assert [type(said) for said in channel.announced()] == [Hello, WorkerBeat]


def test_a_worker_that_drains_says_goodbye_and_nothing_after_it(channel, worker, after):
    worker.turn()

    worker.drain()
    channel.control(CallWorkers())
    after(BEAT)
    after(BEAT)

    assert [type(said) for said in channel.announced()] == [Hello, WorkerBye]


# --- of an attempt ---------------------------------------------------------------------------


def test_an_attempt_beats_once_it_has_run_for_the_interval_and_then_each_interval(
    channel, runner, worker, watch, after
):
    worker.turn()
    after(3)
    running(channel, runner, worker, watch)

    after(BEAT - 0.5)
    assert beats(channel) == []
    after(0.5)
    assert len(beats(channel)) == 1
    after(BEAT)

    first, second = beats(channel)
    run = order("any")
    assert (first.job, first.step, first.attempt) == (run.job, run.step, run.attempt)
    assert (first.token, first.worker) == (run.token, "w")
    assert first.at < second.at
    assert {message.queue for message in channel.published} == {results_queue()}
    assert len({message.message_id for message in channel.published}) == 2


def test_a_beat_carries_what_the_endpoint_last_said(channel, runner, worker, watch, after):
    task = running(channel, runner, worker, watch)
    task.pulse.share, task.pulse.note = 0.25, "a quarter"

    after(BEAT)

    (beat,) = beats(channel)
    assert (beat.progress, beat.note) == (0.25, "a quarter")


def test_short_attempts_and_those_not_begun_do_not_beat(channel, runner, worker, watch, after):
    task = running(channel, runner, worker, watch)
    task.pulse.begun = None
    channel.deliver(2, order("any", _path="short"))
    worker.turn()
    runner.running[-1].pulse.begun = watch.now
    runner.finish(runner.running[-1])

    after(BEAT)
    after(BEAT)

    assert all(message.message_id.endswith("/report") for message in channel.published)


def test_a_cancelled_attempt_does_not_beat(channel, runner, worker, watch, after):
    task = running(channel, runner, worker, watch)
    run = task.order
    channel.control(CancelStep(job=run.job, step=run.step, attempt=run.attempt))
    worker.turn()

    after(BEAT)

    assert beats(channel) == []


def test_attempts_go_on_beating_while_the_worker_drains(channel, runner, worker, watch, after):
    running(channel, runner, worker, watch)
    worker.drain()

    after(BEAT)

    assert len(beats(channel)) == 1


def test_signs_of_life_do_not_pile_up_while_the_broker_confirms_nothing(
    channel, runner, worker, watch
):
    running(channel, runner, worker, watch)
    for _ in range(10):
        watch.now += BEAT
        worker.turn()
    assert len(channel.notices) == 1

    channel.confirm_all()
    worker.turn()
    worker.turn()

    assert len(channel.notices) == 2
    assert len(beats(channel)) == 1


def test_attempts_begun_shortly_after_each_other_all_beat(channel, runner, worker, watch, after):
    for tag in range(1, 4):
        running(channel, runner, worker, watch, tag, f"s{tag}")
        watch.now += 0.001

    after(BEAT - 0.003)
    for _ in range(6):
        after(0.001)

    assert len({beat.step for beat in beats(channel)}) == 3
