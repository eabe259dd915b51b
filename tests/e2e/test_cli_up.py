"""The whole service in one process, as users start it: submit, steer, stop, start again."""

from __future__ import annotations

import re

import httpx
import pytest
from support.cli import SUM_JOB, Cli
from support.daemons import Daemon, Daemons
from support.held_job import cli, daemons
from support.log_checks import eventually

__all__ = ["cli", "daemons"]

STORE = ("--store", "sqlite:///jobs.db")


def up(cli: Cli, daemons: Daemons, *more: object) -> tuple[Daemon, str]:
    """Start it; return it and its address, under which commands reach it from now on."""
    given = ("--port", 0, "--endpoints", "endpoints.py", "--workers", 2, "--log", "json,info")
    daemon = daemons.start("up", *given, *STORE, *more)
    daemon.logged("Warrener is at")
    found = re.search(r"Warrener is at (http://\S+?)/\n", daemon.log)
    assert found is not None, daemon.log
    cli.variables["WARRENER_API_URL"] = found[1]
    return daemon, found[1]


def test_jobs_are_submitted_and_end_with_the_same_answer_as_a_run(
    cli: Cli, daemons: Daemons
) -> None:
    _, url = up(cli, daemons)
    api = f"{url}/api/v1"
    csrf = httpx.get(f"{api}/session").json()["csrf"]
    body = {"definition": SUM_JOB, "params": {"a": 1}, "key": "one"}

    submitted = httpx.post(f"{api}/jobs", json=body, headers={"X-Warrener-CSRF": csrf})
    job = submitted.json()["job"]
    shown = eventually(
        lambda: [
            found
            for found in [httpx.get(f"{api}/jobs/{job}").json()]
            if found["state"] == "succeeded"
        ]
    )
    again = cli("submit", "sum.yaml", "--param", "a=1", "--key", "one", "--wait", "--json")

    assert shown[0]["result"] == 22
    assert (again.code, again.json["job"], again.json["result"]) == (0, job, 22), again.err
    assert cli("jobs", "--json", *STORE).lines[0]["job"] == job
    assert httpx.get(f"{url}/").status_code == 200
    ended = 'warrener_jobs_ended_total{job="sum",state="succeeded"} 1.0'
    assert ended in httpx.get(f"{url}/metrics").text


def test_commands_in_another_terminal_steer_over_http(cli: Cli, daemons: Daemons) -> None:
    up(cli, daemons)
    (cli.folder / "go").touch()
    folder = f"folder={cli.folder}"
    job = cli("submit", "wait.yaml", "--param", folder, "--json").json["job"]
    eventually(lambda: cli("show", job, "--json", *STORE).json["steps"]["go"]["state"] == "waiting")

    assert cli("pause", job, "--reason", "lunch").code == 0
    paused = cli("show", job, "--json", *STORE).json["paused"]
    assert cli("resume", job[:8], *STORE).code == 0
    assert cli("limits", "api", "--set", "slots=3").code == 0
    assert cli("flow", "--mode", "observe").code == 0
    assert cli("signal", job, "go", "--data", "{}").code == 0
    eventually(lambda: cli("show", job, "--json", *STORE).json["state"] == "succeeded")
    refused = cli("cancel", job)
    beside = cli("pause", job, *STORE, WARRENER_API_URL="")
    alone = cli("run", "sum.yaml", "--param", "a=1", *STORE)
    nowhere = cli("submit", "sum.yaml", "--param", "a=1", WARRENER_API_URL="")

    assert paused["reason"] == "lunch"
    assert paused["by"].endswith("(web)")
    assert refused.code == 2
    assert "already succeeded" in refused.err
    for done in (beside, alone, nowhere):
        assert done.code == 2
        assert "WARRENER_API_URL" in done.err
    assert cli("limits", "api", "--json", *STORE).lines[0]["slots"] == 3


def test_sigterm_drains_and_a_new_one_goes_on_where_the_log_stands(
    cli: Cli, daemons: Daemons
) -> None:
    first, _ = up(cli, daemons)
    folder = f"folder={cli.folder}"
    job = cli("submit", "wait.yaml", "--param", folder, "--json").json["job"]
    eventually((cli.folder / "begun").exists, "the step has begun")
    other = cli("up", "--port", 0, *STORE)
    (cli.folder / "go").touch()
    code = first.stop()
    held = cli("show", job, "--json", *STORE).json["steps"]["held"]
    gone = cli("submit", "sum.yaml", "--param", "a=1")
    up(cli, daemons)
    assert cli("signal", job, "go").code == 0

    eventually(lambda: cli("show", job, "--json", *STORE).json["state"] == "succeeded")
    assert code == 0, first.log
    assert (held["state"], held["attempts"]) == ("succeeded", 1)
    assert other.code == 2
    assert "works on this store" in other.err
    assert gone.code == 4


def test_one_that_was_killed_is_followed_at_once(cli: Cli, daemons: Daemons) -> None:
    first, _ = up(cli, daemons)
    job = cli("submit", "wait.yaml", "--param", f"folder={cli.folder}", "--json").json["job"]
    eventually((cli.folder / "begun").exists, "the step has begun")
    first.kill()
    (cli.folder / "go").touch()

    up(cli, daemons)

    eventually(lambda: cli("show", job, "--json", *STORE).json["steps"]["go"]["state"] == "waiting")
    assert cli("signal", job, "go").code == 0
    eventually(lambda: cli("show", job, "--json", *STORE).json["state"] == "succeeded")


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (("--endpoints", "missing.py"), "missing.py"),
        (("--store", "sqlite:///:memory:"), "a store in a file"),
    ],
)
def test_what_cannot_work_is_refused(cli: Cli, more: tuple[str, ...], told: str) -> None:
    done = cli("up", "--port", 0, *STORE, *more)

    assert done.code == 2
    assert told in done.err
