"""Serves the application with uvicorn, in the way of the other daemons."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import uvicorn

from warrener.domain.errors import UsageError
from warrener.services.web.protocol import BoundedProtocol

BACKLOG: Final = 100  # so many are accepted at a go, before the first of them is counted
IDLE_SECONDS: Final = 10  # of a connection between two requests
DRAIN_SECONDS: Final = 5
HEADER_BYTES_MAX: Final = 48 * 1024


class Server(uvicorn.Server):
    """A server that leaves signals to the command, and says when it is ready."""

    def __init__(self, config: uvicorn.Config, on_ready: Callable[[], None]) -> None:
        """Take what to serve; `on_ready` is called once it listens."""
        super().__init__(config)
        self._on_ready = on_ready

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen."""
        await super().startup(sockets)
        if self.started:
            self._on_ready()

    def stop(self) -> None:
        """Ask it to end: what is under way may finish."""
        self.should_exit = True


def server(
    app: Any,
    on_ready: Callable[[], None],
    *,
    certificate: str | None = None,
    key: str | None = None,
) -> Server:
    """Return a server for an application, over TLS if a certificate is given.

    Raises `UsageError` for a certificate that cannot be used.
    """
    _check_certificate(certificate, key)
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        lifespan="on",
        loop="asyncio",
        http=BoundedProtocol,
        ws="none",
        server_header=False,
        date_header=True,
        backlog=BACKLOG,
        timeout_keep_alive=IDLE_SECONDS,
        timeout_graceful_shutdown=DRAIN_SECONDS,
        h11_max_incomplete_event_size=HEADER_BYTES_MAX,
        forwarded_allow_ips="127.0.0.1",
        ssl_certfile=certificate,
        ssl_keyfile=key,
    )
    return Server(config, on_ready)


def _check_certificate(certificate: str | None, key: str | None) -> None:
    if certificate is None:
        if key is not None:
            raise UsageError(f"the key {key} has no certificate: name it with --tls-cert")
        return
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key)
    except OSError as error:
        reason = error.strerror or str(error)
        raise UsageError(f"the certificate {certificate} cannot be used: {reason}") from error


def listening(host: str, port: int) -> socket.socket:
    """Return a socket that listens at an address; raises `UsageError` if nobody can."""
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        found = socket.socket(family, socket.SOCK_STREAM)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind((host, port))
        found.listen(BACKLOG)
        found.setblocking(False)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UsageError(f"nobody can listen at {host}, port {port}: {reason}") from error
    return found


def serve(running: Server, at: socket.socket) -> None:
    """Serve until it is asked to stop."""
    asyncio.run(running.serve([at]))
