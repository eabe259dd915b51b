"""What the application is put together from."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Final

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


class Parts(msgspec.Struct, frozen=True, kw_only=True):
    """All that requests need. `slow` answers what may take long, so that nothing else waits.

    `leases` tells who works on the logs; `open_past` answers from events alone; `watch` hears the
    workers, where there is a broker.
    With `hosts` the service answers under these names only.
    """

    reader: Reader
    slow: Reader
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

    def close(self) -> None:
        """End all threads and let the store go."""
        self.follower.stop()
        if self.watch is not None:
            self.watch.close()
        self.desk.close()
        self.reader.close()
        self.slow.close()
        self.access.close()
        self.tokens.close()


LOOK_SECONDS: Final = 0.02
Given = NamedDependency[SkipValidation[Parts]]
