"""What the I/O thread leaves for the owner of a channel, and what the two count."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable
from threading import Condition

from warrener.domain.errors import BrokerUnavailable
from warrener.domain.ports import Delivery, Poll

SUBSCRIBED_MAX = 10_000  # messages of subscriptions that wait for their owner
SUBSCRIBED_BYTES_MAX = 64 * 1024 * 1024
SETTLE_SECONDS = 0.005  # between two looks at what is counted without a lock


class Mailbox:
    """Filled once a turn by the I/O thread, emptied by the owner's polls."""

    def __init__(self) -> None:
        """Begin empty."""
        self.dropped = 0  # messages of subscriptions that came when too many waited
        self._changed = Condition()
        self._arrived: deque[Delivery] = deque()
        self._heard_bytes = 0  # of those that need no acknowledgement
        self._confirmed: list[int] = []
        self._lost = False
        self._broken = False
        self._error: BrokerUnavailable | None = None
        self._dead: BrokerUnavailable | None = None
        # Each is counted by one side only: the owner's, then those of the I/O thread.
        self._published = self._published_bytes = 0
        self._moved_bytes = 0
        self._settled = self._settled_bytes = 0

    @property
    def unsettled(self) -> tuple[int, int]:
        """Return how many messages, and bytes of them, the broker is not yet answerable for."""
        size = self._published_bytes + self._moved_bytes - self._settled_bytes
        return self._published - self._settled, size

    # --- for the I/O thread ----------------------------------------------------------------------

    def put(self, deliveries: Iterable[Delivery], confirmed: Iterable[int]) -> None:
        """Leave what a turn of the loop has brought."""
        with self._changed:
            self._arrived.extend(deliveries)
            self._confirmed.extend(confirmed)
            self._changed.notify()

    def put_heard(self, delivery: Delivery) -> None:
        """Leave a message of a subscription, unless too many wait already."""
        with self._changed:
            size = self._heard_bytes + len(delivery.body)
            if len(self._arrived) >= SUBSCRIBED_MAX or size > SUBSCRIBED_BYTES_MAX:
                self.dropped += 1
                return
            self._heard_bytes = size
            self._arrived.append(delivery)
            self._changed.notify()

    def move(self, size: int) -> None:
        """Count the bytes of a message for the quarantine; the owner does not know them."""
        self._moved_bytes += size

    def settle(self, messages: int, size: int) -> None:
        """Count messages that the broker is answerable for, or that were given up."""
        self._settled += messages
        self._settled_bytes += size

    def lose(self) -> None:
        """Tell that queues have lost what they held."""
        with self._changed:
            self._lost = True
            self._changed.notify()

    def break_off(self) -> None:
        """Tell that the connection was lost, and remove what came by it."""
        self.take_back(lambda _: True)
        with self._changed:
            self._broken = True
            self._changed.notify()

    def fail(self, error: BrokerUnavailable, *, for_good: bool = False) -> None:
        """Have the owner's next call raise an error, or every one from now on."""
        with self._changed:
            self._error = error
            self._dead = error if for_good else self._dead
            self._changed.notify()

    def take_back(self, belongs: Callable[[Delivery], bool]) -> list[Delivery]:
        """Remove and return deliveries that were not polled."""
        with self._changed:
            taken = [delivery for delivery in self._arrived if belongs(delivery)]
            if taken:
                kept = [delivery for delivery in self._arrived if not belongs(delivery)]
                self._arrived = deque(kept)
                self._heard_bytes -= _heard(taken)
            return taken

    # --- for the owner ---------------------------------------------------------------------------

    def publish(self, messages: int, size: int) -> None:
        """Count messages that are handed over to be sent."""
        self._published += messages
        self._published_bytes += size

    def confirm(self, batch: int) -> None:
        """Leave a batch that has nothing to wait for."""
        with self._changed:
            self._confirmed.append(batch)

    def check(self) -> None:
        """Raise what the I/O thread found out; it is cheap where that is nothing."""
        if self._error is None:
            return
        with self._changed:
            error, self._error = self._error, self._dead
        if error is not None:
            raise error

    def take(self, count_max: int, timeout_seconds: float) -> Poll:
        """Take what is there, waiting for something up to the timeout.

        Raises the error that the I/O thread found if there is nothing else.
        """
        with self._changed:
            if timeout_seconds > 0 and not self._has_news(count_max):
                self._changed.wait_for(lambda: self._has_news(count_max), timeout_seconds)
            arrived = self._arrived
            if len(arrived) <= count_max:
                deliveries = list(arrived)
                arrived.clear()
            else:
                deliveries = [arrived.popleft() for _ in range(count_max)]
            if self._heard_bytes:
                self._heard_bytes -= _heard(deliveries)
            confirmed, self._confirmed = self._confirmed, []
            lost, self._lost = self._lost, False
            broken, self._broken = self._broken, False
        if not (deliveries or confirmed or lost or broken):
            self.check()  # else with the next call: what was taken must not be forgotten
        return Poll(deliveries, confirmed, lost, broken)

    def wait_until_settled(self, timeout_seconds: float) -> None:
        """Wait until the broker is answerable for all messages, or the time is over."""
        deadline = time.monotonic() + timeout_seconds
        with self._changed:
            while self.unsettled[0] > 0 and self._dead is None and time.monotonic() < deadline:
                self._changed.wait(SETTLE_SECONDS)

    def _has_news(self, count_max: int) -> bool:
        told = self._confirmed or self._lost or self._broken or self._error
        return bool((count_max > 0 and self._arrived) or told)


def _heard(deliveries: Iterable[Delivery]) -> int:
    """Return the bytes of those that came by a subscription."""
    return sum(len(delivery.body) for delivery in deliveries if not delivery.tag)
