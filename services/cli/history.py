"""`history`: every event of a job, or of a whole tree."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec
import typer
from rich.text import Text

from warrener.services.cli import options
from warrener.services.cli.output import clean, one_line, plain
from warrener.services.cli.session import Session, job_named

if TYPE_CHECKING:
    from uuid import UUID

    from warrener.domain.partitions import Logs
    from warrener.services.queries import Queries
    from warrener.services.shapes import HistoryLine

FOLLOW_SECONDS: Final = 0.25
_EXAMPLES = """Examples:

warrener history 5f2c71e0 --tree

warrener history 5f2c71e0 --follow --json"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("history", epilog=_EXAMPLES)(history)


def history(
    *,
    job: options.Job,
    tree: Annotated[bool, typer.Option("--tree", help="Of the jobs below it, too.")] = False,
    follow: Annotated[
        bool, typer.Option("--follow", help="Go on with new events until the job has ended.")
    ] = False,
    archive: Annotated[
        Path | None,
        typer.Option(
            "--archive",
            metavar="FILE",
            help="Where a pruned job is, if its archive was moved.",
            show_default=False,
        ),
    ] = None,
    store: options.Store = None,
    as_json: options.AsJson = False,
) -> None:
    """Print every event, with its position in the log, its time and its cause.

    That of a pruned job is read back from its archive.
    """
    session = Session(as_json=as_json, store=store)
    with session.logs() as logs, session.queries(logs) as queries:
        lines = _lines(logs, queries, job, tree, follow) if archive is None else None
        if lines is None:
            lines = _pruned(logs, job, tree, archive)
        for line in lines:
            if as_json:
                session.output.json(line)
            else:
                session.output.show(_line(line))


def _lines(
    logs: Logs, queries: Queries, job: str, tree: bool, follow: bool
) -> Iterator[HistoryLine] | None:
    """Return the events of a job in the store, None if it was pruned."""
    from warrener.domain.errors import UnknownJob
    from warrener.services.upkeep.pruned import find_pruned

    try:
        found = job_named(queries, job)
    except UnknownJob:
        if find_pruned(logs, job) is not None:
            return None
        raise
    return _followed(queries, found, tree) if follow else queries.history(found, tree=tree)


def _pruned(logs: Logs, job: str, tree: bool, archive: Path | None) -> Iterator[HistoryLine]:
    from warrener.domain.errors import UnknownJob
    from warrener.services.upkeep.pruned import find_pruned, pruned_history

    found = find_pruned(logs, job, archive)
    if found is None:
        raise UnknownJob(f"{archive} does not have a job {job}")
    return pruned_history(logs, found, tree=tree)


def _followed(queries: Queries, job: UUID, tree: bool) -> Iterator[HistoryLine]:
    from warrener.domain.states import JOB_ENDED

    position, ended = 0, False
    while not ended:
        ended = queries.show(job, whole=False).state in JOB_ENDED  # before the last look
        for line in queries.history(job, tree=tree, after=position):
            position = line.position
            yield line
        if not ended:
            time.sleep(FOLLOW_SECONDS)


def _line(line: HistoryLine) -> Text:
    told = {name: value for name, value in line.data.items() if name not in ("by", "reason")}
    data = one_line(clean(msgspec.json.encode(told).decode()), 160)
    return Text.assemble(
        (f"{line.position:>8} ", "dim"),
        f"{line.at} ",
        plain(f"{line.path or '.'} ", "cyan"),
        plain(line.type, "bold"),
        plain(_steered(line.data), "magenta"),
        plain(f" {data}"),
        plain(f"  [{line.cause}]", "dim"),
    )


def _steered(data: Mapping[str, Any]) -> str:
    """Return who asked for what an event says, and why."""
    by = f" by {one_line(data['by'])}" if data.get("by") else ""
    return f"{by}: {one_line(data['reason'])}" if data.get("reason") else by
