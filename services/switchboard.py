"""One channel to the broker, shared by the reactors of several partitions in one thread."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence

from warrener.domain.errors import BrokerUnavailable
from warrener.domain.ports import Channel, Delivery, Notice, Outgoing, Poll

DELIVERIES_MAX = 1_000  # taken from the channel in one go


class Switchboard:
    """Hands what comes over a channel to the line that it is for.

    A queue belongs to the first line that consumes it; when that leaves, to the next that does.
    """

    def __init__(self, channel: Channel) -> None:
        """Take an open channel; it is closed with the switchboard."""
        self.channel = channel
        self.lines: list[Line] = []
        self._batches: dict[int, tuple[Line, int]] = {}
        self._last_batch = 0
        self._subscribed: set[str] = set()

    def line(self) -> Line:
        """Open a line, which is used as a channel is."""
        line = Line(self)
        self.lines.append(line)
        return line

    @property
    def waiting(self) -> bool:
        """Say whether a line has something that its party has not polled."""
        return any(line.waiting for line in self.lines)

    def pump(self, timeout_seconds: float = 0.0) -> None:
        """Take what the channel has; waits up to the timeout if it has nothing yet."""
        poll = self.channel.poll(DELIVERIES_MAX, timeout_seconds)
        for number in poll.confirmed:
            line, batch = self._batches.pop(number, (None, 0))
            if line is not None:
                line.confirmed.append(batch)
        for line in self.lines:
            line.lost = line.lost or poll.lost
            line.broken = line.broken or poll.broken
        for delivery in poll.deliveries:
            self._hand_over(delivery)

    def close(self) -> None:
        """Close the channel: what the lines hold goes back to its queues."""
        self.lines.clear()
        self.channel.close()

    # --- what the lines ask for ------------------------------------------------------------------

    def number(self, line: Line, batch: int | None) -> int | None:
        """Return the number of a line's batch on the channel."""
        if batch is None:
            return None
        self._last_batch += 1
        self._batches[self._last_batch] = (line, batch)
        return self._last_batch

    def subscribe(self, queue: str, exchange: str, patterns: Sequence[str]) -> None:
        """Hear what comes to a temporary queue, once however many lines ask for it."""
        if queue not in self._subscribed:
            self._subscribed.add(queue)
            self.channel.subscribe(queue, exchange, patterns)

    def hang_up(self, line: Line) -> None:
        """A line is closed: what it holds goes back, and its queues to others that consume them."""
        self.lines.remove(line)
        for queue, prefetch in line.consumed.items():
            heirs = [other for other in self.lines if queue in other.consumed]
            if not heirs:
                self.channel.leave(queue)
            elif prefetch != heirs[0].consumed[queue]:
                self.channel.consume(queue, heirs[0].consumed[queue])
        for tag in line.held:
            self.channel.reject(tag, requeue=True)
        self._batches = {
            number: entry for number, entry in self._batches.items() if entry[0] is not line
        }

    def _hand_over(self, delivery: Delivery) -> None:
        """Give a delivery to its line, an announcement to all lines that hear them."""
        if delivery.tag == 0:
            for line in self.lines:
                if delivery.queue in line.heard:
                    line.deliveries.append(delivery)
            return
        for line in self.lines:
            if delivery.queue in line.consumed:
                line.held.add(delivery.tag)
                line.deliveries.append(delivery)
                return
        self.channel.reject(delivery.tag, requeue=True)  # came while its line was closed


class Line:
    """A `Channel` for one party of a switchboard; `close` leaves the others as they are."""

    def __init__(self, board: Switchboard) -> None:
        """Begin without queues; a switchboard opens it."""
        self._board = board
        self.consumed: dict[str, int] = {}
        self.heard: set[str] = set()
        self.held: set[int] = set()  # deliveries that are not settled
        self.deliveries: deque[Delivery] = deque()
        self.confirmed: list[int] = []
        self.lost = False
        self.broken = False

    @property
    def waiting(self) -> bool:
        """Say whether `poll` has something to return."""
        return bool(self.deliveries or self.confirmed or self.lost or self.broken)

    def declare(self, queue: str) -> None:
        """Make sure that a durable queue exists."""
        self._open_channel().declare(queue)

    def consume(self, queue: str, prefetch: int) -> None:
        """Take part in a queue, unless another line does: then once that has left."""
        taken = any(queue in line.consumed for line in self._board.lines if line is not self)
        self.consumed[queue] = prefetch
        if not taken:
            self._open_channel().consume(queue, prefetch)

    def leave(self, queue: str) -> None:
        """Take no further part in a queue; what was not polled goes back, the rest stays ours."""
        self.consumed.pop(queue, None)
        if not any(queue in line.consumed for line in self._board.lines):
            self._open_channel().leave(queue)
        for delivery in [each for each in self.deliveries if each.queue == queue and each.tag]:
            self.deliveries.remove(delivery)
            self.reject(delivery.tag, requeue=True)

    def subscribe(self, queue: str, exchange: str = "", patterns: Sequence[str] = ()) -> None:
        """Hear what comes to a temporary queue; it ends with the channel, not with the line."""
        self.heard.add(queue)
        self._board.subscribe(queue, exchange, patterns)

    def publish(self, messages: Sequence[Outgoing | Notice], batch: int | None = None) -> None:
        """Send messages; `poll` reports `batch` in `Poll.confirmed` when all are confirmed."""
        self._open_channel().publish(messages, self._board.number(self, batch))

    def poll(self, count_max: int, timeout_seconds: float = 0.0) -> Poll:
        """Return deliveries and confirmations; without a timeout only what was pumped already."""
        self._open_channel()
        if timeout_seconds > 0 and not self._has_for(count_max):
            self._board.pump(timeout_seconds)
        count = min(count_max, len(self.deliveries))
        deliveries = [self.deliveries.popleft() for _ in range(count)]
        confirmed, lost, broken = self.confirmed, self.lost, self.broken
        self.confirmed, self.lost, self.broken = [], False, False
        return Poll(deliveries, confirmed, lost, broken)

    def ack(self, tags: Iterable[int]) -> None:
        """The deliveries are dealt with."""
        settled = [tag for tag in tags if tag]
        self.held.difference_update(settled)
        self._open_channel().ack(settled)

    def reject(self, tag: int, *, requeue: bool, reason: str = "") -> None:
        """Give a delivery back to its queue, or away for good into the quarantine."""
        self.held.discard(tag)
        self._open_channel().reject(tag, requeue=requeue, reason=reason)

    def close(self) -> None:
        """Leave; what is not acknowledged goes back to its queues."""
        if self in self._board.lines:
            self._board.hang_up(self)

    def _has_for(self, count_max: int) -> bool:
        """Say whether a poll of so many deliveries has something to return."""
        told = self.confirmed or self.lost or self.broken
        return bool((count_max and self.deliveries) or told)

    def _open_channel(self) -> Channel:
        if self not in self._board.lines:
            raise BrokerUnavailable("the channel is closed")
        return self._board.channel
