"""A client's line to the reactor: sends commands over the broker, and takes what comes back."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TypeVar
from uuid import UUID, uuid4

import msgspec

from warrener.domain.errors import BrokerUnavailable, Busy, UsageError
from warrener.domain.events import Error
from warrener.domain.messages import (
    Command,
    CommandReply,
    JobOutcome,
    ReplyMessage,
    WaitJob,
    decoder,
)
from warrener.domain.ports import Broker, Outgoing
from warrener.domain.topology import inbox_queue, reply_queue
from warrener.services.outcomes import Outcome

CONFIRM_SECONDS = 30.0  # how long the broker may take to be answerable for a command
POLL_SECONDS = 0.25

T = TypeVar("T")

_decode: Callable[[bytes], CommandReply | JobOutcome] = decoder(ReplyMessage)


class Link:
    """One channel with a reply queue of its own. Belongs to one thread."""

    def __init__(self, broker: Broker) -> None:
        """Connect; raises `BrokerUnavailable`."""
        self.queue = reply_queue(str(uuid4()))
        self.outcomes: dict[UUID, Outcome] = {}
        self.replies: dict[str, CommandReply] = {}
        self._channel = broker.channel()
        self._channel.subscribe(self.queue)
        self._batches = 0
        self._confirmed: set[int] = set()

    def close(self) -> None:
        """Leave."""
        self._channel.close()

    def ask(self, command: Command, name: str, answer_seconds: float) -> bool:
        """Send a command and wait for the answer; say whether it came in time.

        Raises `UsageError` with the text of the refusal if it is one, `Busy` if the same command
        may be carried out later.
        """
        asking = msgspec.structs.replace(command, reply_to=self.queue)
        self.replies.pop(name, None)
        self.send(asking, name)
        deadline = time.monotonic() + answer_seconds
        answer = self.until(lambda: self.replies.pop(name, None), deadline)
        if answer is not None and answer.error is not None:
            raise _refused(answer, answer.error)
        return answer is not None

    def ask_outcome(self, job: UUID) -> str:
        """Ask for the outcome of a job; return the id of the question."""
        name = f"wait/{uuid4()}"
        self.send(WaitJob(job=job, reply_to=self.queue), name)
        return name

    def send(self, command: Command, name: str) -> None:
        """Send a command and wait until the broker is answerable for it."""
        self.publish([Outgoing(inbox_queue(), msgspec.json.encode(command), name)], name)

    def publish(self, outgoing: Sequence[Outgoing], what: str) -> None:
        """Send messages and wait until the broker has them all; `what` names them in errors."""
        self._batches += 1
        batch = self._batches
        self._channel.publish(outgoing, batch)
        if not self.until(lambda: batch in self._confirmed, time.monotonic() + CONFIRM_SECONDS):
            raise BrokerUnavailable(f"the broker did not confirm {what} in {CONFIRM_SECONDS:.0f} s")
        self._confirmed.discard(batch)

    def until(self, found: Callable[[], T], deadline: float) -> T | None:
        """Take what arrives until something is found; None if it is not by the deadline."""
        while not (value := found()):
            left = deadline - time.monotonic()
            if left <= 0:
                return None
            self._take(min(left, POLL_SECONDS))
        return value

    def _take(self, timeout_seconds: float) -> None:
        poll = self._channel.poll(1_000, timeout_seconds)
        self._confirmed.update(poll.confirmed)
        for delivery in poll.deliveries:
            try:
                message = _decode(delivery.body)
            except msgspec.MsgspecError:
                continue  # nothing of ours: anybody may write to a temporary queue
            if isinstance(message, JobOutcome):
                self.outcomes[message.job] = _outcome(message)
            else:
                self.replies[message.command] = message


def _refused(answer: CommandReply, error: Error) -> Exception:
    if error.code == "busy":
        return Busy(error.message, answer.retry_after or 1)
    return UsageError(error.message)


def _outcome(message: JobOutcome) -> Outcome:
    return Outcome(
        job=message.job,
        name=message.name,
        version=message.version,
        state=message.state,
        result=msgspec.json.decode(message.result),
        error=message.error,
        steps=message.steps,
        elapsed_seconds=message.elapsed_seconds,
    )
