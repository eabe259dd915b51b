"""What a reactor has sent and is not confirmed yet, and how far the log is sent with it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

import msgspec

from warrener.domain.ports import Channel, Notice, Outgoing
from warrener.domain.topology import is_temporary
from warrener.services.pace import Pace


class Sent(msgspec.Struct):
    """A batch on its way: the deliveries to acknowledge, and how far the log is sent with it."""

    tags: list[int]
    position: int
    at: datetime
    confirmed: bool = False


class Sending:
    """Publishes batches in order, and acknowledges what led to each once it is confirmed.

    `published` is the position up to which everything that follows from the log is confirmed.
    """

    def __init__(
        self,
        channel: Channel,
        published: int,
        at_point: Callable[[str], None],
        *,
        pace: Pace,
        now: Callable[[], datetime],
    ) -> None:
        """Take an open channel; `at_point` is told before acknowledgements, for tests.

        `pace` hears how long confirmations take.
        """
        self._pace = pace
        self._now = now
        self.published = published
        self._channel = channel
        self._at_point = at_point
        self._batches = 0
        self._sent: dict[int, Sent] = {}  # by number, in order

    @property
    def waiting(self) -> int:
        """Return how many batches wait for confirmation, or for those before them."""
        return len(self._sent)

    def publish(
        self, messages: Sequence[Outgoing | Notice], tags: list[int], position: int
    ) -> None:
        """Send what follows from the log up to a position; then `tags` can be acknowledged."""
        if not messages and not self._sent:
            self.published = max(self.published, position)
            self._channel.ack(tags)
            return
        self._batches += 1
        sent_at = self._now()
        if not self._sent:
            self._pace.wait_since(sent_at)
        self._sent[self._batches] = Sent(tags, position, sent_at)
        if messages:
            for queue in {m.queue: None for m in messages if isinstance(m, Outgoing)}:
                if not is_temporary(queue):  # else it is a client's own, and perhaps gone
                    self._channel.declare(queue)
            self._channel.publish(messages, self._batches)
        else:
            self.confirm([self._batches])

    def confirm(self, batches: Sequence[int]) -> None:
        """Acknowledge what led to batches that are confirmed now; note how far the log is sent."""
        for number in batches:
            sent = self._sent.get(number)
            if sent is not None and not sent.confirmed:
                self._at_point("before-ack")
                sent.confirmed = True
                self._pace.confirmed(sent.at, self._now())
                self._channel.ack(sent.tags)
        while self._sent:
            number = next(iter(self._sent))
            if not self._sent[number].confirmed:
                break
            self.published = max(self.published, self._sent.pop(number).position)
        first = next(iter(self._sent.values()), None)
        self._pace.wait_since(None if first is None else first.at)
