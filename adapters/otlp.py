"""Traces over OTLP/HTTP, by the libraries of OpenTelemetry: the extra `otel`.

Headers, timeouts, certificates and compression are set by the variables `OTEL_EXPORTER_OTLP_*`,
name and attributes of the service by `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from threading import Thread
from typing import Final
from urllib.parse import urlsplit

import structlog
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from warrener.domain.errors import RetryLater, TracesDelayed, UserActionRequired
from warrener.domain.messages import RunStep
from warrener.domain.spans import Span

SERVICE: Final = "warrener"
PATH: Final = "/v1/traces"
TROUBLE_SECONDS: Final = 60.0  # trouble with spans of endpoints is logged that often at most
WORDS_CHARACTERS_MAX: Final = 500
FLUSH_SECONDS: Final = 2.0  # how long the last spans of endpoints may take
_SCOPE: Final = InstrumentationScope(SERVICE)
_PROPAGATOR: Final = TraceContextTextMapPropagator()
_LIBRARY: Final = "opentelemetry"

log = structlog.get_logger()


def traces_url(url: str) -> str:
    """Return where traces go, from the URL of a collector such as `http://localhost:4318`."""
    path = urlsplit(url).path.rstrip("/")
    return url if path.endswith(PATH) else url.rstrip("/") + PATH


class OtlpSink:
    """Sends spans to a collector, each batch by a request of its own."""

    def __init__(self, url: str, exporter: SpanExporter | None = None) -> None:
        """Take the URL of a collector; connects when there is something to send."""
        self._words = _library_words()
        self._exporter = exporter or OTLPSpanExporter(traces_url(url))
        self._resource = Resource.create({"service.name": SERVICE})

    def send(self, spans: Sequence[Span]) -> None:
        """Hand spans over; raises `TracesDelayed` if they were not taken."""
        self._words.first = ""
        result = self._exporter.export([readable(span, self._resource) for span in spans])
        if result is not SpanExportResult.SUCCESS:
            raise TracesDelayed(self._words.first or "the collector did not take them")

    def close(self) -> None:
        """End what is being sent, and release connections."""
        self._exporter.shutdown()


def readable(span: Span, resource: Resource) -> ReadableSpan:
    """Return a span as the libraries have it."""
    context = span.context
    return ReadableSpan(
        name=span.name,
        context=_context(context.trace, context.span),
        parent=None if span.parent is None else _context(context.trace, span.parent),
        resource=resource,
        attributes=dict(span.attributes),
        events=[Event(e.name, dict(e.attributes), _nanoseconds(e.at)) for e in span.events],
        links=[Link(_context(link.trace, link.span)) for link in span.links],
        kind=SpanKind.PRODUCER if span.sends else SpanKind.INTERNAL,
        status=Status() if span.error is None else Status(StatusCode.ERROR, span.error),
        start_time=_nanoseconds(span.begin),
        end_time=_nanoseconds(span.end),
        instrumentation_scope=_SCOPE,
    )


def _context(trace_id: str, span_id: str) -> SpanContext:
    flags = TraceFlags(TraceFlags.SAMPLED)
    return SpanContext(int(trace_id, 16), int(span_id, 16), is_remote=True, trace_flags=flags)


def _nanoseconds(at: datetime) -> int:
    """Return a time as OTLP has it; whole microseconds, so that nothing is rounded."""
    return (int(at.replace(microsecond=0).timestamp()) * 1_000_000 + at.microsecond) * 1_000


# --- endpoints -----------------------------------------------------------------------------------


class EndpointSpans:
    """Runs endpoints inside spans of their own, below the spans of their attempts.

    They are handed to the tracer provider that the endpoints' modules have set, if they have;
    otherwise to the collector at `url`, as are all spans that endpoints make meanwhile.
    """

    def __init__(self, url: str) -> None:
        """Set a tracer provider for this process, unless there is one."""
        _library_words().speaks = True
        self._own: tuple[TracerProvider, SpanExporter] | None = None
        if isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
            provider = TracerProvider(resource=Resource.create({"service.name": SERVICE}))
            exporter = OTLPSpanExporter(traces_url(url))
            provider.add_span_processor(BatchSpanProcessor(exporter))
            trace.set_tracer_provider(provider)
            self._own = provider, exporter
        self._tracer = trace.get_tracer(SERVICE)

    @contextmanager
    def around(self, order: RunStep) -> Iterator[None]:
        """Make a span the current one; what is raised in it is recorded."""
        parent = _PROPAGATOR.extract({"traceparent": str(order.context.get("traceparent", ""))})
        with self._tracer.start_as_current_span(
            order.endpoint,
            parent,
            kind=SpanKind.CONSUMER,
            attributes={
                "warrener.job": str(order.job),
                "warrener.root": str(order.context.get("root", order.job)),
                "warrener.step.path": order.path,
                "warrener.attempt": order.attempt,
                "warrener.endpoint": order.endpoint,
            },
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                yield
            except (RetryLater, UserActionRequired) as error:  # is no failure
                span.add_event(type(error).__name__, {"message": str(error)})
                raise
            except Exception as error:
                span.record_exception(error)
                span.set_status(Status(StatusCode.ERROR, str(error)))
                raise

    def close(self) -> None:
        """Send what is left, if that is possible soon."""
        if self._own is None:
            return
        provider, exporter = self._own
        last = Thread(target=provider.shutdown, daemon=True)  # waits for whoever does not answer
        last.start()
        last.join(FLUSH_SECONDS)
        if last.is_alive():
            exporter.shutdown()


# --- what the libraries say ----------------------------------------------------------------------


class _Words(logging.Handler):
    """Keeps what the libraries logged first. Once it `speaks` our log has it, too, now and then."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.first = ""
        self.speaks = False
        self._next_at = 0.0  # on the clock of `time.monotonic`

    def emit(self, record: logging.LogRecord) -> None:
        """Take a record, from whichever thread sends spans."""
        text = record.getMessage()[:WORDS_CHARACTERS_MAX]
        self.first = self.first or text
        now = time.monotonic()
        if self.speaks and record.levelno >= logging.ERROR and now >= self._next_at:
            self._next_at = now + TROUBLE_SECONDS
            log.warning("traces.trouble", reason=text)


def _library_words() -> _Words:
    """Have what the libraries log come to us, too; to nobody else if nobody has asked for it."""
    logger = logging.getLogger(_LIBRARY)
    for handler in logger.handlers:
        if isinstance(handler, _Words):
            return handler
    words = _Words()
    logger.addHandler(words)
    logger.propagate = bool(logging.getLogger().handlers)  # else it would go to stderr as it is
    return words
