"""The worker's handle on one child process."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from datetime import datetime

import msgspec

from warrener.services.child_memory import resident_bytes
from warrener.services.runners import Task
from warrener.services.worker_link import CANCEL, HELLO, ORDER, Cancel, Hello, Link, Progress

PACE_WEIGHT = 0.2

_PROGRAM = (
    "import sys; sys.path[:] = {path!r};"
    " from warrener.services.worker_child import main; sys.exit(main({orders}, {side}))"
)


class Child:
    """A child process, what it was given, and since when the first of it may be running."""

    def __init__(self, hello: Hello, tasks_max: int | None = None) -> None:
        """Start the process; `ready` is set once the child says so.

        It is given `tasks_max` tasks at most.
        """
        self.name = hello.worker
        self.ready = False
        self.leaving = False  # is given nothing more, and ends after what it has
        self.ending_since: float | None = None  # monotonic seconds; it was let go
        self.killed_for = ""  # why we ended it, where we did
        self.given = 0
        self.last_seconds = self.pace_seconds = 0.0  # the last task took so long, and lately
        self.cancelled_since: float | None = None  # monotonic seconds; the first task's
        self.started = time.monotonic()
        self.tasks: deque[Task] = deque()
        self.since: datetime | None = None
        self._since_monotonic = 0.0
        self._tasks_max = tasks_max
        ours, theirs = socket.socketpair()
        ours_too, theirs_too = socket.socketpair()
        with theirs, theirs_too:
            self._process = _start(theirs.fileno(), theirs_too.fileno())
        self.pid = self._process.pid
        self.sentinel = _sentinel(self.pid)
        self.link = Link(ours)
        self.side = Link(ours_too)
        self.link.send(HELLO, msgspec.json.encode(hello))

    def give(self, task: Task, now: datetime) -> None:
        """Send an order."""
        self.tasks.append(task)
        self.given += 1
        self.leaving = self.leaving or self.given == self._tasks_max
        if len(self.tasks) == 1:
            self._begin(now)
        self.link.send(ORDER, task.body)

    def take_back(self, now: datetime) -> tuple[Task, float]:
        """Return the task that was reported, and how many seconds it took."""
        task = self.tasks.popleft()
        seconds = self.last_seconds = time.monotonic() - self._since_monotonic
        self.pace_seconds += PACE_WEIGHT * (seconds - self.pace_seconds)
        self._begin(now)
        return task, seconds

    def cancel(self, task: Task) -> None:
        """Tell the child that nobody waits for this attempt."""
        self.side.send(CANCEL, msgspec.json.encode(Cancel(task.order.step, task.order.attempt)))
        if task is self.tasks[0]:
            self.cancelled_since = time.monotonic()

    @property
    def running(self) -> bool:
        """Say whether the process has not ended."""
        return self._process.poll() is None

    def note(self, progress: Progress) -> None:
        """Take what the running attempt says of itself."""
        if self.tasks:
            order, pulse = self.tasks[0].order, self.tasks[0].pulse
            if (order.step, order.attempt) == (progress.step, progress.attempt):
                pulse.share, pulse.note = progress.share, progress.note

    def resident_bytes(self) -> int:
        """Return the memory that it holds, 0 where that cannot be told."""
        return resident_bytes(self.pid)

    def let_go(self) -> None:
        """Have the process end, as it has nothing to do."""
        self.ending_since = time.monotonic()
        with contextlib.suppress(OSError):  # it may be gone already
            self.link.socket.shutdown(socket.SHUT_WR)

    def kill(self, reason: str = "") -> None:
        """End the process at once."""
        self.killed_for = reason
        self.leaving = True
        self._process.kill()

    def end(self, timeout_seconds: float) -> str:
        """Close the links; wait for the process, kill it in the end; say how it ended."""
        self.link.socket.close()
        self.side.socket.close()
        if self.sentinel is not None:
            os.close(self.sentinel)
            self.sentinel = None
        try:
            self._process.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        return self.killed_for or _how(self._process.returncode)

    def _begin(self, now: datetime) -> None:
        self.since = now
        self._since_monotonic = time.monotonic()
        self.cancelled_since = None
        if self.tasks:
            pulse = self.tasks[0].pulse
            pulse.begun = self._since_monotonic
            self.cancelled_since = self._since_monotonic if pulse.cancelled else None


def _start(orders: int, side: int) -> subprocess.Popen[bytes]:
    program = _PROGRAM.format(path=sys.path, orders=orders, side=side)
    return subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.DEVNULL,
        stdout=2,  # what users print must not mix with the answers of the command line
        pass_fds=(orders, side),
        process_group=0,  # Ctrl-C in the terminal is the worker's business
    )


def _sentinel(pid: int) -> int | None:
    """Return a descriptor that becomes readable when the process ends, where there is such."""
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):
        return None


def _how(code: int) -> str:
    if code >= 0:
        return f"exited with code {code}"
    try:
        return f"was killed by signal {-code} ({signal.Signals(-code).name})"
    except ValueError:
        return f"was killed by signal {-code}"
