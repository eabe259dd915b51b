"""Orders performed as coroutines on one event loop."""

from __future__ import annotations

import asyncio
import threading

import pytest
from support.endpoints_orders import SteppingClock, order, result_of, task
from support.endpoints_waiting import reports, wait_until

from warrener import current_step, endpoint
from warrener.services.endpoints import Registry
from warrener.services.worker_asyncio import AsyncioRunner


@pytest.fixture
def registry():
    return Registry()


@pytest.fixture
def runner(registry):
    made = AsyncioRunner(4, SteppingClock(), worker="w", registry=registry)
    yield made
    made.close()


def submit(runner, count, name="work"):
    tasks = [task(tag, order(name, _path=f"s{tag}")) for tag in range(count)]
    for each in tasks:
        runner.submit(each)
    return tasks


def test_coroutines_run_at_the_same_time_on_one_thread(runner, registry):
    together = []

    @endpoint("work", registry=registry)
    async def work() -> str:
        together.append(1)
        while len(together) < 4:
            await asyncio.sleep(0)
        return threading.current_thread().name

    submit(runner, 4)
    assert (runner.room(), runner.busy()) == (0, 4)
    found = reports(runner, 4)

    assert {result_of(report) for report in found.values()} == {"w-loop"}
    assert (runner.room(), runner.busy()) == (4, 0)


def test_plain_functions_run_in_threads_beside_the_loop(runner, registry):
    meeting = threading.Barrier(2, timeout=10)

    @endpoint("work", registry=registry)
    def work() -> str:
        meeting.wait()
        return threading.current_thread().name

    submit(runner, 2)

    assert {result_of(report) for report in reports(runner, 2).values()} == {"w-1", "w-2"}


def test_each_coroutine_has_its_own_step(runner, registry):
    @endpoint("work", registry=registry)
    async def work() -> str:
        await asyncio.sleep(0)
        return current_step().path

    submit(runner, 4)

    assert {tag: result_of(found) for tag, found in reports(runner, 4).items()} == {
        tag: f"s{tag}" for tag in range(4)
    }


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(3), KeyboardInterrupt()])
def test_whatever_a_coroutine_raises_is_reported_and_the_loop_goes_on(runner, registry, error):
    @endpoint("work", registry=registry)
    async def work(fail: bool = False) -> int:
        if fail:
            raise error
        return 1

    runner.submit(task(1, order("work", fail=True)))
    failed = reports(runner, 1)[1]
    runner.submit(task(2, order("work")))

    assert failed.error.type == type(error).__name__
    assert result_of(reports(runner, 1)[2]) == 1


def test_an_unknown_endpoint_is_a_failure(runner):
    submit(runner, 1, "nowhere")

    assert reports(runner, 1)[0].error.code == "unknown-endpoint"


def test_a_cancelled_coroutine_is_interrupted_where_it_waits(runner, registry):
    seen = []

    @endpoint("work", registry=registry)
    async def work() -> None:
        seen.append("begun")
        try:
            await asyncio.sleep(3600)
        finally:
            seen.append(current_step().cancelled)

    (given,) = submit(runner, 1)
    wait_until(lambda: seen == ["begun"])

    runner.cancel(given)

    assert reports(runner, 1)[0].error.type == "CancelledError"
    assert seen == ["begun", True]


def test_a_coroutine_that_is_cancelled_at_once_never_runs(runner, registry):
    seen = []

    @endpoint("work", registry=registry)
    async def work() -> None:
        seen.append("begun")

    @endpoint("block", registry=registry)
    async def block() -> None:
        gate.wait(10)

    gate = threading.Event()
    runner.submit(task(9, order("block", _path="block")))
    (given,) = submit(runner, 1)
    runner.cancel(given)
    gate.set()

    assert reports(runner, 2)[0].error.code == "cancelled"
    assert seen == []


def test_a_plain_function_sees_that_it_is_cancelled(runner, registry):
    begun = threading.Event()

    @endpoint("work", registry=registry)
    def work() -> str:
        begun.set()
        while not current_step().cancelled:
            threading.Event().wait(0.001)
        return "stopped by myself"

    (given,) = submit(runner, 1)
    assert begun.wait(10)

    runner.cancel(given)

    assert result_of(reports(runner, 1)[0]) == "stopped by myself"


def test_progress_shows_in_the_pulse_of_the_task(runner, registry):
    @endpoint("work", registry=registry)
    async def work() -> None:
        current_step().progress(0.5, "half")
        await asyncio.sleep(3600)

    (given,) = submit(runner, 1)

    wait_until(lambda: given.pulse.note == "half")
    assert given.pulse.share == 0.5
    assert given.pulse.begun is not None


def test_closing_interrupts_what_runs(registry):
    runner = AsyncioRunner(2, SteppingClock(), registry=registry)
    ended = threading.Event()

    @endpoint("work", registry=registry)
    async def work() -> None:
        try:
            begun.set()
            await asyncio.sleep(3600)
        finally:
            ended.set()

    begun = threading.Event()
    submit(runner, 1)
    assert begun.wait(10)

    runner.close()

    assert ended.is_set()
    assert not runner._thread.is_alive()
