"""`store prune`: archives jobs that ended long ago, and removes them from the store."""

from __future__ import annotations

import secrets
from contextlib import AbstractContextManager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from warrener.domain.errors import UsageError
from warrener.services.cli import options
from warrener.services.cli.session import Session

if TYPE_CHECKING:
    from warrener.services.cli.output import Output
    from warrener.services.upkeep.commits import Progress
    from warrener.services.upkeep.prune import Found, Pruned, Wish

_EXAMPLES = """Examples:

warrener store prune --older-than 30d --dry-run

warrener store prune --older-than 90d --keep-failed --archive /var/backups/warrener

Whole trees of jobs go, never open ones. Their history stays readable: warrener history JOB."""


def register(family: typer.Typer) -> None:
    """Add the command."""
    family.command("prune", epilog=_EXAMPLES)(prune)


def prune(
    *,
    older_than: Annotated[
        str, typer.Option("--older-than", metavar="AGE", help="Since they ended, such as 30d.")
    ],
    keep_failed: Annotated[
        bool, typer.Option("--keep-failed", help="Leave jobs that failed where they are.")
    ] = False,
    archive: Annotated[
        Path | None,
        typer.Option(
            "--archive",
            metavar="FOLDER",
            help="Where archives go; default: a folder beside a SQLite store.",
            show_default=False,
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would go, and change nothing.")
    ] = False,
    store: options.Store = None,
    as_json: options.AsJson = False,
) -> None:
    """Archive jobs that ended long ago in one file, then remove them from the store."""
    from warrener.services import wiring
    from warrener.services.cli.progress import working
    from warrener.services.settings import refuse_history
    from warrener.services.upkeep import prune as pruning

    session = Session(as_json=as_json, store=store)
    output, settings = session.output, session.settings
    refuse_history(settings.store_url)

    def work(unit: str, note: str) -> AbstractContextManager[Progress]:
        return working(output, unit, note)

    with session.logs() as logs:
        wish = _wish(session, older_than, keep_failed, archive)
        if dry_run:
            _show_found(output, pruning.look(logs, wish, work))
            return
        wish.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        views = wiring.open_views(settings.views_url)
        try:
            done = pruning.prune(logs, views, wish, work)
        finally:
            views.close()
    _show(output, done)


def _wish(session: Session, older_than: str, keep_failed: bool, folder: Path | None) -> Wish:
    from warrener.services import wiring
    from warrener.services.cli import values
    from warrener.services.upkeep.prune import Wish

    now = wiring.open_clock().now()
    before = values.since(older_than, now)
    if before > now:
        raise UsageError(f"--older-than {older_than}: that is yet to come; write such as 30d")
    return Wish(
        before=before,
        folder=(folder or _beside(session)).absolute(),
        archive=f"{now:%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}",
        now=now,
        made_by=f"warrener {version('warrener')}",
        keep_failed=keep_failed,
    )


def _beside(session: Session) -> Path:
    """Return the folder of archives of a store in a file."""
    from warrener.services.settings import sqlite_path, store_kind

    url = session.settings.store_url
    if store_kind(url) != "sqlite":
        raise UsageError("name a folder for the archive: --archive FOLDER")
    return Path(f"{sqlite_path(url)}.archives")


def _show_found(output: Output, found: Found) -> None:
    if output.as_json:
        output.json(found)
        return
    output.show(f"would go: {_counted(found.trees, found.jobs, found.events)}{_more(found.more)}")


def _show(output: Output, done: Pruned) -> None:
    if output.as_json:
        output.json(done)
        return
    for file in done.completed:
        output.show(f"a prune that had been interrupted was ended: {file}")
    if done.file is None:
        output.show("there is nothing to prune")
        return
    gone = _counted(done.trees, done.jobs, done.events)
    output.show(f"pruned: {gone}, {done.blobs} large values{_more(done.more)}")
    if done.left:
        output.show(f"left because something happened to them meanwhile: {done.left} trees")
    output.show(f"archive: {done.file}")


def _counted(trees: int, jobs: int, events: int) -> str:
    return f"{trees} trees with {jobs} jobs and {events} events"


def _more(more: bool) -> str:
    return "; there are more: run it again" if more else ""
