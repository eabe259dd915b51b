"""Runners: how a worker gets its orders performed. In-line here; the others have own modules."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final, Protocol

import msgspec

from warrener.domain.messages import RunStep
from warrener.domain.ports import Clock
from warrener.services.endpoints import REGISTRY, Registry
from warrener.services.perform import Pulse, perform

INLINE_SLICE_SECONDS = 0.005

_ENCODE = msgspec.json.Encoder().encode


WAITING: Final = 0  # how far a worker is with a task
RUNNING: Final = 1  # the runner has it
REPORTED: Final = 2  # its report waits for confirmation

Attempt = tuple[int, int, str]  # step, number and token: what tells an attempt from all others


class Task(msgspec.Struct, eq=False):
    """An order in hand: `tag` is the delivery's, `body` the order as it came.

    `joined` are the tags of further deliveries of the same attempt. Runners only touch the pulse.
    """

    tag: int
    order: RunStep
    body: bytes
    attempt: Attempt
    pulse: Pulse = msgspec.field(default_factory=Pulse)
    stage: int = WAITING
    joined: tuple[int, ...] = ()
    beats: int = 0  # sent so far
    queue: str = ""  # that it came by


def attempt_of(order: RunStep) -> Attempt:
    """Return what tells an order's attempt from all others."""
    return order.step.int, order.attempt, order.token


class Finished(msgspec.Struct, frozen=True):
    """A task that is done, with its encoded `StepReport`."""

    task: Task
    report: bytes


class Runner(Protocol):
    """Performs orders.

    Obligations: every task that was submitted comes back exactly once, from `finished` or from
    `withdraw`, whatever becomes of it (until `close`); `submit` does not wait for the task of
    another; once a task has begun its pulse says since when, and what its endpoint says of its
    progress; a runner belongs to one thread.
    """

    def room(self) -> int:
        """Return how many more tasks may be submitted now."""
        ...

    def busy(self) -> int:
        """Return how many tasks were submitted and have not come back."""
        ...

    def submit(self, task: Task) -> None:
        """Take a task."""
        ...

    def finished(self, timeout_seconds: float = 0.0) -> Sequence[Finished]:
        """Return the tasks that are done; waits up to the timeout for the first one."""
        ...

    def cancel(self, task: Task) -> None:
        """Let a submitted task know that it is cancelled, so that it comes back soon."""
        ...

    def withdraw(self) -> Sequence[Task]:
        """Give back the tasks that nobody has begun."""
        ...

    def close(self) -> None:
        """Stop; tasks that are not done are given up."""
        ...


class InlineRunner:
    """Performs each task at once, in the caller.

    Short tasks may follow one another for `INLINE_SLICE_SECONDS` before their reports are fetched,
    so that they share a commit; behind a longer one, nothing waits with it.
    """

    def __init__(self, clock: Clock, worker: str = "inline", registry: Registry = REGISTRY) -> None:
        self._clock = clock
        self._worker = worker
        self._registry = registry
        self._done: list[Finished] = []
        self._since = 0.0

    def room(self) -> int:
        """Return 1 until the slice is over: the next task may come at once."""
        return int(not self._done or time.monotonic() - self._since < INLINE_SLICE_SECONDS)

    def busy(self) -> int:
        """Return how many reports wait to be fetched."""
        return len(self._done)

    def submit(self, task: Task) -> None:
        """Perform the task."""
        if not self._done:
            self._since = time.monotonic()
        report = perform(task.order, self._worker, self._clock, self._registry, task.pulse)
        self._done.append(Finished(task, _ENCODE(report)))

    def finished(self, timeout_seconds: float = 0.0) -> Sequence[Finished]:  # noqa: ARG002
        """Return what was performed since the last call."""
        done, self._done = self._done, []
        return done

    def cancel(self, task: Task) -> None:
        """Nothing runs while somebody asks for this."""

    def withdraw(self) -> Sequence[Task]:
        """Nothing waits: a task is performed when it comes."""
        return ()

    def close(self) -> None:
        """Nothing is left to stop."""
