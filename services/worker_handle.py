"""The worker's handle on one child process."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import msgspec

from warrener.services.runners import Task
from warrener.services.worker_link import HELLO, ORDER, Link

_PROGRAM = (
    "import sys; sys.path[:] = {path!r};"
    " from warrener.services.worker_child import main; sys.exit(main({descriptor}))"
)


class Child:
    """A child process, what it was given, and since when the first of it may be running."""

    def __init__(self, name: str, modules: Sequence[str], base: Path) -> None:
        """Start the process; `ready` is set by the runner once the child says so."""
        self.name = name
        self.ready = False
        self.tasks: deque[Task] = deque()
        self.since: datetime | None = None
        self._since_monotonic = 0.0
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = _start(theirs.fileno())
        self.pid = self._process.pid
        self.sentinel = _sentinel(self.pid)
        self.link = Link(ours)
        hello = {"worker": name, "modules": list(modules), "base": str(base)}
        self.link.send(HELLO, msgspec.json.encode(hello))

    def give(self, task: Task, now: datetime) -> None:
        """Send an order."""
        if not self.tasks:
            self._begin(now)
        self.tasks.append(task)
        self.link.send(ORDER, task.body)

    def take_back(self, now: datetime) -> tuple[Task, float]:
        """Return the task that was reported, and how many seconds it took."""
        seconds = time.monotonic() - self._since_monotonic
        self._begin(now)
        return self.tasks.popleft(), seconds

    def kill(self) -> None:
        """End the process at once."""
        self._process.kill()

    def end(self, timeout_seconds: float) -> str:
        """Close the link, wait for the process to end, kill it if it does not; say how it ended."""
        self.link.socket.close()
        if self.sentinel is not None:
            os.close(self.sentinel)
            self.sentinel = None
        try:
            self._process.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        return _how(self._process.returncode)

    def _begin(self, now: datetime) -> None:
        self.since = now
        self._since_monotonic = time.monotonic()


def _start(descriptor: int) -> subprocess.Popen[bytes]:
    program = _PROGRAM.format(path=sys.path, descriptor=descriptor)
    return subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.DEVNULL,
        stdout=2,  # what users print must not mix with the answers of the command line
        pass_fds=(descriptor,),
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
