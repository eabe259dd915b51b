"""Performing orders in threads of this process."""

from __future__ import annotations

import contextlib
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


class Returns:
    """Counts the tasks that are out, and takes them back from other threads."""

    def __init__(self) -> None:
        """Begin with no task out; only `put` may be called from elsewhere."""
        self.busy = 0
        self._done: SimpleQueue[Finished] = SimpleQueue()

    def put(self, task: Task, report: StepReport) -> None:
        """Bring a task back, from any thread."""
        self._done.put(Finished(task, _ENCODE(report)))

    def take(self, timeout_seconds: float) -> list[Finished]:
        """Return the tasks that are back; waits up to the timeout for the first one."""
        done: list[Finished] = []
        with contextlib.suppress(Empty):
            if timeout_seconds > 0 and self.busy:
                done.append(self._done.get(timeout=timeout_seconds))
            while len(done) < self.busy:
                done.append(self._done.get_nowait())
        self.busy -= len(done)
        return done


class ThreadRunner:
    """Performs up to `threads` tasks at a time.

    A thread cannot be ended from outside: a task that hangs keeps its thread, and one that is
    cancelled keeps it until its endpoint looks at `current_step().cancelled`.
    """

    def __init__(
        self,
        threads: int,
        clock: Clock,
        worker: str = "thread",
        registry: Registry = REGISTRY,
        *,
        returns: Returns | None = None,
    ) -> None:
        """Start no thread yet; another runner may share its `returns`."""
        self._limit = threads
        self._clock = clock
        self._worker = worker
        self._registry = registry
        self._returns = returns or Returns()
        self._tasks: SimpleQueue[Task | None] = SimpleQueue()
        self._threads: list[Thread] = []

    def room(self) -> int:
        """Return how many threads are free."""
        return self._limit - self._returns.busy

    def busy(self) -> int:
        """Return how many tasks have not come back."""
        return self._returns.busy

    def submit(self, task: Task) -> None:
        """Hand the task to a free thread; threads are started as they are needed."""
        self._returns.busy += 1
        if len(self._threads) < min(self._returns.busy, self._limit):
            name = f"{self._worker}-{len(self._threads) + 1}"
            thread = Thread(target=self._serve, args=(name,), name=name, daemon=True)
            self._threads.append(thread)
            thread.start()
        self._tasks.put(task)

    def finished(self, timeout_seconds: float = 0.0) -> Sequence[Finished]:
        """Return the tasks that are done; waits up to the timeout for the first one."""
        return self._returns.take(timeout_seconds)

    def cancel(self, task: Task) -> None:
        """Let the endpoint see it, if it looks; a task that waits for its thread never begins."""
        task.pulse.cancelled = True

    def withdraw(self) -> Sequence[Task]:
        """Give back what no thread has taken yet."""
        found: list[Task] = []
        with contextlib.suppress(Empty):
            while (task := self._tasks.get_nowait()) is not None:
                found.append(task)
        self._returns.busy -= len(found)
        return found

    def close(self) -> None:
        """Let the threads end after their tasks; nobody waits for them."""
        for _ in self._threads:
            self._tasks.put(None)

    def _serve(self, name: str) -> None:
        while (task := self._tasks.get()) is not None:
            self._returns.put(task, self._perform(task, name))
        close_loop()

    def _perform(self, task: Task, name: str) -> StepReport:
        started_at = self._clock.now()
        try:
            return perform(task.order, name, self._clock, self._registry, task.pulse)
        except KeyboardInterrupt as error:  # raised by the endpoint: Python gives it to no thread
            fate = fate_of(task.order, error)
            return report(task.order, name, fate, started_at=started_at, ended_at=self._clock.now())
