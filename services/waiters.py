"""Clients that wait for jobs to end, and the answers to them."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID, uuid5

import msgspec

from warrener.domain.errors import WarrenerError
from warrener.domain.messages import Command, CommandReply, JobOutcome, WaitJob
from warrener.domain.ports import EventStore, Outgoing
from warrener.services.batch import Batch, Ended
from warrener.services.outcomes import Outcome, outcome

WAITERS_MAX = 100_000

_ENCODE = msgspec.json.Encoder().encode


class Waiters:
    """Who waits for which root job. Kept in memory only: clients ask again now and then."""

    def __init__(self, store: EventStore) -> None:
        """Outcomes are read from the log."""
        self._store = store
        self._waiting: dict[UUID, dict[str, None]] = {}
        self._count = 0

    def add(self, batch: Batch, message: WaitJob, *, running: bool) -> None:
        """Answer at once if the log says that the job has ended; else remember who asked.

        Raises `UnknownJob` for a job that is not in the log, `UsageError` for one of another
        partition.
        """
        if message.reply_to is None:
            raise WarrenerError("nobody is named to be told: reply_to is missing")
        if not running:
            told = _ENCODE(_document(outcome(self._store, message.job)))
            batch.replies.append(_outgoing(message.reply_to, told, message.job))
        elif self._count < WAITERS_MAX:
            waiting = self._waiting.setdefault(message.job, {})
            self._count += message.reply_to not in waiting
            waiting[message.reply_to] = None

    def answer(self, ended: Sequence[Ended]) -> list[Outgoing]:
        """Return the answers to those who waited for jobs that have ended, once it is committed."""
        answers: list[Outgoing] = []
        for job in ended:
            waiting = self._waiting.pop(job.job, None)
            if waiting:
                self._count -= len(waiting)
                told = _ENCODE(_document(outcome(self._store, job.job)))
                answers += [_outgoing(queue, told, job.job) for queue in waiting]
        return answers


def reply(batch: Batch, command: Command, answer: CommandReply) -> None:
    """Answer a command, if its sender wants to know."""
    if command.reply_to is not None:
        body = _ENCODE(answer)
        batch.replies.append(Outgoing(command.reply_to, body, f"reply/{answer.command}"))


def _document(outcome: Outcome) -> JobOutcome:
    return JobOutcome(
        job=outcome.job,
        name=outcome.name,
        version=outcome.version,
        state=outcome.state,
        result=msgspec.Raw(_ENCODE(outcome.result)),
        error=outcome.error,
        steps=outcome.steps,
        elapsed_seconds=outcome.elapsed_seconds,
    )


def _outgoing(queue: str, body: bytes, job: UUID) -> Outgoing:
    return Outgoing(queue, body, f"outcome/{uuid5(job, queue)}")
