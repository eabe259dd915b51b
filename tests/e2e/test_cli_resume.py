"""Stopping a run, and going on with it."""

from __future__ import annotations

import json
import select
import signal
import subprocess
import time
from pathlib import Path

import pytest
from support.cli import ENDPOINTS, Cli

STORE = ("--store", "sqlite:///jobs.db")
HOLD = """
job: hold
endpoints: [./endpoints.py]
params: {type: object, properties: {folder: {type: string}}}
steps:
  first: {call: t.add, with: {a: 1, b: 1}}
  held: {call: t.hold, with: {folder: "${{ params.folder }}"}, after: [first]}
result: ["${{ steps.first.result }}", "${{ steps.held.result }}"]
"""


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    made = Cli(tmp_path)
    (tmp_path / "work").mkdir()
    (tmp_path / "work/hold.yaml").write_text(HOLD)
    (tmp_path / "work/endpoints.py").write_text(ENDPOINTS)
    return made


def run_of(cli: Cli) -> tuple[str, ...]:
    return ("run", "work/hold.yaml", "--param", f"folder={cli.folder}", "--json", *STORE)


def wait_for(file: Path, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 30
    while not file.exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        select.select([], [], [], 0.01)


def only_job(cli: Cli) -> str:
    (line,) = cli("jobs", "--json", *STORE).lines
    job: str = line["job"]
    return job


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_says_how_to_go_on_and_goes_on(
    cli: Cli, number: signal.Signals, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with cli.started(*run_of(cli)) as process:
        wait_for(cli.folder / "begun", process)
        process.send_signal(number)
        out, err = process.communicate(timeout=30)

    job = only_job(cli)
    assert process.returncode == 130
    assert out == b""
    told = json.loads(err)["error"]
    assert told["code"] == "interrupted"
    assert f"warrener run --resume {job} --store sqlite:///jobs.db" in told["message"]

    (cli.folder / "go").touch()
    elsewhere = Cli(tmp_path_factory.mktemp("elsewhere"))
    store = ("--store", f"sqlite:///{cli.folder}/jobs.db")
    done = elsewhere("run", "--resume", job[:8], "--json", *store)
    assert done.code == 0, done.err
    assert done.json["result"] == [2, "held"]


def test_a_killed_run_is_resumed_where_the_log_stands(cli: Cli) -> None:
    with cli.started(*run_of(cli)) as process:
        wait_for(cli.folder / "begun", process)
        process.kill()
    (cli.folder / "go").touch()

    done = cli("run", "--resume", only_job(cli), "--json", *STORE)

    assert done.json["result"] == [2, "held"], done.err
    history = cli("history", done.json["job"], "--json", *STORE).lines
    ends = [line["path"] for line in history if line["type"].startswith("StepSucceeded")]
    assert sorted(ends) == ["first", "held"]


def test_two_processes_do_not_work_on_the_same_job(cli: Cli) -> None:
    with cli.started(*run_of(cli)) as process:
        wait_for(cli.folder / "begun", process)
        job = only_job(cli)

        second = cli("run", "--resume", job, "--json", *STORE)

        assert second.code == 2
        assert "by another process" in second.error["message"]
        (cli.folder / "go").touch()
        out, _ = process.communicate(timeout=30)
        assert json.loads(out)["state"] == "succeeded"


def test_resuming_a_job_that_has_ended_tells_how_it_ended(cli: Cli) -> None:
    (cli.folder / "go").touch()
    first = cli(*run_of(cli)).json

    again = cli("run", "--resume", first["job"], "--json", *STORE)

    assert again.code == 0
    assert again.json == first


def test_resuming_an_unknown_job_is_wrong_usage(cli: Cli) -> None:
    (cli.folder / "go").touch()
    cli(*run_of(cli))

    done = cli("run", "--resume", "00000000-0000-0000-0000-000000000000", "--json", *STORE)

    assert done.code == 2
    assert done.error["code"] == "unknown-job"


def test_history_follows_a_running_job_to_its_end(cli: Cli) -> None:
    with cli.started(*run_of(cli)) as process:
        wait_for(cli.folder / "begun", process)
        with cli.started("history", only_job(cli), "--follow", "--json", *STORE) as follower:
            assert follower.stdout is not None
            first = json.loads(follower.stdout.readline())
            (cli.folder / "go").touch()
            rest = follower.stdout.read().splitlines()

    assert first["position"] >= 1
    assert json.loads(rest[-1])["type"].startswith("JobSucceeded")
    assert follower.wait(30) == 0


def test_a_run_in_memory_that_is_stopped_promises_nothing(cli: Cli) -> None:
    command = (*run_of(cli)[:-2], "--store", "sqlite:///:memory:")
    with cli.started(*command) as process:
        wait_for(cli.folder / "begun", process)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)

    assert process.returncode == 130
    assert "--resume" not in err.decode()
