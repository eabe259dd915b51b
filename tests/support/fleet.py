"""A fleet in one process: a broker in memory, reactor daemons and workers in threads."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable
from typing import Any, Self

from warrener.adapters.clock import SystemClock
from warrener.adapters.memory import MemoryBroker
from warrener.adapters.memory_events import MemoryEventStore
from warrener.adapters.memory_leases import MemoryLeases
from warrener.adapters.memory_limit_shares import MemoryLimitShares
from warrener.domain.ports import Broker, EventStore
from warrener.domain.topology import topology
from warrener.services.client import Client
from warrener.services.endpoints import Registry
from warrener.services.logs import LogSet
from warrener.services.reactor_daemon import ReactorDaemon
from warrener.services.runners import InlineRunner
from warrener.services.shares import Identity
from warrener.services.turn import Chance
from warrener.services.worker import Worker

WAIT_SECONDS = 20.0


class Fleet:
    """Starts and stops the parties."""

    def __init__(
        self, registry: Registry, broker: Broker | None = None, partitions: int = 1
    ) -> None:
        self.registry = registry
        self.broker = broker or MemoryBroker()
        self.stores = [MemoryEventStore(partition=each) for each in range(partitions)]
        self.store: EventStore = self.stores[0]
        self.logs = LogSet(self.stores)
        self.leases = MemoryLeases()
        self.limit_shares = MemoryLimitShares()
        self.clock = SystemClock()
        self._ends: list[Callable[[], None]] = []
        declarer = self.broker.channel()
        for queue in topology(partitions):
            declarer.declare(queue.name)
        declarer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for end in reversed(self._ends):
            end()

    def reactor(self, name: str = "r1", lease_seconds: float = 15.0, **more: Any) -> ReactorDaemon:
        """Start a reactor."""
        daemon = ReactorDaemon(
            Identity(name, lease_seconds=lease_seconds),
            self.logs,
            self.leases,
            self.broker,
            clock=self.clock,
            chance=Chance(lambda: secrets.token_hex(16), lambda: 0.0),
            limit_shares=self.limit_shares,
            **more,
        )
        self._run(daemon.run, daemon.stop)
        return daemon

    def worker(self, name: str = "w1", queues: tuple[str, ...] = ("default",)) -> Worker:
        """Start a worker."""
        stopping = threading.Event()
        runner = InlineRunner(self.clock, registry=self.registry)
        worker = Worker(self.broker.channel(), runner, queues, 2, name=name, clock=self.clock)

        def work() -> None:
            while not stopping.is_set():
                worker.turn(0.02)
            worker.close()

        self._run(work, stopping.set)
        return worker

    def client(self) -> Client:
        """Open a client."""
        client = Client(broker=self.broker)
        self._ends.append(client.close)
        return client

    def _run(self, work: Callable[[], None], stop: Callable[[], None]) -> None:
        thread = threading.Thread(target=work, daemon=True)
        thread.start()

        def end() -> None:
            stop()
            thread.join(WAIT_SECONDS)
            assert not thread.is_alive()

        self._ends.append(end)
