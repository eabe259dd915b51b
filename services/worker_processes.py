"""Performing orders in child processes, so that an endpoint can harm only its own process.

A child is a fresh interpreter (no fork, no second run of the main script). It holds at most two
orders: the one it runs and, where steps are short, the next one, so that it need not wait for it.
"""

from __future__ import annotations

import contextlib
import random
import selectors
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from warrener.domain.errors import UsageError
from warrener.domain.ports import Clock
from warrener.services.perform import failed, report
from warrener.services.runners import Finished, Task
from warrener.services.worker_handle import Child
from warrener.services.worker_link import READY, REPORT, UNFIT

HELD_MAX = 2  # orders in a child
QUICK_SECONDS = 0.02  # only behind a step expected to be this short does another one queue
SAMPLE_WEIGHT = 0.2
STARTS_FAILED_MAX = 5
RESTART_SECONDS_MAX = 1.0
CLOSE_SECONDS = 1.0

_ENCODE = msgspec.json.Encoder().encode


class ProcessRunner:
    """Performs tasks in up to `processes` children, which load the endpoints from `modules`.

    A child that dies is replaced: the task it was running comes back as failed with `worker-lost`,
    the one behind it goes to another child. Raises `UsageError` from `finished` if children cannot
    load the modules.
    """

    def __init__(
        self,
        processes: int,
        modules: Sequence[str],
        clock: Clock,
        *,
        base: Path | None = None,
        worker: str = "process",
    ) -> None:
        self._limit = processes
        self._modules = list(modules)
        self._base = base or Path.cwd()
        self._clock = clock
        self._worker = worker
        self._queue: deque[Task] = deque()
        self._children: list[Child] = []
        self._done: list[Finished] = []
        self._seconds: dict[str, float] = {}  # endpoint -> how long its steps take, lately
        self._selector = selectors.DefaultSelector()
        self._started = 0
        self._starts_failed = 0
        self._deaths = 0  # in a row, without a report between them
        self._restart_at = 0.0

    def room(self) -> int:
        """Return how many more tasks the children and their pipes take."""
        return HELD_MAX * self._limit - self.busy()

    def busy(self) -> int:
        """Return how many tasks have not come back."""
        held = sum(len(child.tasks) for child in self._children)
        return held + len(self._queue) + len(self._done)

    def submit(self, task: Task) -> None:
        """Give the task to a child, or keep it until one is free."""
        self._queue.append(task)
        self._assign()

    def finished(self, timeout_seconds: float = 0.0) -> Sequence[Finished]:
        """Return the tasks that are done; waits up to the timeout for the first one."""
        deadline = time.monotonic() + timeout_seconds
        while True:
            self._assign()
            left = 0.0 if self._done else max(0.0, deadline - time.monotonic())
            for key, _ in self._selector.select(self._patience(left)):
                act, child = key.data
                if child in self._children:  # its death may have been seen in this round already
                    act(child)
            if self._done or time.monotonic() >= deadline:
                break
        self._assign()
        done, self._done = self._done, []
        return done

    def kill_one(self, chance: random.Random) -> bool:
        """Kill one child, for demonstrations of chaos; say whether there was one to kill."""
        ready = [child for child in self._children if child.ready]
        if not ready:
            return False
        chance.choice(ready).kill()
        return True

    def close(self) -> None:
        """Let the children end; those that still run a step after a second are killed."""
        for child in self._children:
            self._forget(child)
            child.link.socket.close()
        deadline = time.monotonic() + CLOSE_SECONDS
        for child in self._children:
            child.end(max(0.0, deadline - time.monotonic()))
        self._children.clear()
        self._queue.clear()
        self._selector.close()

    # --- giving orders ---------------------------------------------------------------------

    def _assign(self) -> None:
        while self._queue and (child := self._free_child()) is not None:
            child.give(self._queue.popleft(), self._clock.now())
            self._watch_writes(child)
        self._grow()

    def _free_child(self) -> Child | None:
        ready = [child for child in self._children if child.ready]
        idle = next((child for child in ready if not child.tasks), None)
        return idle or next((child for child in ready if self._soon_free(child)), None)

    def _soon_free(self, child: Child) -> bool:
        running = child.tasks[0].order.endpoint
        quick = self._seconds.get(running, QUICK_SECONDS) < QUICK_SECONDS
        return quick and len(child.tasks) < HELD_MAX

    def _grow(self) -> None:
        """Start as many children as there are tasks that could use one."""
        wanted = min(self._limit, self.busy() - len(self._done))
        while len(self._children) < wanted and time.monotonic() >= self._restart_at:
            self._started += 1
            child = Child(f"{self._worker}-{self._started}", self._modules, self._base)
            self._children.append(child)
            self._selector.register(child.link.socket, selectors.EVENT_READ, (self._serve, child))
            if child.sentinel is not None:
                ended = (self._bury, child)
                self._selector.register(child.sentinel, selectors.EVENT_READ, ended)

    def _patience(self, left: float) -> float:
        """Return how long to wait: not past the time when a child may be started again."""
        pause = self._restart_at - time.monotonic()
        return min(left, pause) if self._queue and pause > 0 else left

    # --- hearing from children -------------------------------------------------------------

    def _serve(self, child: Child) -> None:
        child.link.flush()
        self._watch_writes(child)
        for kind, body in child.link.receive():
            self._hear(child, kind, body)
        if child.link.closed:
            self._bury(child)

    def _hear(self, child: Child, kind: bytes, body: bytes) -> None:
        if kind == READY:
            child.ready = True
            self._starts_failed = 0
        elif kind == UNFIT:
            raise UsageError(body.decode())
        elif kind == REPORT and child.tasks:
            self._deaths = 0
            task, seconds = child.take_back(self._clock.now())
            name = task.order.endpoint
            before = self._seconds.get(name, seconds)
            self._seconds[name] = before + SAMPLE_WEIGHT * (seconds - before)
            self._done.append(Finished(task, body))

    def _bury(self, child: Child) -> None:
        """Answer for the task that a dead child was running, and hand on the one behind it."""
        for kind, body in child.link.receive(to_the_end=True):
            self._hear(child, kind, body)
        self._forget(child)
        self._children.remove(child)
        how = child.end(CLOSE_SECONDS)
        self._count_death(child, how)
        if child.tasks:
            self._done.append(self._lost(child, how))
            self._queue.extendleft(reversed(list(child.tasks)[1:]))

    def _count_death(self, child: Child, how: str) -> None:
        self._deaths += 1
        if self._deaths > 1:
            pause = min(RESTART_SECONDS_MAX, 0.05 * 2.0 ** min(self._deaths - 2, 10))
            self._restart_at = time.monotonic() + pause
        if not child.ready:
            self._starts_failed += 1
            if self._starts_failed >= STARTS_FAILED_MAX:
                names = ", ".join(self._modules) or "no modules"
                raise UsageError(
                    f"worker processes die before they can work: the last one {how}"
                    f" while it loaded {names}"
                )

    def _lost(self, child: Child, how: str) -> Finished:
        task = child.tasks[0]
        message = f"the worker process {child.pid} {how} while it ran {task.order.endpoint}"
        fate = failed(task.order, "failed", "worker-lost", message)
        now = self._clock.now()
        times: dict[str, Any] = {"started_at": child.since or now, "ended_at": now}
        return Finished(task, _ENCODE(report(task.order, child.name, fate, **times)))

    def _watch_writes(self, child: Child) -> None:
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if child.link.sending else 0)
        if self._selector.get_key(child.link.socket).events != events:
            self._selector.modify(child.link.socket, events, (self._serve, child))

    def _forget(self, child: Child) -> None:
        for source in (child.link.socket, child.sentinel):
            if source is not None:
                with contextlib.suppress(KeyError):
                    self._selector.unregister(source)
