"""Performing orders in threads of this process."""

from __future__ import annotations

from collections.abc import Sequence
from queue import Empty, SimpleQueue
from threading import Thread

import msgspec

from warrener.domain.messages import StepReport
from warrener.domain.ports import Clock
from warrener.services.endpoints import REGISTRY, Registry
from warrener.services.perform import fate_of, perform, report
from warrener.services.plans import close_loop
from warrener.services.runners import Finished, Task

_ENCODE = msgspec.json.Encoder().encode


class ThreadRunner:
    """Performs up to `threads` tasks at a time; a task that hangs keeps its thread."""

    def __init__(
        self, threads: int, clock: Clock, worker: str = "thread", registry: Registry = REGISTRY
    ) -> None:
        self._limit = threads
        self._clock = clock
        self._worker = worker
        self._registry = registry
        self._tasks: SimpleQueue[Task | None] = SimpleQueue()
        self._done: SimpleQueue[Finished] = SimpleQueue()
        self._threads: list[Thread] = []
        self._busy = 0

    def room(self) -> int:
        """Return how many threads are free."""
        return self._limit - self._busy

    def busy(self) -> int:
        """Return how many tasks have not come back."""
        return self._busy

    def submit(self, task: Task) -> None:
        """Hand the task to a free thread; threads are started as they are needed."""
        self._busy += 1
        if len(self._threads) < min(self._busy, self._limit):
            name = f"{self._worker}-{len(self._threads) + 1}"
            thread = Thread(target=self._serve, args=(name,), name=name, daemon=True)
            self._threads.append(thread)
            thread.start()
        self._tasks.put(task)

    def finished(self, timeout_seconds: float = 0.0) -> Sequence[Finished]:
        """Return the tasks that are done; waits up to the timeout for the first one."""
        done: list[Finished] = []
        try:
            if timeout_seconds > 0 and self._busy:
                done.append(self._done.get(timeout=timeout_seconds))
            while len(done) < self._busy:
                done.append(self._done.get_nowait())
        except Empty:
            pass
        self._busy -= len(done)
        return done

    def close(self) -> None:
        """Let the threads end after their tasks; nobody waits for them."""
        for _ in self._threads:
            self._tasks.put(None)

    def _serve(self, name: str) -> None:
        while (task := self._tasks.get()) is not None:
            self._done.put(Finished(task, _ENCODE(self._perform(task, name))))
        close_loop()

    def _perform(self, task: Task, name: str) -> StepReport:
        started_at = self._clock.now()
        try:
            return perform(task.order, name, self._clock, self._registry)
        except KeyboardInterrupt as error:  # raised by the endpoint: Python gives it to no thread
            fate = fate_of(task.order, error)
            return report(task.order, name, fate, started_at=started_at, ended_at=self._clock.now())
