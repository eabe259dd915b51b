"""What the application is put together from."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Final, TypeVar

import msgspec
from litestar.di import NamedDependency
from litestar.params import SkipValidation

from warrener.domain.ports import Leases
from warrener.domain.tokens import Tokens
from warrener.services.fleet_watch import FleetWatch
from warrener.services.past import OpenViews
from warrener.services.web.access import Access
from warrener.services.web.counts import Counts
from warrener.services.web.desk import Desk
from warrener.services.web.follower import Follower
from warrener.services.web.hub import Hub
from warrener.services.web.reader import Reader

T = TypeVar("T")
LOOK_SECONDS: Final = 0.02


class Parts(msgspec.Struct, frozen=True, kw_only=True):
    """All that requests need. `slow` answers what may take long, so that nothing else waits.

    `drawing` does so for graphs. `checking` says who may look at a definition, few at once.
    `leases` tells who works on the logs; `open_past` answers from events alone; `watch` hears the
    workers, where there is a broker.
    With `hosts` the service answers under these names only.
    """

    reader: Reader
    slow: Reader
    drawing: Reader
    checking: asyncio.Semaphore
    desk: Desk
    follower: Follower
    hub: Hub
    counts: Counts
    tokens: Tokens
    access: Access
    leases: Callable[[], Leases]
    open_past: OpenViews
    watch: FleetWatch | None
    now: Callable[[], datetime]
    static: Path
    version: str
    hosts: frozenset[str] | None = None

    def start(self) -> None:
        """Begin to follow the logs; in the event loop that serves."""
        self.hub.start()
        self.follower.start()
        if self.watch is not None:
            self.watch.start()

    async def caught_up(self, timeout_seconds: float) -> None:
        """Wait until what was written is read, too, where that is this process' work."""
        follower, deadline = self.follower, time.monotonic() + timeout_seconds
        turn = follower.turn_after_next()
        while not follower.is_past(turn) and time.monotonic() < deadline:
            await asyncio.sleep(LOOK_SECONDS)  # many may wait: no thread is kept for each

    async def checked(self, check: Callable[[], T]) -> T:
        """Return what comes of looking at definitions: large ones take minutes of a processor."""
        async with self.checking:
            return await asyncio.to_thread(check)

    def close(self) -> None:
        """End all threads and let the store go."""
        self.follower.stop()
        if self.watch is not None:
            self.watch.close()
        self.desk.close()
        self.reader.close()
        self.slow.close()
        self.drawing.close()
        self.access.close()
        self.tokens.close()


Given = NamedDependency[SkipValidation[Parts]]
