"""What is read once a second at most, however many ask."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Lock
from typing import Final, Generic, TypeVar

from warrener.domain.errors import ServiceUnavailable

READ_AGAIN_SECONDS: Final = 1.0
T = TypeVar("T")


class Seldom(Generic[T]):
    """Keeps what was read last. Threads may share it."""

    def __init__(
        self, read: Callable[[], T | None], now: Callable[[], float] = time.monotonic
    ) -> None:
        """Take what reads; `now` gives seconds that only grow."""
        self._read = read
        self._now = now
        self._lock = Lock()
        self._known: T | None = None
        self._again = float("-inf")

    def __call__(self) -> T | None:
        """Return what there is to know; None where it cannot be read, or nothing is known yet."""
        with self._lock:
            if self._now() >= self._again:
                try:
                    self._known = self._read()
                except ServiceUnavailable:
                    self._known = None
                self._again = self._now() + READ_AGAIN_SECONDS
            return self._known
