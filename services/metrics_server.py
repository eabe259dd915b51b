"""Serves metrics over HTTP, in threads of their own beside a daemon."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import structlog
from prometheus_client import start_http_server
from prometheus_client.registry import Collector

from warrener.domain.errors import UsageError
from warrener.services.metrics import Read, registry_of

log = structlog.get_logger()


@contextmanager
def serving(read: Read, port: int, host: str, *more: Collector) -> Iterator[int]:
    """Serve the metrics of the flow, and more, at a port, 0 for a free one; give the port.

    `read` and the collectors are called in threads of the server. Raises `UsageError` if nobody can
    listen there.
    """
    try:
        server, thread = start_http_server(port, addr=host, registry=registry_of(read, *more))
    except OSError as error:
        reason = error.strerror or str(error)
        raise UsageError(f"metrics cannot be served at {host}, port {port}: {reason}") from error
    try:
        log.info("metrics.served", host=host, port=server.server_port)
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
