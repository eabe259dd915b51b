"""Messages on their way to the broker, and their frames."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from warrener.adapters import rabbitmq_frames as frames
from warrener.adapters.rabbitmq_connection import MAIN
from warrener.domain.ports import Notice, Outgoing
from warrener.domain.topology import exchange_of, is_temporary

DESTINATIONS_MAX = 1_000  # whose first frame is kept


class Batch(msgspec.Struct):
    """Messages that are confirmed together: by number for the owner, or with something to do."""

    left: int
    number: int | None = None
    then: Callable[[], None] | None = None


class Sending(msgspec.Struct):
    """A message until the broker is answerable for it."""

    message: Outgoing | Notice
    batch: Batch
    headers: dict[str, str] | None = None

    @property
    def returned_as(self) -> tuple[str, str]:
        """Return the routing key and the message id by which the broker returns the message."""
        message = self.message
        if isinstance(message, Outgoing):
            return message.queue, frames.short(message.message_id)
        return message.routing_key, frames.short(message.message_id)


class Encoder:
    """Makes the frames of messages; the first one is the same for all of one destination."""

    def __init__(self) -> None:
        """Begin without destinations."""
        self._methods: dict[tuple[str, str], bytes] = {}

    def frames(self, sending: Sending, body_bytes_max: int) -> tuple[bytes, bytes]:
        """Return the first frame, and the others together."""
        message = sending.message
        if isinstance(message, Outgoing):
            key = (message.queue, "")
        else:
            key = (message.exchange, message.routing_key)
        method = self._methods.get(key) or self._remember(key, message)
        if sending.headers is None:
            names = (message.message_id, message.body, body_bytes_max)
            if isinstance(message, Outgoing) and message.traceparent:
                return method, frames.traced_content(MAIN, message.traceparent, *names)
            return method, frames.content(MAIN, *names)
        return method, frames.content_with_headers(
            MAIN, message.message_id, sending.headers, message.body, body_bytes_max
        )

    def _remember(self, key: tuple[str, str], message: Outgoing | Notice) -> bytes:
        if len(self._methods) >= DESTINATIONS_MAX:
            self._methods.clear()
        self._methods[key] = method = _method(message)
        return method


def _method(message: Outgoing | Notice) -> bytes:
    """What has no queue is to come back, unless it is for one who may be gone."""
    if isinstance(message, Outgoing):
        queue = message.queue
        return frames.publish_method(MAIN, exchange_of(queue), queue, not is_temporary(queue))
    return frames.publish_method(MAIN, message.exchange, message.routing_key, False)
