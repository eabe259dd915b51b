"""`reactor`: the daemon that decides what runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

from warrener.services.cli import options
from warrener.services.cli.daemons import METRICS_HOST
from warrener.services.cli.failures import DONE
from warrener.services.cli.session import Session
from warrener.services.shares import LEASE_SECONDS

if TYPE_CHECKING:
    from warrener.services.histograms import PaceHistograms
    from warrener.services.live_flow import LiveFlow

_EXAMPLES = """Examples:

warrener reactor --broker amqp://controller:secret@rabbit --store sqlite:////var/lib/warrener/jobs.db

warrener reactor --broker amqp://localhost --metrics-port 9471

WARRENER_BROKER_URL=amqp://localhost warrener reactor --log json"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("reactor", epilog=_EXAMPLES)(reactor)


def reactor(
    *,
    name: options.DaemonName = None,
    lease_seconds: options.LeaseSeconds = LEASE_SECONDS,
    metrics_port: options.MetricsPort = None,
    metrics_host: options.MetricsHost = METRICS_HOST,
    broker: options.Broker = None,
    store: options.Store = None,
    log: options.Log = None,
) -> None:
    """Decide what runs: take reports and commands from the broker, keep the log, send orders.

    Any number may run: they share the partitions of the store, and take over from one that falls
    silent. SIGTERM hands over and ends it in good order.
    """
    session = Session(as_json=False, store=store, broker=broker, log=log, log_level="info")
    from warrener.services import wiring, wiring_daemons
    from warrener.services.cli.daemons import stopping_on_signals
    from warrener.services.histograms import PaceHistograms
    from warrener.services.live_flow import LiveFlow
    from warrener.services.notify import Notifier

    notifier, live, histograms = Notifier(), LiveFlow(wiring.open_clock()), PaceHistograms()
    with (
        session.logs(create=True) as opened,
        wiring_daemons.open_reactor(
            session.settings,
            opened,
            name=name,
            lease_seconds=lease_seconds,
            on_ready=notifier.ready,
            on_turn=notifier.alive,
            on_round=live.look if metrics_port is not None else lambda _: None,
            histograms=histograms,
        ) as daemon,
        _metrics(live, histograms, metrics_port, metrics_host),
        stopping_on_signals(daemon.stop, notifier.stopping),
    ):
        daemon.run()
    raise typer.Exit(DONE)


@contextmanager
def _metrics(
    live: LiveFlow, histograms: PaceHistograms, port: int | None, host: str
) -> Iterator[None]:
    """Serve what the reactors know of the flow and of their pace, if a port is given."""
    if port is None:
        yield
        return
    from warrener.services.metrics_server import serving

    with serving(live.read, port, host, histograms):
        yield
