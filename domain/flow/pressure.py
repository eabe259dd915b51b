"""How much of a queue's slots one reactor counts on, where others send orders to it as well.

Nobody tells reactors what the others have out. But each sees how long its orders wait at the broker
before a slot is free: about as long as one runs, if two orders for each slot are out in all. Who
sees them wait longer lets fewer out, down to an even part; who sees them wait less lets out more.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

LOOK_SECONDS: Final = 0.25  # the shortest time between two changes
ANSWERS_MIN: Final = 8  # since the last change, before there is another
SHORT_SECONDS: Final = 0.05  # of less than that of waiting nothing is to be told
CROWDED: Final = 1.6  # orders wait so many times as long as they run: too many are out
QUIET: Final = 1.2
STEP_DOWN: Final = 0.75
STEP_UP: Final = 1.15


class Pressure:
    """The part of the slots of one queue, from an even one to all."""

    def __init__(self) -> None:
        """Begin with all of them."""
        self.part = 1.0
        self._waited = 0.0
        self._served = 0.0
        self._answers = 0
        self._since: datetime | None = None

    def answered(self, waited: float, served: float, now: datetime, even: float) -> None:
        """An order has waited and run for so many seconds; `even` is the part of one of all."""
        self._waited += max(0.0, waited)
        self._served += served
        self._answers += 1
        if self._since is None or now < self._since:
            self._since = now
        mean = self._served / self._answers
        elapsed = (now - self._since).total_seconds()
        if self._answers >= ANSWERS_MIN and elapsed >= max(LOOK_SECONDS, mean):
            self._change(max(mean, SHORT_SECONDS), even)
            self._waited = self._served = 0.0
            self._answers, self._since = 0, now

    def _change(self, served: float, even: float) -> None:
        waited = self._waited / self._answers
        if waited > CROWDED * served:
            self.part *= STEP_DOWN
        elif waited < QUIET * served:
            self.part *= STEP_UP
        self.part = min(1.0, max(even, self.part))
