"""Publishing: what was sent and is not confirmed yet is kept, and sent again where it must be."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import pika

from warrener.adapters.rabbitmq_mailbox import Mailbox
from warrener.domain.ports import Notice, Outgoing
from warrener.domain.topology import exchange_of, is_temporary


class Batch(msgspec.Struct):
    """Messages that are confirmed together; `after` is called instead of telling a number."""

    number: int | None
    left: int
    after: Callable[[], None] | None = None


class Pending(msgspec.Struct):
    """A message that the broker is not answerable for yet."""

    message: Outgoing | Notice
    batch: Batch
    headers: dict[str, str] | None = None


class Sender:
    """Belongs to the I/O thread; its channel of pika's comes and goes.

    `send_again` is given messages that had no queue, or that the broker refused.
    """

    def __init__(self, mailbox: Mailbox, send_again: Callable[[Sequence[Pending]], None]) -> None:
        self._mailbox = mailbox
        self._send_again = send_again
        self._backlog: deque[Pending] = deque()  # to be sent once there is a channel
        self._pending: dict[int, Pending] = {}  # by the broker's delivery tag
        self._next_tag = 1
        self._returned: set[tuple[str, str]] = set()  # queue and message id
        self._channel: Any = None

    def opened(self, channel: Any) -> None:
        """Send what waits, on a new channel."""
        self._channel, self._next_tag = channel, 1
        self._send_backlog()

    def lost(self) -> None:
        """The channel is gone: what it has not confirmed waits for the next one."""
        self._channel = None
        self._backlog.extendleft(reversed(self._pending.values()))
        self._pending.clear()
        self._returned.clear()

    def publish(self, messages: Sequence[Outgoing | Notice], number: int | None) -> None:
        """Send a batch of messages until all are confirmed; then tell its number."""
        batch = Batch(number, len(messages))
        if not messages:
            self._finish(batch)
        for message in messages:
            self.send(Pending(message, batch))

    def _send_backlog(self) -> None:
        while self._backlog and self._channel is not None and self._channel.is_open:
            self.send(self._backlog.popleft())

    def send(self, pending: Pending) -> None:
        """Send one message, or keep it until there is a channel."""
        if self._channel is None or not self._channel.is_open:
            self._backlog.append(pending)
            return
        message, tag = pending.message, self._next_tag
        properties = pika.BasicProperties(
            content_type="application/json",
            delivery_mode=2,
            message_id=message.message_id or None,
            headers=pending.headers,
        )
        if isinstance(message, Outgoing):
            exchange, key = exchange_of(message.queue), message.queue
            mandatory = not is_temporary(key)
        else:
            exchange, key, mandatory = message.exchange, message.routing_key, False
        self._pending[tag] = pending
        self._next_tag = tag + 1
        self._channel.basic_publish(exchange, key, message.body, properties, mandatory)

    def on_return(self, channel: Any, method: Any, properties: Any, _body: bytes) -> None:
        """The broker had no queue for a message; its confirmation follows."""
        if channel is not self._channel:
            return  # of a connection that we have let go: what it held is sent again anyway
        self._returned.add((method.routing_key, properties.message_id or ""))

    def on_confirm(self, channel: Any, frame: Any) -> None:
        """The broker is answerable for messages, or refuses them."""
        if channel is not self._channel:
            return  # its tags mean other messages than those of the present channel
        method = frame.method
        tag, positive = method.delivery_tag, method.NAME == "Basic.Ack"
        if not method.multiple:
            found = [self._pending.pop(tag)]
        else:
            found = []
            for number in list(self._pending):
                if number > tag:
                    break
                found.append(self._pending.pop(number))
        again = [pending for pending in found if not self._settle(pending, positive)]
        if again:
            self._send_again(again)

    def _settle(self, pending: Pending, positive: bool) -> bool:
        """Take a confirmation; say whether the broker is answerable for the message now."""
        message = pending.message
        if self._returned and isinstance(message, Outgoing):
            key = (message.queue, message.message_id)
            if key in self._returned:
                self._returned.discard(key)
                return False
        if not positive:
            return False
        batch = pending.batch
        batch.left -= 1
        self._mailbox.settled += 1
        if batch.left == 0:
            self._finish(batch)
        return True

    def _finish(self, batch: Batch) -> None:
        if batch.after is not None:
            batch.after()
        elif batch.number is not None:
            self._mailbox.confirmed.append(batch.number)
            self._mailbox.wake()
