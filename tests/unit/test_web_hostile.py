"""Clients that take, send and ask for more than they should, and a store that is exchanged."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import select
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from support.driving import Driver
from support.log_checks import eventually
from support.web import API, Fleet, Served, driven, problem, report, served, settings_of
from support.web_fixtures import fleet, jobs, store, web

from warrener.domain.messages import ChangeLimit, SignalJob
from warrener.services import wiring_web
from warrener.services.web import app, graphs, hub, outer, protocol, server
from warrener.services.web.changes import Changes, TreeChange
from warrener.services.web.routes import definitions, steering

__all__ = ["fleet", "jobs", "store", "web"]


@contextmanager
def connected(web: Served, room: int = 0) -> Iterator[socket.socket]:
    """Give a connection, with `room` one that takes no more bytes than about so many."""
    found = socket.socket()
    if room:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, room)
    found.settimeout(20.0)
    found.connect(("127.0.0.1", web.port))
    try:
        yield found
    finally:
        found.close()


def head(method: str, path: str, *lines: str) -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: localhost", *lines, "", ""]).encode()


def attempt_place(attempt: int) -> str:
    """Return where a time line would go on after an attempt of this number."""
    place = {"begun_at": "2026-01-01T00:00:00Z", "job": str(UUID(int=1)), "path": "a"}
    text = json.dumps({**place, "attempt": attempt})
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


@contextmanager
def held(monkeypatch: pytest.MonkeyPatch, module: Any, name: str) -> Iterator[list[object]]:
    """Let calls of a function begin, which are told, and not end before the block does."""
    begun: list[object] = []
    original, ends = getattr(module, name), threading.Event()

    def waits(*args: Any, **more: Any) -> Any:
        begun.append(args)
        assert ends.wait(20.0)
        return original(*args, **more)

    with monkeypatch.context() as patch:
        patch.setattr(module, name, waits)
        try:
            yield begun
        finally:
            ends.set()


# --- bodies --------------------------------------------------------------------------------------


def test_a_body_that_comes_too_slowly_is_not_waited_for(
    web: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outer, "READ_SECONDS", 0.3)
    json_body = ("Content-Type: application/json", "Content-Length: 1000")

    with connected(web) as slow:
        slow.sendall(head("POST", f"{API}/session", *json_body))
        for _ in range(900):  # a byte each time, well within the time for the next one
            slow.sendall(b" ")
            if select.select([slow], [], [], 0.02)[0]:
                break
        else:
            pytest.fail("it was waited for to the end")

        assert slow.recv(100).startswith(b"HTTP/1.1 408")


def test_before_anybody_is_known_little_is_read(web: Served) -> None:
    kind = {"Content-Type": "application/json"}

    answer = web.client.post(f"{API}/session", content=b" " * 5_000, headers=kind)

    problem(answer, 413)
    problem(web.client.post(f"{API}/session", json={"token": "x" * 200}), 401)


def test_the_largest_value_that_there_may_be_is_taken(
    web: Served, fleet: Fleet, jobs: dict[str, UUID]
) -> None:
    text = "x" * (15 * 1024 * 1024)

    answer = web.send("POST", f"/jobs/{jobs['runs']}/signal", {"name": "go", "data": text})

    assert answer.status_code == 200, answer.text
    command = fleet.commands[-1]
    assert isinstance(command, SignalJob)
    assert len(command.data) == len(text) + 2


@pytest.mark.parametrize(
    ("module", "name", "size"), [(steering, "read", 1), (app, "decode_json", 100_000)]
)
def test_others_are_served_while_a_large_job_is_looked_at(
    web: Served, monkeypatch: pytest.MonkeyPatch, module: Any, name: str, size: int
) -> None:
    body = {
        "definition": {"job": "x", "steps": {"a": {"call": "t.a"}}},
        "labels": {"a": "x" * size},
    }
    with ThreadPoolExecutor(1) as pool:
        with held(monkeypatch, module, name) as begun:
            asked = pool.submit(web.send, "POST", "/jobs", body)
            eventually(lambda: begun)

            assert httpx.get(f"{web.url}{API}/jobs", timeout=20.0).status_code == 200

            assert not asked.done()
        asked.result(20.0)


def test_others_are_served_while_commands_wait_to_be_read(
    web: Served, fleet: Fleet, jobs: dict[str, UUID], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steering, "CAUGHT_UP_SECONDS", 20.0)
    path, count = f"/jobs/{jobs['runs']}/pause", 40  # more than asyncio has threads
    fleet.commands.clear()

    def pauses(_number: int) -> int:
        return web.send("POST", path, {}).status_code

    with ThreadPoolExecutor(count) as pool:
        with held(monkeypatch, web.parts.follower, "_turn"):
            asked = [pool.submit(pauses, number) for number in range(count)]
            eventually(lambda: len(fleet.commands) == count)

            assert web.client.get(f"{API}/jobs").status_code == 200

            assert not any(each.done() for each in asked)
        assert [each.result(20.0) for each in asked] == [200] * count


def test_others_are_served_while_a_large_graph_is_drawn(
    web: Served, jobs: dict[str, UUID], monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn, other = (f"/jobs/{jobs[name]}/graph" for name in ("ran", "runs"))
    web.get(drawn)
    with ThreadPoolExecutor(4) as pool:
        with held(monkeypatch, graphs, "_laid_out") as begun:
            asked = pool.submit(web.get, other)
            eventually(lambda: begun)

            web.get(drawn)

            more = [pool.submit(web.get, other) for _ in range(3)]
            web.get(f"/jobs/{jobs['ran']}/why")
            assert not any(each.done() for each in (asked, *more))
        assert asked.result(20.0)["nodes"]


def test_few_look_at_definitions_at_once_and_nobody_else_waits(
    web: Served, jobs: dict[str, UUID], monkeypatch: pytest.MonkeyPatch
) -> None:
    body = {"definition": {"job": "x", "steps": {"a": {"call": "t.a"}}}}
    with ThreadPoolExecutor(6) as pool:
        with held(monkeypatch, definitions, "read") as begun:
            asked = [pool.submit(web.send, "POST", "/definitions/check", body) for _ in range(6)]
            eventually(lambda: len(begun) == wiring_web.CHECKING_MAX)

            web.get(f"/jobs/{jobs['ran']}/why")

            assert len(begun) == wiring_web.CHECKING_MAX
        assert all(each.result(20.0).json()["valid"] for each in asked)


def test_the_description_of_the_api_is_made_once(
    web: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = web.client.get("/schema")
    monkeypatch.setattr("litestar.openapi.spec.OpenAPI.to_schema", None)

    assert web.client.get("/schema").json() == first.json()


# --- names ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "meant"),
    [("a%2Fb", "a/b"), ("a%252Fb", "a%2Fb"), ("a%25b", "a%b"), ("a%25252Fb%2fc", "a%252Fb/c")],
)
def test_a_name_is_what_was_encoded(web: Served, fleet: Fleet, sent: str, meant: str) -> None:
    assert web.send("PUT", f"/limits/{sent}", {"slots": 1}).status_code == 200

    command = fleet.commands[-1]
    assert isinstance(command, ChangeLimit)
    assert command.name == meant


@pytest.mark.parametrize(
    "path",
    ["why?at=0001-01-01T00:00:00%2B14:00", "replay?at=9999-12-31T23:59:59-14:00"]
    + [f"timeline?cursor={attempt_place(number)}" for number in (2**70, 2**63, -(2**63))],
)
def test_no_time_or_number_is_too_large(web: Served, jobs: dict[str, UUID], path: str) -> None:
    problem(web.client.get(f"{API}/jobs/{jobs['ran']}/{path}"), 400)


def test_an_item_has_one_path_and_no_items(web: Served, jobs: dict[str, UUID]) -> None:
    job = f"{API}/jobs/{jobs['ran']}"

    assert web.get(f"/jobs/{jobs['ran']}/steps/groups%5B1%5D")["state"] == "succeeded"
    problem(web.client.get(f"{job}/steps/groups%5B01%5D"), 404)
    problem(web.client.get(f"{job}/why?step=groups%5B01%5D"), 404)
    problem(web.client.get(f"{job}/items/groups%5B1%5D"), 404)


# --- connections ---------------------------------------------------------------------------------


def test_a_connection_whose_answers_nobody_takes_is_given_up(
    web: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "TAKE_SECONDS", 0.2)
    with connected(web, 2_048) as deaf:
        watched = select.poll()
        watched.register(deaf, 0)
        deaf.sendall(head("GET", "/schema") * 100)

        eventually(lambda: watched.poll(0))

    assert web.client.get("/healthz").status_code == 200


def test_a_connection_too_many_is_closed_and_the_others_are_served(
    web: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    with httpx.Client(base_url=web.url) as one:
        one.get("/healthz")
        monkeypatch.setattr(protocol, "connections_max", lambda: 0)
        with connected(web) as other:
            assert other.recv(100).startswith(b"HTTP/1.1 503")

        assert one.get("/healthz").status_code == 200


@pytest.mark.parametrize("files", [400, 1_024, 524_288])
def test_connections_leave_files_to_the_store(monkeypatch: pytest.MonkeyPatch, files: int) -> None:
    monkeypatch.setattr(protocol.resource, "getrlimit", lambda _: (files, files))

    most = protocol.connections_max()

    assert files // 2 <= most or most == protocol.CONNECTIONS_MAX
    assert most + server.BACKLOG <= files - 100


def test_head_of_a_stream_ends_at_once(web: Served) -> None:
    with connected(web) as asks:
        asks.sendall(head("HEAD", f"{API}/stream"))
        assert asks.recv(4_096).startswith(b"HTTP/1.1 200")
        asks.sendall(head("GET", "/healthz"))

        assert asks.recv(4_096).startswith(b"HTTP/1.1 200")
    eventually(lambda: web.parts.hub.count == 0)


# --- streams -------------------------------------------------------------------------------------


def changed(before: int, after: int, *, lost: bool = False, trees: int = 1) -> Changes:
    roots = [uuid4() for _ in range(trees)]
    found = {root: TreeChange(root, {root}, types={"JobEnded"}) for root in roots}
    return Changes({0: before}, {0: after}, found, lost=lost)


def told(*changes: Changes, last_id: str, then: Changes | None = None) -> bytes:
    """Return how a stream begins that comes back, `then` is published before it is sent."""

    async def run() -> bytes:
        found = hub.Hub()
        for each in changes:
            found._take(each)
        frames = found.open("a", None, last_id)
        if then is not None:
            found._take(then)
        return await anext(frames)

    return asyncio.run(run())


def test_what_happens_while_a_stream_is_opened_is_heard() -> None:
    later = changed(2, 3)

    found = told(changed(1, 2), last_id="0:2", then=later)

    assert str(next(iter(later.trees))).encode() in found


def test_a_stream_that_missed_very_much_begins_anew() -> None:
    many = [changed(number, number + 1, trees=100) for number in range(1, 60)]

    assert b"event: reset" in told(*many, last_id="0:1")
    assert b"event: reset" not in told(*many, last_id="0:55")


def test_what_nobody_can_go_on_from_is_not_kept() -> None:
    found = hub.Hub()
    for number in range(5):
        found._take(changed(number, number + 1))

    found._take(changed(5, 9_000, lost=True, trees=1_000))

    assert not found._kept
    assert b"event: reset" in told(
        changed(1, 2), changed(2, 9, lost=True), changed(9, 10), last_id="0:2"
    )


# --- another store -------------------------------------------------------------------------------


def exchange(web: Served, folder: Path, fills: Callable[[Driver], object]) -> None:
    """Put another store in the place of the one that is served."""
    away = folder / "away"
    away.mkdir()
    with driven(settings_of(away)) as driver:
        fills(driver)
    for end in ("-wal", "-shm", ""):
        (folder / f"jobs.db{end}").unlink(missing_ok=True)
    os.replace(away / "jobs.db", folder / "jobs.db")


def test_pages_begin_anew_when_the_store_is_another_one(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    with driven(settings) as driver:
        driver.submit(report("old"), {}, key="one")
    with served(settings) as web, web.client.stream("GET", f"{API}/stream") as answer:
        lines = answer.iter_lines()
        assert next(lines)
        exchange(web, tmp_path, lambda driver: driver.submit(report("new"), {}, key="two"))

        assert next(line for line in lines if line.startswith("event:")) == "event: reset"

        names = [each["name"] for each in httpx.get(f"{web.url}{API}/jobs").json()["items"]]
        assert names == ["new"]


def test_counts_are_taken_anew_when_the_store_is_another_one() -> None:
    found = hub.Hub()
    found._take(changed(1, 2))
    before = found.told

    found._take(Changes({0: 2}, {0: 2}, lost=True))

    assert found.told != before


def test_a_token_counts_if_it_is_in_the_store_that_is_there(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    with served(settings) as web:
        bearer = web.bearer("ada", "operator")
        assert web.client.get(f"{API}/jobs", headers=bearer).status_code == 200
        exchange(web, tmp_path, lambda driver: driver.submit(report(), {}, key="two"))
        other = web.bearer("bob", "viewer")

        assert web.client.get(f"{API}/jobs", headers=bearer).status_code == 401
        eventually(lambda: web.client.get(f"{API}/jobs", headers=other).status_code == 200)


def test_a_store_that_was_deleted_is_not_made_again_by_asking(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    with served(settings) as web:
        web.bearer("ada", "operator")
        for file in tmp_path.glob("jobs.db*"):
            file.unlink()

        for _ in range(10):
            problem(web.client.get(f"{API}/jobs"), 503)

        assert json.loads(web.client.get("/healthz").text)["ready"]
        assert list(tmp_path.glob("jobs.db*")) == []
