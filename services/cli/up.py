"""`up`: the whole service in one process, for development and small installations."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import typer

from warrener.services.cli import options
from warrener.services.cli.failures import DONE, UNREACHABLE
from warrener.services.cli.session import Session
from warrener.services.cli.web import HOST, LOOPBACK, PORT, Port

if TYPE_CHECKING:
    from socket import socket

    from warrener.services.notify import Notifier
    from warrener.services.web.server import Server
    from warrener.services.worker_daemon import WorkerOptions

_EXAMPLES = """Examples:

warrener up --endpoints endpoints.py

warrener up --endpoints reports.endpoints --workers 4 --store sqlite:////var/lib/warrener/jobs.db

WARRENER_API_URL=http://127.0.0.1:8470 warrener submit report.yaml --param account=ada --wait"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("up", epilog=_EXAMPLES)(up)


def up(
    *,
    endpoints: options.Endpoints = None,
    workers: options.Workers = None,
    port: Port = PORT,
    store: options.Store = None,
    log: options.Log = None,
) -> None:
    """Run the whole service here: what decides, workers, the HTTP API and the dashboard.

    It needs no broker, and serves whoever reaches it on this machine; tokens of the store count.
    Commands in other terminals reach it where WARRENER_API_URL is set to its address. SIGTERM or
    Ctrl-C lets running steps end and stops it; the next one goes on where the log stands.
    """
    session = Session(as_json=False, store=store, log=log)
    from warrener.services import wiring_up
    from warrener.services.cli.daemons import stopping_on_signals
    from warrener.services.notify import Notifier
    from warrener.services.web.app import build
    from warrener.services.web.server import listening, serve, server

    at, notifier, running = listening(HOST, port), Notifier(), _Running()
    wanted = _options(endpoints or (), workers)
    with wiring_up.open_service(
        session.settings,
        wanted,
        names=frozenset(LOOPBACK),
        on_end=running.stop,
        on_turn=notifier.alive,
    ) as service:
        ready = partial(_ready, session, notifier, at, works=wanted is not None)
        found = server(build(service.parts), ready)
        running.begin(found)
        with stopping_on_signals(
            service.stop, running.stop, service.parts.hub.end, notifier.stopping
        ):
            serve(found, at)
            service.close()
    raise typer.Exit(DONE if found.started else UNREACHABLE)


class _Running:
    """The server once there is one. A daemon may end before that: then it stops at once."""

    def __init__(self) -> None:
        self._server: Server | None = None
        self._stopping = False

    def begin(self, server: Server) -> None:
        self._server = server
        if self._stopping:
            server.stop()

    def stop(self) -> None:
        self._stopping = True
        if self._server is not None:
            self._server.stop()


def _options(modules: Sequence[str], workers: int | None) -> WorkerOptions | None:
    from warrener.services.cli.execution import cpus
    from warrener.services.worker_daemon import WorkerOptions

    if not modules:
        return None
    return WorkerOptions(modules=tuple(modules), slots=workers or cpus(), name="up")


def _ready(session: Session, notifier: Notifier, at: socket, *, works: bool) -> None:
    import structlog

    host, port = at.getsockname()[:2]
    url = f"http://{host}:{port}"
    structlog.get_logger().info("web.started", url=f"{url}/", port=port)
    session.output.show(
        f"Warrener is at {url}/", f"in other terminals: export WARRENER_API_URL={url}"
    )
    if not works:
        session.output.note("no --endpoints are given: steps that call one wait")
    notifier.ready()
