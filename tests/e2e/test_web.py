"""The web service as users start it: beside a run on one store, and before a real fleet."""

from __future__ import annotations

import json
import re
import time
from typing import Any

import httpx
from support.cli import SUM_JOB, Cli
from support.daemons import Daemon, Daemons
from support.held_job import HOLD, cli, daemons
from support.log_checks import eventually

__all__ = ["cli", "daemons"]

STORE = ("--store", "sqlite:///jobs.db")
API = "/api/v1"


class Page:
    """A browser before the service."""

    def __init__(self, daemon: Daemon, token: str = "") -> None:
        daemon.logged("web.started")
        url = re.search(r'"url": ?"([^"]+)"', daemon.log)
        assert url is not None, daemon.log
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self.client = httpx.Client(base_url=url[1], headers=headers, timeout=30.0)
        self.csrf = self.get("/session")["csrf"]

    def get(self, path: str) -> Any:
        answer = self.client.get(API + path)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def send(self, method: str, path: str, body: Any = None) -> httpx.Response:
        headers = {"X-Warrener-CSRF": self.csrf}
        return self.client.request(method, API + path, json=body or {}, headers=headers)


def web(daemons: Daemons, *more: object) -> Daemon:
    return daemons.start("web", "--port", 0, "--log", "json,info", *STORE, *more)


def test_a_run_is_watched_steered_and_agrees_with_the_command_line(
    cli: Cli, daemons: Daemons
) -> None:
    daemon = web(daemons)
    page = Page(daemon)
    assert cli("run", "sum.yaml", "--param", "a=1", "--json", *STORE).json["result"] == 22
    folder = f"folder={cli.folder}"
    with cli.started("run", "hold.yaml", "--param", folder, "--json", *STORE) as process:
        eventually((cli.folder / "begun").exists, "the step has begun")
        running = eventually(lambda: page.get("/jobs?state=running")["items"])
        (job,) = [line["job"] for line in running]
        paused = page.send("POST", f"/jobs/{job}/pause", {"reason": "lunch"})
        assert paused.json() == {"command": "pause", "done": True, "key": None}
        shown = page.get(f"/jobs/{job}")
        assert (shown["state"], shown["paused"]["reason"]) == ("paused", "lunch")
        assert shown["paused"]["by"].endswith("(web)")
        (cli.folder / "go").touch()
        assert page.send("POST", f"/jobs/{job}/resume").status_code == 200
        out, err = process.communicate(timeout=60)
    assert json.loads(out)["result"] == 2, err

    eventually(lambda: page.get("/jobs/counts") == {"succeeded": 2})
    assert page.get("/jobs")["items"] == cli("jobs", "--json", *STORE).lines
    assert page.get(f"/jobs/{job}?whole=true") == cli("show", job, "--json", *STORE).json
    history = page.get(f"/jobs/{job}/history")["items"]
    assert history == cli("history", job, "--json", *STORE).lines
    refused = page.send("POST", f"/jobs/{job}/cancel")
    assert refused.status_code == 409
    assert "already succeeded" in refused.json()["detail"]
    assert (
        page.send("POST", "/jobs", {"definition": SUM_JOB, "params": {"a": 1}}).status_code == 503
    )


def test_it_ends_at_once_on_sigterm_with_streams_open(daemons: Daemons) -> None:
    daemon = web(daemons)
    page = Page(daemon)
    with page.client.stream("GET", f"{API}/stream") as answer:
        next(answer.iter_lines())
        began = time.monotonic()
        code = daemon.stop()
        seconds = time.monotonic() - began

    assert code == 0, daemon.log
    assert seconds < 15.0  # of a machine at work; there is nothing to wait for


def test_tokens_are_made_listed_and_removed_and_let_people_in(cli: Cli, daemons: Daemons) -> None:
    open_to_all = cli("web", "--host", "0.0.0.0", "--port", 0, *STORE)
    made = cli("web", "token", "add", "ada", "--role", "operator", "--json", *STORE).json
    plain = cli("web", "token", "add", "bob", "--expires", "90d", *STORE)
    listed = cli("web", "token", "list", "--json", *STORE).lines
    daemon = web(daemons, "--host", "0.0.0.0")
    daemon.logged("web.started")
    port = re.search(r'"port": ?(\d+)', daemon.log)
    assert port is not None
    url = f"http://127.0.0.1:{port[1]}{API}/jobs"
    bearer = {"Authorization": f"Bearer {made['token']}"}

    assert open_to_all.code == 2
    assert "warrener web token add" in open_to_all.err
    assert plain.out.strip().startswith("wr_")
    assert [(each["name"], each["role"]) for each in listed] == [
        ("ada", "operator"),
        ("bob", "viewer"),
    ]
    assert made["token"] not in cli("web", "token", "list", *STORE).out
    assert httpx.get(url).status_code == 401
    assert httpx.get(url, headers=bearer).status_code == 200
    assert cli("web", "token", "remove", "ada", *STORE).code == 0
    assert httpx.get(url, headers=bearer).status_code == 401
    assert cli("web", "token", "remove", "ada", *STORE).code == 2
    assert cli("web", "token", "add", "bob", *STORE).code == 2
    assert made["token"] not in daemon.log


def test_a_port_that_is_taken_is_told(cli: Cli, daemons: Daemons) -> None:
    daemon = web(daemons)
    port = Page(daemon).client.base_url.port

    done = cli("web", "--port", port, *STORE)

    assert done.code == 2
    assert f"port {port}" in done.err


def test_a_fleet_is_given_jobs_and_steered(cli: Cli, broker_url: str) -> None:
    cli.variables["WARRENER_BROKER_URL"] = broker_url
    with Daemons(cli.folder, cli.variables) as daemons:
        daemons.reactor(*STORE)
        daemons.worker("--endpoints", "endpoints.py", "--threads", "--slots", 2)
        page = Page(web(daemons))
        body = {"definition": HOLD, "params": {"folder": str(cli.folder)}, "key": "one"}

        submitted = page.send("POST", "/jobs", body)
        assert submitted.status_code == 201, submitted.text
        job = submitted.json()["job"]
        assert page.send("POST", "/jobs", body).json()["job"] == job
        eventually((cli.folder / "begun").exists, "the step has begun")
        assert page.send("POST", f"/jobs/{job}/pause", {"reason": "why"}).json()["done"]
        eventually(lambda: page.get(f"/jobs/{job}")["paused"])
        (cli.folder / "go").touch()
        assert page.send("POST", f"/jobs/{job}/resume").json()["done"]
        eventually(lambda: page.get(f"/jobs/{job}")["state"] == "succeeded")

        refused = page.send("POST", f"/jobs/{job}/pause")
        assert (refused.status_code, refused.json()["type"]) == (409, "refused")
        assert page.send("PUT", "/limits/api", {"slots": 3}).json()["done"]
        eventually(lambda: page.get("/limits")["items"])
        events = page.get(f"/jobs/{job}/history")["items"]
        (worker,) = eventually(lambda: page.get("/fleet")["workers"])
        assert (worker["slots"], worker["queues"]) == (2, ["default"])
    (paused,) = [each for each in events if each["type"] == "JobPaused"]
    assert paused["data"]["by"].endswith(" (web)")
    assert paused["data"]["reason"] == "why"


def test_without_a_reactor_a_command_is_kept(cli: Cli, broker_url: str) -> None:
    cli.variables["WARRENER_BROKER_URL"] = broker_url
    with Daemons(cli.folder, cli.variables) as daemons:
        daemons.reactor(*STORE).stop()
        page = Page(web(daemons))

        kept = page.send("PUT", "/limits/api", {"slots": 3})

    assert (kept.status_code, kept.json()["done"]) == (202, False)
