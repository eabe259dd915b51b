"""Traces of a real fleet, and of runs, as a collector gets them over the wire."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import msgspec
import pytest
import yaml
from opentelemetry import trace
from support.cli import Cli
from support.daemons import Daemons
from support.log_checks import eventually
from support.otlp_receiver import Receiver, Taken, receiving

from warrener.domain.definition.model import JobDefinition
from warrener.domain.step_events import StepReleased
from warrener.domain.trace_context import span_of_attempt, span_of_job, trace_of
from warrener.services.client import Client
from warrener.services.wiring import open_store

NOBODY = "http://127.0.0.1:9"  # refuses connections
STORE = ("--store", "sqlite:///jobs.db")
CALLER = trace.SpanContext(0xABC, 0xDEF, is_remote=False, trace_flags=trace.TraceFlags(1))
ENDPOINTS = """
import asyncio

import structlog
from opentelemetry import trace

from warrener import current_step, endpoint


@endpoint("t.work")
def work(text: str) -> str:
    with trace.get_tracer("users.own").start_as_current_span("inner"):
        structlog.get_logger().info("working", text=text)
        return text


@endpoint("t.later")
async def later(text: str) -> str:
    await asyncio.sleep(0)
    return work.function(text)


@endpoint("t.flaky")
def flaky() -> int:
    if current_step().attempt == 1:
        raise ValueError("not yet")
    return 1
"""
JOB = """
job: traced
endpoints: [./endpoints.py]
steps:
  works: {for_each: [a, b, c], call: t.work, with: {text: "${{ item }}"}}
  later: {call: t.later, with: {text: z}}
  flaky: {call: t.flaky, after: [works], retry: [{max: 3, first: 0}]}
"""
ATTEMPTS = 6  # three items, one later, two of the flaky one
INNER = 4


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as found:
        yield found


@pytest.fixture
def cli(tmp_path: Path, receiver: Receiver) -> Cli:
    made = Cli(tmp_path, {"WARRENER_OTLP_URL": receiver.url, "OTEL_BSP_SCHEDULE_DELAY": "50"})
    made.write(job_yaml=JOB, endpoints_py=ENDPOINTS)
    return made


def definition() -> JobDefinition:
    """Return the job without the endpoints, which are the workers' alone."""
    parts = yaml.safe_load(JOB)
    del parts["endpoints"]
    return msgspec.convert(parts, JobDefinition)


def released(store: str) -> set[str]:
    """Return the ids of the spans of all attempts of a log."""
    log = open_store(store)
    events = [each.recorded for each in log.read(0, log.head())]
    log.close()
    return {
        span_of_attempt(each.originator_id, each.event.attempt)
        for each in events
        if isinstance(each.event, StepReleased)
    }


def check(found: dict[str, Taken], job: UUID) -> Taken:
    """Check that the spans are one whole trace; return that of the job."""
    for span in found.values():
        assert span.trace == trace_of(job)
        assert not span.parent or span.parent in found, span
        assert span.begin <= span.end
    named = [span.name for span in found.values()]
    (top,) = [span for span in found.values() if not span.parent]
    attempts = {span.id: span for span in found.values() if span.kind == "producer"}
    endpoints = [span for span in found.values() if span.kind == "consumer"]

    assert (top.id, top.name) == (span_of_job(job), "traced")
    assert top.attributes["warrener.outcome"] == "succeeded"
    assert len(attempts) == len(endpoints) == ATTEMPTS
    assert {span.parent for span in endpoints} == attempts.keys()
    assert named.count("inner") == INNER
    assert {found[s.parent].kind for s in found.values() if s.name == "inner"} == {"consumer"}
    (items,) = [span for span in found.values() if span.attributes.get("warrener.items") == 3]
    assert sum(span.parent == items.id for span in attempts.values()) == 3
    failed = sorted((span.name, span.kind) for span in found.values() if span.failed)
    assert failed == [("flaky", "producer"), ("t.flaky", "consumer")]
    return top


WHOLE = 1 + 1 + 2 * ATTEMPTS + INNER  # the job, the fan-out, attempts twice over, and users' own


@pytest.mark.parametrize("mode", ["--processes", "--asyncio"])
def test_a_fleet_makes_one_trace_of_a_job_with_what_endpoints_do_inside_their_attempts(
    cli: Cli, receiver: Receiver, broker_url: str, mode: str
) -> None:
    cli.variables["WARRENER_BROKER_URL"] = broker_url
    with Daemons(cli.folder, cli.variables) as daemons, Client(broker_url) as client:
        projector = daemons.start("projector", "--log", "json,info", *STORE)
        projector.logged("tracer.begins")
        reactor = daemons.reactor(*STORE)
        worker = daemons.worker("--endpoints", "endpoints.py", "--slots", 2, mode)
        with trace.use_span(trace.NonRecordingSpan(CALLER)):
            job = client.submit(definition(), answer_seconds=30)
        assert client.wait(job, 60).state == "succeeded"
        eventually(lambda: len(receiver.by_id()) >= WHOLE, "all spans")
        assert worker.stop() == 0

    top = check(receiver.by_id(), job)
    assert top.links == [(f"{CALLER.trace_id:032x}", f"{CALLER.span_id:016x}")]
    assert {span.service for span in receiver.spans} == {"warrener"}
    lines = [json.loads(line) for line in worker.log.splitlines()]
    said = [line for line in lines if line["event"] == "working"]
    assert {(line["job"], line["endpoint"], line["attempt"]) for line in said} == {
        (str(job), "t.work", 1),
        (str(job), "t.later", 1),
    }
    assert {line["path"] for line in said} == {"works[0]", "works[1]", "works[2]", "later"}
    assert all(line["worker"] for line in lines)
    for role, daemon in {"reactor": reactor, "projector": projector}.items():
        logged = [json.loads(line) for line in daemon.log.splitlines()]
        assert all(line[role] for line in logged), logged


@pytest.mark.parametrize(
    ("store", "mode"),
    [
        ("sqlite:///jobs.db", "processes"),
        ("sqlite:///jobs.db", "threads"),
        ("sqlite:///:memory:", "inline"),
    ],
)
def test_a_run_sends_its_trace_before_it_ends(
    cli: Cli, receiver: Receiver, store: str, mode: str
) -> None:
    done = cli("run", "job.yaml", "--runner", mode, "--json", "--store", store)

    assert done.code == 0, done.err
    eventually(lambda: len(receiver.by_id()) >= WHOLE, "all spans")
    check(receiver.by_id(), UUID(done.json["job"]))


def test_a_collector_that_is_away_stops_nothing_and_gets_later_what_it_missed(
    cli: Cli, receiver: Receiver
) -> None:
    how = ("job.yaml", "--runner", "threads", "--json", *STORE)

    missed = cli("run", *how, WARRENER_OTLP_URL=NOBODY, OTEL_EXPORTER_OTLP_TIMEOUT="1")
    assert missed.code == 0, missed.err
    assert receiver.spans == []
    later = cli("run", *how)

    assert later.code == 0, later.err
    by_trace = {span.trace for span in receiver.spans if span.kind == "producer"}
    assert by_trace == {trace_of(UUID(done.json["job"])) for done in (missed, later)}
    expected = released(f"sqlite:///{cli.folder}/jobs.db")
    assert {span.id for span in receiver.spans if span.kind == "producer"} == expected


def test_a_projector_that_is_killed_loses_no_span(cli: Cli, receiver: Receiver) -> None:
    def run() -> None:
        assert cli("run", "job.yaml", "--runner", "inline", *STORE, WARRENER_OTLP_URL="").code == 0

    expected: set[str] = set()
    with Daemons(cli.folder, cli.variables) as daemons:
        for _ in range(2):
            projector = daemons.start("projector", "--log", "json,info", *STORE)
            projector.logged("tracer.begins")
            run()
            expected = released(f"sqlite:///{cli.folder}/jobs.db")
            projector.kill()
        daemons.start("projector", "--log", "json,info", *STORE)
        eventually(lambda: expected <= receiver.by_id().keys(), "the spans of all attempts")

    assert len(expected) == 2 * ATTEMPTS


def test_what_is_no_collector_is_refused(cli: Cli) -> None:
    done = cli("run", "job.yaml", *STORE, WARRENER_OTLP_URL="collector:4317")

    assert done.code == 2
    assert (
        "is not the URL of a collector of traces: write such as http://localhost:4318" in done.err
    )
