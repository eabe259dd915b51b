"""The HTTP service in this process: a real server on a free port, over a store in a file."""

from __future__ import annotations

import json
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import msgspec
from support.driving import Driver
from support.log_checks import eventually

from warrener.domain.definition.model import JobDefinition
from warrener.domain.ids import job_id
from warrener.domain.messages import SteeringMessage, SubmitJob
from warrener.services import tokens, wiring, wiring_web
from warrener.services.settings import Settings, load
from warrener.services.steering_calls import SteeringCalls
from warrener.services.web.app import build
from warrener.services.web.desk import Desk
from warrener.services.web.parts import Parts
from warrener.services.web.server import listening, serve, server

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
API = "/api/v1"
STEPS: dict[str, Any] = {
    "load": {"call": "t.load"},
    "groups": {"call": "t.group", "for_each": "${{ [1, 2, 3] }}", "after": ["load"]},
    "merge": {"call": "t.merge", "after": ["groups"]},
}
FORM = {"type": "object", "required": ["token"], "properties": {"token": {"type": "string"}}}


def report(name: str = "report", **fields: Any) -> JobDefinition:
    """Return a job with a fan-out."""
    return msgspec.convert({"job": name, "steps": STEPS, **fields}, JobDefinition)


def settings_of(folder: Path, **more: str) -> Settings:
    """Return settings for a store in a folder."""
    return load({"store_url": f"sqlite:///{folder / 'jobs.db'}", **more}, {}, folder)


@contextmanager
def driven(settings: Settings) -> Iterator[Driver]:
    """Give a driver that writes the store, in the present."""
    store = wiring.open_store(settings.store_url)
    driver = Driver(store)
    driver.now = datetime.now(UTC)
    try:
        yield driver
    finally:
        store.close()


def fill(driver: Driver) -> dict[str, UUID]:
    """Submit jobs in several states: one runs, one has ended, one has failed, one waits."""
    jobs = {name: driver.submit(report(), {}, key=name) for name in ("ran", "failed", "asks")}
    by_job = {order.job: order for order in driver.orders}
    driver.fail(by_job[jobs["failed"]])
    driver.ask(by_job[jobs["asks"]], message="Reconnect the page", form=FORM)
    driver.succeed(by_job[jobs["ran"]])
    while open_ones := [each for each in driver.orders if each.job == jobs["ran"]]:
        driver.orders.clear()
        for order in open_ones:
            if order.path != "load":
                driver.succeed(order, order.path)
    jobs["runs"] = driver.submit(report("running"), {}, labels={"team": "web"}, key="runs")
    return jobs


class Fleet(SteeringCalls):
    """Takes all commands and keeps them; what is in `refuses` is raised."""

    def __init__(self) -> None:
        self.commands: list[SteeringMessage | SubmitJob] = []
        self.refuses: list[Exception] = []
        self.answers = True

    def steer(self, command: SteeringMessage, name: str) -> bool:
        if self.refuses:
            raise self.refuses.pop()
        self.commands.append(command)
        return self.answers

    def send(self, message: SubmitJob) -> UUID:
        if self.refuses:
            raise self.refuses.pop()
        self.commands.append(message)
        return job_id(message.key)


class Served:
    """A running service. `client` is what a browser is, `fleet` takes the commands if given."""

    def __init__(self, parts: Parts, port: int) -> None:
        self.parts = parts
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.client = httpx.Client(base_url=self.url, timeout=20.0)

    def get(self, path: str, **more: Any) -> Any:
        """Return the JSON of an answer that must be a good one."""
        answer = self.client.get(API + path, **more)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def send(self, method: str, path: str, body: Any = None, **more: Any) -> httpx.Response:
        """Send what a page would, with the CSRF token of the session."""
        csrf = self.client.get(f"{API}/session").json().get("csrf", "")
        headers = {"X-Warrener-CSRF": csrf, **more.pop("headers", {})}
        return self.client.request(method, API + path, json=body, headers=headers, **more)

    def token(self, name: str, role: str, **more: Any) -> str:
        """Make a token."""
        return tokens.make(self.parts.tokens, name, role, datetime.now(UTC), **more)

    def bearer(self, name: str, role: str) -> dict[str, str]:
        """Make a token and return the header that carries it."""
        return {"Authorization": f"Bearer {self.token(name, role)}"}

    def caught_up(self) -> None:
        """Wait until the log is in the read models."""
        follower = self.parts.follower
        eventually(lambda: not follower.failure, "an open store")
        turn = follower.turn_after_next()
        eventually(lambda: follower.is_past(turn) and not follower.failure, "what is in the log")


@contextmanager
def served(
    settings: Settings,
    *,
    fleet: SteeringCalls | None = None,
    open_to: Collection[str] | None = LOOPBACK,
    hosts: Collection[str] | None = None,
    **parts_more: Any,
) -> Iterator[Served]:
    """Serve a store at a free port of this machine."""
    wiring.open_logs(settings.store_url, create=True).close()
    parts = wiring_web.open_web(settings, open_to=open_to, hosts=hosts)
    if fleet is not None:
        parts.desk.close()
        parts_more["desk"] = Desk(lambda: nullcontext(fleet))
    parts = msgspec.structs.replace(parts, **parts_more)
    at = listening("127.0.0.1", 0)
    ready = threading.Event()
    running = server(build(parts), ready.set)
    thread = threading.Thread(target=serve, args=(running, at), daemon=True)
    thread.start()
    assert ready.wait(20.0)
    found = Served(parts, at.getsockname()[1])
    try:
        found.caught_up()
        yield found
    finally:
        found.client.close()
        running.stop()
        parts.hub.end()
        thread.join(20.0)
        at.close()
    assert not thread.is_alive()


def problem(answer: httpx.Response, status: int) -> dict[str, Any]:
    """Return the problem document of an answer with this status."""
    assert answer.status_code == status, (answer.status_code, answer.text)
    assert answer.headers["content-type"] == "application/problem+json"
    found: dict[str, Any] = json.loads(answer.text)
    assert found["status"] == status
    assert found["title"]
    assert found["request"] == answer.headers["x-request-id"]
    return found
