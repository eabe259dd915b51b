"""`store`: makes a store and tells about it; the rest of the family is in rooms of its own."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from warrener.domain.partitions import PARTITIONS_MAX
from warrener.services.cli import options, store_copies, store_prune, store_verify
from warrener.services.cli.output import moment, plain, table
from warrener.services.cli.session import Session

if TYPE_CHECKING:
    from collections.abc import Iterator

    from warrener.projections.ports import ViewStore
    from warrener.services.cli.output import Output
    from warrener.services.upkeep.info import PartInfo, StoreInfo

_INIT_EXAMPLES = """Examples:

warrener store init --store sqlite:///jobs.db"""
_INFO_EXAMPLES = """Examples:

warrener store info --store sqlite:///jobs.db

warrener store info --json | jq '.logs[].link'"""
_REBUILD_EXAMPLES = """Examples:

warrener store rebuild-views --store sqlite:///jobs.db"""


def register(app: typer.Typer) -> None:
    """Add the commands."""
    text = "Look after the store: make, check, back up, restore and prune it."
    family = typer.Typer(name="store", help=text, no_args_is_help=True)
    family.command("init", epilog=_INIT_EXAMPLES)(init)
    family.command("info", epilog=_INFO_EXAMPLES)(info)
    store_verify.register(family)
    store_copies.register(family)
    store_prune.register(family)
    family.command("rebuild-views", epilog=_REBUILD_EXAMPLES)(rebuild_views)
    app.add_typer(family)


def init(
    *,
    partitions: Annotated[
        int | None,
        typer.Option(
            "--partitions",
            min=1,
            max=PARTITIONS_MAX,
            metavar="N",
            help="How many logs share the jobs, for ever; a SQLite store has one.",
            show_default=False,
        ),
    ] = None,
    store: options.Store = None,
    as_json: options.AsJson = False,
) -> None:
    """Make a store; one that is there already stays as it is."""
    from warrener.services import wiring_store

    session = Session(as_json=as_json, store=store)
    made = wiring_store.make_store(session.settings.store_url, partitions)
    if as_json:
        session.output.json(made)
        return
    word = "made" if made.made else "there already"
    number = "1 partition" if made.partitions == 1 else f"{made.partitions} partitions"
    session.output.show(f"{made.store}: {word}, {number}")


def info(*, store: options.Store = None, as_json: options.AsJson = False) -> None:
    """Show what a store holds, how far everything is in it, and who works on it."""
    session = Session(as_json=as_json, store=store)
    found = _gathered(session)
    if as_json:
        session.output.json(found)
    else:
        _show(session.output, found)


def rebuild_views(*, store: options.Store = None, as_json: options.AsJson = False) -> None:
    """Make the read models anew, which lists and queries are answered from.

    The present ones are in use until the new ones take their place.
    """
    from warrener.services import wiring
    from warrener.services.cli.progress import working
    from warrener.services.settings import refuse_history
    from warrener.services.upkeep.rebuild import rebuild

    session = Session(as_json=as_json, store=store)
    refuse_history(session.settings.store_url)
    with session.logs() as logs:
        views = wiring.open_views(session.settings.views_url)
        try:
            with working(session.output, "events", "reading the log") as report:
                events = rebuild(logs, views, report)
        finally:
            views.close()
    if as_json:
        session.output.json({"events": events})
    else:
        session.output.show(f"the read models were made anew from {events} events")


def _gathered(session: Session) -> StoreInfo:
    from warrener.services import wiring, wiring_store
    from warrener.services.lag import lag
    from warrener.services.settings import redacted_url, store_kind
    from warrener.services.upkeep.commits import parts_of
    from warrener.services.upkeep.info import describe, summed

    settings, now = session.settings, wiring.open_clock().now()
    url = settings.store_url
    with wiring_store.opened_logs(url) as logs, _views(session) as views:
        leases = wiring_store.leases_of(url)
        lags = [] if views is None else lag(logs, views, now)
        found = [describe(part, leases, lags, now) for part in parts_of(logs)]
    parts = tuple(part for part, _ in found)
    views_url = None if views is None else redacted_url(settings.views_url)
    return summed(redacted_url(url), store_kind(url), views_url, parts, found[0][1])


@contextmanager
def _views(session: Session) -> Iterator[ViewStore | None]:
    """Give the read models, None if there are none yet."""
    from warrener.domain.errors import StoreUnavailable
    from warrener.services import wiring

    try:
        views = wiring.open_views(session.settings.views_url, create=False)
    except StoreUnavailable:
        yield None
        return
    try:
        yield views
    finally:
        views.close()


def _show(output: Output, found: StoreInfo) -> None:
    size = "" if found.bytes is None else f", {found.bytes / 1_000_000:,.1f} MB on disk"
    epoch = f", restored {found.epoch} times" if found.epoch else ""
    output.show(f"{found.store}: {found.kind}, partitions: {found.partitions}{size}{epoch}")
    rows = table(
        *("partition", ">events", ">commits", ">blobs", ">published", ">open roots"),
        *(">views behind", "worked on by", "last link"),
    )
    for part in found.logs:
        numbers = (part.events, part.commits, part.blobs, part.published, part.open_roots)
        lag = str(max((view.events for view in part.views), default="none"))
        link = "" if part.link is None else f"{part.link[:16]}…"
        rows.add_row(str(part.partition), *map(str, numbers), lag, plain(_holder(part)), link)
    output.show(rows)
    if any(part.restoring for part in found.logs):
        output.show("not restored to the end: run warrener store restore again, with the same file")
    archives = sorted({archive for part in found.logs for archive in part.archives})
    for archive in archives:
        output.show(f"archive of pruned jobs: {archive}")


def _holder(part: PartInfo) -> str:
    lease = part.lease
    if lease is None:
        return "nobody"
    past = "" if lease.held else "nobody; last by "
    return f"{past}{lease.holder} until {moment(lease.until)} (epoch {lease.epoch})"
