"""The worker: takes orders from its queues, has them performed, reports, and then acknowledges.

An order is acknowledged only once its report is confirmed, never the other way round. An attempt
that is delivered again runs no second time while the worker remembers it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from itertools import count

import msgspec
import structlog

from warrener.domain.messages import CallWorkers, CancelStep, RunStep
from warrener.domain.ports import Channel, Clock, Delivery, Notice, Outgoing
from warrener.domain.topology import CONTROL, worker_queue
from warrener.services.runners import (
    REPORTED,
    RUNNING,
    WAITING,
    Finished,
    InlineRunner,
    Runner,
    Task,
    attempt_of,
)
from warrener.services.worker_beats import BEAT_SECONDS, Beats
from warrener.services.worker_hand import Hand
from warrener.services.worker_memory import Cancellations, ReportCache
from warrener.services.worker_orders import (
    decode_control,
    decode_order,
    log_step,
    outgoing,
    read_order,
)
from warrener.services.worker_pace import Pace
from warrener.services.worker_queues import ServedQueues
from warrener.services.worker_threads import ThreadRunner

__all__ = ["InlineRunner", "Runner", "ThreadRunner", "Worker", "decode_order"]

# How long to wait on one side while the other may have something, too: the longer the longer
# nothing has happened.
SLICE_SECONDS_MIN = 0.0005
SLICE_SECONDS_MAX = 0.01
UNCONFIRMED_MIN = 100  # reports that may wait for confirmation, however few slots there are
CONTROL_KEYS = ("step.cancel", "worker.call", "worker.advise")

log = structlog.get_logger()


def _no_fault(point: str) -> None:
    """Tests put crashes here: before-report, after-report, before-ack."""


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
        beat_seconds: float = BEAT_SECONDS,
        endpoints: Sequence[str] = (),
        able: Sequence[str] = (),
        fixed: bool = False,
        at_point: Callable[[str], None] = _no_fault,
        trace: bool = False,
        seconds: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take part in the queues; per queue `2 * slots + 2` orders are held, or what is done soon.

        `queues` are named as definitions name them, as are those that it is `able` to serve when a
        controller advises it to; a `fixed` one follows no advice. With `trace` each step is logged
        at debug level. `seconds` is the clock of `time.monotonic`.
        """
        self.name = name
        self.runner = runner
        self.reported = 0
        self.quarantined = 0
        self.cancelled = 0
        self._channel = channel
        self._at_point = at_point
        self._trace = trace
        self._seconds = seconds
        self._pace = Pace(slots)
        self._served = served = ServedQueues(
            channel,
            queues,
            able,
            fixed=fixed,
            clock=clock,
            seconds=seconds,
            moved=self._moved,
        )
        self._hand = Hand(channel)
        self._reports = ReportCache()
        self._cancellations = Cancellations()
        self._batches = count(1)
        self._unconfirmed: dict[int, list[tuple[Task, Outgoing]]] = {}  # by batch
        self._signs: int | None = None  # the batch of the last signs of life, while unconfirmed
        self._draining = False
        self._beats = Beats(
            name,
            served.names,
            slots,
            clock=clock,
            beat_seconds=beat_seconds,
            endpoints=endpoints,
            able=served.able,
        )
        channel.subscribe(worker_queue(name), CONTROL, CONTROL_KEYS)
        served.start(self._pace.prefetch)

    def turn(self, timeout_seconds: float = 0.0) -> bool:
        """Do what there is to do, waiting up to the timeout for it; say whether it was anything."""
        now = self._seconds()
        if now >= self._served.until:
            self._served.go_back("over")
        self._give_signs(now)
        if self._pace.look(self.reported, now):
            self._keep_pace()
        if self._pass(0.0, 0.0):
            return True
        deadline = min(now + timeout_seconds, self._served.until)
        slice_seconds = SLICE_SECONDS_MIN
        while (now := self._seconds()) < deadline:
            left = min(deadline, self._give_signs(now)) - now
            if self._pass(*self._waits(left, slice_seconds)):
                return True
            slice_seconds = min(2 * slice_seconds, SLICE_SECONDS_MAX)
        return False

    def drain(self) -> None:
        """Take no more orders; those that have not begun go back, the others go on."""
        if self._draining:
            return
        self._draining = True
        self._served.leave_all()
        self._hand.sort_out(self.runner.withdraw(), self._served.takes)
        self._publish([self._beats.bye(self.runner.busy())], [])

    @property
    def drained(self) -> bool:
        """Say whether nothing is in hand, and all that was said is confirmed."""
        return self._draining and not self._hand.tasks and not self._unconfirmed

    def counts(self) -> dict[str, int]:
        """Return what became of orders so far."""
        return {
            "reported": self.reported,
            "cancelled": self.cancelled,
            "quarantined": self.quarantined,
        }

    def unfinished(self) -> list[RunStep]:
        """Return the orders in hand."""
        return [task.order for task in self._hand.tasks.values()]

    def close(self) -> None:
        """Stop; orders that are not done go back to their queues."""
        self.runner.close()
        self._channel.close()

    # --- the way of an order ---------------------------------------------------------------------

    def _waits(self, left: float, slice_seconds: float) -> tuple[float, float]:
        """Return how long to wait for the channel and for the runner."""
        if not self.runner.busy():
            return left, 0.0
        expecting = self._unconfirmed or self.runner.room()
        return 0.0, min(left, slice_seconds) if expecting else left

    def _pass(self, channel_seconds: float, runner_seconds: float) -> bool:
        polled = self._channel.poll(self._pace.prefetch, channel_seconds)
        if polled.broken:
            self._served.go_back("connection lost")
        for batch in polled.confirmed:
            self._confirm(batch)
        for delivery in polled.deliveries:
            self._receive(delivery)
        self._hand_over()
        done = self.runner.finished(runner_seconds)
        if done:
            self._report(done)
            self._hand_over()
        return bool(polled.confirmed or polled.deliveries or done)

    def _receive(self, delivery: Delivery) -> None:
        if not delivery.tag:
            self._hear(delivery)
            return
        try:
            order = read_order(delivery.body)
        except msgspec.MsgspecError as error:
            self._quarantine(delivery, str(error))
        else:
            self._take(delivery, order)

    def _take(self, delivery: Delivery, order: RunStep) -> None:
        """Take an order in hand, unless its attempt is in hand, reported or cancelled already."""
        hand, attempt = self._hand, attempt_of(order)
        known = hand.tasks.get(attempt)
        if known is not None:
            known.joined += (delivery.tag,)
        elif self._cancellations and order in self._cancellations:
            self._channel.ack([delivery.tag])
        elif (report := self._reports.get(attempt)) is not None:
            task = hand.tasks[attempt] = Task(delivery.tag, order, b"", attempt, stage=REPORTED)
            self._publish([report], [(task, report)])
        elif not self._served.takes(delivery.queue):
            self._channel.reject(delivery.tag, requeue=True)
        else:
            hand.add(Task(delivery.tag, order, delivery.body, attempt, queue=delivery.queue))

    def _hand_over(self) -> None:
        hand = self._hand
        unconfirmed = len(hand.tasks) - len(hand.waiting) - self.runner.busy()
        if unconfirmed >= max(UNCONFIRMED_MIN, 2 * self._pace.prefetch):
            return
        while hand.waiting and self.runner.room() > 0:
            task = hand.waiting.popleft()
            task.stage = RUNNING
            if self._trace:
                log_step("step.started", task.order)
            self.runner.submit(task)
            if task.order.beat_seconds is not None:
                self._beats.expect(task.order, self._seconds())

    def _report(self, done: Sequence[Finished]) -> None:
        reported = []
        for finished in done:
            task = finished.task
            if task.pulse.cancelled:
                self._hand.drop(task)
            else:
                task.stage = REPORTED
                if self._trace:
                    log_step("step.reported", task.order)
                reported.append((task, outgoing(finished)))
        if reported:
            self._at_point("before-report")
            self._publish([report for _, report in reported], reported)
            self._at_point("after-report")

    def _confirm(self, batch: int) -> None:
        if batch == self._signs:
            self._signs = None
        reported = self._unconfirmed.pop(batch, ())
        if not reported:
            return
        self._at_point("before-ack")
        tags: list[int] = []
        for task, report in reported:
            del self._hand.tasks[task.attempt]
            self._reports.add(task.attempt, report)
            tags += (task.tag, *task.joined)
        self._channel.ack(tags)
        self.reported += len(reported)

    def _publish(
        self, messages: Sequence[Outgoing | Notice], reported: list[tuple[Task, Outgoing]]
    ) -> int:
        batch = next(self._batches)
        self._unconfirmed[batch] = reported
        self._channel.publish(messages, batch)
        return batch

    def _keep_pace(self) -> None:
        """Hold more orders or fewer; those that are too many now go back, for others to take."""
        if self._draining:
            return
        self._served.start(self._pace.prefetch)
        while len(self._hand.waiting) > len(self._served.names) * self._pace.prefetch:
            self._hand.give_back(self._hand.waiting.pop())

    # --- what does not come to a report ----------------------------------------------------------

    def _quarantine(self, delivery: Delivery, reason: str) -> None:
        self.quarantined += 1
        facts = {"message": delivery.message_id, "queue": delivery.queue}
        log.warning("order.quarantined", **facts, reason=reason)
        self._channel.reject(delivery.tag, requeue=False, reason=reason)

    # --- control and signs of life ---------------------------------------------------------------

    def _hear(self, delivery: Delivery) -> None:
        try:
            message = decode_control(delivery.body)
        except msgspec.MsgspecError as error:
            self.quarantined += 1
            log.warning("control.ignored", message=delivery.message_id, reason=str(error))
            return
        if isinstance(message, CallWorkers):
            self._beats.call()
        elif isinstance(message, CancelStep):
            self._cancel(message)
        elif message.worker == self.name:
            self._served.follow(message)

    def _moved(self) -> None:
        """Let go of what came by queues that were left, and tell the fleet."""
        self._hand.sort_out(self.runner.withdraw(), self._served.takes)
        self._beats.serve(self._served.names, self._served.able)

    def _cancel(self, cancel: CancelStep) -> None:
        self._cancellations.add(cancel)
        for task in list(self._hand.tasks.values()):
            order = task.order
            if (order.step, order.attempt) == (cancel.step, cancel.attempt):
                self._cancel_task(task)

    def _cancel_task(self, task: Task) -> None:
        if task.stage == REPORTED:
            return
        self.cancelled += 1
        log_step("step.cancelled", task.order)
        if task.stage == WAITING:
            self._hand.waiting.remove(task)
            self._hand.drop(task)
        else:
            self.runner.cancel(task)

    def _give_signs(self, now: float) -> float:
        """Send the signs of life that are due, and return when the next ones are.

        None follow while the last ones are on their way, so that they do not pile up where the
        broker is gone.
        """
        if self._signs is not None:
            return math.inf
        if now >= self._beats.next_at:
            due = self._beats.due(self._hand.tasks.values(), self.runner.busy(), now)
            if due:
                self._signs = self._publish(due, [])
        return self._beats.next_at
