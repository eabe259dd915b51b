"""The one place that names adapters: which is used follows from the URLs alone.

Connections open here. Imports stand inside the functions so that a command loads only what it uses.
"""

from __future__ import annotations

import os
import random
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from warrener.domain.errors import StoreUnavailable, UsageError
from warrener.services.settings import (
    HISTORY,
    MEMORY,
    MEMORY_BROKER,
    Settings,
    check_broker_url,
    data_folder,
    history_path,
    refuse_history,
    sqlite_path,
    store_kind,
)

if TYPE_CHECKING:
    from warrener.domain.broker_admin import BrokerAdmin
    from warrener.domain.limit_shares import LimitShares
    from warrener.domain.notices import Positions
    from warrener.domain.partitions import Logs
    from warrener.domain.ports import Broker, Clock, EventStore, Leases
    from warrener.projections.ports import Documents, ViewStore
    from warrener.services.histories.file_format import Codec
    from warrener.services.histories.read import History
    from warrener.services.projector import Progress
    from warrener.services.queries import Queries
    from warrener.services.turn import Chance

TOKEN_BYTES = 16
TOKENS_AT_ONCE = 256


def open_logs(url: str, *, create: bool = True, whole: bool = True) -> Logs:
    """Open the logs of a store; without `create` one that is not there is refused.

    The default store is made in any case: asking what it holds must not be an error. With `whole`
    a store that was not restored to its end is refused.
    """
    from warrener.services.logs import LogSet
    from warrener.services.upkeep.epoch import check_whole

    kind = store_kind(url)
    if kind == HISTORY:
        return LogSet([read_history(Path(history_path(url))).log])
    if kind == "mongodb":
        from warrener.adapters.mongo_logs import open_logs as open_mongo
        from warrener.services.event_log import EventLog

        opened = open_mongo(url, create=create)
        stores = [EventLog(opened.recorder(each), each) for each in range(opened.count)]
        logs = LogSet(stores, find=opened.find, close=opened.close)
    else:
        logs = LogSet([open_store(url, create=create)])
    if whole:
        check_whole(logs)
    return logs


def read_history(path: Path, on_progress: Progress | None = None) -> History:
    """Read a history file, of which so many bytes are done; raises `UsageError`."""
    from warrener.services.histories.read import read_history

    return read_history(path, open_codec(), on_progress)


def open_codec() -> Codec:
    """Return what turns events into stored ones, and back."""
    from warrener.adapters.codec import EventMapper

    return EventMapper()


def open_store(url: str, *, create: bool = True) -> EventStore:
    """Open the one log of a store in a file or in memory; see `open_logs`."""
    from warrener.adapters.sqlite_events import SqliteRecorder
    from warrener.services.event_log import EventLog

    return EventLog(SqliteRecorder(_prepared(sqlite_path(url, "store"), create)))


def open_views(url: str, *, create: bool = True) -> ViewStore:
    """Open the read models; those of a history are kept in memory."""
    kind = store_kind(url, "views")
    if kind == HISTORY:
        from warrener.adapters.sqlite_views import SqliteViewStore

        return SqliteViewStore(MEMORY)
    if kind == "mongodb":
        from warrener.adapters.mongo_views import MongoViewStore

        return MongoViewStore(url)
    from warrener.adapters.sqlite_views import SqliteViewStore

    return SqliteViewStore(_prepared(sqlite_path(url, "views"), create))


def open_past_views(documents: Documents) -> ViewStore:
    """Return what answers about documents that were folded in memory, such as those of the past."""
    from warrener.adapters.document_views import DocumentViews

    return DocumentViews(documents)


def open_broker(url: str, heartbeat_seconds: float | None = None) -> Broker:
    """Return the broker that a URL names; channels connect when they are opened.

    A party that is silent for two to three heartbeats loses what it holds.
    """
    check_broker_url(url)
    if url == MEMORY_BROKER:
        from warrener.adapters.memory import MemoryBroker

        return MemoryBroker()
    from warrener.adapters.rabbitmq import RabbitBroker

    if heartbeat_seconds is None:
        return RabbitBroker(url)
    return RabbitBroker(url, heartbeat_seconds=heartbeat_seconds)


def open_broker_admin(url: str) -> BrokerAdmin:
    """Return what declares and looks at the topology of the broker that a URL names."""
    from warrener.adapters.rabbitmq_admin import RabbitAdmin
    from warrener.adapters.rabbitmq_url import target_of

    return RabbitAdmin(target_of(url))


def open_clock() -> Clock:
    """Return the clock of this machine."""
    from warrener.adapters.clock import SystemClock

    return SystemClock()


def open_leases(url: str, role: str = "reactor") -> Leases:
    """Open the leases of a role beside the event store at this URL."""
    refuse_history(url)
    kind = store_kind(url)
    if kind == "mongodb":
        from warrener.adapters.mongo_leases import MongoLeases

        return MongoLeases(url, role)
    if kind == "memory":
        from warrener.adapters.memory_leases import MemoryLeases

        return MemoryLeases()
    from warrener.adapters.sqlite_leases import SqliteLeases

    return SqliteLeases(sqlite_path(url), role)


def open_limit_shares(url: str) -> LimitShares | None:
    """Open what partitions share limits by; None where a store has one partition only."""
    if store_kind(url) != "mongodb":
        return None
    from warrener.adapters.mongo_limit_shares import MongoLimitShares

    return MongoLimitShares(url)


def open_positions(url: str) -> Positions:
    """Open the positions of readers, beside the event store at this URL."""
    refuse_history(url)
    kind = store_kind(url)
    if kind == "mongodb":
        from warrener.adapters.mongo_positions import MongoPositions

        return MongoPositions(url)
    if kind == "memory":
        from warrener.adapters.memory_positions import MemoryPositions

        return MemoryPositions()
    from warrener.adapters.sqlite_positions import SqlitePositions

    return SqlitePositions(sqlite_path(url))


def open_chance() -> Chance:
    """Return the random sources of this machine."""
    from warrener.services.turn import Chance

    return Chance(_tokens().__next__, random.Random().random)


def _tokens() -> Iterator[str]:
    """Yield tokens of 128 random bits, drawn from the system many at a time."""
    while True:
        drawn = secrets.token_hex(TOKEN_BYTES * TOKENS_AT_ONCE)
        digits = 2 * TOKEN_BYTES
        yield from (drawn[at : at + digits] for at in range(0, len(drawn), digits))


def process_name() -> str:
    """Return a name for a daemon that is given none: its host and process id."""
    return f"{socket.gethostname()}-{os.getpid()}"


@contextmanager
def open_queries(
    settings: Settings, logs: Logs, on_progress: Progress | None = None
) -> Iterator[Queries]:
    """Open the read models beside logs that are open already.

    In a file or in memory they are brought up to the log here; a fleet's are a projector's work.
    """
    from warrener.services.logs import each_log
    from warrener.services.projector import catch_up
    from warrener.services.queries import Queries

    folds = store_kind(settings.views_url, "views") != "mongodb"
    views = open_views(settings.views_url)
    try:
        for log in each_log(logs) if folds else ():
            catch_up(log, views, on_progress)
        if store_kind(settings.store_url) == HISTORY:
            _check_folded(settings.store_url, views)
        yield Queries(logs, views, folds=folds)
    finally:
        views.close()


def _check_folded(url: str, views: ViewStore) -> None:
    """Refuse a history whose events say what no job can do."""
    for stopped in views.stopped():
        raise UsageError(
            f"{history_path(url)}: the event at position {stopped.position} ({stopped.event}) does"
            f" not fit what is before it: {stopped.reason}"
        )


def _prepared(path: str, create: bool) -> str:
    """Make the folder of the default store, and refuse other places that are not there."""
    if path == MEMORY:
        return path
    folder = Path(path).parent
    try:
        if folder == data_folder():
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        elif not create and not Path(path).exists():
            raise StoreUnavailable(f"there is no store {path}: a run makes it")
        elif not folder.is_dir():
            raise StoreUnavailable(f"the folder {folder} of the store does not exist: make it")
    except OSError as error:
        raise StoreUnavailable(f"{folder}: {error.strerror}") from error
    return path
