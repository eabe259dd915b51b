"""The wiring of traces: what follows the log for them, and what runs endpoints inside spans.

Nothing of OpenTelemetry is imported as long as no collector is set.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from contextvars import copy_context
from threading import Event, Thread
from types import ModuleType
from typing import TYPE_CHECKING

import msgspec
import structlog

from warrener.domain.errors import UsageError
from warrener.services import step_context
from warrener.services.settings import Settings, listed, store_kind
from warrener.services.shares import Identity
from warrener.services.span_redaction import SpanRedactor
from warrener.services.tracer import FINAL_SECONDS, SpanFollower, Tracer
from warrener.services.wiring import (
    open_clock,
    open_leases,
    open_logs,
    open_positions,
    process_name,
)

if TYPE_CHECKING:
    from warrener.domain.partitions import Logs
    from warrener.domain.spans import SpanSink

READY_SECONDS = 5.0
CLOSE_SECONDS = 2.0  # beyond what the last spans may take

log = structlog.get_logger()


@contextmanager
def tracing(settings: Settings, logs: Logs, *, name: str | None = None) -> Iterator[None]:
    """Send the spans of a store to the collector that is set, if one is, meanwhile.

    That is the work of a thread with connections of its own. What a store in memory tells, which
    is in no other place than `logs`, is sent at the end. Raises `UsageError` where OpenTelemetry is
    not installed, and for patterns of secrets that say nothing.
    """
    if not settings.otlp_url:
        yield
        return
    clean = SpanRedactor(listed(settings.redact))
    wanted = _Wanted(settings, _otlp().OtlpSink(settings.otlp_url), clean, name or process_name())
    if store_kind(settings.store_url) == "memory":
        with _following(wanted, logs):
            yield
        return
    thread = _TracerThread(wanted)
    thread.start()
    try:
        thread.wait_ready()
        yield
    finally:
        thread.stop()


def trace_endpoints(url: str) -> Callable[[], None]:
    """Run every endpoint of this process inside a span, where a collector is set at `url`.

    Returns what ends it. To be called once the endpoints are loaded: their modules may have set up
    OpenTelemetry for themselves. Raises `UsageError` where that is not installed.
    """
    if not url:
        return _nothing
    spans = _otlp().EndpointSpans(url)
    step_context.run_inside(spans.around)

    def end() -> None:
        step_context.run_inside(None)
        spans.close()

    return end


class _Wanted(msgspec.Struct, frozen=True):
    """What a tracer is made of, beside what it opens."""

    settings: Settings
    sink: SpanSink
    clean: SpanRedactor
    name: str


@contextmanager
def _following(wanted: _Wanted, logs: Logs) -> Iterator[None]:
    """Send at the end what came into logs meanwhile."""
    with ExitStack() as stack:
        stack.callback(wanted.sink.close)
        tracer = _tracer(wanted, logs, stack)
        tracer.turn()
        yield
        try:
            tracer.finish()
        except Exception as error:  # it is no fault of what they tell of
            log.error("tracer.failed", reason=str(error), exc_info=error)


class _TracerThread(Thread):
    """Runs a tracer, with whatever it opens."""

    def __init__(self, wanted: _Wanted) -> None:
        super().__init__(name="warrener-tracer", daemon=True)
        self._wanted = wanted
        self._stopping, self._ready = Event(), Event()
        self._context = copy_context()  # what is bound to log lines

    def run(self) -> None:
        """Follow the log; traces never stop what they tell of."""
        self._context.run(self._run)

    def _run(self) -> None:
        try:
            with ExitStack() as stack:
                logs = open_logs(self._wanted.settings.store_url)
                stack.callback(logs.close)
                tracer = _tracer(self._wanted, logs, stack)
                tracer.run(self._stopping, self._ready)
        except Exception as error:
            log.error("tracer.failed", reason=str(error), exc_info=error)
        finally:
            self._ready.set()

    def wait_ready(self) -> None:
        """Wait until it is known from where on the log is followed."""
        self._ready.wait(READY_SECONDS)

    def stop(self) -> None:
        """End it, in good order if that is soon."""
        self._stopping.set()
        self.join(FINAL_SECONDS)
        self._wanted.sink.close()
        self.join(CLOSE_SECONDS)


def _tracer(wanted: _Wanted, logs: Logs, stack: ExitStack) -> Tracer:
    url = wanted.settings.store_url
    leases = open_leases(url, "tracer")
    stack.callback(leases.close)
    positions = open_positions(url)
    stack.callback(positions.close)

    def follower(partition: int) -> SpanFollower:
        return SpanFollower(
            logs.log(partition), positions, wanted.sink, partition=partition, clean=wanted.clean
        )

    return Tracer(Identity(wanted.name), logs, leases, follower, open_clock())


def _otlp() -> ModuleType:
    try:
        from warrener.adapters import otlp
    except ImportError as error:
        raise UsageError(
            f"WARRENER_OTLP_URL needs OpenTelemetry ({error}): pip install 'warrener[otel]'"
        ) from error
    return otlp


def _nothing() -> None:
    """Nothing was begun."""
