"""The wiring of the HTTP service, made from its parts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from warrener.domain.errors import UsageError
from warrener.services.settings import MEMORY_BROKER, Settings, sqlite_path, store_kind
from warrener.services.wiring import (
    open_broker,
    open_clock,
    open_leases,
    open_logs,
    open_past_views,
    open_views,
)

if TYPE_CHECKING:
    from warrener.domain.tokens import Tokens
    from warrener.services.fleet_watch import FleetWatch
    from warrener.services.steering_calls import SteeringCalls
    from warrener.services.web.follower import Follower
    from warrener.services.web.hub import Hub
    from warrener.services.web.parts import Parts
    from warrener.services.web.reader import Opened, Reader

READERS = 4  # threads that answer, each with the read models open
SLOW_READERS = 2
CHECKING_MAX = 2
WAITING_MAX = 200
STATIC = Path(__file__).parent / "web" / "static"


def open_tokens(url: str) -> Tokens:
    """Open the tokens of the HTTP service, beside the event store at this URL."""
    kind = store_kind(url)
    if kind == "mongodb":
        from warrener.adapters.mongo_tokens import MongoTokens

        return MongoTokens(url)
    if kind == "memory":
        from warrener.adapters.memory_tokens import MemoryTokens

        return MemoryTokens()
    from warrener.adapters.sqlite_tokens import SqliteTokens

    return SqliteTokens(sqlite_path(url))


@contextmanager
def open_read_side(settings: Settings) -> Iterator[Opened]:
    """Open the logs and the read models as they are; nothing is folded by asking."""
    from warrener.services.queries import Queries
    from warrener.services.web.reader import Opened

    logs = open_logs(settings.store_url, create=False)
    try:
        views = open_views(settings.views_url)
        try:
            yield Opened(Queries(logs, views, folds=False), views, logs)
        finally:
            views.close()
    finally:
        logs.close()


@contextmanager
def open_calls(settings: Settings) -> Iterator[SteeringCalls]:
    """Open what carries commands out: the fleet if one is named, else the store itself."""
    if settings.broker_url != MEMORY_BROKER:
        from warrener.services.client import Client

        with Client(settings.broker_url) as client:
            yield client
        return
    from warrener.services import wiring_runs

    logs = open_logs(settings.store_url, create=False)
    try:
        yield wiring_runs.open_steering(settings, logs)
    finally:
        logs.close()


def open_web(
    settings: Settings,
    *,
    open_to: Collection[str] | None = None,
    hosts: Collection[str] | None = None,
    on_turn: Callable[[], None] = lambda: None,
) -> Parts:
    """Put the parts of the HTTP service together; the application closes them.

    `open_to` are the names under which it serves everybody while there are no tokens; None: nobody.
    With `hosts` it answers under these names only.
    """
    from warrener.services.steering_calls import login_name
    from warrener.services.web.access import Access
    from warrener.services.web.counts import Counts
    from warrener.services.web.desk import Desk
    from warrener.services.web.hub import Hub
    from warrener.services.web.parts import Parts
    from warrener.services.web.reader import Reader

    _refuse_alone(settings)
    opens = partial(open_read_side, settings)
    tokens, hub = open_tokens(settings.store_url), Hub()
    reader = Reader(opens, threads=READERS, waiting_max=WAITING_MAX)
    slow = Reader(opens, threads=SLOW_READERS, waiting_max=WAITING_MAX, name="slow-query")
    drawing = Reader(opens, threads=SLOW_READERS, waiting_max=WAITING_MAX, name="drawing")
    return Parts(
        reader=reader,
        slow=slow,
        drawing=drawing,
        checking=asyncio.Semaphore(CHECKING_MAX),
        desk=Desk(lambda: open_calls(settings), keeps=settings.broker_url != MEMORY_BROKER),
        follower=_follower(settings, hub, (reader, slow, drawing), on_turn),
        hub=hub,
        counts=Counts(hub),
        tokens=tokens,
        access=Access(tokens, open_to=open_to, nobody_named=login_name()),
        leases=lambda: open_leases(settings.store_url),
        open_past=open_past_views,
        watch=_watch(settings),
        now=lambda: datetime.now(UTC),
        static=STATIC,
        version=version("warrener"),
        hosts=None if hosts is None else frozenset(hosts),
    )


def _refuse_alone(settings: Settings) -> None:
    kinds = {store_kind(settings.store_url), store_kind(settings.views_url, "views")}
    if kinds & {"memory", "history"}:
        raise UsageError("the web service needs a store that others use: --store sqlite:///...")


def _follower(
    settings: Settings, hub: Hub, readers: Collection[Reader], on_turn: Callable[[], None]
) -> Follower:
    """Return what follows the logs; a store that is another one is opened anew by all readers."""
    from warrener.services.web.follower import Follower

    def renewed() -> None:
        for reader in readers:
            reader.renew()

    return Follower(
        partial(open_read_side, settings),
        folds=store_kind(settings.views_url, "views") != "mongodb",
        told=hub.publish,
        same=lambda: file_of(settings.store_url),
        renewed=renewed,
        on_turn=on_turn,
    )


def _watch(settings: Settings) -> FleetWatch | None:
    """Return what hears the workers; None where no broker is named."""
    from warrener.services.fleet_watch import FleetWatch

    if settings.broker_url == MEMORY_BROKER:
        return None
    return FleetWatch(open_broker(settings.broker_url), open_clock())


def file_of(url: str) -> tuple[int, int] | None:
    """Return what a store's file is, whatever its name: another one means another store."""
    if store_kind(url) != "sqlite":
        return None
    from warrener.adapters.sqlite_file import identity

    try:
        return identity(sqlite_path(url))
    except OSError:
        return (0, 0)
