"""Waiting for a condition, with an end."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Event

from support.endpoints_orders import report_of

from warrener.domain.messages import StepReport
from warrener.services.runners import Runner

PATIENCE_SECONDS = 20.0


def wait_until(condition: Callable[[], bool]) -> None:
    """Look at the condition until it holds."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        Event().wait(0.005)


def reports(runner: Runner, count: int) -> dict[int, StepReport]:
    """Return the next reports of a runner by tag."""
    found: dict[int, StepReport] = {}
    deadline = time.monotonic() + PATIENCE_SECONDS
    while len(found) < count:
        assert time.monotonic() < deadline, f"waited in vain, have {found}"
        for finished in runner.finished(0.5):
            assert finished.task.tag not in found
            found[finished.task.tag] = report_of(finished)
    return found


def alive(pid: int) -> bool:
    """Say whether a process runs (one that only waits to be reaped does not)."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    except NotADirectoryError:
        os.kill(pid, 0)
        return True
    return state not in {"Z", "X"}


def content(file: Path) -> Sequence[str]:
    """Return the words in a file, none as long as it is not there."""
    return file.read_text().split() if file.exists() else ()
