"""`store backup` and `store restore`."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

from warrener.services.cli import options
from warrener.services.cli.session import Session

_BACKUP_EXAMPLES = """Examples:

warrener store backup jobs-2030-01-31.zst --store sqlite:///jobs.db

The store may be in use meanwhile. A backup can be restored into a store of another kind."""
_RESTORE_EXAMPLES = """Examples:

warrener store restore jobs-2030-01-31.zst --store sqlite:///restored.db

A restore that was interrupted is run again in the same way, and goes on where it was."""


def register(family: typer.Typer) -> None:
    """Add the commands."""
    family.command("backup", epilog=_BACKUP_EXAMPLES)(backup)
    family.command("restore", epilog=_RESTORE_EXAMPLES)(restore)


def backup(
    *,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where to write the backup.")],
    force: Annotated[
        bool, typer.Option("--force", help="Replace the file if it is there already.")
    ] = False,
    store: options.Store = None,
    as_json: options.AsJson = False,
) -> None:
    """Copy everything that is in the store now into one file, whole or not at all."""
    from warrener.services import wiring, wiring_store
    from warrener.services.cli.progress import working
    from warrener.services.upkeep import backup as backups
    from warrener.services.upkeep.commits import parts_of

    session = Session(as_json=as_json, store=store)
    now, by = wiring.open_clock().now(), f"warrener {version('warrener')}"
    with (
        wiring_store.opened_logs(session.settings.store_url) as logs,
        working(session.output, "events", "backing up") as report,
    ):
        done = backups.backup(parts_of(logs), file, now, by, replace=force, on_progress=report)
    if as_json:
        session.output.json(done)
        return
    holds = f"{done.events} events in {done.commits} commits, {done.blobs} blobs"
    session.output.show(f"{done.file}: {holds}, {done.bytes:,} bytes")


def restore(
    *,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A backup.")],
    store: options.Store = None,
    as_json: options.AsJson = False,
) -> None:
    """Fill an empty store from a backup; what was open in it goes out to workers again."""
    from warrener.services import wiring, wiring_store
    from warrener.services.cli.progress import working
    from warrener.services.upkeep import restore as restoring
    from warrener.services.upkeep.backup_check import partitions_of
    from warrener.services.upkeep.commits import parts_of

    session = Session(as_json=as_json, store=store)
    output, settings = session.output, session.settings
    wiring_store.make_store(settings.store_url, partitions_of(file))
    with (
        wiring_store.opened_logs(settings.store_url, create=False) as logs,
        working(output, "bytes", "checking, then restoring") as report,
    ):
        done = restoring.restore(parts_of(logs), file, report)
    views = wiring.open_views(settings.views_url)
    try:
        views.reset()
    finally:
        views.close()
    if as_json:
        output.json(done)
        return
    holds = f"{done.events} events in {done.commits} commits, {done.blobs} blobs"
    again = " (went on with an earlier restore)" if done.resumed else ""
    output.show(f"{done.file}: restored {holds}{again}; the epoch is {done.epoch} now")
