"""Steering the jobs of a fleet over a real broker."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.cli import ENDPOINTS, Cli
from support.daemons import Daemons
from support.held_job import HOLD
from support.log_checks import eventually

STORE = ("--store", "sqlite:///jobs.db")


@pytest.fixture
def cli(tmp_path: Path, broker_url: str) -> Cli:
    made = Cli(tmp_path, {"WARRENER_BROKER_URL": broker_url})
    made.write(hold_yaml=HOLD, endpoints_py=ENDPOINTS)
    return made


def test_a_job_of_a_fleet_is_paused_resumed_run_again_and_cancelled(cli: Cli) -> None:
    with Daemons(cli.folder, cli.variables) as daemons:
        daemons.reactor(*STORE)
        daemons.worker("--endpoints", "endpoints.py", "--threads", "--slots", 2)
        folder = ("--param", f"folder={cli.folder}")
        job = cli("submit", "hold.yaml", *folder, "--json").json["job"]
        eventually((cli.folder / "begun").exists, "the step has begun")

        paused = cli("pause", job, "--by", "ada", "--json")  # a whole id needs no store here
        assert (paused.code, paused.json) == (0, {"command": "pause", "job": job})
        (cli.folder / "go").touch()
        eventually(
            lambda: "succeeded" in cli("show", f"{job}/held", "--json", *STORE).out, "its end"
        )
        assert cli("show", f"{job}/sum", "--json", *STORE).json["attempts"] == 0
        assert cli("resume", job[:8], *STORE).code == 0
        show = ("show", job, "--json", *STORE)
        eventually(lambda: cli(*show).json["state"] == "succeeded", "the end of the job")
        (cli.folder / "go").unlink()
        assert cli("rerun", job, "--from", "held", *STORE).code == 0
        assert cli("cancel", job, "--reason", "no need", *STORE).code == 0
        eventually(lambda: cli(*show).json["state"] == "cancelled", "the cancelled job")

        refused = cli("pause", job, "--json")
        assert refused.code == 2
        assert refused.error["message"] == f"cannot pause {job}: it was cancelled already"
        assert cli("limits", "api", "--set", "slots=3", *STORE).code == 0
        assert "slots" in cli("limits", "api", *STORE).out


def test_without_a_reactor_a_command_waits_at_the_broker_and_the_service_counts_as_away(
    cli: Cli,
) -> None:
    with Daemons(cli.folder, cli.variables) as daemons:
        daemons.reactor(*STORE).stop()

        done = cli("pause", "00000000-0000-0000-0000-000000000007", "--json")

    assert done.code == 4
    assert "no reactor has answered" in done.error["message"]
