"""The I/O side of a channel: the thread, its two connections, and what they are used for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from random import Random
from threading import Condition, Event

import structlog

from warrener.adapters.rabbitmq_declarer import Declarer
from warrener.adapters.rabbitmq_link import Link
from warrener.adapters.rabbitmq_loop import IoThread
from warrener.adapters.rabbitmq_mailbox import Mailbox
from warrener.adapters.rabbitmq_queues import Consumption, Queues
from warrener.adapters.rabbitmq_receiver import Receiver
from warrener.adapters.rabbitmq_sender import Sender
from warrener.adapters.rabbitmq_url import Target
from warrener.domain.errors import BrokerUnavailable
from warrener.domain.ports import Notice, Outgoing
from warrener.domain.topology import QUARANTINE, REASON_HEADER, SOURCE_HEADER

REASON_CHARACTERS_MAX = 1_000
ARRANGE_SECONDS = 10.0  # for the broker to answer about a queue, while it is connected
REASONS_MAX = 100  # that are kept, and so how many nodes a broker may have

log = structlog.get_logger()


class Io:
    """Serves one channel. The owner calls the public methods; all else is the I/O thread's."""

    def __init__(self, target: Target, mailbox: Mailbox, chance: Random) -> None:
        """Wait for `start`."""
        self._target = target
        self._mailbox = mailbox
        self._changed = Condition()
        self._ready: set[str] = set()  # connections that were usable at some time
        self._reasons: dict[str, list[str]] = {"publish": [], "consume": []}  # since the last one
        self._unanswered: set[Event] = set()
        self._thread = thread = IoThread(self._end_turn, self._failed)
        declarer = Declarer(thread)
        queues = self._queues = Queues(mailbox, declarer, target.queue_type)
        publishing, consuming = partial(self._usable, "publish"), partial(self._usable, "consume")
        self._sender = Sender(thread, mailbox, queues, chance=chance, ready=publishing)
        self._receiver = Receiver(thread, mailbox, declarer, queues, chance=chance, ready=consuming)
        self._links = (
            Link(thread, target, chance, self._sender, purpose="publish", failed=self._lost),
            Link(thread, target, chance, self._receiver, purpose="consume", failed=self._lost),
        )

    # --- called by the owner ---------------------------------------------------------------------

    def start(self) -> None:
        """Start the thread, and connect."""
        for link in self._links:
            self._thread.do(link.connect)
        self._thread.start()

    def wait_until_connected(self) -> None:
        """Return when both connections can be used.

        Raises `BrokerUnavailable` when each node refused, or none has answered in time.
        """
        longest = (self._target.connect_seconds + 1.0) * len(self._target.nodes)
        with self._changed:
            self._changed.wait_for(self._is_decided, longest)
            if len(self._ready) == len(self._links):
                return
            reason = self._reason() or "no answer in time"
        self.kill()
        self.join(longest)
        raise BrokerUnavailable(f"the broker cannot be reached: {reason}")

    def state(self) -> str:
        """Return why messages are not confirmed, in words."""
        return self._reason() or "it is connected, but does not confirm them"

    def declare(self, queue: str) -> None:
        """Make sure of a durable queue; what is published later waits for it."""
        self._arrange(partial(self._queues.declare, queue))

    def consume(self, consumption: Consumption) -> None:
        """Take part in a queue, or hear a temporary one; what is published later waits for it."""
        self._arrange(partial(self._receiver.consume, consumption))

    def leave(self, queue: str) -> None:
        """Take no further part."""
        self._thread.do(self._receiver.leave, queue)

    def publish(self, messages: Sequence[Outgoing | Notice], batch: int | None) -> None:
        """Send messages until they are confirmed."""
        self._thread.do(self._sender.publish, messages, batch)

    def ack(self, tags: Sequence[int]) -> None:
        """Acknowledge deliveries."""
        self._thread.do(self._receiver.ack, tags)

    def give_back(self, tags: Sequence[int]) -> None:
        """Put deliveries back into their queues."""
        self._thread.do(self._receiver.give_back, tags)

    def quarantine(self, tag: int, reason: str) -> None:
        """Publish a delivery to the quarantine, and acknowledge it when that is confirmed."""
        self._thread.do(self._quarantine, tag, reason)

    def close(self) -> None:
        """Close the connections in order; the thread ends when that is done."""
        self._thread.do(self._close)

    def kill(self) -> None:
        """Drop the connections; the thread ends at once."""
        self._thread.do(self._kill)

    def join(self, timeout_seconds: float) -> None:
        """Wait for the end of the thread, and bring it about when the time is over."""
        self._thread.join(timeout_seconds)
        if self._thread.is_alive():
            self.kill()
            self._thread.join(timeout_seconds)

    def _arrange(self, arrange: Callable[[Callable[..., None]], None]) -> None:
        """Have something arranged with the broker, and wait for its answer if it is there."""
        answered = Event()
        self._thread.do(self._begin_to_arrange, arrange, answered)
        answered.wait(ARRANGE_SECONDS)

    # --- in the I/O thread -----------------------------------------------------------------------

    def _begin_to_arrange(
        self, arrange: Callable[[Callable[..., None]], None], answered: Event
    ) -> None:
        self._sender.hold()
        self._unanswered.add(answered)
        arrange(partial(self._arranged, answered))
        if not self._receiver.is_open:
            self._stop_waiting()

    def _arranged(self, answered: Event, _there: bool = True) -> None:
        self._sender.go_on()
        answered.set()
        self._unanswered.discard(answered)

    def _stop_waiting(self) -> None:
        """Let the owner go on: what it asked for is arranged with the next connection."""
        while self._unanswered:
            self._unanswered.pop().set()

    def _quarantine(self, tag: int, reason: str) -> None:
        delivery = self._receiver.held(tag)
        if delivery is None:
            self._mailbox.settle(1, 0)
            return
        headers = {REASON_HEADER: reason[:REASON_CHARACTERS_MAX], SOURCE_HEADER: delivery.queue}
        moved = Outgoing(QUARANTINE, delivery.body, delivery.message_id)
        self._mailbox.move(len(delivery.body))
        self._sender.publish_one(moved, headers, partial(self._receiver.ack, [tag]))

    def _end_turn(self) -> None:
        """Send and hand over, each at once, what the turn of the loop has brought."""
        confirmed, self._sender.confirmed = self._sender.confirmed, []
        self._receiver.end_turn(confirmed)
        for link in self._links:
            link.flush()

    def _usable(self, purpose: str) -> None:
        with self._changed:
            self._ready.add(purpose)
            self._reasons[purpose] = []
            self._changed.notify()

    def _lost(self, purpose: str, reason: str) -> None:
        if purpose == "consume":
            self._stop_waiting()
        with self._changed:
            self._reasons[purpose] = [*self._reasons[purpose], reason][-REASONS_MAX:]
            self._changed.notify()

    def _reason(self) -> str:
        """Return why there is no connection, "" if there is one."""
        return next((found[-1] for found in self._reasons.values() if found), "")

    def _is_decided(self) -> bool:
        tried = max(len(found) for found in self._reasons.values())
        return len(self._ready) == len(self._links) or tried >= len(self._target.nodes)

    def _close(self) -> None:
        self._end_turn()  # acknowledgements come before the end of the channel
        self._receiver.close()
        for link in self._links:
            link.close()
        self._stop_when_closed()

    def _stop_when_closed(self) -> None:
        if all(link.connection is None for link in self._links):
            self._thread.stop()
        else:
            self._thread.later(0.005, self._stop_when_closed)

    def _kill(self) -> None:
        for link in self._links:
            link.closing = True
            link.break_off()
        self._thread.later(0, self._thread.stop)  # pika closes the sockets before that

    def _failed(self, error: BaseException) -> None:
        """The thread ends by a fault of ours: every call of the owner says so from now on."""
        log.exception("broker.thread_failed", exc_info=error)
        for link in self._links:
            link.closing = True
            link.break_off()  # the broker hands out again what this channel held
        self._stop_waiting()
        reason = f"the I/O thread of the channel failed: {type(error).__name__}: {error}"
        self._mailbox.fail(BrokerUnavailable(reason), for_good=True)
