"""Performing orders in child processes, so that an endpoint can harm only its own process.

A child is a fresh interpreter (no fork, no second run of the main script). Where steps are short it
holds a few orders, so that it need not wait for the next one; nothing waits behind a long step.
"""

from __future__ import annotations

import random
import time
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from warrener.domain.errors import UsageError
from warrener.domain.ports import Clock
from warrener.services.child_memory import MEASURABLE
from warrener.services.perform import failed, report
from warrener.services.runners import Finished, Task
from warrener.services.worker_crew import Crew, Policy
from warrener.services.worker_handle import Child
from warrener.services.worker_link import Hello

HELD_MAX = 8  # orders in a child
QUICK_SECONDS = 0.02  # no order queues behind others in a child that are expected to take longer
SAMPLE_WEIGHT = 0.2
ENDPOINTS_MAX = 10_000  # of which it is known how long their steps take
START_SECONDS_MAX = 120.0

_ENCODE = msgspec.json.Encoder().encode


class ProcessRunner:
    """Performs tasks in up to `processes` children, which load the endpoints from `modules`.

    A child that dies is replaced: the task it was running comes back as failed with `worker-lost`,
    the one behind it goes to another child. A cancelled task whose endpoint does not end is ended
    with its child. Raises `UsageError` from `finished` if children cannot load the modules.
    """

    def __init__(
        self,
        processes: int,
        modules: Sequence[str],
        clock: Clock,
        *,
        base: Path | None = None,
        worker: str = "process",
        policy: Policy | None = None,
        log: str | None = None,
        otlp_url: str = "",
    ) -> None:
        """Start no child yet; relative paths of modules count from `base`.

        `log` is the setting by which endpoints log; None leaves that to the modules. With
        `otlp_url` they run inside spans that go there.
        """
        policy = policy or Policy()
        self._limit = processes
        self._worker = worker
        self._clock = clock
        self._queue: deque[Task] = deque()
        self._done: list[Finished] = []
        self._held = 0  # by children
        self._seconds: dict[str, float] = {}  # endpoint -> how long its steps take, lately
        hello = Hello(
            worker=worker,
            modules=list(modules),
            base=str(base or Path.cwd()),
            pulse_seconds=policy.pulse_seconds,
            memory_bytes_max=None if MEASURABLE else policy.memory_bytes_max,
            log=log,
            otlp_url=otlp_url,
        )
        self.crew = Crew(
            processes, hello, policy, on_report=self._take_back, on_death=self._answer_for
        )

    def start(self) -> Mapping[str, str]:
        """Start one child; return the endpoints that it has loaded, with their queues.

        Raises `UsageError` if it cannot load the modules, or is not ready in two minutes.
        """
        deadline = time.monotonic() + START_SECONDS_MAX
        while self.crew.endpoints is None:
            self.crew.grow(1)
            self.crew.serve(self.crew.patience(max(0.0, deadline - time.monotonic())))
            if time.monotonic() >= deadline:
                raise UsageError(f"the endpoints were not loaded after {START_SECONDS_MAX:g} s")
        return self.crew.endpoints

    def room(self) -> int:
        """Return how many more tasks may wait here, for children that are free soon."""
        return self._limit - len(self._queue)

    def busy(self) -> int:
        """Return how many tasks have not come back."""
        return self._held + len(self._queue) + len(self._done)

    def submit(self, task: Task) -> None:
        """Give the task to a child, or keep it until one is free."""
        self._queue.append(task)
        self._assign()

    def finished(self, timeout_seconds: float = 0.0) -> Sequence[Finished]:
        """Return the tasks that are done; waits up to the timeout for the first one."""
        now = time.monotonic()
        deadline = now + timeout_seconds
        while True:
            self._assign()
            left = 0.0 if self._done else max(0.0, deadline - now)
            self.crew.serve(self.crew.patience(left) if self._queue else left)
            now = time.monotonic()
            self.crew.watch(now)
            if self._done or now >= deadline:
                break
        self._assign()
        done, self._done = self._done, []
        return done

    def cancel(self, task: Task) -> None:
        """Tell the child that runs the task; one that waits for a child comes back at once."""
        task.pulse.cancelled = True
        for child in self.crew.children:
            if task in child.tasks:
                child.cancel(task)

    def withdraw(self) -> Sequence[Task]:
        """Give back the tasks that were given to no child."""
        waiting, self._queue = list(self._queue), deque()
        return waiting

    def kill_one(self, chance: random.Random) -> bool:
        """Kill one child, for demonstrations of chaos; say whether there was one to kill."""
        ready = [child for child in self.crew.children if child.ready]
        if not ready:
            return False
        chance.choice(ready).kill()
        return True

    def close(self) -> None:
        """Let the children end; those that still run a step after a second are killed."""
        self.crew.close()
        self._queue.clear()

    # --- giving orders ---------------------------------------------------------------------------

    def _assign(self) -> None:
        while self._queue:
            if self._queue[0].pulse.cancelled:
                self._done.append(self._cancelled(self._queue.popleft()))
                continue
            child = self._free_child()
            if child is None:
                break
            child.give(self._queue.popleft(), self._clock.now())
            self._held += 1
            self.crew.watch_writes(child)
        self.crew.grow(self._held + len(self._queue))

    def _free_child(self) -> Child | None:
        children = self.crew.children
        ready = [child for child in children if child.ready and not child.leaving]
        if len(children) <= self._limit or self._working() < self._limit:
            idle = next((child for child in ready if not child.tasks), None)
            if idle is not None:
                return idle
        soon = [child for child in ready if child.tasks and self._soon_free(child)]
        return min(soon, key=_load, default=None)

    def _working(self) -> int:
        """Return how many children have something to do: a successor may not be one too many."""
        return sum(bool(child.tasks) for child in self.crew.children)

    def _soon_free(self, child: Child) -> bool:
        """Say whether all that the child has is expected to be done in a moment."""
        if len(child.tasks) >= HELD_MAX:
            return False
        known = self._seconds
        waits = sum(known.get(task.order.endpoint, QUICK_SECONDS) for task in child.tasks)
        return waits < QUICK_SECONDS

    # --- taking tasks back -----------------------------------------------------------------------

    def _take_back(self, child: Child, body: bytes) -> None:
        if not child.tasks:
            return
        task, seconds = child.take_back(self._clock.now())
        self._held -= 1
        self._learn(task.order.endpoint, seconds)
        self._done.append(Finished(task, body))

    def _learn(self, endpoint: str, seconds: float) -> None:
        before = self._seconds.get(endpoint)
        if before is not None:
            self._seconds[endpoint] = before + SAMPLE_WEIGHT * (seconds - before)
        elif len(self._seconds) < ENDPOINTS_MAX:
            self._seconds[endpoint] = seconds

    def _answer_for(self, child: Child, how: str) -> None:
        """Report the task that a dead child was running, and hand on the one behind it."""
        self._held -= len(child.tasks)
        if child.tasks:
            self._done.append(self._lost(child, how))
            self._queue.extendleft(reversed(list(child.tasks)[1:]))

    def _lost(self, child: Child, how: str) -> Finished:
        task = child.tasks[0]
        message = f"the worker process {child.pid} {how} while it ran {task.order.endpoint}"
        fate = failed(task.order, "failed", "worker-lost", message)
        now = self._clock.now()
        made = report(task.order, child.name, fate, started_at=child.since or now, ended_at=now)
        return Finished(task, _ENCODE(made))

    def _cancelled(self, task: Task) -> Finished:
        fate = failed(task.order, "failed", "cancelled", "the attempt was cancelled")
        now = self._clock.now()
        made = report(task.order, self._worker, fate, started_at=now, ended_at=now)
        return Finished(task, _ENCODE(made))


def _load(child: Child) -> int:
    return len(child.tasks)
