"""The wiring of the whole service in one process: broker, reactor, workers and the web service."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from warrener.domain.errors import UsageError
from warrener.services.daemon_threads import DaemonThread
from warrener.services.settings import MEMORY_BROKER, Settings, sqlite_path, store_kind
from warrener.services.shares import UP_NAME
from warrener.services.wiring import open_broker, open_logs
from warrener.services.wiring_daemons import open_reactor, open_worker
from warrener.services.wiring_runs import reactors_at_work
from warrener.services.wiring_web import open_web

if TYPE_CHECKING:
    from warrener.domain.ports import Broker
    from warrener.services.reactor_daemon import ReactorDaemon
    from warrener.services.web.parts import Parts
    from warrener.services.worker_daemon import WorkerOptions


class Service(msgspec.Struct, frozen=True):
    """The web service, and the daemons beside it in the order in which they stop."""

    parts: Parts
    daemons: tuple[DaemonThread, ...]

    def stop(self) -> None:
        """Ask the workers to drain; the reactor works on until they have. Safe in a handler."""
        self.daemons[0].stop()

    def close(self) -> None:
        """Have each daemon end, workers first; raises what ended one before its time."""
        for daemon in self.daemons:
            daemon.stop()
            daemon.join()
        for daemon in self.daemons:
            if daemon.error is not None:
                raise daemon.error


@contextmanager
def open_service(
    settings: Settings,
    options: WorkerOptions | None,
    *,
    names: frozenset[str],
    on_end: Callable[[], None],
    on_turn: Callable[[], None] = lambda: None,
) -> Iterator[Service]:
    """Start reactor and workers over a broker in this process; give them with the web service.

    Without `options` there are no workers. `names` are those under which it serves everybody,
    `on_end` is called if a daemon ends before its time. Raises `UsageError` for a store that is no
    file, that another process works on, and for endpoints that cannot be loaded.
    """
    from warrener.adapters.run_lock import role_lock

    if store_kind(settings.store_url) != "sqlite":
        raise UsageError("this needs a store in a file, such as --store sqlite:///jobs.db")
    open_logs(settings.store_url, create=True).close()
    settings = msgspec.structs.replace(settings, broker_url=MEMORY_BROKER)
    with role_lock(sqlite_path(settings.store_url), "`warrener up`"):
        _refuse_beside(settings)
        broker = open_broker(MEMORY_BROKER)
        reactor = DaemonThread("reactor", partial(_open_reactor, settings, broker), on_end)
        daemons = [reactor]
        if options is not None:
            opens = partial(_open_worker, settings, options, broker)
            daemons.insert(0, DaemonThread("worker", opens, on_end))
        try:
            for each in reversed(daemons):
                each.start()
            yield Service(_parts(settings, broker, names, on_turn), tuple(daemons))
        finally:
            for each in daemons:
                each.stop()
                each.join()


def _refuse_beside(settings: Settings) -> None:
    for name in reactors_at_work(settings):
        if name != UP_NAME:
            raise UsageError(f"the reactor {name} works on this store: stop it first")


@contextmanager
def _open_reactor(
    settings: Settings, broker: Broker, on_ready: Callable[[], None]
) -> Iterator[ReactorDaemon]:
    logs = open_logs(settings.store_url)
    try:
        with open_reactor(settings, logs, name=UP_NAME, on_ready=on_ready, broker=broker) as daemon:
            yield daemon
    finally:
        logs.close()


def _open_worker(
    settings: Settings, options: WorkerOptions, broker: Broker, on_ready: Callable[[], None]
) -> AbstractContextManager[Any]:
    return open_worker(settings, options, on_ready=on_ready, broker=broker)


def _parts(
    settings: Settings, broker: Broker, names: frozenset[str], on_turn: Callable[[], None]
) -> Parts:
    """Return the web service, whose commands go to the reactor here."""
    from warrener.services.client import Client
    from warrener.services.web.desk import Desk

    parts = open_web(settings, open_to=names, hosts=names, on_turn=on_turn)
    parts.desk.close()
    return msgspec.structs.replace(parts, desk=Desk(lambda: Client(broker=broker)))
