"""Which queues a worker serves: its own, or for a time those that a controller advises."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import structlog

from warrener.domain.messages import QUEUES_MAX, AdviseWorker
from warrener.domain.ports import Channel, Clock
from warrener.domain.topology import orders_queue

log = structlog.get_logger()


class ServedQueues:
    """Takes part in a worker's queues, in at least one of them until `leave_all`.

    Names are those that definitions use.
    """

    def __init__(
        self,
        channel: Channel,
        own: Sequence[str],
        able: Sequence[str],
        *,
        fixed: bool,
        clock: Clock,
        seconds: Callable[[], float],
        moved: Callable[[], None],
    ) -> None:
        """Take the worker's own queues and others that it could serve; `start` begins with its own.

        With `fixed` no advice is followed. `seconds` is the clock of `time.monotonic`. `moved` is
        called whenever other queues are served.
        """
        self.names = self._own = tuple(dict.fromkeys(own))
        self.until = math.inf  # by `seconds`: when the advice that is followed ends
        self._able = () if fixed else tuple(able)
        self._fixed = fixed
        self._channel = channel
        self._clock = clock
        self._seconds = seconds
        self._moved = moved
        self._prefetch = 0
        self._taken: set[str] = set()  # as the broker calls them

    @property
    def able(self) -> tuple[str, ...]:
        """Return the queues that could be served beside those that are."""
        return tuple(queue for queue in self._possible() if queue not in self.names)[:QUEUES_MAX]

    def takes(self, queue: str) -> bool:
        """Say whether orders of a queue, as the broker calls it, are taken now."""
        return queue in self._taken

    def start(self, prefetch: int) -> None:
        """Take part, or go on with another prefetch."""
        self._prefetch = prefetch
        for name in self.names:
            self._take(orders_queue(name))

    def leave_all(self) -> None:
        """Take no part any more, whatever is advised."""
        self.until = math.inf
        self._take_part(())

    def follow(self, advice: AdviseWorker) -> None:
        """Do as advised, as far as it can be; advice that comes too late ends the one before it."""
        if self._fixed or not self.names:
            log.info("advice.ignored", queues=advice.queues)
            return
        left_seconds = (advice.until - self._clock.now()).total_seconds()
        if not advice.queues:
            self.go_back("withdrawn")
        elif left_seconds <= 0:
            self.go_back("over")
        elif names := self._advised(advice):
            self.until = self._seconds() + left_seconds
            log.info("advice.followed", queues=names, seconds=round(left_seconds, 3))
            self._serve(names)

    def go_back(self, reason: str) -> None:
        """Serve the worker's own queues again, if it follows advice."""
        if self.until != math.inf:
            self.until = math.inf
            log.info("advice.ended", reason=reason, queues=self._own)
            self._serve(self._own)

    def _advised(self, advice: AdviseWorker) -> tuple[str, ...]:
        """Return the queues that can be served, in the order of the advice."""
        possible = set(self._possible())
        if unable := sorted(set(advice.queues) - possible):
            log.warning("advice.unable", queues=unable)
        return tuple(dict.fromkeys(queue for queue in advice.queues if queue in possible))

    def _possible(self) -> Sequence[str]:
        return tuple(dict.fromkeys((*self._own, *self._able)))

    def _serve(self, names: tuple[str, ...]) -> None:
        if set(names) != set(self.names):
            self._take_part(names)
            self._moved()

    def _take_part(self, names: tuple[str, ...]) -> None:
        """Take part in these queues and in no others; new ones first, so that there is always one.

        Those that are kept go on without a break.
        """
        self.names = names
        wanted = [orders_queue(name) for name in names]
        for queue in wanted:
            if queue not in self._taken:
                self._take(queue)
        for queue in sorted(self._taken.difference(wanted)):
            self._channel.leave(queue)
            self._taken.remove(queue)

    def _take(self, queue: str) -> None:
        if queue not in self._taken:
            self._channel.declare(queue)
            self._taken.add(queue)
        self._channel.consume(queue, self._prefetch)
