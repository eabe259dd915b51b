"""A fleet whose log and read models are in MongoDB, from the command line."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from support.cli import ENDPOINTS, Cli, Done
from support.daemons import Daemons
from support.log_checks import eventually

JOB = """
job: fill
endpoints: [./endpoints.py]
params: {type: object, required: [count], properties: {count: {type: integer}}}
steps:
  list: {call: t.list, with: {count: "${{ params.count }}"}}
  add:
    for_each: "${{ steps.list.result }}"
    call: t.add
    with: {a: "${{ item }}", b: 1}
  held: {call: t.text, queue: nobody, with: {value: held}, when: "${{ params.count > 100 }}"}
result: "${{ steps.add.results }}"
"""

LIMITED = """
job: limited
endpoints: [./endpoints.py]
steps:
  add:
    for_each: [1, 2, 3]
    call: t.add
    with: {a: "${{ item }}", b: 1}
    limits: [{name: adder, slots: 2}]
result: "${{ steps.add.results }}"
"""


class Fleet:
    """One daemon of each kind, and the command line beside them."""

    def __init__(self, folder: Path, daemons: Daemons, urls: tuple[str, str]) -> None:
        broker_url, self.store_url = urls
        self.cli = Cli(folder)
        (folder / "fill.yaml").write_text(JOB)
        (folder / "limited.yaml").write_text(LIMITED)
        (folder / "endpoints.py").write_text(ENDPOINTS)
        self.variables = {"WARRENER_BROKER_URL": broker_url, "WARRENER_STORE_URL": self.store_url}
        assert self("store", "init", "--partitions", "4").code == 0
        self.daemons = daemons
        self.reactor = daemons.reactor("--metrics-port", 0)
        self.projector = daemons.start("projector", "--log", "json,info")
        self.projector.logged("projector.started")
        daemons.worker("--endpoints", "./endpoints.py", "--slots", 4, "--threads")

    def metrics(self) -> str:
        """Return what the reactor tells Prometheus."""
        (served,) = [line for line in self.reactor.log.splitlines() if "metrics.served" in line]
        return httpx.get(f"http://127.0.0.1:{json.loads(served)['port']}/metrics").text

    def __call__(self, *words: str) -> Done:
        return self.cli(*words, **self.variables)


@pytest.fixture
def fleet(tmp_path: Path, broker_url: str, mongo_url: str) -> Iterator[Fleet]:
    variables = {"WARRENER_BROKER_URL": broker_url, "WARRENER_STORE_URL": mongo_url}
    with Daemons(tmp_path, variables) as daemons:
        yield Fleet(tmp_path, daemons, (broker_url, mongo_url))


def test_jobs_are_submitted_shown_steered_and_explained(fleet: Fleet) -> None:
    ended = [
        fleet("submit", "fill.yaml", "--param", f"count={n}", "--wait", "--json", "--label", "n=x")
        for n in range(6)
    ]
    held = fleet("submit", "fill.yaml", "--param", "count=101", "--json").json["job"]

    assert [done.json["result"] for done in ended] == [[n + 1 for n in range(m)] for m in range(6)]
    jobs = [done.json["job"] for done in ended]
    eventually(lambda: len(fleet("jobs", "--label", "n=x", "--json").lines) == 6, "all are listed")
    for job in jobs:
        eventually(lambda job=job: fleet("show", job, "--json").json["state"] == "succeeded")
    assert "warrener_flow_known 1.0" in fleet.metrics()
    assert re.search(r"warrener_reactor_commit_events_count [1-9]", fleet.metrics())
    assert re.search(r"warrener_reactor_confirm_seconds_count [1-9]", fleet.metrics())
    assert re.search(r'warrener_stage_ended_total\{job="fill",\S+ [1-9]', fleet.metrics())
    history = fleet("history", jobs[5], "--json").lines
    assert [history[0]["type"], history[-1]["type"]] == ["JobSubmitted", "JobSucceeded"]

    why = eventually(lambda: waits_for_worker(fleet, held), "the step waits for a worker")
    assert "nobody" in why
    assert fleet("pause", held, "--reason", "wait").code == 0
    eventually(lambda: fleet("show", held, "--json").json["state"] == "paused")
    assert fleet("cancel", held[:8]).code == 0
    eventually(lambda: fleet("show", held, "--json").json["state"] == "cancelled")


def waits_for_worker(fleet: Fleet, job: str) -> str | None:
    """Return why the held step does not run, once it is that no worker serves its queue."""
    waiting = fleet("why", f"{job}/held", "--json").json["waiting"]
    return waiting["sentence"] if waiting["kind"] == "worker" else None


def test_the_store_is_looked_after_while_the_fleet_runs(fleet: Fleet, tmp_path: Path) -> None:
    job = fleet("submit", "fill.yaml", "--param", "count=3", "--wait", "--json").json["job"]
    eventually(lambda: fleet("show", job, "--json").json["state"] == "succeeded")

    info, verified = fleet("store", "info", "--json"), fleet("store", "verify", "--json")
    backup = fleet("store", "backup", "all.backup", "--json")
    rebuilt = fleet("store", "rebuild-views", "--json")
    doctor = fleet("doctor", "--json")

    assert [done.code for done in (info, verified, backup, rebuilt)] == [0, 0, 0, 0]
    assert info.json["partitions"] == 4
    assert (tmp_path / "all.backup").stat().st_size > 0
    assert fleet("show", job, "--json").json["state"] == "succeeded"
    store = [check for check in doctor.json["checks"] if check["check"] in ("store", "views")]
    assert {check["state"] for check in store} == {"ok"}


def test_a_run_in_one_process_is_refused_with_what_to_do(fleet: Fleet) -> None:
    done = fleet("run", "fill.yaml", "--param", "count=1")

    assert done.code == 2
    assert "warrener submit" in done.err


def test_a_limit_holds_over_all_partitions(fleet: Fleet) -> None:
    fleet.daemons.reactor("--name", "second")
    jobs = [fleet("submit", "limited.yaml", "--json").json["job"] for _ in range(4)]
    for job in jobs:
        eventually(lambda job=job: fleet("show", job, "--json").json["state"] == "succeeded")

    changes = []
    for job in jobs:
        for line in fleet("history", job, "--json").lines:
            if line["type"] in ("StepReleased", "StepSucceeded") and "[" in line["path"]:
                changes.append((line["at"], 1 if line["type"] == "StepReleased" else -1))
    out = most = 0
    for _, change in sorted(changes):
        out += change
        most = max(most, out)

    assert len(changes) == 4 * 3 * 2
    assert 1 <= most <= 2
