"""Intake of a fleet over a real broker: jobs that wait for their start, or are refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.cli import ENDPOINTS, Cli
from support.daemons import Daemons
from support.log_checks import eventually

from warrener.services.client import Client

STORE = ("--store", "sqlite:///jobs.db")
HOLD = """
job: hold
endpoints: [./endpoints.py]
params: {type: object, properties: {folder: {type: string}}}
steps:
  held: {call: t.hold, with: {folder: "${{ params.folder }}"}}
"""


@pytest.fixture
def cli(tmp_path: Path, broker_url: str) -> Cli:
    made = Cli(tmp_path, {"WARRENER_BROKER_URL": broker_url})
    made.write(hold_yaml=HOLD, endpoints_py=ENDPOINTS)
    return made


def test_a_job_waits_for_the_end_of_another_or_is_refused_as_people_have_set(
    cli: Cli, broker_url: str
) -> None:
    with Daemons(cli.folder, cli.variables) as daemons, Client(broker_url) as client:
        daemons.reactor(*STORE)
        daemons.worker("--endpoints", "endpoints.py", "--threads", "--slots", 2)
        submit = ("submit", "hold.yaml", "--param", f"folder={cli.folder}")
        assert client.change_flow(intake="queue", by="ada")
        assert cli("limits", "@jobs", "--set", "slots=1", *STORE).code == 0
        first = cli(*submit, "--json").json["job"]
        eventually((cli.folder / "begun").exists, "the step has begun")

        second = cli(*submit, "--key", "second", "--json").json["job"]
        assert cli("show", second, "--json", *STORE).json["state"] == "submitted"
        why = cli("why", second, "--json", *STORE).json
        assert why["waiting"]["kind"] == "limit"
        assert first in why["waiting"]["sentence"]

        assert client.change_flow(intake="refuse", by="ada")
        refused = cli(*submit, "--key", "third", "--json")
        assert refused.code == 4
        assert refused.error["code"] == "busy"
        assert 1 <= refused.error["retry_after"] <= 300
        told = cli(*submit, "--key", "third")
        assert told.code == 4
        assert "as many jobs are open as limit @jobs allows: 1; try again in" in told.err
        assert cli(*submit, "--key", "second", "--json").json["job"] == second  # taken before

        (cli.folder / "go").touch()
        for job in (first, second):
            show = ("show", job, "--json", *STORE)
            eventually(lambda show=show: cli(*show).json["state"] == "succeeded", "its end")
        assert cli(*submit, "--key", "third", "--wait", "--json").code == 0
        unknown = cli("limits", "@all", "--set", "slots=1", *STORE)
        assert unknown.code == 2
        assert "@root, @job:NAME" in unknown.err
