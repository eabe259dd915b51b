"""The wiring of runs in one process, and of steering without a broker beside them."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Literal
from uuid import UUID

import msgspec

from warrener.domain.errors import UsageError
from warrener.services.settings import (
    MEMORY,
    MEMORY_BROKER,
    Settings,
    refuse_history,
    sqlite_path,
    store_kind,
)
from warrener.services.shares import UP_NAME
from warrener.services.wiring import (
    TOKEN_BYTES,
    open_broker,
    open_chance,
    open_clock,
    open_leases,
)

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from datetime import datetime

    from warrener.adapters.clock import VirtualClock
    from warrener.domain.partitions import Logs
    from warrener.domain.ports import Clock, EventStore
    from warrener.projections.ports import ViewStore
    from warrener.services.embedded import Embedded
    from warrener.services.endpoints import Registry
    from warrener.services.queries import Queries
    from warrener.services.runners import Runner
    from warrener.services.steering import StoreSteering

Mode = Literal["processes", "threads", "inline"]

INLINE_ORDERS = 32  # how many short orders may share a commit where they run one by one


def open_embedded(
    store: EventStore,
    *,
    queues: Iterable[str],
    workers: int,
    modules: Sequence[str],
    mode: Mode = "processes",
    otlp_url: str = "",
) -> Embedded:
    """Put broker, reactor and workers together in this process.

    `workers` processes (or threads) run the endpoints of `modules`; in-line they run one by one.
    With `otlp_url` those in processes run inside spans, see `wiring_traces` for the others.
    """
    from warrener.services.embedded import Embedded
    from warrener.services.policies import orders

    clock = open_clock()
    slots = INLINE_ORDERS if mode == "inline" else workers
    return Embedded(
        store,
        open_broker(MEMORY_BROKER),  # whatever the fleet's is: this job runs here
        _open_runner(mode, workers, modules, clock, otlp_url),
        clock,
        open_chance(),
        slots=slots,
        queues=queues,
        orders=orders(),
        watches=True,
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
        return bool(reactors_at_work(settings))
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

    refuse_history(settings.store_url)
    kind = store_kind(settings.store_url)
    if kind != "memory":
        advice = "name its broker with --broker URL, or set WARRENER_BROKER_URL"
        _refuse_beside_a_reactor(settings, advice)

    def alone(log: EventStore) -> AbstractContextManager[None]:
        return log.alone() if isinstance(log, EventLog) and kind == "sqlite" else nullcontext()

    return StoreSteering(logs, open_clock(), open_chance(), alone)


def reactors_at_work(settings: Settings) -> list[str]:
    """Return the names of the reactors that hold a lease of this store."""
    leases = open_leases(settings.store_url)
    try:
        held, now = leases.all().values(), open_clock().now()
    finally:
        leases.close()
    return [lease.holder for lease in held if lease.until > now]


def _refuse_beside_a_reactor(settings: Settings, advice: str) -> None:
    names = reactors_at_work(settings)
    if UP_NAME in names:
        raise UsageError(
            "`warrener up` works on this store: set WARRENER_API_URL to the address that it told"
        )
    if names:
        raise UsageError(f"the reactor {names[0]} works on this store: {advice}")


def _open_runner(
    mode: Mode, workers: int, modules: Sequence[str], clock: Clock, otlp_url: str
) -> Runner:
    from warrener.services.runners import InlineRunner
    from warrener.services.worker_processes import ProcessRunner
    from warrener.services.worker_threads import ThreadRunner

    if mode == "inline":
        return InlineRunner(clock)
    if mode == "threads":
        return ThreadRunner(workers, clock)
    return ProcessRunner(workers, modules, clock, otlp_url=otlp_url)
