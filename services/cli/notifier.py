"""`notifier`: the daemon that tells people what they have to do."""

from __future__ import annotations

from typing import Annotated

import typer

from warrener.services.cli import options
from warrener.services.cli.failures import DONE, UNREACHABLE
from warrener.services.cli.session import Session

_EXAMPLES = """Examples:

WARRENER_WEBHOOK_URL=https://hooks.example.com/x WARRENER_WEBHOOK_SECRET=... warrener notifier

WARRENER_SMTP_URL=smtps://user:password@mail.example.com WARRENER_MAIL_FROM=warrener@example.com
WARRENER_MAIL_TO=team@example.com warrener notifier --once

WARRENER_NOTIFY_ON=user_action.requested,job.failed warrener notifier --log json"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("notifier", epilog=_EXAMPLES)(notifier)


def notifier(
    *,
    once: Annotated[
        bool, typer.Option("--once", help="Tell what is there to be told, and end.")
    ] = False,
    from_now: Annotated[
        bool,
        typer.Option(
            "--from-now",
            help="The first time, begin with what happens from now on: not with what is open.",
        ),
    ] = False,
    store: options.Store = None,
    log: options.Log = None,
) -> None:
    """Tell people of requests for their help, and of failed jobs if wanted: by webhook and mail.

    It follows the log and remembers how far it has come. SIGTERM ends it in good order.

    With --once the exit code is 4 if something could not be told.
    """
    session = Session(as_json=False, store=store, log=log, log_level="info")
    from warrener.services import wiring_daemons
    from warrener.services.cli.daemons import stopping_on_signals
    from warrener.services.notify import Notifier as Systemd

    systemd = Systemd()
    with (
        session.logs(create=True) as opened,
        wiring_daemons.open_notifier(
            session.settings,
            opened,
            from_now=from_now,
            on_ready=systemd.ready,
            on_turn=systemd.alive,
        ) as daemon,
        stopping_on_signals(daemon.stop, systemd.stopping),
    ):
        daemon.run(once=once)
    raise typer.Exit(UNREACHABLE if once and daemon.given_up else DONE)
