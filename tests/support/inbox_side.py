"""The reactor's side of a client, by hand: keeps the commands that come and answers them."""

from __future__ import annotations

import threading
from typing import Any, Self

import msgspec

from warrener.domain.events import Error
from warrener.domain.messages import CommandReply, SteeringMessage, SubmitJob, decoder
from warrener.domain.ports import Broker, Outgoing
from warrener.domain.topology import inbox_queue

POLL_SECONDS = 0.02
_decode = decoder(SubmitJob | SteeringMessage)


class InboxSide:
    """Answers every command in a thread; with `refusal` it says no to each."""

    def __init__(self, broker: Broker, refusal: str | None = None) -> None:
        self.names: list[str] = []
        self.commands: list[Any] = []
        self._refusal = refusal
        self._channel = broker.channel()
        self._channel.declare(inbox_queue())
        self._channel.consume(inbox_queue(), 100)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join(10)
        self._channel.close()

    def only(self) -> Any:
        """The one command that came, without the queue for its answer."""
        (command,) = self.commands
        return msgspec.structs.replace(command, reply_to=None)

    def _work(self) -> None:
        while not self._stopping.is_set():
            for delivery in self._channel.poll(100, POLL_SECONDS).deliveries:
                self._take(delivery)

    def _take(self, delivery: Any) -> None:
        command = _decode(delivery.body)
        self.names.append(delivery.message_id)
        self.commands.append(command)
        error = self._refusal and Error(code="refused", message=self._refusal)
        reply = CommandReply(command=delivery.message_id, error=error or None)
        self._channel.publish([Outgoing(command.reply_to, msgspec.json.encode(reply), "reply")])
        self._channel.ack([delivery.tag])
