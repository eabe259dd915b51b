"""The worker: takes orders from its queues, has them performed, reports, and then acknowledges.

An order is acknowledged only once its report is confirmed, never the other way round.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from itertools import count

import msgspec

from warrener.domain import ids
from warrener.domain.messages import PROTOCOL_VERSION, RunStep
from warrener.domain.payloads import PAYLOAD_BYTES_MAX
from warrener.domain.ports import Channel, Clock, Delivery, Outgoing
from warrener.domain.topology import orders_queue
from warrener.services.runners import Finished, InlineRunner, Runner, Task
from warrener.services.worker_threads import ThreadRunner

__all__ = ["InlineRunner", "Runner", "ThreadRunner", "Worker"]

ORDER_BYTES_MAX = PAYLOAD_BYTES_MAX + 64 * 1024
SLICE_SECONDS = 0.005  # how long to wait on one side while the other may have something, too

_DECODE = msgspec.json.Decoder(RunStep).decode


class Worker:
    """Serves queues with one runner. Belongs to one thread."""

    def __init__(
        self,
        channel: Channel,
        runner: Runner,
        queues: Sequence[str],
        slots: int,
        *,
        name: str,
        clock: Clock,
    ) -> None:
        """Take part in the queues; per queue at most `2 * slots + 2` orders are held at once."""
        self.name = name
        self.runner = runner
        self.quarantined = 0
        self._channel = channel
        self._clock = clock
        self._prefetch = 2 * slots + 2
        self._waiting: deque[Task] = deque()
        self._unconfirmed: dict[int, list[int]] = {}  # batch -> tags of its orders
        self._batches = count(1)
        for queue in map(orders_queue, queues):
            channel.declare(queue)
            channel.consume(queue, self._prefetch)

    def turn(self, timeout_seconds: float = 0.0) -> bool:
        """Do what there is to do, waiting up to the timeout for it; say whether it was anything."""
        if self._pass(0.0, 0.0):
            return True
        deadline = time.monotonic() + timeout_seconds
        while (left := deadline - time.monotonic()) > 0:
            if self._pass(*self._waits(left)):
                return True
        return False

    def close(self) -> None:
        """Stop; orders that are not done go back to their queues."""
        self.runner.close()
        self._channel.close()

    def _waits(self, left: float) -> tuple[float, float]:
        """Return how long to wait for the channel and for the runner."""
        if not self.runner.busy():
            return left, 0.0
        expecting = self._unconfirmed or self.runner.room()
        return 0.0, min(left, SLICE_SECONDS) if expecting else left

    def _pass(self, channel_seconds: float, runner_seconds: float) -> bool:
        polled = self._channel.poll(self._prefetch, channel_seconds)
        for batch in polled.confirmed:
            self._channel.ack(self._unconfirmed.pop(batch, ()))
        for delivery in polled.deliveries:
            self._receive(delivery)
        self._hand_over()
        done = self.runner.finished(runner_seconds)
        if done:
            self._report(done)
            self._hand_over()
        return bool(polled.confirmed or polled.deliveries or done)

    def _receive(self, delivery: Delivery) -> None:
        order = decode_order(delivery.body)
        if order is None:
            self.quarantined += 1
            self._channel.reject(delivery.tag, requeue=False)
        else:
            self._waiting.append(Task(delivery.tag, order, delivery.body))

    def _hand_over(self) -> None:
        while self._waiting and self.runner.room() > 0:
            self.runner.submit(self._waiting.popleft())

    def _report(self, done: Sequence[Finished]) -> None:
        batch = next(self._batches)
        self._unconfirmed[batch] = [finished.task.tag for finished in done]
        self._channel.publish([outgoing(finished) for finished in done], batch)


def decode_order(body: bytes) -> RunStep | None:
    """Return the order, or None if it is not one that this version understands."""
    if len(body) > ORDER_BYTES_MAX:
        return None
    try:
        order = _DECODE(body)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return None
    usable = order.v == PROTOCOL_VERSION and order.attempt > 0 and order.reply_to
    return order if usable else None


def outgoing(finished: Finished) -> Outgoing:
    """Return the report's message; its id is the attempt's, so that duplicates can be told."""
    order = finished.task.order
    name = ids.message_id(order.step, order.attempt, "report")
    return Outgoing(queue=order.reply_to, body=finished.report, message_id=name)
