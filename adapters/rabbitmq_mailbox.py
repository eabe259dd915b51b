"""What the I/O thread of a channel leaves for the channel's owner."""

from __future__ import annotations

from collections import deque
from threading import Event, Lock

from warrener.domain.errors import BrokerUnavailable
from warrener.domain.ports import Delivery


class Mailbox:
    """What the I/O thread leaves for the owner."""

    def __init__(self) -> None:
        self.arrived: deque[Delivery] = deque()
        self.confirmed: deque[int] = deque()
        self.lost = False
        self.error: BrokerUnavailable | None = None  # told once
        self.dead: BrokerUnavailable | None = None  # nothing will come any more
        self.published = 0  # messages, counted by the owner
        self.settled = 0  # messages, counted by the I/O thread
        self.lock = Lock()
        self.event = Event()
        self.waiting = False

    @property
    def unconfirmed(self) -> int:
        """Return how many messages the broker is not yet answerable for."""
        return self.published - self.settled

    def wake(self) -> None:
        """Wake the owner if it waits."""
        if self.waiting:
            self.event.set()
