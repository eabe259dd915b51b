"""`web`: the HTTP service with the dashboard, and the tokens that let people in."""

from __future__ import annotations

from functools import partial
from ipaddress import ip_address
from typing import TYPE_CHECKING, Annotated

import typer

from warrener.domain.errors import UsageError
from warrener.services.cli import options, web_tokens
from warrener.services.cli.failures import DONE, UNREACHABLE
from warrener.services.cli.session import Session

if TYPE_CHECKING:
    from socket import socket

    from warrener.services.notify import Notifier

HOST = "127.0.0.1"
PORT = 8470
LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
_EXAMPLES = """Examples:

warrener web

warrener web --store mongodb://db/warrener --broker amqp://operator:secret@rabbit

warrener web token add ada --role operator

warrener web --host 0.0.0.0 --host-name jobs.example.org --log json"""

_Host = Annotated[str, typer.Option("--host", metavar="HOST", help="The address to listen at.")]
Port = Annotated[
    int, typer.Option("--port", min=0, max=65_535, metavar="N", help="0 takes a free one.")
]
_HostName = Annotated[
    list[str] | None,
    typer.Option(
        "--host-name",
        metavar="NAME",
        help="A name under which browsers reach it, beside those of loopback. May be repeated.",
        show_default=False,
    ),
]
_Certificate = Annotated[
    str | None,
    typer.Option("--tls-cert", metavar="FILE", help="Serve over TLS.", show_default=False),
]
_TlsKey = Annotated[
    str | None,
    typer.Option("--tls-key", metavar="FILE", help="Its private key.", show_default=False),
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(no_args_is_help=False, rich_markup_mode="rich")
    group.callback(invoke_without_command=True, epilog=_EXAMPLES)(web)
    web_tokens.register(group)
    app.add_typer(group, name="web")


def web(
    context: typer.Context,
    *,
    host: _Host = HOST,
    port: Port = PORT,
    host_name: _HostName = None,
    tls_cert: _Certificate = None,
    tls_key: _TlsKey = None,
    store: options.Store = None,
    broker: options.Broker = None,
    log: options.Log = None,
) -> None:
    """Serve the dashboard and the HTTP API.

    Without any token it listens on loopback only, and whoever reaches it may do everything. Jobs
    are read from the read models of the store; commands go to the fleet of the broker, without one
    to the store itself. SIGTERM ends it in good order.
    """
    if context.invoked_subcommand is not None:
        return
    session = Session(as_json=False, store=store, broker=broker, log=log, log_level="info")
    from warrener.services import wiring, wiring_web
    from warrener.services.cli.daemons import stopping_on_signals
    from warrener.services.notify import Notifier
    from warrener.services.web.app import build
    from warrener.services.web.server import listening, serve, server

    wiring.open_logs(session.settings.store_url, create=True).close()
    names = frozenset({*LOOPBACK, *map(str.lower, host_name or ())})
    _refuse_strangers(session, host)
    notifier = Notifier()
    at = listening(host, port)
    parts = wiring_web.open_web(
        session.settings,
        open_to=names if _is_loopback(host) else None,
        hosts=names if host_name else None,
        on_turn=notifier.alive,
    )
    running = server(
        build(parts),
        partial(_ready, notifier, at, tls_cert),
        certificate=tls_cert,
        key=tls_key,
    )
    with stopping_on_signals(running.stop, parts.hub.end, notifier.stopping):
        serve(running, at)
    raise typer.Exit(DONE if running.started else UNREACHABLE)


def _refuse_strangers(session: Session, host: str) -> None:
    """Refuse to listen beyond this machine while whoever comes may do everything."""
    from warrener.services import wiring_web

    if _is_loopback(host):
        return
    tokens = wiring_web.open_tokens(session.settings.store_url)
    try:
        if not tokens.all():
            again = session.command("web", "token", "add", "NAME", "--role", "operator")
            raise UsageError(f"listening at {host} needs a token: make one with {again}")
    finally:
        tokens.close()


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _ready(notifier: Notifier, at: socket, certificate: str | None) -> None:
    import structlog

    host, port = at.getsockname()[:2]
    scheme = "http" if certificate is None else "https"
    shown = f"[{host}]" if ":" in host else host
    structlog.get_logger().info("web.started", url=f"{scheme}://{shown}:{port}/", port=port)
    notifier.ready()
