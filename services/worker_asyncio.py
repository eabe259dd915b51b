"""Performing orders as coroutines on one event loop, which runs in a thread of its own.

Endpoints that are no coroutine functions run in a few threads beside it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from functools import partial
from threading import Thread

from warrener.domain.messages import StepReport
from warrener.domain.ports import Clock
from warrener.services.endpoints import REGISTRY, Registry
from warrener.services.perform import failed, perform_async, report
from warrener.services.runners import Finished, Task
from warrener.services.worker_threads import Returns, ThreadRunner

THREADS_MAX = 32
CLOSE_SECONDS = 1.0


class AsyncioRunner:
    """Performs up to `slots` tasks at a time.

    A cancelled task gets `asyncio.CancelledError` where it waits; an endpoint that blocks the loop
    holds up all others, and one that runs in a thread can only look at `current_step().cancelled`.
    """

    def __init__(
        self, slots: int, clock: Clock, worker: str = "asyncio", registry: Registry = REGISTRY
    ) -> None:
        """Start the loop; threads are started as they are needed."""
        self._limit = slots
        self._clock = clock
        self._worker = worker
        self._registry = registry
        self._returns = Returns()
        self._threads = ThreadRunner(
            min(slots, THREADS_MAX), clock, worker, registry, returns=self._returns
        )
        self._incoming: deque[Task] = deque()
        self._called = False  # the loop knows that something has come in
        self._running: dict[Task, asyncio.Task[StepReport]] = {}  # of the loop's thread
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._serve, name=f"{worker}-loop", daemon=True)
        self._thread.start()

    def room(self) -> int:
        """Return how many more tasks may be submitted now."""
        return self._limit - self._returns.busy

    def busy(self) -> int:
        """Return how many tasks have not come back."""
        return self._returns.busy

    def submit(self, task: Task) -> None:
        """Hand the task to the loop, or to a thread if its endpoint is no coroutine function."""
        endpoint = self._registry.get(task.order.endpoint)
        if endpoint is not None and not endpoint.plan.is_async:
            self._threads.submit(task)
            return
        self._returns.busy += 1
        self._incoming.append(task)
        if not self._called:
            self._called = True
            self._loop.call_soon_threadsafe(self._begin)

    def finished(self, timeout_seconds: float = 0.0) -> Sequence[Finished]:
        """Return the tasks that are done; waits up to the timeout for the first one."""
        return self._returns.take(timeout_seconds)

    def cancel(self, task: Task) -> None:
        """Cancel the task's coroutine; one that has not begun never does."""
        task.pulse.cancelled = True
        self._loop.call_soon_threadsafe(self._cancel, task)

    def withdraw(self) -> Sequence[Task]:
        """Give back what no thread has taken yet."""
        return self._threads.withdraw()

    def close(self) -> None:
        """Cancel what runs, and wait for it a second; threads end after their tasks."""
        self._threads.close()
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(2 * CLOSE_SECONDS)

    # --- in the loop's thread ----------------------------------------------------------------

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()
        self._loop.run_until_complete(self._end())
        self._loop.close()

    async def _end(self) -> None:
        running = list(self._running.values())
        for each in running:
            each.cancel()
        if running:
            await asyncio.wait(running, timeout=CLOSE_SECONDS)

    def _begin(self) -> None:
        self._called = False
        while self._incoming:
            task = self._incoming.popleft()
            work = perform_async(task.order, self._worker, self._clock, self._registry, task.pulse)
            running = self._running[task] = self._loop.create_task(work)
            running.add_done_callback(partial(self._bring_back, task))

    def _cancel(self, task: Task) -> None:
        running = self._running.get(task)
        if running is not None:
            running.cancel()

    def _bring_back(self, task: Task, done: asyncio.Task[StepReport]) -> None:
        del self._running[task]
        made = self._cancelled(task) if done.cancelled() else done.result()
        self._returns.put(task, made)

    def _cancelled(self, task: Task) -> StepReport:
        """Report a task that was cancelled before its coroutine ran at all."""
        fate = failed(task.order, "failed", "cancelled", "the attempt was cancelled")
        now = self._clock.now()
        return report(task.order, self._worker, fate, started_at=now, ended_at=now)
