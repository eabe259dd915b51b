"""Worker daemons on a real broker: whatever happens to them, no order is lost."""

from __future__ import annotations

import json
import os
import signal
import socket
from pathlib import Path

import msgspec
import pytest
from support.controller_side import ControllerSide
from support.daemons import Daemon, Daemons
from support.endpoints_waiting import alive, content, wait_until
from support.log_checks import eventually
from support.relay import Relay

from warrener.domain.messages import RunStep, WorkerBeat, WorkerBye, WorkerHello
from warrener.domain.topology import QUARANTINE

TESTS = Path(__file__).parents[1]
MODES = pytest.mark.parametrize("mode", ["--processes", "--threads", "--asyncio"])


def start(daemons: Daemons, *more: object) -> Daemon:
    return daemons.worker("--endpoints", "support.endpoints_basic", *more)


def begun(side: ControllerSide, endpoint: str, file: Path) -> tuple[RunStep, int]:
    """Send an order, wait until its endpoint has begun, and return its process."""
    (run,) = side.send(endpoint, file.name, file=str(file))
    wait_until(lambda: bool(content(file)))
    return run, int(content(file)[0])


def logged(daemon: Daemon, event: str) -> dict[str, object]:
    """Wait for an event in the log and return it."""

    def find() -> dict[str, object] | None:
        lines = [json.loads(line) for line in daemon.log.splitlines() if line.startswith("{")]
        return next((line for line in lines if line["event"] == event), None)

    return eventually(find, event)


def code(daemon: Daemon) -> int:
    """Wait for the end of a daemon that was asked to end; return its exit code."""
    eventually(lambda: not daemon.program.running, "the end")
    return daemon.program.guard.returncode


@MODES
def test_orders_are_performed_and_acknowledged(
    side: ControllerSide, daemons: Daemons, mode: str
) -> None:
    daemon = start(daemons, "--slots", 4, mode)
    runs = [side.send("basic.double", f"s{n}", number=n)[0] for n in range(50)]

    found = side.results(50)

    assert found == {run.step: 2 * n for n, run in enumerate(runs)}
    assert daemon.stop() == 0
    assert side.waiting(0) == []
    assert len(side.reports) == 50


def test_a_worker_announces_itself_and_says_goodbye(side: ControllerSide, daemons: Daemons) -> None:
    daemon = start(daemons, "--threads", "--slots", 3, "--beat-seconds", 0.1, "--name", "w-1")
    side.until(lambda: len(side.fleet) > 2, "beats")

    assert daemon.stop() == 0
    side.until(lambda: isinstance(side.fleet[-1], WorkerBye), "goodbye")

    assert isinstance(side.fleet[0], WorkerHello)
    assert {type(said) for said in side.fleet[1:-1]} == {WorkerBeat}
    assert {said.worker for said in side.fleet} == {"w-1"}
    hello = side.fleet[0]
    assert (hello.pid, hello.slots, hello.queues) == (daemon.pid, 3, ("default",))
    assert "basic.double" in hello.endpoints


@MODES
def test_long_steps_beat_with_their_progress_and_end_when_they_are_cancelled(
    side: ControllerSide, daemons: Daemons, tmp_path: Path, mode: str
) -> None:
    start(daemons, "--slots", 1, "--beat-seconds", 0.1, mode)
    run, _ = begun(side, "basic.hold_until_cancelled", tmp_path / "pid")

    side.until(lambda: any(beat.progress is not None for beat in side.beats), "progress")
    assert (side.beats[-1].progress, side.beats[-1].note) == (0.25, "a quarter")
    assert {(beat.step, beat.token) for beat in side.beats} == {(run.step, run.token)}
    side.cancel(run)
    (after,) = side.send("basic.double", "after", number=4)  # gets the slot

    assert side.results(1) == {after.step: 8}


def test_a_cancelled_coroutine_is_interrupted(
    side: ControllerSide, daemons: Daemons, tmp_path: Path
) -> None:
    start(daemons, "--slots", 1, "--asyncio")
    run, _ = begun(side, "basic.wait_for_ever", tmp_path / "pid")

    side.cancel(run)
    (after,) = side.send("basic.double", "after", number=4)

    assert side.results(1) == {after.step: 8}
    assert content(tmp_path / "pid") == ["cancelled"]


def test_an_order_cancelled_before_it_comes_is_dropped(
    side: ControllerSide, daemons: Daemons, tmp_path: Path
) -> None:
    start(daemons, "--slots", 1, "--threads", "--log", "json,debug").logged("worker.started")
    run, _ = begun(side, "basic.hold_until_cancelled", tmp_path / "pid")
    (waiting,) = side.send("basic.double", "waiting", number=1)
    side.cancel(waiting)
    side.cancel(run)

    (after,) = side.send("basic.double", "after", number=4)

    assert side.results(1) == {after.step: 8}


@MODES
def test_sigterm_lets_running_steps_end_and_gives_back_the_others(
    side: ControllerSide, daemons: Daemons, tmp_path: Path, mode: str
) -> None:
    daemon = start(daemons, "--slots", 1, mode)
    run, _ = begun(side, "basic.hold_for_file", tmp_path / "pid")
    side.send("basic.hold_for_file", "a", "b", file=str(tmp_path / "others"))

    os.kill(daemon.pid, signal.SIGTERM)
    logged(daemon, "worker.draining")
    (tmp_path / "pid.go").touch()
    found = side.results(1)

    assert code(daemon) == 0
    assert found == {run.step: "held"}
    assert side.waiting(2) == ["a", "b"]
    assert not (tmp_path / "others").exists()


@pytest.mark.parametrize("mode", ["--processes", "--threads"])
def test_what_does_not_end_in_time_goes_back_and_is_named(
    side: ControllerSide, daemons: Daemons, tmp_path: Path, mode: str
) -> None:
    daemon = start(daemons, "--slots", 1, "--drain-seconds", 0.3, mode)
    run, pid = begun(side, "basic.touch_and_hang", tmp_path / "pid")

    assert daemon.stop() == 0

    assert logged(daemon, "worker.stopped")["given_back"] == [f"{run.job}/{run.path}"]
    assert not alive(pid)
    assert side.waiting(1) == [run.path]
    assert side.reports == []


@pytest.mark.parametrize("mode", ["--processes", "--threads"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_stops_at_once_and_the_order_goes_back(
    side: ControllerSide, daemons: Daemons, tmp_path: Path, mode: str, number: signal.Signals
) -> None:
    daemon = start(daemons, "--slots", 1, mode)
    run, pid = begun(side, "basic.touch_and_hang", tmp_path / "pid")
    os.kill(daemon.pid, number)
    logged(daemon, "worker.draining")

    os.kill(daemon.pid, number)

    assert code(daemon) == 130
    wait_until(lambda: not alive(pid))
    assert side.waiting(1) == [run.path]


@MODES
def test_the_order_of_a_killed_worker_goes_to_another(
    side: ControllerSide, daemons: Daemons, tmp_path: Path, mode: str
) -> None:
    first = start(daemons, "--slots", 1, mode)
    run, pid = begun(side, "basic.hold_for_file", tmp_path / "pid")

    first.kill()
    (tmp_path / "pid").unlink()
    start(daemons, "--slots", 1, mode)
    wait_until(lambda: bool(content(tmp_path / "pid")) and content(tmp_path / "pid") != [str(pid)])
    (tmp_path / "pid.go").touch()

    assert side.results(1) == {run.step: "held"}


def test_a_killed_child_costs_its_own_attempt_only(
    side: ControllerSide, daemons: Daemons, tmp_path: Path
) -> None:
    daemon = start(daemons, "--slots", 2)
    run, pid = begun(side, "basic.touch_and_hang", tmp_path / "pid")

    os.kill(pid, signal.SIGKILL)
    (other,) = side.send("basic.double", "other", number=4)

    assert side.results(2) == {run.step: "worker-lost", other.step: 8}
    assert daemon.program.running


def test_children_are_replaced_and_no_task_is_lost(side: ControllerSide, daemons: Daemons) -> None:
    start(daemons, "--slots", 2, "--max-tasks-per-child", 5, "--memory-max", "300M")
    side.send("basic.where", *[f"s{n}" for n in range(40)])
    side.results(40)

    pids = [msgspec.json.decode(report.result)["pid"] for report in side.reports]
    assert len(set(side.report_ids)) == 40
    assert max(map(pids.count, pids)) <= 5


def test_a_step_that_takes_too_much_memory_is_ended(side: ControllerSide, daemons: Daemons) -> None:
    start(daemons, "--slots", 1, "--memory-max", "100M")
    side.send("basic.keep_and_hang", "big", mib=300)

    side.results(1)

    assert side.reports[0].error.code == "worker-lost"
    assert "memory" in side.reports[0].error.message


def test_an_attempt_that_is_sent_twice_is_answered_twice_with_the_same_report(
    side: ControllerSide, daemons: Daemons
) -> None:
    start(daemons, "--slots", 1, "--threads")
    (run,) = side.send("basic.where", "once")
    side.results(1)

    side.send_again(run)
    side.results(2)

    assert side.reports[0] == side.reports[1]
    assert side.report_ids[0] == side.report_ids[1]


@MODES
def test_a_step_that_runs_while_the_connection_is_lost_is_reported_and_runs_once(
    side: ControllerSide, daemons: Daemons, broker_url: str, tmp_path: Path, mode: str
) -> None:
    with Relay(broker_url) as relay:
        daemon = start(daemons, "--slots", 1, mode, "--broker", relay.url)
        run, _ = begun(side, "basic.hold_for_file", tmp_path / "pid")
        (tmp_path / "pid").write_text("once")
        before = relay.connections

        relay.cut()
        eventually(lambda: relay.connections > before, "new connections")
        (tmp_path / "pid.go").touch()
        assert side.results(1) == {run.step: "held"}

        (after,) = side.send("basic.double", "after", number=2)  # comes behind what comes again
        side.until(lambda: side.reports[-1].step == after.step, "the next report")
        assert daemon.stop() == 0
    assert side.waiting(0) == []
    assert content(tmp_path / "pid") == ["once"]


def test_systemd_is_told_that_a_worker_is_ready_alive_and_stopping(
    broker_url: str, tmp_path: Path
) -> None:
    variables = {
        "WARRENER_BROKER_URL": broker_url,
        "NOTIFY_SOCKET": f"{tmp_path}/notify",
        "WATCHDOG_USEC": "200000",
    }
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd,
        Daemons(tmp_path, variables) as daemons,
    ):
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(20)
        daemon = start(daemons, "--threads")

        assert systemd.recv(100) == b"READY=1"
        assert systemd.recv(100) == b"WATCHDOG=1"
        assert daemon.stop() == 0
        said = [systemd.recv(100)]
        while said[-1] == b"WATCHDOG=1":
            said.append(systemd.recv(100))
        assert said[-1] == b"STOPPING=1"


def test_poisonous_input_goes_to_the_quarantine_and_the_worker_goes_on(
    side: ControllerSide, daemons: Daemons
) -> None:
    daemon = start(daemons, "--slots", 1, "--threads")
    (good,) = side.send("basic.double", "before", number=1)
    order = msgspec.json.decode(msgspec.json.encode(good))
    bad = [
        b"",
        b"\xff" * 100,
        b"[" * 100_000,
        msgspec.json.encode({**order, "v": 99}),
        msgspec.json.encode({**order, "attempt": 0}),
        msgspec.json.encode({**order, "reply_to": "warrener.inbox.0"}),
    ]
    side.send_bytes(*bad)
    (after,) = side.send("basic.double", "after", number=2)

    assert side.results(2) == {good.step: 2, after.step: 4}
    assert daemon.stop() == 0
    channel = side.broker.channel()
    channel.consume(QUARANTINE, 100)
    kept: list[bytes] = []

    def all_kept() -> bool:
        kept.extend(delivery.body for delivery in channel.poll(100, 0.1).deliveries)
        return len(kept) == len(bad)

    eventually(all_kept, "everything in the quarantine")
    assert sorted(kept) == sorted(bad)
    channel.close()
