"""`projector`: the daemon that keeps the read models up to the log."""

from __future__ import annotations

from typing import Annotated

import typer

from warrener.services.cli import options
from warrener.services.cli.failures import DONE, UNREACHABLE
from warrener.services.cli.session import Session

_EXAMPLES = """Examples:

warrener projector --store sqlite:////var/lib/warrener/jobs.db

warrener projector --once

WARRENER_VIEWS_URL=sqlite:////var/lib/warrener/views.db warrener projector --log json"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("projector", epilog=_EXAMPLES)(projector)


def projector(
    *,
    once: Annotated[
        bool, typer.Option("--once", help="Bring the read models up to the log, and end.")
    ] = False,
    name: Annotated[
        str | None,
        typer.Option("--name", metavar="NAME", help="Default: host and process id."),
    ] = None,
    lease_seconds: Annotated[
        float,
        typer.Option(
            "--lease-seconds",
            min=1.0,
            max=3600.0,
            metavar="S",
            help="How long other projectors wait before they take over from a silent one.",
        ),
    ] = 6.0,
    store: options.Store = None,
    log: options.Log = None,
) -> None:
    """Keep what lists, trees and charts are made from up to the log.

    Any number may run; they share the partitions of the store. SIGTERM ends one in good order,
    and the others take over at once. `warrener doctor` tells how far behind they are.

    With --once the exit code is 4 if an event is in the way of some of it.
    """
    session = Session(as_json=False, store=store, log=log, log_level="info")
    from warrener.services import wiring_daemons
    from warrener.services.cli.daemons import stopping_on_signals
    from warrener.services.notify import Notifier

    notifier, done = Notifier(), True
    with (
        session.logs(create=True) as opened,
        wiring_daemons.open_projector(
            session.settings,
            opened,
            name=name,
            lease_seconds=lease_seconds,
            on_ready=notifier.ready,
            on_turn=notifier.alive,
        ) as daemon,
        stopping_on_signals(daemon.stop, notifier.stopping),
    ):
        if once:
            done = daemon.catch_up()
        else:
            daemon.run()
    raise typer.Exit(DONE if done else UNREACHABLE)
