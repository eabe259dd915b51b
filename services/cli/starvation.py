"""`starvation`: who waits too long, why, and what is done about it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from warrener.services.cli import options, values
from warrener.services.cli.session import Session

_EXAMPLES = """Examples:

warrener starvation

warrener starvation --all --since 2d

warrener starvation 7d0a6c2b --json"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("starvation", epilog=_EXAMPLES)(starvation)


def starvation(
    *,
    incident: Annotated[
        str | None,
        typer.Argument(
            metavar="INCIDENT", help="Id of one, or the start of it.", show_default=False
        ),
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Also incidents that are over.")
    ] = False,
    since: Annotated[
        str | None,
        typer.Option(
            "--since",
            metavar="TIME",
            help="Opened then or later: a time, 90m, 2d.",
            show_default=False,
        ),
    ] = None,
    limit: Annotated[
        int, typer.Option("--limit", min=1, max=10_000, metavar="N", help="At most so many.")
    ] = 50,
    store: options.Store = None,
    as_json: options.AsJson = False,
) -> None:
    """List incidents of starvation, the newest first: who waits too long, and the cause of it.

    Steps starve that have waited for longer than the bound that `warrener flow` shows, while others
    of the same workers are served. Of one incident all is shown: the evidence, and what was done.
    """
    session = Session(as_json=as_json, store=store)
    start = None if since is None else values.since(since, datetime.now(UTC))
    with session.queries() as queries:
        if incident is not None:
            found = [queries.find_incident(incident)]
        else:
            found = queries.starvation(open_only=not everything, since=start, limit=limit)
    if as_json:
        for line in found:
            session.output.json(line)
        return
    from warrener.services.cli.flow_tables import incident_tables, incidents_table

    if incident is not None:
        session.output.show(*incident_tables(found[0]))
    else:
        session.output.show(incidents_table(found) if found else "nobody starves")
