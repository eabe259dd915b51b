"""How many jobs there are by state, counted again only after something has changed."""

from __future__ import annotations

import asyncio

from warrener.services.web.hub import Hub
from warrener.services.web.reader import Reader


class Counts:
    """Keeps what was counted last; belongs to the thread of the event loop."""

    def __init__(self, hub: Hub) -> None:
        """Take what tells whether anything has changed."""
        self._hub = hub
        self._at = 0
        self._known: dict[str, int] = {}
        self._lock = asyncio.Lock()

    async def now(self, reader: Reader) -> dict[str, int]:
        """Return the counts."""
        async with self._lock:
            at = self._hub.told
            if not at or at != self._at:
                self._known = await reader.ask(lambda opened: opened.queries.count_jobs())
                self._at = at
            return dict(self._known)
