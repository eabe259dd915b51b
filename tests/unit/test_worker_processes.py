"""Orders performed in child processes: nothing that an endpoint does harms the worker."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.endpoints_orders import BASIC, SteppingClock, order, result_of, task
from support.endpoints_waiting import alive, content, reports, wait_until

from warrener.domain.errors import UsageError
from warrener.services import worker_child
from warrener.services.worker_processes import ProcessRunner

TESTS = Path(__file__).parents[1]


@pytest.fixture
def runner():
    made = ProcessRunner(2, [BASIC], SteppingClock(), base=TESTS)
    yield made
    made.close()


def where(runner, tag=100):
    runner.submit(task(tag, order("basic.where")))
    return result_of(reports(runner, 1)[tag])


def test_an_endpoint_runs_in_another_process_with_its_own_step(runner):
    found = where(runner)

    assert found["pid"] != os.getpid()
    assert (found["path"], found["token"]) == ("some", "secret-token")


def test_an_endpoint_that_ends_its_process_costs_its_own_attempt_only(runner):
    runner.submit(task(1, order("basic.exit", code=7)))
    for tag in range(2, 4):
        runner.submit(task(tag, order("basic.double", number=tag)))

    found = reports(runner, 3)

    assert (found[1].outcome, found[1].error.code) == ("failed", "worker-lost")
    assert "exited with code 7 while it ran basic.exit" in found[1].error.message
    assert [result_of(found[tag]) for tag in (2, 3)] == [4, 6]


def test_an_order_behind_one_that_dies_goes_to_another_process():
    runner = ProcessRunner(1, [BASIC], SteppingClock(), base=TESTS)
    runner._seconds["basic.die"] = 0.0  # known as short, so that the next one queues behind it
    first = where(runner)["pid"]

    runner.submit(task(1, order("basic.die")))
    runner.submit(task(2, order("basic.where")))
    held = [len(child.tasks) for child in runner.crew.children]
    found = reports(runner, 2)

    assert held == [2]
    assert "killed by signal 9 (SIGKILL)" in found[1].error.message
    assert found[1].started_at < found[1].ended_at
    assert result_of(found[2])["pid"] != first
    runner.close()


def test_a_long_step_does_not_hold_up_a_short_one(runner, tmp_path):
    runner.submit(task(1, order("basic.touch_and_hang", file=str(tmp_path / "pid"))))
    for tag in range(2, 12):
        runner.submit(task(tag, order("basic.double", number=tag)))
        assert result_of(reports(runner, 1)[tag]) == 2 * tag

    assert runner.busy() == 1


def test_big_arguments_and_big_results_may_cross(runner):
    text = "x" * 8_000_000
    for tag in range(4):
        runner.submit(task(tag, order("basic.echo", value=text)))

    found = reports(runner, 4)

    assert all(result_of(found[tag]) == text for tag in range(4))


def test_what_endpoints_print_goes_to_the_error_output(runner, capfd):
    runner.submit(task(1, order("basic.print", text="hello from below")))

    assert result_of(reports(runner, 1)[1]) == "hello from below"
    out, error = capfd.readouterr()
    assert out == ""
    assert error.count("hello from below") == 2
    assert "written to descriptor 1" in error


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_are_the_business_of_the_worker_alone(runner, number):
    pid = where(runner)["pid"]

    os.kill(pid, number)

    assert where(runner)["pid"] == pid


def test_processes_are_started_only_as_they_are_needed(runner):
    where(runner, 1)
    where(runner, 2)

    assert len(runner.crew.children) == 1


def test_a_killed_process_is_replaced(runner):
    first = where(runner)["pid"]

    assert runner.kill_one(random.Random(1))
    wait_until(lambda: not alive(first))

    runner.submit(task(1, order("basic.double", number=3)))
    runner.submit(task(2, order("basic.double", number=3)))
    found = reports(runner, 2)
    assert {report.outcome for report in found.values()} <= {"succeeded", "failed"}
    assert where(runner)["pid"] != first


def test_no_process_no_kill():
    runner = ProcessRunner(1, [BASIC], SteppingClock(), base=TESTS)

    assert not runner.kill_one(random.Random(1))


def test_modules_that_cannot_be_loaded_give_one_clear_error(tmp_path):
    (tmp_path / "broken.py").write_text("\n1 / 0\n")
    runner = ProcessRunner(2, ["broken.py"], SteppingClock(), base=tmp_path)
    runner.submit(task(1, order("basic.where")))

    with pytest.raises(UsageError, match=r"broken\.py:2: ZeroDivisionError"):
        reports(runner, 1)

    runner.close()


def test_modules_that_end_the_process_do_not_make_an_endless_loop(tmp_path):
    (tmp_path / "deadly.py").write_text("import os\nos._exit(5)\n")
    runner = ProcessRunner(1, ["deadly.py"], SteppingClock(), base=tmp_path)
    runner.submit(task(1, order("basic.where")))

    with pytest.raises(UsageError, match=r"exited with code 5 while it loaded deadly\.py"):
        reports(runner, 1)

    runner.close()


def test_closing_ends_all_processes_also_those_that_hang(tmp_path):
    runner = ProcessRunner(2, [BASIC], SteppingClock(), base=TESTS)
    runner.submit(task(1, order("basic.touch_and_hang", file=str(tmp_path / "pid"))))
    runner.submit(task(2, order("basic.where")))
    idle = result_of(reports(runner, 1)[2])["pid"]
    wait_until(lambda: bool(content(tmp_path / "pid")))

    runner.close()

    assert not alive(idle)
    assert not alive(int(content(tmp_path / "pid")[0]))


_WORKER = """
import sys
from pathlib import Path
sys.path[:0] = [{tests!r}]
from support.endpoints_orders import *
from support.endpoints_waiting import reports
from warrener.services.worker_processes import ProcessRunner

runner = ProcessRunner(2, [BASIC], SteppingClock(), base=Path({tests!r}))
runner.submit(task(1, order("basic.touch_and_hang", file={file!r})))
runner.submit(task(2, order("basic.where")))
print(result_of(reports(runner, 1)[2])["pid"], flush=True)
runner.finished(600)
"""


def test_no_process_is_left_when_the_worker_is_killed(tmp_path):
    file = tmp_path / "pid"
    program = _WORKER.format(tests=str(TESTS), file=str(file))
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as worker:
        idle = int(worker.stdout.readline())
        wait_until(lambda: bool(content(file)))
        hanging = int(content(file)[0])
        assert alive(idle)
        assert alive(hanging)

        worker.kill()

    began = time.monotonic()
    wait_until(lambda: not alive(idle) and not alive(hanging))
    assert time.monotonic() - began < worker_child.ORPHAN_SECONDS + 5
