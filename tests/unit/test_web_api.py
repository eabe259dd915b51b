"""The HTTP API over a store with jobs in several states: what it answers, and how it fails."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import httpx
import pytest
from support.web import API, Fleet, Served, driven, problem, report, served, settings_of
from support.web_fixtures import fleet, jobs, store, web

from warrener.domain.errors import BrokerUnavailable, Busy, UsageError
from warrener.domain.messages import (
    AdjustStep,
    AnswerUserAction,
    CancelJob,
    ChangeFlow,
    ChangeLimit,
    PauseJob,
    RerunJob,
    ResumeJob,
    RetryJob,
    SignalJob,
    SubmitJob,
)
from warrener.services.web import outer, protocol, server

__all__ = ["fleet", "jobs", "store", "web"]


# --- reading -------------------------------------------------------------------------------------


def test_jobs_are_listed_newest_first_and_page_by_page(web: Served, jobs: dict[str, UUID]) -> None:
    whole = web.get("/jobs")["items"]
    paged, cursor = [], ""
    while cursor is not None:
        query = {"limit": 2, **({"cursor": cursor} if cursor else {})}
        page = web.get("/jobs", params=query)
        assert len(page["items"]) <= 2
        paged += page["items"]
        cursor = page["next"]

    assert paged == whole
    assert {line["job"] for line in whole} == {str(job) for job in jobs.values()}
    assert [line["submitted_at"] for line in whole] == sorted(
        (line["submitted_at"] for line in whole), reverse=True
    )


def test_jobs_are_filtered(web: Served, jobs: dict[str, UUID]) -> None:
    def found(**query: str) -> list[str]:
        return [line["job"] for line in web.get("/jobs", params=query)["items"]]

    assert found(state="failed") == [str(jobs["failed"])]
    assert found(name="running") == found(label="team=web") == [str(jobs["runs"])]
    assert found(label="team=other") == []
    assert found(since="2200-01-01T00:00:00Z") == []
    assert len(found(until="2200-01-01T00:00:00Z")) == len(jobs)


def test_jobs_are_counted_by_state(web: Served) -> None:
    assert web.get("/jobs/counts") == {"failed": 1, "running": 2, "succeeded": 1}


def test_a_job_is_shown_with_its_steps_tree_timeline_and_history(
    web: Served, jobs: dict[str, UUID]
) -> None:
    job = f"/jobs/{jobs['ran']}"

    shown, tree = web.get(job), web.get(f"{job}/tree")
    step, attempts = web.get(f"{job}/steps/merge"), web.get(f"{job}/steps/merge/attempts")
    items, history = web.get(f"{job}/items/groups?limit=2"), web.get(f"{job}/history?limit=3")
    timeline, slowest = web.get(f"{job}/timeline?limit=2"), web.get(f"{job}/slowest")

    assert (shown["state"], set(shown["steps"])) == ("succeeded", {"load", "groups", "merge"})
    assert (tree["job"], tree["children"]) == (shown["job"], [])
    assert (step["result"], step["state"]) == ("merge", "succeeded")
    assert [each["outcome"] for each in attempts["items"]] == ["succeeded"]
    assert ([each["path"] for each in items["items"]], items["next"]) == (
        ["groups[0]", "groups[1]"],
        1,
    )
    rest = web.get(f"{job}/items/groups?after=1")
    assert ([each["path"] for each in rest["items"]], rest["next"]) == (["groups[2]"], None)
    assert len(history["items"]) == 3
    events = web.get(f"{job}/history?after={history['next']}")["items"]
    positions = [each["position"] for each in (*history["items"], *events)]
    assert positions == sorted(set(positions))
    assert events[-1]["type"] == "JobSucceeded"
    later = web.get(f"{job}/timeline", params={"cursor": timeline["next"]})
    assert len(timeline["items"]) == 2
    assert {each["path"] for each in (*timeline["items"], *later["items"])} == {
        "load", "groups", "groups[0]", "groups[1]", "groups[2]", "merge",
    }  # fmt: skip
    assert isinstance(slowest["items"], list)


def test_a_graph_has_a_place_for_every_step_and_way(web: Served, jobs: dict[str, UUID]) -> None:
    graph = web.get(f"/jobs/{jobs['ran']}/graph")

    nodes = {node["name"]: node for node in graph["nodes"]}
    assert set(nodes) == {"load", "groups", "merge"}
    assert nodes["groups"]["items"] == {"succeeded": 3}
    assert nodes["groups"]["progress"] == 1.0
    assert nodes["load"]["x"] + nodes["load"]["w"] < nodes["groups"]["x"]
    assert all(node["x"] + node["w"] <= graph["width"] for node in nodes.values())
    assert [(edge["source"], edge["target"]) for edge in graph["edges"]] == [
        ("load", "groups"),
        ("groups", "merge"),
    ]
    assert graph["edges"][0]["points"][0]["x"] == nodes["load"]["x"] + nodes["load"]["w"]


def test_why_tells_the_reason_now_and_in_the_past(web: Served, jobs: dict[str, UUID]) -> None:
    now = web.get(f"/jobs/{jobs['asks']}/why")
    then = web.get(f"/jobs/{jobs['ran']}/why?at=3")
    step = web.get(f"/jobs/{jobs['runs']}/why?step=groups")

    assert now["waiting"]["kind"] == "user-action"
    assert (then["state"], then["position"]) == ("running", 3)
    assert (step["step"], step["waiting"]["kind"]) == ("groups", "dependency")


def test_a_job_is_shown_as_it_was(web: Served, jobs: dict[str, UUID]) -> None:
    job = f"/jobs/{jobs['ran']}"
    events = web.get(f"{job}/history")["items"]
    opened = next(each for each in events if each["type"] == "StepOpened")

    then = web.get(f"{job}/replay", params={"at": opened["position"]})
    last = web.get(f"{job}/replay", params={"at": events[-1]["position"]})

    assert (then["state"], then["steps"]["load"]["state"]) == ("running", "succeeded")
    assert (then["position"], then["event"]["type"]) == (opened["position"], "StepOpened")
    now = web.get(job)
    assert {name: last[name] for name in now} == now
    problem(web.send("GET", f"{job}/replay?at=1"), 400)


def test_where_the_time_went_and_what_a_step_was_given_is_told(
    web: Served, jobs: dict[str, UUID]
) -> None:
    job = f"/jobs/{jobs['ran']}"

    found = web.get(f"{job}/report")
    given = web.get(f"{job}/steps/load/input")

    assert (found["job"], found["so_far"]) == (str(jobs["ran"]), False)
    assert found["critical_path"] is not None
    assert given == {"attempt": 1, "input": {}}
    problem(web.send("GET", f"/jobs/{jobs['asks']}/steps/merge/input"), 404)


def test_what_jobs_share_is_shown(web: Served, jobs: dict[str, UUID]) -> None:
    (action,) = web.get("/actions")["items"]

    assert (action["message"], action["state"], action["steps"]) == (
        "Reconnect the page",
        "open",
        1,
    )
    assert web.get("/actions?state=answered") == {"items": [], "more": False}
    assert web.get("/limits")["items"] == []
    assert web.get("/flow")["policy"] == "finish-first"
    assert web.get("/starvation?open=false") == {"items": [], "more": False}
    assert web.get("/fleet") == {"slots": {}, "endpoints": [], "since": None, "workers": None}


# --- what cannot be ------------------------------------------------------------------------------

UNKNOWN = UUID("00000000-0000-4000-8000-000000000404")  # of no job


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", f"/jobs/{UNKNOWN}", 404),
        ("GET", f"/jobs/{UNKNOWN}/history", 404),
        ("GET", f"/jobs/{UNKNOWN}/why", 404),
        ("GET", f"/jobs/{UNKNOWN}/graph", 404),
        ("GET", "/jobs/not-an-id", 404),
        ("GET", "/nothing", 404),
        ("GET", "/limits/none", 404),
        ("GET", "/starvation/abcd", 404),
        ("GET", "/jobs?limit=0", 400),
        ("GET", "/jobs?limit=x", 400),
        ("GET", "/jobs?state=odd", 400),
        ("GET", "/jobs?since=yesterday", 400),
        ("GET", "/jobs?label=none", 400),
        ("GET", "/jobs?cursor=bm9uc2Vuc2U", 400),
        ("GET", "/jobs?cursor=%00", 400),
        ("DELETE", "/jobs", 405),
        ("PUT", f"/jobs/{UNKNOWN}", 405),
        ("POST", "/nothing", 404),
    ],
)
def test_every_error_is_a_problem_document(
    web: Served, method: str, path: str, status: int
) -> None:
    problem(web.send(method, path), status)


def test_a_step_that_is_not_there_is_unknown(web: Served, jobs: dict[str, UUID]) -> None:
    job = f"/jobs/{jobs['ran']}"

    for path in ("/steps/nothing", "/steps/groups%5B7%5D", "/items/nothing", "/steps/load%2Fsub"):
        assert "has" in problem(web.send("GET", job + path), 404)["detail"]
    problem(web.send("GET", f"{job}/why?at=999999"), 400)
    problem(web.send("GET", f"{job}/why?at=never"), 400)


def test_bodies_that_cannot_be_read_are_told_so(web: Served, jobs: dict[str, UUID]) -> None:
    csrf = web.get("/session")["csrf"]
    job = f"{API}/jobs/{jobs['runs']}/cancel"
    deep = b"[" * 200_000 + b"]" * 200_000

    def sent(body: bytes, kind: str = "application/json") -> httpx.Response:
        headers = {"Content-Type": kind, "X-Warrener-CSRF": csrf}
        return web.client.post(job, content=body, headers=headers)

    problem(sent(b"{"), 400)
    problem(sent(b'{"reason": 1e999}'), 400)
    problem(sent(deep), 400)
    problem(sent(b"[]"), 400)
    problem(sent(b'{"reson": "typo"}'), 400)
    problem(sent(b'{"reason": "' + b"x" * 3_000 + b'"}'), 400)
    problem(sent(b"{}", "text/plain"), 415)
    problem(sent(b'"\xff"'), 400)
    problem(sent(b""), 400)


def test_bodies_urls_and_headers_are_bounded(web: Served) -> None:
    csrf = web.get("/session")["csrf"]
    headers = {"Content-Type": "application/json", "X-Warrener-CSRF": csrf}

    def parts() -> Iterator[bytes]:
        for _ in range(20):
            yield b" " * 1024 * 1024

    large = web.client.post(f"{API}/jobs", content=b" " * (18 * 1024 * 1024), headers=headers)
    problem(large, 413)
    problem(web.client.post(f"{API}/jobs", content=parts(), headers=headers), 413)
    problem(web.client.get(f"{API}/jobs?name={'x' * 9_000}"), 414)
    problem(web.client.get(f"{API}/jobs", headers={"X-Much": "x" * 33_000}), 431)


def test_a_client_that_sends_nothing_is_not_waited_for(
    web: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "HEAD_SECONDS", 0.2)
    monkeypatch.setattr(outer, "READ_SECONDS", 0.2)
    body = b"content-type: application/json\r\ncontent-length: 5\r\n\r\n{"
    csrf = web.get("/session")["csrf"].encode()
    head = b"PATCH /api/v1/flow HTTP/1.1\r\nhost: localhost\r\nx-warrener-csrf: " + csrf + b"\r\n"

    assert answered(web.port, b"") == b""
    assert answered(web.port, b"GET /healthz HTTP/1.1\r\nhost: loc") == b""
    assert answered(web.port, head + body).startswith(b"HTTP/1.1 408")
    assert answered(web.port, b"nonsense\r\n\r\n").startswith(b"HTTP/1.1 400")
    assert web.client.get("/healthz").status_code == 200


def answered(port: int, sent: bytes) -> bytes:
    """Return all that comes for what was sent, until the other side has closed."""
    with socket.create_connection(("127.0.0.1", port), timeout=20.0) as connection:
        connection.sendall(sent)
        parts = []
        while part := connection.recv(65_536):
            parts.append(part)
    return b"".join(parts)


def test_a_certificate_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    (tmp_path / "odd.pem").write_text("nothing")

    for name in ("none.pem", "odd.pem"):
        with pytest.raises(UsageError, match="cannot be used"):
            server.server(None, lambda: None, certificate=str(tmp_path / name))
    with pytest.raises(UsageError, match="--tls-cert"):
        server.server(None, lambda: None, key="key.pem")


def test_a_fault_of_ours_tells_nothing_of_its_inside(
    web: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise ZeroDivisionError("secret inside")

    monkeypatch.setattr("warrener.services.queries.Queries.fleet", fails)

    answer = web.client.get(f"{API}/fleet")

    assert problem(answer, 500)["type"] == "fault"
    assert "secret" not in answer.text
    assert "Traceback" not in answer.text


# --- headers -------------------------------------------------------------------------------------


def test_every_answer_has_the_headers_that_keep_it_in_its_place(
    web: Served, jobs: dict[str, UUID]
) -> None:
    for path in ("/", "/static/none.js", f"{API}/jobs", f"{API}/nothing", "/schema", "/healthz"):
        headers = web.client.get(path).headers

        assert headers["content-security-policy"].startswith(
            "default-src 'none'; script-src 'self'"
        )
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cross-origin-opener-policy"] == "same-origin"
        assert "access-control-allow-origin" not in headers
        assert "server" not in headers
    assert web.client.get(f"{API}/jobs").headers["cache-control"] == "no-store"


def test_what_has_not_changed_is_not_sent_again(web: Served) -> None:
    first = web.client.get(f"{API}/jobs")
    tag = first.headers["etag"]

    again = web.client.get(f"{API}/jobs", headers={"If-None-Match": tag})
    other = web.client.get(f"{API}/jobs?limit=1", headers={"If-None-Match": tag})

    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    assert other.status_code == 200
    assert other.headers["etag"] != tag


def test_head_is_get_without_a_body(web: Served) -> None:
    answer = web.client.head(f"{API}/jobs")

    assert answer.status_code == 200
    assert answer.content == b""
    assert int(answer.headers["content-length"]) == len(web.client.get(f"{API}/jobs").content)


@pytest.mark.parametrize(
    "path",
    ["..%2f..%2fapp.py", "%2e%2e/app.py", "x/../../app.py", ".hidden.js", "a%00.js", "//etc"],
)
def test_no_file_outside_of_the_dashboard_is_served(web: Served, path: str) -> None:
    assert web.client.get(f"/static/{path}").status_code == 404


def test_the_service_tells_how_it_is(web: Served) -> None:
    assert web.client.get("/healthz").json() == {"ready": True, "reason": ""}
    assert web.client.get("/readyz").json() == {"ready": True, "reason": ""}
    assert "warrener_flow_bound_seconds 60.0" in web.client.get("/metrics").text
    assert web.client.get("/").headers["content-type"] == "text/html; charset=utf-8"
    assert web.client.get("/schema").json()["openapi"].startswith("3.1")


# --- steering ------------------------------------------------------------------------------------


def test_every_command_goes_out_as_it_was_asked_for_with_who_asked(
    web: Served, fleet: Fleet, jobs: dict[str, UUID]
) -> None:
    job, asks = jobs["runs"], jobs["asks"]
    (action,) = web.get("/actions")["items"]
    fleet.commands.clear()
    asked = [
        ("POST", f"/jobs/{job}/cancel", {"reason": "why"}),
        ("POST", f"/jobs/{job}/pause", {"reason": "why"}),
        ("POST", f"/jobs/{job}/resume", {"reason": "why"}),
        ("POST", f"/jobs/{job}/retry", {"reason": "why"}),
        ("POST", f"/jobs/{asks}/retry", {"reason": "why", "step": "load"}),
        ("POST", f"/jobs/{job}/rerun", {"reason": "why", "step": "load", "key": "k"}),
        ("POST", f"/jobs/{job}/signal", {"reason": "why", "name": "go", "data": [1], "key": "k"}),
        ("POST", f"/jobs/{job}/adjust", {"reason": "why", "step": "groups", "window": 7}),
        ("POST", f"/actions/{action['request']}/answer", {"reason": "why", "data": {"token": "t"}}),
        ("PUT", "/limits/%40step:running%2Fload", {"reason": "why", "slots": 3, "rate": "20/min"}),
        ("PUT", "/limits/api", {"reason": "why", "rate": {"count": 2.5, "seconds": 90}}),
        ("PATCH", "/flow", {"reason": "why", "policy": "fair", "weights": {"a": 2}}),
    ]

    for method, path, body in asked:
        answer = web.send(method, path, body)
        assert (answer.status_code, answer.json()["done"]) == (200, True), answer.text

    cancel, pause, resume, everything, one, rerun, signal, adjust, answer_, step, api, flow = (
        fleet.commands
    )
    assert (type(cancel), type(pause), type(resume)) == (CancelJob, PauseJob, ResumeJob)
    assert (type(everything), type(one), type(rerun)) == (RetryJob, RetryJob, RerunJob)
    assert (type(signal), type(adjust), type(answer_)) == (SignalJob, AdjustStep, AnswerUserAction)
    assert (type(step), type(api), type(flow)) == (ChangeLimit, ChangeLimit, ChangeFlow)
    assert (everything.path, one.job, one.path) == (None, asks, "load")
    assert (rerun.step, rerun.key) == ("load", "k")
    assert (signal.name, bytes(signal.data), signal.key) == ("go", b"[1]", "k")
    assert (adjust.step, adjust.window) == ("groups", 7)
    assert json.loads(bytes(answer_.data)) == {"token": "t"}
    assert (step.name, step.slots, step.rate.count) == ("@step:running/load", 3, 20.0)
    assert (api.rate.count, api.rate.seconds) == (2.5, 90.0)
    assert (flow.policy, flow.weights) == ("fair", {"a": 2.0})
    for command in fleet.commands:
        assert not isinstance(command, SubmitJob)
        assert command.by.endswith(" (web)")
        assert command.reason == "why"


def test_a_command_that_nobody_has_answered_yet_is_accepted(
    web: Served, fleet: Fleet, jobs: dict[str, UUID]
) -> None:
    fleet.answers = False
    try:
        answer = web.send("POST", f"/jobs/{jobs['runs']}/pause", {})
    finally:
        fleet.answers = True

    assert (answer.status_code, answer.json()["done"]) == (202, False)


@pytest.mark.parametrize(
    ("error", "status"),
    [(UsageError("it has ended"), 409), (BrokerUnavailable("gone"), 503), (Busy("full", 7), 503)],
)
def test_what_becomes_of_a_command_is_told(
    web: Served, fleet: Fleet, jobs: dict[str, UUID], error: Exception, status: int
) -> None:
    fleet.refuses.append(error)

    answer = web.send("POST", f"/jobs/{jobs['runs']}/cancel", {})

    assert str(error) in problem(answer, status)["detail"]
    if status == 503:
        assert int(answer.headers["retry-after"]) == (7 if isinstance(error, Busy) else 5)


def test_a_job_is_submitted_as_json_or_as_the_text_of_a_file(web: Served, fleet: Fleet) -> None:
    fleet.commands.clear()
    text = "job: outer\nsteps: {sub: {job: inner}}\n---\njob: inner\nsteps: {a: {call: t.a}}\n"
    body = {"definition": {"job": "one", "steps": {"a": {"call": "t.a"}}}, "params": {"x": 1}}

    more = {"key": "k", "labels": {"team": "a"}, "priority": 3}
    span = {"traceparent": f"00-{'a' * 32}-{'b' * 16}-01"}

    first = web.send("POST", "/jobs", {**body, **more}, headers=span)
    second = web.send("POST", "/jobs", {"definition": text})

    assert first.status_code == second.status_code == 201, first.text + second.text
    one, two = fleet.commands
    assert isinstance(one, SubmitJob)
    assert isinstance(two, SubmitJob)
    assert (one.key, one.labels, one.priority) == ("k", {"team": "a"}, 3)
    assert json.loads(bytes(one.params)) == {"x": 1}
    assert (one.traceparent, two.traceparent) == (span["traceparent"], None)
    assert set(two.library) == {"inner"}


@pytest.mark.parametrize(
    "body",
    [
        {"definition": "job: [1"},
        {"definition": {}},
        {"definition": {"job": "a", "steps": {"a": {"call": "t.a", "after": ["b"]}}}},
        {"definition": {"job": "a", "steps": {"a": {"job": "missing"}}}},
        {"definition": {"job": "a", "steps": {"a": {"call": "t"}}}, "labels": {"warrener.x": "y"}},
        {
            "definition": {
                "job": "a",
                "params": {"type": "object", "required": ["x"]},
                "steps": {"a": {"call": "t.a"}},
            }
        },
    ],
)
def test_what_is_wrong_with_a_submission_is_told(web: Served, body: object) -> None:
    found = problem(web.send("POST", "/jobs", body), 422)

    assert found["detail"]


def test_definitions_are_listed_shown_and_checked(web: Served, jobs: dict[str, UUID]) -> None:
    listed = web.get("/definitions")
    (report_line,) = [each for each in listed["items"] if each["name"] == "report"]
    shown = web.get(f"/definitions/{report_line['hash']}")
    good = web.send("POST", "/definitions/check", {"definition": shown["definition"]}).json()
    bad = web.send("POST", "/definitions/check", {"definition": "job: Bad\nsteps: {}\n"}).json()

    assert (listed["next"], len(listed["items"])) == (None, 2)
    assert web.get("/definitions?limit=1")["next"]
    assert (shown["name"], shown["steps"], shown["hash"]) == ("report", 3, report_line["hash"])
    assert (good["valid"], [each["hash"] for each in good["jobs"]]) == (True, [shown["hash"]])
    assert not bad["valid"]
    assert {"path", "message", "line"} <= set(bad["problems"][0])
    problem(web.send("GET", "/definitions/none"), 404)


# --- hostile -------------------------------------------------------------------------------------

HOSTILE = "</script><script>alert(1)</script>\u202etxt.exe\u0000\x1b[31m\ud7ff" + "x" * 1_000_000


def test_hostile_names_and_payloads_come_back_as_they_are(tmp_path: Path) -> None:
    hostile = {"note": HOSTILE, "<b>": ["'\"&", "\u2028"]}
    with driven(settings_of(tmp_path)) as driver:
        job = driver.submit(
            report(params={"type": "object"}), hostile, labels={"<i>": "\u202e<&>"}, fair="\x01"
        )
        driver.succeed(driver.order("load"), hostile)
        driver.fail(driver.order("groups[1]"), code="</title>\u202e")
    with served(settings_of(tmp_path)) as web:
        answer = web.client.get(f"{API}/jobs/{job}?whole=true")
        found = answer.json()
        listed = web.get("/jobs", params={"label": "<i>=\u202e<&>"})
        item = web.get(f"/jobs/{job}/steps/groups%5B1%5D")
        events = web.get(f"/jobs/{job}/history")["items"]

    assert answer.headers["content-type"] == "application/json"
    assert found["params"] == found["steps"]["load"]["result"] == hostile
    assert [line["labels"] for line in listed["items"]] == [{"<i>": "\u202e<&>"}]
    assert item["error"]["code"] == "</title>\u202e"
    assert events[0]["type"] == "JobSubmitted"
