"""The worker as a daemon: works until it is asked to stop, then drains within a bound."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from threading import Event
from typing import Any, Literal

import msgspec
import structlog

from warrener.domain.errors import UsageError
from warrener.domain.messages import RunStep
from warrener.domain.topology import QUEUE_NAME
from warrener.services.worker import Worker
from warrener.services.worker_beats import BEAT_SECONDS

POLL_SECONDS = 0.25
DRAIN_SECONDS = 30.0
STATUS_SECONDS = 60.0
UNFINISHED_SHOWN_MAX = 20

WorkerMode = Literal["processes", "threads", "asyncio"]

log = structlog.get_logger()


class WorkerOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker daemon is told.

    Without `queues` it serves those that its endpoints name; a `fixed` one follows no advice to
    serve others. `children_tasks_max` and
    `children_memory_bytes_max` are about child processes, and replace one that has had enough.
    """

    modules: tuple[str, ...]
    mode: WorkerMode = "processes"
    slots: int = 1
    name: str | None = None
    queues: tuple[str, ...] = ()
    fixed: bool = False
    beat_seconds: float = BEAT_SECONDS
    drain_seconds: float = DRAIN_SECONDS
    children_tasks_max: int | None = None
    children_memory_bytes_max: int | None = None

    def check(self) -> None:
        """Raise `UsageError` for what cannot be."""
        for what, names in (("--name", (self.name or "w",)), ("--queues", self.queues)):
            for name in names:
                if not QUEUE_NAME.match(name):
                    raise UsageError(
                        f"{what} {name}: write letters, digits, '.', '_' and '-', 100 at most"
                    )
        about_children = (self.children_tasks_max, self.children_memory_bytes_max)
        if self.mode != "processes" and about_children != (None, None):
            raise UsageError("--max-tasks-per-child and --memory-max go with --processes")


class WorkerDaemon:
    """Runs until `stop` is called. Belongs to one thread; only `stop` may come from elsewhere."""

    def __init__(
        self,
        worker: Worker,
        *,
        drain_seconds: float = DRAIN_SECONDS,
        facts: Mapping[str, Any] | None = None,
        on_ready: Callable[[], None] = lambda: None,
        on_turn: Callable[[], None] = lambda: None,
    ) -> None:
        """Take a worker. `facts` go into the log; `on_ready` is called once it takes orders."""
        self.worker = worker
        self._drain_seconds = drain_seconds
        self._facts = facts or {}
        self._on_ready = on_ready
        self._on_turn = on_turn
        self._stopping = Event()
        self._status_at = 0.0
        self._log = log.bind(worker=worker.name)

    def stop(self) -> None:
        """Have the daemon drain and end. Safe in a signal handler."""
        self._stopping.set()

    def run(self) -> None:
        """Work until it is stopped, then drain; orders that are not done go back."""
        try:
            self.worker.turn()
            self._log.info("worker.started", **self._facts)
            self._on_ready()
            while not self._stopping.is_set():
                self._turn()
            self._drain()
        finally:
            self.worker.close()

    def _turn(self) -> None:
        self.worker.turn(POLL_SECONDS)
        self._on_turn()
        self._tell(time.monotonic())

    def _drain(self) -> None:
        before = len(self.worker.unfinished())
        self.worker.drain()
        running = len(self.worker.unfinished())
        given_back = before - running
        self._log.info("worker.draining", running=running, given_back=given_back)
        deadline = time.monotonic() + self._drain_seconds
        while not self.worker.drained and time.monotonic() < deadline:
            self._turn()
        self._say_stopped(self.worker.unfinished())

    def _say_stopped(self, unfinished: Sequence[RunStep]) -> None:
        if not unfinished:
            self._log.info("worker.stopped")
            return
        names = [f"{order.job}/{order.path}" for order in unfinished[:UNFINISHED_SHOWN_MAX]]
        self._log.warning("worker.stopped", unfinished=len(unfinished), given_back=names)

    def _tell(self, now: float) -> None:
        """Log now and then how things stand."""
        if now < self._status_at:
            return
        if self._status_at:
            worker = self.worker
            self._log.info("worker.status", busy=worker.runner.busy(), **worker.counts())
        self._status_at = now + STATUS_SECONDS
