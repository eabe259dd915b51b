"""The one place that names adapters: which is used follows from the URLs alone.

Connections open here. Imports stand inside the functions so that a command loads only what it uses.
"""

from __future__ import annotations

import os
import random
import secrets
import socket
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from uuid import UUID

import msgspec

from warrener.domain.errors import StoreUnavailable, UsageError
from warrener.services.settings import (
    MEMORY,
    MEMORY_BROKER,
    Settings,
    check_broker_url,
    data_folder,
    sqlite_path,
    store_kind,
)

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from datetime import datetime

    from warrener.adapters.clock import VirtualClock
    from warrener.domain.broker_admin import BrokerAdmin
    from warrener.domain.limit_shares import LimitShares
    from warrener.domain.notices import Positions
    from warrener.domain.partitions import Logs
    from warrener.domain.ports import Broker, Clock, EventStore, Leases
    from warrener.projections.ports import ViewStore
    from warrener.services.embedded import Embedded
    from warrener.services.endpoints import Registry
    from warrener.services.projector import Progress
    from warrener.services.queries import Queries
    from warrener.services.runners import Runner
    from warrener.services.steering import StoreSteering
    from warrener.services.turn import Chance

Mode = Literal["processes", "threads", "inline"]

TOKEN_BYTES = 16
TOKENS_AT_ONCE = 256
INLINE_ORDERS = 32  # how many short orders may share a commit where they run one by one


def open_logs(url: str, *, create: bool = True, whole: bool = True) -> Logs:
    """Open the logs of a store; without `create` one that is not there is refused.

    The default store is made in any case: asking what it holds must not be an error. With `whole`
    a store that was not restored to its end is refused.
    """
    from warrener.services.logs import LogSet
    from warrener.services.store_epoch import check_whole

    if store_kind(url) == "mongodb":
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


def open_store(url: str, *, create: bool = True) -> EventStore:
    """Open the one log of a store in a file or in memory; see `open_logs`."""
    from warrener.adapters.sqlite_events import SqliteRecorder
    from warrener.services.event_log import EventLog

    return EventLog(SqliteRecorder(_prepared(sqlite_path(url, "store"), create)))


def open_views(url: str, *, create: bool = True) -> ViewStore:
    """Open the read models."""
    if store_kind(url, "views") == "mongodb":
        from warrener.adapters.mongo_views import MongoViewStore

        return MongoViewStore(url)
    from warrener.adapters.sqlite_views import SqliteViewStore

    return SqliteViewStore(_prepared(sqlite_path(url, "views"), create))


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
        yield Queries(logs, views, folds=folds)
    finally:
        views.close()


def open_embedded(
    store: EventStore,
    *,
    queues: Iterable[str],
    workers: int,
    modules: Sequence[str],
    mode: Mode = "processes",
) -> Embedded:
    """Put broker, reactor and workers together in this process.

    `workers` processes (or threads) run the endpoints of `modules`; in-line they run one by one.
    """
    from warrener.services.embedded import Embedded

    clock = open_clock()
    slots = INLINE_ORDERS if mode == "inline" else workers
    return Embedded(
        store,
        open_broker(MEMORY_BROKER),  # whatever the fleet's is: this job runs here
        _open_runner(mode, workers, modules, clock),
        clock,
        open_chance(),
        slots=slots,
        queues=queues,
    )


class LocalParts(msgspec.Struct, frozen=True):
    """What a local run is made of; `virtual` is its clock, where that can be moved."""

    store: EventStore
    views: ViewStore
    embedded: Embedded
    clock: Clock
    virtual: VirtualClock | None

    def queries(self) -> Queries:
        """Return the queries over what has happened so far."""
        from warrener.services.logs import LogSet
        from warrener.services.queries import Queries

        return Queries(LogSet([self.store]), self.views)


def open_local(
    registry: Registry, queues: Iterable[str], *, start: datetime | None, seed: int
) -> LocalParts:
    """Put a run of one job together in memory, in-line; with `start` on a virtual clock."""
    from warrener.adapters.clock import VirtualClock
    from warrener.adapters.memory import MemoryBroker
    from warrener.adapters.memory_events import MemoryEventStore
    from warrener.adapters.memory_views import MemoryViewStore
    from warrener.services.embedded import Embedded
    from warrener.services.runners import InlineRunner
    from warrener.services.turn import Chance

    virtual = None if start is None else VirtualClock(start)
    clock = virtual or open_clock()
    chosen = random.Random(seed)
    chance = Chance(lambda: f"{chosen.getrandbits(8 * TOKEN_BYTES):032x}", chosen.random)
    store, runner = MemoryEventStore(), InlineRunner(clock, registry=registry)
    embedded = Embedded(
        store, MemoryBroker(), runner, clock, chance, slots=INLINE_ORDERS, queues=queues
    )
    return LocalParts(store, MemoryViewStore(), embedded, clock, virtual)


def hold_job(settings: Settings, root: UUID) -> AbstractContextManager[None]:
    """Hold the right to work on a root job here; raises `UsageError` if somebody else does."""
    from warrener.adapters.run_lock import run_lock

    path = sqlite_path(settings.store_url)
    if path == MEMORY:
        return nullcontext()
    _refuse_beside_a_reactor(settings, "use `warrener submit`, or another --store")
    return run_lock(path, root)


def is_worked_on(settings: Settings, root: UUID) -> bool:
    """Say whether somebody works on a root job of this store just now."""
    if store_kind(settings.store_url) == "mongodb":
        return _reactor_at_work(settings) is not None
    try:
        with hold_job(settings, root):
            return False
    except UsageError:
        return True


def open_steering(settings: Settings, logs: Logs) -> StoreSteering:
    """Return what steers the jobs of logs that are open already, without a broker.

    Raises `UsageError` if a reactor works on them: then only that one may write them.
    """
    from warrener.services.event_log import EventLog
    from warrener.services.steering import StoreSteering

    kind = store_kind(settings.store_url)
    if kind != "memory":
        advice = "name its broker with --broker URL, or set WARRENER_BROKER_URL"
        _refuse_beside_a_reactor(settings, advice)

    def alone(log: EventStore) -> AbstractContextManager[None]:
        return log.alone() if isinstance(log, EventLog) and kind == "sqlite" else nullcontext()

    return StoreSteering(logs, open_clock(), open_chance(), alone)


def _refuse_beside_a_reactor(settings: Settings, advice: str) -> None:
    holder = _reactor_at_work(settings)
    if holder is not None:
        raise UsageError(f"the reactor {holder} works on this store: {advice}")


def _reactor_at_work(settings: Settings) -> str | None:
    """Return the name of a reactor that holds a lease of this store, None if none does."""
    leases = open_leases(settings.store_url)
    try:
        held, now = leases.all().values(), open_clock().now()
    finally:
        leases.close()
    return next((lease.holder for lease in held if lease.until > now), None)


def _open_runner(mode: Mode, workers: int, modules: Sequence[str], clock: Clock) -> Runner:
    from warrener.services.runners import InlineRunner
    from warrener.services.worker_processes import ProcessRunner
    from warrener.services.worker_threads import ThreadRunner

    if mode == "inline":
        return InlineRunner(clock)
    if mode == "threads":
        return ThreadRunner(workers, clock)
    return ProcessRunner(workers, modules, clock)


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
