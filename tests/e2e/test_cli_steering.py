"""Steering jobs of a store from another process, while a run works on them and while none does."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from support.cli import ENDPOINTS, PROGRAM, Cli
from support.held_job import HOLD
from support.log_checks import eventually

from warrener.adapters.clock import SystemClock
from warrener.services.wiring import open_leases

STORE = ("--store", "sqlite:///jobs.db")
ASKING = """

from warrener import UserActionRequired, current_step

FORM = {
    "type": "object",
    "required": ["token"],
    "properties": {"token": {"type": "string"}, "days": {"type": "integer", "default": 7}},
}


@endpoint("t.ask")
def ask(cause: str) -> dict[str, object]:
    answer = current_step().answer
    if answer is None:
        raise UserActionRequired("reconnect", cause=cause, message="Reconnect the page", form=FORM)
    return answer


@endpoint("t.slow")
def slow(value: int) -> int:
    time.sleep(0.005)
    return value


@endpoint("t.needs")
def needs(file: str) -> str:
    if not Path(file).exists():
        raise PermanentError("absent", file)
    return "there"
"""
ASK = """
job: ask
endpoints: [./endpoints.py]
steps:
  page: {call: t.ask, with: {cause: "facebook:ada"}}
result: "${{ steps.page.result }}"
"""
NEEDS = """
job: needs
endpoints: [./endpoints.py]
params: {type: object, properties: {file: {type: string}}}
steps:
  before: {call: t.add, with: {a: 1, b: 1}}
  file: {call: t.needs, with: {file: "${{ params.file }}"}, after: [before]}
result: "${{ steps.file.result }}"
"""


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    made = Cli(tmp_path)
    made.write(hold_yaml=HOLD, ask_yaml=ASK, needs_yaml=NEEDS, endpoints_py=ENDPOINTS + ASKING)
    return made


def hold(cli: Cli) -> tuple[str, ...]:
    return ("run", "hold.yaml", "--param", f"folder={cli.folder}", "--json", *STORE)


def only_job(cli: Cli) -> str:
    (line,) = cli("jobs", "--json", *STORE).lines
    job: str = line["job"]
    return job


def begun(cli: Cli, process: subprocess.Popen[bytes]) -> str:
    """Wait until the step that holds has begun, and return the job."""
    eventually(lambda: (cli.folder / "begun").exists() or process.poll() is not None)
    assert process.poll() is None, process.communicate()
    return only_job(cli)


def end(process: subprocess.Popen[bytes]) -> tuple[int, Any]:
    """Wait for the end of a run; return its exit code and its document."""
    out, err = process.communicate(timeout=60)
    assert out, err
    return process.returncode, json.loads(out)


def types(cli: Cli, job: str) -> list[str]:
    return [line["type"] for line in cli("history", job, "--json", *STORE).lines]


def test_a_run_hears_that_its_job_was_cancelled_and_stops_what_runs(cli: Cli) -> None:
    with cli.started(*hold(cli)) as process:
        job = begun(cli, process)

        done = cli("cancel", job[:8], "--reason", "no need", "--by", "ada", "--json", *STORE)
        code, outcome = end(process)

    assert done.json == {"command": "cancel", "job": job}
    assert (code, outcome["state"]) == (1, "cancelled")
    (asked,) = [
        line["data"]
        for line in cli("history", job, "--json", *STORE).lines
        if line["type"].startswith("JobCancelling")
    ]
    assert asked == {"by": "ada", "reason": "no need"}
    assert cli("cancel", job, *STORE).code == 0
    assert cli("pause", job, "--json", *STORE).code == 2


def test_a_paused_run_ends_when_its_steps_have_and_goes_on_once_it_is_resumed(cli: Cli) -> None:
    with cli.started(*hold(cli)) as process:
        job = begun(cli, process)
        assert cli("pause", job, *STORE).code == 0
        (cli.folder / "go").touch()
        code, outcome = end(process)

    assert (code, outcome["state"]) == (3, "paused")
    assert [awaited["kind"] for awaited in outcome["waiting"]] == ["paused"]
    assert cli("show", job, "--json", *STORE).json["steps"]["held"]["state"] == "succeeded"
    resumed = cli("resume", job, *STORE)
    assert resumed.code == 0
    assert f"warrener run --resume {job} --store sqlite:///jobs.db" in resumed.err
    done = cli("run", "--resume", job, "--json", *STORE)
    assert (done.code, done.json["result"]) == (0, 2)


def test_a_run_that_only_people_can_move_says_what_to_do_and_goes_on_with_the_answer(
    cli: Cli,
) -> None:
    run = cli("run", "ask.yaml", *STORE)
    job = only_job(cli)
    (line,) = cli("actions", "--json", *STORE).lines

    assert run.code == 3
    assert f"reconnect: warrener answer {line['request']} --store sqlite:///jobs.db" in run.out
    assert f"warrener run --resume {job} --store sqlite:///jobs.db" in run.out
    assert (line["action"], line["cause"]) == ("reconnect", "facebook:ada")
    assert line["message"] == "Reconnect the page"

    for wrong in ("{}", '{"token": 1}', "{"):
        refused = cli("answer", "facebook:ada", "--data", wrong, "--json", *STORE)
        assert (refused.code, refused.out) == (2, "")
    assert cli("answer", "reconnect", *STORE).code == 2
    answered = cli("answer", "reconnect", "--data", '{"token": "t"}', *STORE)
    assert answered.code == 0
    assert f"warrener run --resume {job}" in answered.err
    assert cli("actions", "--json", *STORE).out == ""
    assert cli("answer", line["request"], "--data", '{"token": "t"}', *STORE).code == 2

    done = cli("run", "--resume", job, "--json", *STORE)
    assert (done.code, done.json["result"]) == (0, {"token": "t"})


@pytest.mark.parametrize("way", ["signal", "answer"])
def test_a_wait_with_a_form_ends_by_a_signal_or_by_an_answer(cli: Cli, way: str) -> None:
    cli.write(
        wait_yaml="""
job: wait
steps:
  approval:
    wait: {for: approval, form: {type: object, required: [ok], properties: {ok: {type: boolean}}}}
  note: {wait: {for: note}}
result: ["${{ steps.approval.result.ok }}", "${{ steps.note.result }}"]
"""
    )
    run = cli("run", "wait.yaml", *STORE)
    job = only_job(cli)
    assert run.code == 3
    assert f"signal note: warrener signal {job} note --data JSON" in run.out
    assert "approval: warrener answer" in run.out

    data = ("--data", '{"ok": true}', *STORE)
    name = (job, "approval") if way == "signal" else ("approval",)
    assert cli(way, *name, "--data", '{"ok": 1}', *STORE).code == 2
    assert cli(way, *name, *data).code == 0
    assert cli("signal", job, "notes", *STORE).code == 2
    cli.write(note_json='"seen"')
    assert cli("signal", job, "note", "--data", "@note.json", *STORE).code == 0

    done = cli("run", "--resume", job, "--json", *STORE)
    assert (done.code, done.json["result"]) == (0, [True, "seen"])


def test_with_json_a_run_that_waits_for_people_tells_what_it_waits_for(cli: Cli) -> None:
    run = cli("run", "ask.yaml", "--json", *STORE)
    (line,) = cli("actions", "--json", *STORE).lines

    assert run.code == 3
    assert run.json["state"] == "running"
    (awaited,) = run.json["waiting"]
    assert (awaited["kind"], awaited["name"], awaited["path"]) == (
        "user-action",
        "reconnect",
        "page",
    )
    assert awaited["request"] == line["request"]


def test_a_run_may_wait_for_the_user(cli: Cli) -> None:
    with cli.started("run", "ask.yaml", "--wait-for-user", "--json", *STORE) as process:
        eventually(lambda: cli("actions", "--json", *STORE).out, "the request")
        assert cli("answer", "reconnect", "--data", '{"token": "t"}', *STORE).code == 0

        code, outcome = end(process)

    assert (code, outcome["result"]) == (0, {"token": "t"})


def test_nobody_can_be_waited_for_in_memory(cli: Cli) -> None:
    memory = ("--store", "sqlite:///:memory:")

    assert cli("run", "ask.yaml", "--wait-for-user", *memory).code == 2
    run = cli("run", "ask.yaml", *memory)
    assert run.code == 3
    assert "nothing is kept" in run.out
    assert "--resume" not in run.out


def test_a_form_is_asked_for_on_a_terminal(cli: Cli) -> None:
    assert cli("run", "ask.yaml", "--json", *STORE).code == 3
    leader, follower = pty.openpty()
    environment = {**os.environ, "HOME": str(cli.folder / "home")}
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, "answer", "reconnect", *STORE],
        cwd=cli.folder,
        env=environment,
        stdin=follower,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    os.write(leader, b"\nt-1\nseven\n\n")  # a required field left out, a number that is none
    out, err = process.communicate(timeout=60)
    os.close(leader)
    os.close(follower)

    assert process.returncode == 0, err
    said = err.decode()
    assert "Reconnect the page" in said
    assert "token (text): " in said
    assert said.count("days (whole number) [7]: ") == 2
    assert "is answered" in out.decode()
    done = cli("run", "--resume", only_job(cli), "--json", *STORE)
    assert done.json["result"]["days"] == 7


@pytest.mark.parametrize("step", ["", "/file"])
def test_what_failed_is_tried_again_once_it_can_work(cli: Cli, step: str) -> None:
    run = cli("run", "needs.yaml", "--param", f"file={cli.folder}/it", "--json", *STORE)
    job = run.json["job"]
    assert run.code == 1
    (cli.folder / "it").touch()

    assert cli("retry", f"{job}{step}", *STORE).code == 0
    done = cli("run", "--resume", job, "--json", *STORE)

    assert (done.code, done.json["result"]) == (0, "there")
    starts = [line for line in types(cli, job) if line.startswith("StepReleased")]
    assert len(starts) == 3  # the step before it did not run again


def test_a_step_and_what_follows_are_run_again(cli: Cli) -> None:
    (cli.folder / "it").touch()
    job = cli("run", "needs.yaml", "--param", f"file={cli.folder}/it", "--json", *STORE).json["job"]

    for _ in range(2):
        done = cli("rerun", job, "--from", "file", "--key", "k", "--json", *STORE)
        assert done.json == {"command": "rerun", "job": job, "step": "file", "key": "k"}
    assert cli("rerun", job, "--from", "absent", *STORE).code == 2

    again = cli("run", "--resume", job, "--json", *STORE)
    assert (again.code, again.json["result"]) == (0, "there")
    assert len([line for line in types(cli, job) if line.startswith("JobRerun")]) == 1


def test_a_job_that_is_not_done_by_its_deadline_fails(cli: Cli) -> None:
    with cli.started(*hold(cli), "--deadline", "1s") as process:
        code, outcome = end(process)

    assert code == 1
    assert outcome["error"]["code"] == "deadline-exceeded"


@pytest.mark.parametrize("deadline", ["soon", "-1s", "2026-13-01"])
def test_a_deadline_that_is_no_time_is_refused(cli: Cli, deadline: str) -> None:
    for command in (("run",), ("submit", "--broker", "amqp://localhost:1")):
        done = cli(*command, "ask.yaml", f"--deadline={deadline}", "--json")

        assert done.code == 2
        assert "the deadline cannot be" in done.error["message"]


def test_a_store_is_not_steered_beside_the_reactor_of_a_fleet(cli: Cli) -> None:
    assert cli("run", "ask.yaml", "--json", *STORE).code == 3
    leases = open_leases(f"sqlite:///{cli.folder}/jobs.db")
    now = SystemClock().now()
    assert leases.take(0, "r1", now, timedelta(minutes=5).total_seconds())

    done = cli("cancel", only_job(cli), "--json", *STORE)

    assert done.code == 2
    assert "the reactor r1 works on this store" in done.error["message"]
    assert "WARRENER_BROKER_URL" in done.error["message"]
    leases.close()


def test_a_store_that_is_not_there_is_not_made_by_steering_it(cli: Cli) -> None:
    for command in (("cancel", "ffff"), ("actions",), ("limits", "api", "--reset")):
        assert cli(*command, "--json", *STORE).code == 4
    assert not (cli.folder / "jobs.db").exists()


def test_a_busy_run_does_not_keep_people_from_steering_it(cli: Cli) -> None:
    cli.write(
        busy_yaml="""
job: busy
endpoints: [./endpoints.py]
steps:
  list: {call: t.list, with: {count: 20000}}
  items: {for_each: "${{ steps.list.result }}", call: t.slow, with: {value: "${{ item }}"}}
"""
    )
    run = ("run", "busy.yaml", "--runner", "threads", "--workers", 4, "--json", *STORE)
    with cli.started(*run) as process:
        eventually(lambda: cli("jobs", "--json", *STORE).out or process.poll() is not None)
        job = only_job(cli)
        began = time.monotonic()

        done = cli("cancel", job, "--json", *STORE)
        took = time.monotonic() - began
        code, outcome = end(process)

    assert done.code == 0, done.err
    assert (code, outcome["state"]) == (1, "cancelled")
    assert outcome["steps"]["cancelled"] > 0
    assert took < 30
