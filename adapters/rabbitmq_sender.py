"""The publishing side of a channel: a window of messages on their way, confirmations, returns."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from random import Random
from typing import Any

import structlog
from pika.exceptions import ChannelClosedByBroker, ChannelClosedByClient

from warrener.adapters.rabbitmq_connection import MAIN, Connection
from warrener.adapters.rabbitmq_link import Backoff
from warrener.adapters.rabbitmq_loop import IoThread
from warrener.adapters.rabbitmq_mailbox import Mailbox
from warrener.adapters.rabbitmq_outgoing import Batch, Encoder, Sending
from warrener.adapters.rabbitmq_queues import Queues
from warrener.adapters.rabbitmq_reasons import NOT_FOUND, refusal
from warrener.domain.errors import BrokerUnavailable
from warrener.domain.ports import Notice, Outgoing
from warrener.domain.topology import exchange_of, is_temporary

WINDOW_MESSAGES = 2_000  # sent and not confirmed
WINDOW_BYTES = 8 * 1024 * 1024

log = structlog.get_logger()


class Sender:
    """Sends each message until it is confirmed. Belongs to the I/O thread."""

    def __init__(
        self,
        io: IoThread,
        mailbox: Mailbox,
        queues: Queues,
        *,
        chance: Random,
        ready: Callable[[], None],
    ) -> None:
        """Wait for a connection; `ready` is called whenever it can be used."""
        self.confirmed: list[int] = []  # batches of this turn
        self._io = io
        self._mailbox = mailbox
        self._queues = queues
        self._backoff = Backoff(chance)
        self._ready = ready
        self._connection: Connection | None = None
        self._channel: Any = None
        self._blocked = False  # the broker is short of memory or disk
        self._holds = 0  # reasons to wait: queues that are being declared
        self._backlog: deque[Sending] = deque()
        self._unconfirmed: dict[int, Sending] = {}  # by sequence number
        self._unconfirmed_bytes = 0
        self._last = 0  # sequence number that was sent last
        self._up_to = 0  # all up to here are settled
        self._returned: Counter[tuple[str, str]] = Counter()
        self._encoder = Encoder()

    # --- what the owner asks for -----------------------------------------------------------------

    def publish(self, messages: Sequence[Outgoing | Notice], number: int | None) -> None:
        """Send messages, and tell of the batch when all are confirmed."""
        batch = Batch(len(messages), number)
        self._backlog.extend([Sending(message, batch) for message in messages])
        self._send()

    def publish_one(
        self, message: Outgoing, headers: dict[str, str], then: Callable[[], None]
    ) -> None:
        """Send a message with headers; what is to be done `then` comes after its confirmation."""
        self._backlog.append(Sending(message, Batch(1, then=then), headers))
        self._send()

    def hold(self) -> None:
        """Send nothing until as many `go_on` have come."""
        self._holds += 1

    def go_on(self, _there: bool = True) -> None:
        """End a `hold`."""
        self._holds -= 1
        self._send()

    # --- the connection --------------------------------------------------------------------------

    def connected(self, connection: Connection) -> None:
        """Open the channel, and send again what was not confirmed."""
        self._connection = connection
        connection.add_on_connection_blocked_callback(partial(self._set_blocked, True))
        connection.add_on_connection_unblocked_callback(partial(self._set_blocked, False))
        self._open_channel(connection)

    def disconnected(self) -> None:
        """Keep what is not confirmed for the next connection."""
        self._connection = None
        self._blocked = False
        self._drop()

    def _open_channel(self, connection: Connection) -> None:
        if connection is self._connection and connection.is_open:
            connection.channel(MAIN, on_open_callback=self._opened)

    def _opened(self, channel: Any) -> None:
        channel.add_on_close_callback(self._closed)
        channel.add_on_return_callback(self._on_return)
        channel.confirm_delivery(_too_late, callback=partial(self._selected, channel))

    def _selected(self, channel: Any, _frame: Any) -> None:
        self._io.check()
        self._channel = channel
        self._last = self._up_to = 0
        self._returned.clear()
        channel.connection.events.confirmed = self._on_confirm
        self._ready()
        self._send()

    def _closed(self, channel: Any, reason: BaseException) -> None:
        if isinstance(reason, ChannelClosedByBroker):
            self._closed_by_broker(reason)
        elif not isinstance(reason, ChannelClosedByClient):
            return  # with its connection
        again = partial(self._open_channel, channel.connection)
        self._io.later(self._backoff.seconds(), again)

    def _closed_by_broker(self, reason: ChannelClosedByBroker) -> None:
        on_its_way = list(self._unconfirmed.values())
        self._drop()
        log.warning("broker.channel_closed", purpose="publish", reason=str(reason))
        if reason.reply_code == NOT_FOUND:
            self._repair(on_its_way)
        else:
            self._mailbox.fail(BrokerUnavailable(refusal("publishing", reason)))

    def _drop(self) -> None:
        self._channel = None
        self._backlog.extendleft(reversed(self._unconfirmed.values()))
        self._unconfirmed.clear()
        self._unconfirmed_bytes = 0
        self._returned.clear()

    def _set_blocked(self, blocked: bool, _connection: Any, _frame: Any) -> None:
        log.warning("broker.blocked" if blocked else "broker.unblocked")
        self._blocked = blocked
        self._send()

    # --- sending ---------------------------------------------------------------------------------

    def _send(self) -> None:
        """Send as much of the backlog as the window has room for."""
        if self._channel is None or self._holds or self._blocked or self._connection is None:
            return
        backlog, unconfirmed = self._backlog, self._unconfirmed
        encode, body_bytes_max = self._encoder.frames, self._connection.body_bytes_max
        written: list[bytes] = []
        while (
            backlog
            and len(unconfirmed) < WINDOW_MESSAGES
            and self._unconfirmed_bytes < WINDOW_BYTES
        ):
            sending = backlog.popleft()
            self._last += 1
            unconfirmed[self._last] = sending
            self._unconfirmed_bytes += len(sending.message.body)
            written += encode(sending, body_bytes_max)
        if written:
            self._connection.write(b"".join(written))

    # --- confirmations ---------------------------------------------------------------------------

    def _on_confirm(self, number: int, multiple: bool, positive: bool) -> None:
        if multiple:
            first, self._up_to = self._up_to + 1, number
            found = [self._unconfirmed.pop(each, None) for each in range(first, number + 1)]
            settled = [sending for sending in found if sending is not None]
        else:
            settled = [self._unconfirmed.pop(number)]
        self._unconfirmed_bytes -= sum([len(sending.message.body) for sending in settled])
        if not positive:
            self._refused(settled)
        elif self._returned:
            self._sort_out(settled)
        else:
            self._backoff.tries = 0
            self._settle(settled)
        if self._backlog:
            self._send()

    def _settle(self, settled: Iterable[Sending]) -> None:
        count = size = 0
        for sending in settled:
            count += 1
            size += len(sending.message.body)
            batch = sending.batch
            batch.left -= 1
            if not batch.left:
                if batch.number is not None:
                    self.confirmed.append(batch.number)
                elif batch.then is not None:
                    batch.then()
        self._mailbox.settle(count, size)

    def _refused(self, refused: list[Sending]) -> None:
        """Send again what the broker could not keep, after a while, and by another channel.

        A channel that has lost the leader of a quorum queue may go on refusing for ever.
        """
        log.warning("broker.nack", messages=len(refused))
        channel = self._channel
        self._drop()
        self._backlog.extendleft(reversed(refused))
        channel.connection.events.confirmed = None
        channel.close()

    def _on_return(self, _channel: Any, method: Any, properties: Any, _body: bytes) -> None:
        """A message found no queue; its confirmation comes next."""
        self._returned[method.routing_key, properties.message_id or ""] += 1

    def _sort_out(self, settled: list[Sending]) -> None:
        """Tell messages that were returned from those that have a queue."""
        kept, again = [], []
        for sending in settled:
            name = sending.returned_as
            if self._returned[name] > 0:
                self._returned[name] -= 1
                again.append(sending)
            else:
                kept.append(sending)
        self._returned = +self._returned  # without those that have come
        self._settle(kept)
        self._send_again([sending for sending in again if not self._is_hopeless(sending)])

    def _is_hopeless(self, sending: Sending) -> bool:
        """Give up a message for a queue that is no part of the topology, and tell the owner so."""
        queue = sending.message.queue if isinstance(sending.message, Outgoing) else ""
        if self._queues.is_declared(queue) or exchange_of(queue):
            return False
        self._mailbox.settle(1, len(sending.message.body))
        error = f"there is no queue {queue!r}: declare it first"
        self._mailbox.fail(BrokerUnavailable(error))
        return True

    def _send_again(self, again: list[Sending]) -> None:
        """Send what found no queue, once its queue is made."""
        self._backlog.extendleft(reversed(again))
        for queue in _queues(again):
            self.hold()
            self._queues.ensure(queue, self._go_on_later, rebind=True)

    def _repair(self, on_its_way: Iterable[Sending]) -> None:
        """Have everything made that messages are sent to: an exchange is gone, who knows which."""
        sendings = list(on_its_way)
        for queue in _queues(sendings):
            self.hold()
            self._queues.ensure(queue, self._go_on_later, patient=True)
        notices = (sending.message for sending in sendings)
        for exchange in {n.exchange: None for n in notices if isinstance(n, Notice)}:
            self.hold()
            self._queues.ensure_exchange(exchange, self._go_on_later, patient=True)

    def _go_on_later(self, _there: bool) -> None:
        """End a `hold` after a while: what did not work may not work the next time either."""
        self._io.later(self._backoff.seconds(), self.go_on)


def _queues(sendings: Iterable[Sending]) -> dict[str, None]:
    """Return the durable queues of messages, each once."""
    messages = (sending.message for sending in sendings)
    names = (message.queue for message in messages if isinstance(message, Outgoing))
    return {name: None for name in names if not is_temporary(name)}


def _too_late(_frame: Any) -> None:
    """Only confirmations of a channel that was given up come by way of pika."""
