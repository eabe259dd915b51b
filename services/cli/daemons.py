"""What all daemons share: SIGTERM and SIGINT ask them to stop, a second one ends them at once."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from warrener.services.cli.failures import INTERRUPTED

METRICS_HOST = "127.0.0.1"
_SIGNALS = (signal.SIGTERM, signal.SIGINT)


@contextmanager
def stopping_on_signals(*ask: Callable[[], None]) -> Iterator[None]:
    """Have the first signal call each of `ask`, and a second one end the process."""
    asked = False

    def handle(_number: int, _frame: Any) -> None:
        nonlocal asked
        if asked:
            os._exit(INTERRUPTED)
        asked = True
        for each in ask:
            each()

    before = {number: signal.signal(number, handle) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
