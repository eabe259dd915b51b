"""Which partition a command is for: any inbox takes it, and hands it on to where it belongs."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

import msgspec

from warrener.domain import ids
from warrener.domain.control_events import UserActionRequested
from warrener.domain.events import event_of
from warrener.domain.messages import (
    AnswerUserAction,
    ChangeFlow,
    ChangeLimit,
    Command,
    InboxMessage,
    SubmitJob,
    WaitJob,
)
from warrener.domain.partitions import Logs, partition_of
from warrener.domain.ports import Delivery, Outgoing
from warrener.domain.topology import inbox_queue

_ENCODE = msgspec.json.Encoder().encode


class Router:
    """Tells for one partition what others have to hear of."""

    def __init__(self, logs: Logs, partition: int) -> None:
        """Take the logs, which know where a job is, and the own partition."""
        self._logs = logs
        self._partition = partition
        self._others = [each for each in range(logs.count) if each != partition]

    def elsewhere(self, message: InboxMessage) -> int | None:
        """Return the partition that decides a message, None if that is done here.

        What nobody knows anything about is decided here, too.
        """
        if not self._others or not isinstance(message, Command):
            return None
        home = self._home(message)
        return None if home == self._partition else home

    def copies(self, delivery: Delivery, message: InboxMessage) -> Sequence[Outgoing]:
        """Return copies for all other partitions of what concerns them, too.

        A copy has no `reply_to`: one answer is enough, and it comes from here.
        """
        if not self._others or not isinstance(message, Command):
            return ()
        for_all = self._for_all(delivery, message)
        if for_all is None:
            return ()
        body = _ENCODE(msgspec.structs.replace(for_all, reply_to=None))
        return [Outgoing(inbox_queue(each), body, delivery.message_id) for each in self._others]

    def _home(self, message: Command) -> int | None:
        """Return the partition that decides a command, None if none is known."""
        if isinstance(message, SubmitJob):
            return partition_of(ids.job_id(message.key), self._logs.count)
        if isinstance(message, AnswerUserAction):
            return self._partition if message.cause is not None else self._found(message.request)
        job: UUID | None = getattr(message, "job", None)
        if job is None:
            return None
        found = None if isinstance(message, WaitJob) else self._found(job)
        return partition_of(job, self._logs.count) if found is None else found  # a root, perhaps

    def _found(self, stream: UUID) -> int | None:
        """Return the partition that has a stream, the own one first: it mostly is."""
        if self._logs.log(self._partition).last(stream) is not None:
            return self._partition
        return self._logs.find(stream)

    def _for_all(self, delivery: Delivery, message: Command) -> Command | None:
        """Return what every other partition must hear: of limits, flow and shared causes.

        Clients send what concerns all to the first inbox; what came to another one is a copy.
        """
        if isinstance(message, ChangeLimit | ChangeFlow):
            return message if delivery.queue == inbox_queue(0) else None
        if isinstance(message, AnswerUserAction) and message.cause is None:
            cause = shared_cause(self._logs, self._partition, message.request)
            return None if cause is None else msgspec.structs.replace(message, cause=cause)
        return None


def shared_cause(logs: Logs, partition: int, request: UUID) -> str | None:
    """Return what a request is about, if steps of other partitions may wait for the same."""
    first = next(iter(logs.log(partition).stream(request)), None)
    asked = event_of(first, UserActionRequested)
    return asked.subject if asked is not None and asked.shared else None
