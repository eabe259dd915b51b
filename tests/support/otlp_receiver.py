"""A collector of traces for tests: takes OTLP over HTTP, and keeps the spans."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, cast

import msgspec
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span as WireSpan
from opentelemetry.proto.trace.v1.trace_pb2 import Status

BODY_BYTES_MAX: Final = 64 * 1024 * 1024


class Taken(msgspec.Struct, frozen=True):
    """A span as it came over the wire."""

    trace: str
    id: str
    parent: str
    name: str
    kind: str
    begin: int  # nanoseconds since 1970
    end: int
    attributes: dict[str, Any]
    events: list[str]
    links: list[tuple[str, str]]
    failed: bool
    service: str
    scope: str


class Receiver:
    """What came so far. `answer` is the status of the next answers."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.answer = 200
        self.requests = 0
        self.paths: set[str] = set()
        self.spans: list[Taken] = []
        self._lock = threading.Lock()

    def take(self, path: str, body: bytes) -> int:
        with self._lock:
            self.requests += 1
            self.paths.add(path)
            if self.answer == 200:
                self.spans += _taken(ExportTraceServiceRequest.FromString(body))
            return self.answer

    def by_id(self) -> dict[str, Taken]:
        with self._lock:
            return {span.id: span for span in self.spans}


def _taken(request: ExportTraceServiceRequest) -> Iterator[Taken]:
    for resource in request.resource_spans:
        service = str(_values(resource.resource.attributes)["service.name"])
        for scope in resource.scope_spans:
            for span in scope.spans:
                yield _one(span, service, scope.scope.name)


def _one(span: WireSpan, service: str, scope: str) -> Taken:
    return Taken(
        trace=span.trace_id.hex(),
        id=span.span_id.hex(),
        parent=span.parent_span_id.hex(),
        name=span.name,
        kind=WireSpan.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_").lower(),
        begin=span.start_time_unix_nano,
        end=span.end_time_unix_nano,
        attributes=_values(span.attributes),
        events=[event.name for event in span.events],
        links=[(link.trace_id.hex(), link.span_id.hex()) for link in span.links],
        failed=span.status.code == Status.STATUS_CODE_ERROR,
        service=service,
        scope=scope,
    )


def _values(pairs: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for pair in cast("list[KeyValue]", pairs):
        kind = pair.value.WhichOneof("value")
        assert kind is not None
        found[pair.key] = getattr(pair.value, kind)
    return found


@contextmanager
def receiving() -> Iterator[Receiver]:
    """Run a collector on a free port."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            assert length <= BODY_BYTES_MAX
            body = self.rfile.read(length)
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            status = receiver.take(self.path, body)
            answer = ExportTraceServiceResponse().SerializeToString()
            self.send_response(status)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    receiver = Receiver(server.server_port)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)
