"""Metrics of Prometheus from what is read once a second at most."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from warrener.services.seldom import Seldom

T = TypeVar("T")


class SeldomCollector(Collector, Generic[T]):
    """Gives what is read as metrics. Threads may share it."""

    def __init__(
        self, read: Callable[[], T | None], now: Callable[[], float] = time.monotonic
    ) -> None:
        """Take what reads; `now` gives seconds that only grow."""
        self._found = Seldom(read, now)

    def describe(self) -> Iterable[Metric]:
        """Return nothing: so nothing is read when it is registered."""
        return ()
