"""Traces of every kind of store, and the links of those who submit."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import msgspec
import pytest
from opentelemetry import trace
from support.fleet import Fleet
from support.histories import REPORT, History, finish_report
from support.otlp_receiver import Receiver, receiving
from support.spans import spans_of

from warrener import endpoint
from warrener.domain.definition.model import JobDefinition
from warrener.domain.events import JobSubmitted
from warrener.domain.partitions import Logs, partition_of
from warrener.services.client_async import AsyncClient
from warrener.services.current_trace import callers_traceparent, current_traceparent
from warrener.services.endpoints import Registry
from warrener.services.settings import Settings
from warrener.services.wiring import open_logs
from warrener.services.wiring_store import make_store
from warrener.services.wiring_traces import tracing

CALLER = trace.SpanContext(0xABC, 0xDEF, is_remote=False, trace_flags=trace.TraceFlags(1))
TEXT = f"00-{0xABC:032x}-{0xDEF:016x}-01"
ONE = msgspec.convert({"job": "one", "steps": {"a": {"call": "t.one"}}}, JobDefinition)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as found:
        yield found


def write_jobs(logs: Logs, count: int) -> set[str]:
    """Write jobs into the partitions that they belong to; return the ids of their spans."""
    expected: set[str] = set()
    for number in range(count):
        history = History()
        job = history.submit(REPORT, key=f"job-{number}")
        child = history.open_child(job, "sub", REPORT)
        history.open_items(job, "parts", count=5, begun=3, window=3)
        history.release(job, "parts[1]")
        history.retry(job, "parts[1]")
        finish_report(history, job, child)
        store = logs.log(partition_of(job, logs.count))
        for each in history.store.log[number > 0 :]:  # the definition is there already
            store.commit([each.recorded], history.store.blobs)
        expected |= {span.context.span for span in spans_of(history.store)}  # type: ignore[arg-type]
    return expected


def test_a_file_is_followed_while_it_is_written(receiver: Receiver, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/jobs.db"
    settings = Settings(store_url=url, views_url=url, otlp_url=receiver.url)
    logs = open_logs(url)

    with tracing(settings, logs):
        expected = write_jobs(logs, 3)
    logs.close()

    assert {span.id for span in receiver.spans} == expected
    assert len(receiver.spans) == len(expected)


def test_all_partitions_of_a_database_are_followed(receiver: Receiver, mongo_url: str) -> None:
    make_store(mongo_url, 3)
    settings = Settings(store_url=mongo_url, views_url=mongo_url, otlp_url=receiver.url)
    logs = open_logs(mongo_url)

    with tracing(settings, logs):
        expected = write_jobs(logs, 6)
    with tracing(settings, logs):
        pass
    logs.close()

    assert {span.id for span in receiver.spans} == expected
    assert len(receiver.spans) == len(expected)


def test_a_submission_names_the_current_span_also_from_a_coroutine() -> None:
    registry = Registry()

    @endpoint("t.one", registry=registry)
    def one() -> int:
        return 1

    async def submit(broker: object) -> UUID:
        async with AsyncClient(broker=broker) as client:  # type: ignore[arg-type]
            with trace.use_span(trace.NonRecordingSpan(CALLER)):
                return await client.submit(ONE, answer_seconds=20)

    with Fleet(registry) as fleet:
        fleet.reactor()
        job = asyncio.run(submit(fleet.broker))
        first = next(iter(fleet.store.stream(job))).event

    assert isinstance(first, JobSubmitted)
    assert first.traceparent == TEXT
    assert current_traceparent() is None


def test_the_command_line_takes_the_span_of_its_caller_if_it_is_one() -> None:
    assert callers_traceparent({"TRACEPARENT": TEXT}) == TEXT
    assert callers_traceparent({"TRACEPARENT": "x" * 10_000}) is None
    assert callers_traceparent({}) is None
