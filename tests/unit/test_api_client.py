"""The client of the HTTP API: what it sends, and what refusals mean to whoever calls it."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from uuid import UUID

import msgspec
import pytest
from support.web import Fleet, Served, driven, fill, report, served, settings_of

from warrener.domain.definition.model import Rate
from warrener.domain.errors import Busy, ServiceUnavailable, UnknownJob, UsageError
from warrener.domain.ids import job_id
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
from warrener.services.api_client import ApiClient
from warrener.services.submission import Source, submission


class Site:
    """A service with jobs in its store, the fleet behind it, and a client."""

    def __init__(self, web: Served, fleet: Fleet, jobs: dict[str, UUID]) -> None:
        self.web = web
        self.fleet = fleet
        self.jobs = jobs
        self.client = ApiClient(web.url + "/")


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    settings, fleet = settings_of(tmp_path), Fleet()
    with driven(settings) as driver:
        jobs = fill(driver)
    with served(settings, fleet=fleet) as web:
        yield Site(web, fleet, jobs)


def message(**more: Any) -> SubmitJob:
    return submission(Source(report()), {}, key="k", **more)


def test_every_command_arrives_as_it_was_meant(site: Site) -> None:
    client, job = site.client, site.jobs["runs"]
    (action,) = site.web.get("/actions")["items"]

    client.send(message(labels={"team": "red"}, priority=3, fair="f"))
    client.cancel(job, "why")
    client.pause(job, reason="lunch")
    client.resume(job)
    client.retry(job)
    client.rerun(job, "load", "key")
    client.signal(job, "go", {"n": 1}, "s1")
    client.answer(UUID(action["request"]), {"token": "t"})
    client.adjust(job, "groups", window=4)
    client.change_limit("a/b c", slots=2, rate="20/min", burst=5)
    client.change_flow(policy="fair", weights={"a": 2.0}, mode="act", bound_seconds=9.0)

    got = site.fleet.commands
    assert [type(each) for each in got] == [
        *(SubmitJob, CancelJob, PauseJob, ResumeJob, RetryJob, RerunJob, SignalJob),
        *(AnswerUserAction, AdjustStep, ChangeLimit, ChangeFlow),
    ]
    submitted, limit, flow, signal = got[0], got[-2], got[-1], got[6]
    assert isinstance(submitted, SubmitJob)
    assert (submitted.key, submitted.labels, submitted.priority) == ("k", {"team": "red"}, 3)
    assert submitted.definition == message().definition
    assert isinstance(limit, ChangeLimit)
    assert (limit.name, limit.slots, limit.rate) == ("a/b c", 2, Rate(20, 60))
    assert isinstance(flow, ChangeFlow)
    assert (flow.policy, flow.weights, flow.mode) == ("fair", {"a": 2.0}, "act")
    assert isinstance(signal, SignalJob)
    assert msgspec.json.decode(signal.data) == {"n": 1}
    assert all(each.by.endswith("(web)") for each in got if not isinstance(each, SubmitJob))


def test_a_job_is_waited_for(site: Site) -> None:
    ended = site.client.wait(site.jobs["ran"])
    failed = site.client.wait(site.jobs["failed"])

    assert (ended.state, failed.state) == ("succeeded", "failed")
    assert failed.error is not None
    assert ended.elapsed_seconds == 0.0  # the driver works in no time
    with pytest.raises(TimeoutError, match="has not ended"):
        site.client.wait(site.jobs["runs"], 0.0)


def test_refusals_are_the_errors_of_a_fleet(site: Site) -> None:
    job = site.jobs["runs"]
    site.fleet.refuses = [UsageError("cannot cancel it: it has ended")]
    with pytest.raises(UsageError, match="it has ended"):
        site.client.cancel(job)
    site.fleet.refuses = [Busy("as many are open as may be", 7)]
    with pytest.raises(Busy) as busy:
        site.client.send(message())
    with pytest.raises(UnknownJob):
        site.client.wait(job_id("nobody"))
    site.fleet.answers = False
    assert site.client.pause(job) is False
    with pytest.raises(UsageError, match="parts of jobs"):
        site.client.send(msgspec.structs.replace(message(), given={"load": {}}))

    assert busy.value.retry_after == 7


def test_with_tokens_one_is_needed_and_its_role_counts(site: Site) -> None:
    operator = site.web.token("ada", "operator")
    viewer = site.web.token("bob", "viewer")
    job = site.jobs["runs"]

    with pytest.raises(UsageError, match="WARRENER_API_TOKEN"):
        ApiClient(site.web.url).pause(job)
    with pytest.raises(UsageError, match="operator"):
        ApiClient(site.web.url, viewer).pause(job)
    assert ApiClient(site.web.url, operator).pause(job)

    (paused,) = site.fleet.commands
    assert isinstance(paused, PauseJob)
    assert paused.by == "ada (web)"


def test_a_service_that_is_not_there_or_none_is_told() -> None:
    with pytest.raises(ServiceUnavailable, match="cannot be asked"):
        ApiClient("http://127.0.0.1:9").wait(job_id("a"))
    for url in ("ftp://a", "127.0.0.1:8470", "http://", "http://a?b=c", "http://[", "http://a:x"):
        with pytest.raises(UsageError, match="no address"):
            ApiClient(url)


def test_what_answers_in_another_language_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listens:

        def answers() -> None:
            with listens.accept()[0] as connection:
                connection.recv(1_000)
                connection.sendall(b"SSH-2.0-OpenSSH\r\n")

        thread = Thread(target=answers, daemon=True)
        thread.start()
        with pytest.raises(ServiceUnavailable, match="cannot be asked"):
            ApiClient(f"http://127.0.0.1:{listens.getsockname()[1]}").wait(job_id("a"))
        thread.join()


def test_no_secret_is_in_a_message() -> None:
    with pytest.raises(UsageError) as odd:
        ApiClient("http://127.0.0.1:9", "wr_secret\r\nX: y")
    with pytest.raises(UsageError) as named:
        ApiClient("http://ada:secret@127.0.0.1:9")
    with pytest.raises(ServiceUnavailable) as ended:
        ApiClient("http://127.0.0.1:9", "wr_secret\n").wait(job_id("a"))

    assert not [each for each in (odd, named, ended) if "secret" in str(each.value)]


def test_the_token_goes_to_nobody_else() -> None:
    asked: list[str] = []

    class Elsewhere(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(302)
            self.send_header("Location", "/elsewhere")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Elsewhere)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        with pytest.raises(UsageError, match="302"):
            ApiClient(f"http://127.0.0.1:{server.server_port}", "secret").wait(job_id("a"))
    finally:
        server.shutdown()
        server.server_close()
        thread.join()

    assert len(asked) == 1
