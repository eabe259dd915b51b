"""Child processes are replaced by policy, told of cancellations, and heard while they work."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from support.endpoints_orders import BASIC, SteppingClock, order, result_of, task
from support.endpoints_waiting import PATIENCE_SECONDS, alive, content, reports, wait_until

from warrener.domain.errors import UsageError
from warrener.services import worker_crew, worker_processes
from warrener.services.worker_crew import Policy
from warrener.services.worker_processes import ProcessRunner

TESTS = Path(__file__).parents[1]


@pytest.fixture
def make():
    made = []

    def make(processes=1, modules=(BASIC,), base=TESTS, **policy):
        runner = ProcessRunner(
            processes, modules, SteppingClock(), base=base, policy=Policy(**policy)
        )
        made.append(runner)
        return runner

    yield make
    for runner in made:
        runner.close()


def where(runner, tag):
    runner.submit(task(tag, order("basic.where", _path=f"where-{tag}")))
    return result_of(reports(runner, 1)[tag])["pid"]


def begun(runner, run, file, tag=1):
    """Submit a task and wait until its endpoint has written to the file."""
    given = task(tag, run)
    runner.submit(given)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not content(file):
        assert time.monotonic() < deadline, "it did not begin"
        assert not runner.finished(0.01)
    return given


def served(runner, condition):
    """Let the runner work until a condition holds; nothing may come back meanwhile."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        assert not runner.finished(0.01)


# --- replacing -------------------------------------------------------------------------------


def test_a_process_ends_after_its_number_of_tasks_and_no_task_is_lost(make):
    runner = make(tasks_max=3)

    pids = [where(runner, tag) for tag in range(9)]

    assert [pids.count(pid) for pid in dict.fromkeys(pids)] == [3, 3, 3]
    served(runner, lambda: not any(map(alive, pids)))


def test_many_tasks_over_processes_of_few_tasks_all_come_back_once(make):
    runner = make(2, tasks_max=4)
    waiting = [task(tag, order("basic.double", _path=f"s{tag}", number=tag)) for tag in range(40)]
    found = {}
    deadline = time.monotonic() + PATIENCE_SECONDS

    while len(found) < 40 and time.monotonic() < deadline:
        while waiting and runner.room():
            runner.submit(waiting.pop())
        for finished in runner.finished(0.05):
            assert finished.task.tag not in found
            found[finished.task.tag] = finished

    assert sorted(found) == list(range(40))


def test_a_successor_is_ready_before_the_last_task_is_given(make):
    runner = make(tasks_max=3)
    first = where(runner, 1)
    served(runner, lambda: len([c for c in runner.crew.children if c.ready]) == 1)

    where(runner, 2)
    runner.submit(task(3, order("basic.where")))
    started = [child.pid for child in runner.crew.children]

    assert len(started) == 2
    assert started[0] == first
    reports(runner, 1)


def test_no_more_tasks_run_at_once_while_a_successor_waits(make, tmp_path):
    runner = make(tasks_max=1)
    begun(runner, order("basic.hold_until_cancelled", file=str(tmp_path / "pid")), tmp_path / "pid")
    served(runner, lambda: len([c for c in runner.crew.children if c.ready]) == 2)

    runner.submit(task(2, order("basic.where")))

    assert not runner.finished(0.1)
    assert [len(child.tasks) for child in runner.crew.children] == [1, 0]


def test_a_process_over_its_memory_ceiling_is_replaced_after_the_task(make):
    runner = make(memory_bytes_max=200 * 1024 * 1024)
    first = where(runner, 1)

    runner.submit(task(2, order("basic.keep", mib=220)))
    report = reports(runner, 1)[2]

    assert result_of(report) == first
    served(runner, lambda: first not in [child.pid for child in runner.crew.children])
    assert where(runner, 3) != first


def test_a_process_looks_after_its_own_memory_where_the_system_does_not_tell(make, monkeypatch):
    for module in (worker_crew, worker_processes):
        monkeypatch.setattr(module, "MEASURABLE", False)
    runner = make(memory_bytes_max=200 * 1024 * 1024)
    first = where(runner, 1)

    runner.submit(task(2, order("basic.keep", mib=220)))
    reports(runner, 1)

    served(runner, lambda: first not in [child.pid for child in runner.crew.children])
    assert where(runner, 3) != first


def test_a_process_far_over_its_memory_ceiling_is_killed_while_it_runs(make):
    runner = make(memory_bytes_max=100 * 1024 * 1024)

    runner.submit(task(1, order("basic.keep_and_hang", mib=300)))
    report = reports(runner, 1)[1]

    assert report.error.code == "worker-lost"
    assert "was killed for its memory" in report.error.message
    assert "100 allowed" in report.error.message
    assert where(runner, 2)


# --- cancelling ------------------------------------------------------------------------------


def test_an_endpoint_in_a_process_sees_that_it_is_cancelled(make, tmp_path):
    runner = make()
    file = tmp_path / "pid"
    given = begun(runner, order("basic.hold_until_cancelled", file=str(file)), file)

    runner.cancel(given)

    assert result_of(reports(runner, 1)[1]) == "stopped by myself"
    assert where(runner, 2) == int(content(file)[0])


def test_a_process_whose_cancelled_endpoint_goes_on_is_killed_after_the_grace_period(
    make, tmp_path
):
    runner = make(grace_seconds=0.2)
    file = tmp_path / "pid"
    given = begun(runner, order("basic.touch_and_hang", file=str(file)), file)
    began = time.monotonic()

    runner.cancel(given)
    report = reports(runner, 1)[1]

    assert time.monotonic() - began >= 0.2
    assert "0.2 s after the step was cancelled" in report.error.message
    assert where(runner, 2) != int(content(file)[0])
    wait_until(lambda: not alive(int(content(file)[0])))


def test_a_cancelled_task_that_waits_for_a_process_comes_back_unbegun(make, tmp_path):
    runner = make()
    file = tmp_path / "pid"
    begun(runner, order("basic.touch_and_hang", file=str(file)), file)
    waiting = task(2, order("basic.where", _path="waiting"))
    runner.submit(waiting)

    runner.cancel(waiting)

    assert reports(runner, 1)[2].error.code == "cancelled"
    assert runner.busy() == 1


def test_a_cancelled_task_behind_another_in_a_process_is_not_begun(make, tmp_path):
    runner = make()
    runner._seconds["basic.hold_until_cancelled"] = 0.0  # as short, so that one queues behind it
    where(runner, 1)
    first = task(2, order("basic.hold_until_cancelled", file=str(tmp_path / "first")))
    behind = task(
        3, order("basic.hold_until_cancelled", _path="behind", file=str(tmp_path / "second"))
    )
    runner.submit(first)
    runner.submit(behind)
    assert [len(child.tasks) for child in runner.crew.children] == [2]

    runner.cancel(behind)
    runner.cancel(first)
    found = reports(runner, 2)

    assert found[3].error.code == "cancelled"
    assert not (tmp_path / "second").exists()


def test_tasks_that_no_process_has_can_be_withdrawn(make, tmp_path):
    runner = make()
    file = tmp_path / "pid"
    begun(runner, order("basic.touch_and_hang", file=str(file)), file)
    waiting = task(2, order("basic.where", _path="waiting"))
    runner.submit(waiting)

    assert list(runner.withdraw()) == [waiting]
    assert runner.busy() == 1


# --- being heard -----------------------------------------------------------------------------


def test_progress_of_an_endpoint_in_a_process_reaches_the_worker(make, tmp_path):
    runner = make(pulse_seconds=0.02)
    file = tmp_path / "pid"

    given = begun(runner, order("basic.hold_until_cancelled", file=str(file)), file)

    served(runner, lambda: given.pulse.share is not None)
    assert (given.pulse.share, given.pulse.note) == (0.25, "a quarter")
    assert given.pulse.begun <= time.monotonic()


def test_a_runner_that_is_started_knows_its_endpoints_and_their_queues(make):
    queues = make().start()

    assert queues["basic.double"] == "default"


def test_a_module_that_cannot_be_loaded_is_told_at_the_start(make, tmp_path):
    (tmp_path / "broken.py").write_text("\nimport nowhere_to_be_found\n")

    with pytest.raises(UsageError, match=r"broken\.py:2: ModuleNotFoundError: .*nowhere"):
        make(modules=["broken.py"], base=tmp_path).start()
