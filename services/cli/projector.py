"""`projector`: the daemon that keeps the read models up to the log."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from warrener.services.cli import options
from warrener.services.cli.daemons import METRICS_HOST
from warrener.services.cli.failures import DONE, UNREACHABLE
from warrener.services.cli.session import Session
from warrener.services.shares import LEASE_SECONDS

if TYPE_CHECKING:
    from warrener.domain.partitions import Logs
    from warrener.services.histograms import FoldHistograms

_EXAMPLES = """Examples:

warrener projector --store sqlite:////var/lib/warrener/jobs.db

warrener projector --once

warrener projector --metrics-port 9470

WARRENER_VIEWS_URL=sqlite:////var/lib/warrener/views.db warrener projector --log json"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("projector", epilog=_EXAMPLES)(projector)


def projector(
    *,
    once: Annotated[
        bool, typer.Option("--once", help="Bring the read models up to the log, and end.")
    ] = False,
    name: options.DaemonName = None,
    lease_seconds: options.LeaseSeconds = LEASE_SECONDS,
    metrics_port: options.MetricsPort = None,
    metrics_host: options.MetricsHost = METRICS_HOST,
    store: options.Store = None,
    log: options.Log = None,
) -> None:
    """Keep what lists, trees and charts are made from up to the log.

    Any number may run; they share the partitions of the store. SIGTERM ends one in good order,
    and the others take over at once. `warrener doctor` tells how far behind they are.

    With --once the exit code is 4 if an event is in the way of some of it.

    Where WARRENER_OTLP_URL names a collector, such as http://localhost:4318, it sends the traces of
    all jobs there: of what happens from the first time on, each root job one trace.
    """
    session = Session(as_json=False, store=store, log=log, log_level="info")
    from warrener.services import wiring_daemons
    from warrener.services.cli.daemons import stopping_on_signals
    from warrener.services.histograms import FoldHistograms
    from warrener.services.notify import Notifier
    from warrener.services.wiring_traces import tracing

    notifier, histograms, done = Notifier(), FoldHistograms(), True
    with (
        session.logs(create=True) as opened,
        wiring_daemons.open_projector(
            session.settings,
            opened,
            name=name,
            lease_seconds=lease_seconds,
            on_ready=notifier.ready,
            on_turn=notifier.alive,
            on_folded=histograms.folded,
        ) as daemon,
        tracing(session.settings, opened, name=name),
        _metrics(session, opened, histograms, port=metrics_port, host=metrics_host),
        stopping_on_signals(daemon.stop, notifier.stopping),
    ):
        if once:
            done = daemon.catch_up()
        else:
            daemon.run()
    raise typer.Exit(DONE if done else UNREACHABLE)


@contextmanager
def _metrics(
    session: Session, logs: Logs, histograms: FoldHistograms, *, port: int | None, host: str
) -> Iterator[None]:
    """Serve what the read models tell, and what this projector does, if a port is given."""
    if port is None:
        yield
        return
    from warrener.services.figures import figures
    from warrener.services.figures_metrics import FiguresCollector
    from warrener.services.flow_queries import FlowQueries
    from warrener.services.metrics_server import serving
    from warrener.services.wiring import open_clock

    clock = open_clock()
    with session.views() as views:
        queries = FlowQueries(views, logs.count)
        told = FiguresCollector(lambda: figures(logs, views, clock.now()))
        with serving(lambda: queries.flow(points=0), port, host, told, histograms):
            yield
