"""Spans over the wire, and the spans that endpoints run inside."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from support.endpoints_orders import JOB, SteppingClock, order, result_of, task
from support.endpoints_waiting import reports, wait_until
from support.histories import finish_report, half_done_report
from support.otlp_receiver import Receiver, Taken, receiving
from support.spans import spans_of

from warrener.adapters.otlp import FLUSH_SECONDS, EndpointSpans, OtlpSink, traces_url
from warrener.domain.errors import TracesDelayed, UsageError
from warrener.domain.messages import RunStep
from warrener.domain.spans import Span
from warrener.domain.trace_context import parsed, trace_of, traceparent
from warrener.services import step_context
from warrener.services.endpoints import REGISTRY
from warrener.services.modules import load_endpoint_modules
from warrener.services.runners import InlineRunner, Runner
from warrener.services.settings import Settings
from warrener.services.wiring_traces import trace_endpoints, tracing
from warrener.services.worker_asyncio import AsyncioRunner
from warrener.services.worker_processes import ProcessRunner
from warrener.services.worker_threads import ThreadRunner

TESTS = Path(__file__).parents[1]
TRACED = "support/endpoints_traced.py"
NOBODY = "http://127.0.0.1:9"  # refuses connections


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as found:
        yield found


def some_spans() -> list[Span]:
    history, job, child = half_done_report()
    finish_report(history, job, child)
    return spans_of(history.store)  # type: ignore[arg-type]


# --- the sink ------------------------------------------------------------------------------------


def test_a_span_arrives_as_it_was_sent(receiver: Receiver) -> None:
    spans = some_spans()
    sink = OtlpSink(receiver.url)

    sink.send(spans)
    sink.close()

    assert receiver.paths == {"/v1/traces"}
    assert [as_sent(span) for span in spans] == receiver.spans


def as_sent(span: Span) -> Taken:
    epoch = span.begin.replace(year=1970, month=1, day=1, hour=0, minute=0, second=0, microsecond=0)
    begin, end = [
        (at - epoch) // timedelta(microseconds=1) * 1_000 for at in (span.begin, span.end)
    ]
    return Taken(
        trace=span.context.trace,
        id=span.context.span,
        parent=span.parent or "",
        name=span.name,
        kind="producer" if span.sends else "internal",
        begin=begin,
        end=end,
        attributes=dict(span.attributes),
        events=[event.name for event in span.events],
        links=[(link.trace, link.span) for link in span.links],
        failed=span.error is not None,
        service="warrener",
        scope="warrener",
    )


@pytest.mark.parametrize(
    ("url", "where"),
    [
        ("http://c:4318", "http://c:4318/v1/traces"),
        ("http://c:4318/", "http://c:4318/v1/traces"),
        ("https://c/otlp", "https://c/otlp/v1/traces"),
        ("https://c/v1/traces", "https://c/v1/traces"),
    ],
)
def test_traces_go_to_the_path_of_the_standard(url: str, where: str) -> None:
    assert traces_url(url) == where


def test_what_is_refused_is_delayed_with_a_reason_and_taken_later(receiver: Receiver) -> None:
    spans, sink = some_spans(), OtlpSink(receiver.url)
    receiver.answer = 400

    with pytest.raises(TracesDelayed, match="400"):
        sink.send(spans)
    receiver.answer = 200
    sink.send(spans)
    sink.close()

    assert len(receiver.spans) == len(spans)


def test_a_sink_that_is_closed_meanwhile_gives_up_soon() -> None:
    sink = OtlpSink(NOBODY)
    closing = threading.Timer(0.05, sink.close)
    closing.start()
    begun = time.monotonic()

    with pytest.raises(TracesDelayed, match="refused"):
        sink.send(some_spans())

    assert time.monotonic() - begun < 5.0
    closing.join()


# --- endpoints -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def exported() -> InMemorySpanExporter:
    """Set a tracer provider, as modules of users do; a process has one at most."""
    exporter = InMemorySpanExporter()
    provider = trace.get_tracer_provider()
    if not isinstance(provider, TracerProvider):
        provider = TracerProvider()
        trace.set_tracer_provider(provider)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return exporter


@pytest.fixture
def inside(exported: InMemorySpanExporter) -> Iterator[InMemorySpanExporter]:
    load_endpoint_modules([TRACED], TESTS)
    exported.clear()
    spans = EndpointSpans(NOBODY)
    step_context.run_inside(spans.around)
    yield exported
    step_context.run_inside(None)
    spans.close()


def traced(endpoint: str, path: str = "some", **args: Any) -> RunStep:
    run = order(endpoint, _path=path, **args)
    context = {**run.context, "traceparent": traceparent(JOB, run.step, run.attempt)}
    return msgspec.structs.replace(run, context=context)


def performed(runner: Runner, *runs: RunStep) -> dict[int, Any]:
    for tag, run in enumerate(runs):
        runner.submit(task(tag, run))
    found = reports(runner, len(runs))
    runner.close()
    return found


def hexadecimal(span: ReadableSpan) -> tuple[str, str, str]:
    context, parent = span.get_span_context(), span.parent
    assert context is not None
    above = "" if parent is None else f"{parent.span_id:016x}"
    return f"{context.trace_id:032x}", f"{context.span_id:016x}", above


RUNNERS = {
    "inline": ("traced.work", lambda: InlineRunner(SteppingClock(), registry=REGISTRY)),
    "threads": ("traced.work", lambda: ThreadRunner(2, SteppingClock(), registry=REGISTRY)),
    "asyncio": ("traced.work_later", lambda: AsyncioRunner(4, SteppingClock(), registry=REGISTRY)),
}


@pytest.mark.parametrize("mode", RUNNERS)
def test_an_endpoint_runs_in_a_span_below_its_attempt_and_its_own_spans_are_inside(
    inside: InMemorySpanExporter, mode: str
) -> None:
    name, make = RUNNERS[mode]
    runs = [traced(name, f"s{number}", text=f"t{number}") for number in range(4)]

    found = performed(make(), *runs)

    spans = inside.get_finished_spans()
    by_path = {(s.attributes or {}).get("warrener.step.path"): s for s in spans if s.name == name}
    inner = {(s.attributes or {}).get("text"): s for s in spans if s.name == "inner"}
    for number, run in enumerate(runs):
        outer_ids, inner_ids = hexadecimal(by_path[run.path]), hexadecimal(inner[f"t{number}"])
        attempt = parsed(run.context["traceparent"])
        assert attempt is not None
        assert (outer_ids[0], outer_ids[2]) == (attempt.trace, attempt.span)
        assert (inner_ids[0], inner_ids[2]) == (attempt.trace, outer_ids[1])
        assert result_of(found[number]) == f"00-{inner_ids[0]}-{inner_ids[1]}-01"
        assert by_path[run.path].kind is SpanKind.CONSUMER
    assert not trace.get_current_span().get_span_context().is_valid


def test_a_failure_is_recorded_and_what_asks_for_another_time_is_none(
    inside: InMemorySpanExporter,
) -> None:
    runner = InlineRunner(SteppingClock(), registry=REGISTRY)

    found = performed(runner, traced("traced.fail", text="bad"), traced("traced.again"))

    failed, again = inside.get_finished_spans()
    assert (failed.status.status_code, failed.status.description) == (StatusCode.ERROR, "bad")
    assert [event.name for event in failed.events] == ["exception"]
    assert again.status.status_code is StatusCode.UNSET
    assert [event.name for event in again.events] == ["RetryLater"]
    error = found[0].error
    assert error.traceback.count("File") == 1  # the endpoint's own line, and none of ours
    assert [found[tag].outcome for tag in (0, 1)] == ["failed", "retry_later"]


def test_child_processes_send_their_spans_before_they_end(receiver: Receiver) -> None:
    runner = ProcessRunner(
        1, [TRACED], SteppingClock(), base=TESTS, worker="w", otlp_url=receiver.url
    )

    performed(runner, traced("traced.work", text="one"), traced("traced.fail", text="two"))

    wait_until(lambda: len(receiver.spans) == 3)
    named = {span.name: span for span in receiver.spans}
    assert named.keys() == {"traced.work", "traced.fail", "inner"}
    assert {span.trace for span in receiver.spans} == {trace_of(JOB)}
    assert named["inner"].parent == named["traced.work"].id
    assert (named["traced.fail"].failed, named["inner"].scope) == (True, "users.own")


def test_a_collector_that_never_answers_holds_up_no_end() -> None:
    program = (
        f"import socket, sys, time\nsys.path.insert(0, {str(TESTS)!r})\n"
        "from warrener.adapters.otlp import EndpointSpans\n"
        "from support.endpoints_orders import order\n"
        "silent = socket.create_server(('127.0.0.1', 0))\n"
        "spans = EndpointSpans(f'http://127.0.0.1:{silent.getsockname()[1]}')\n"
        "with spans.around(order('some')):\n"
        "    pass\n"
        "begun = time.monotonic()\n"
        "spans.close()\n"
        "print(time.monotonic() - begun)"
    )
    begun = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )

    assert float(done.stdout) < FLUSH_SECONDS + 2
    assert time.monotonic() - begun < 9  # nor does the end of the process, where 10 s are usual


def test_an_order_without_a_trace_runs_in_a_trace_of_its_own(inside: InMemorySpanExporter) -> None:
    performed(InlineRunner(SteppingClock(), registry=REGISTRY), order("traced.again"))

    (span,) = inside.get_finished_spans()
    assert span.parent is None


# --- off, and not there --------------------------------------------------------------------------


def test_as_long_as_no_collector_is_set_nothing_of_opentelemetry_is_imported() -> None:
    runner = ProcessRunner(1, [TRACED], SteppingClock(), base=TESTS, worker="w")
    (report,) = performed(runner, traced("traced.modules")).values()
    program = (
        "import sys, warrener.services.cli.app, warrener.services.cli.execution\n"
        "from warrener.services.wiring_traces import trace_endpoints\n"
        "trace_endpoints('')\n"
        "print([name for name in sys.modules if name.startswith('opentelemetry')])"
    )
    here = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )

    assert result_of(report) == []
    assert here.stdout == "[]\n"


def test_patterns_of_secrets_that_say_nothing_are_refused_before_anything_begins() -> None:
    store = "sqlite:///:memory:"
    settings = Settings(store_url=store, views_url="", otlp_url=NOBODY, redact="!!")

    with pytest.raises(UsageError, match="no pattern to redact"), tracing(settings, None):  # type: ignore[arg-type]
        raise AssertionError("nothing begins")


def test_a_collector_without_the_extra_is_refused_with_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delitem(sys.modules, "warrener.adapters.otlp")
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    monkeypatch.delattr("warrener.adapters.otlp", raising=False)
    settings = Settings(store_url="sqlite:///:memory:", views_url="", otlp_url=NOBODY)

    with pytest.raises(UsageError, match=r"pip install 'warrener\[otel\]'"):
        trace_endpoints(NOBODY)
    with pytest.raises(UsageError, match=r"pip install"), tracing(settings, None):  # type: ignore[arg-type]
        raise AssertionError("nothing begins")
