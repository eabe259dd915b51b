"""The client of a fleet: submits jobs, waits for them, steers them."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial
from types import TracebackType
from typing import Any, Self
from uuid import UUID, uuid4

import msgspec

from warrener.domain import ids
from warrener.domain.errors import UsageError
from warrener.domain.messages import CommandReply, SteeringMessage, SubmitJob, WaitJob
from warrener.domain.ports import Broker, Outgoing
from warrener.domain.topology import inbox_queue
from warrener.services.client_link import Link
from warrener.services.current_trace import current_traceparent
from warrener.services.outcomes import Outcome
from warrener.services.sources import What, source_of
from warrener.services.steering_calls import SteeringCalls
from warrener.services.submission import deadline_of, submission

ANSWER_SECONDS = 5.0  # how long to listen for a refusal by the reactor
ASK_AGAIN_SECONDS = 10.0  # a reactor that was replaced does not know who waits


class Client(SteeringCalls):
    """Talks to a fleet over its broker. Belongs to one thread."""

    def __init__(
        self,
        url: str | None = None,
        *,
        broker: Broker | None = None,
        answer_seconds: float = ANSWER_SECONDS,
    ) -> None:
        """Connect to the broker at `url`, by default that of the settings.

        Commands that steer wait `answer_seconds` for a reactor's answer. Raises
        `BrokerUnavailable`, and `UsageError` for a URL that is none.
        """
        self._link = Link(broker or _open(url))
        self._answer_seconds = answer_seconds

    def submit(
        self,
        what: What,
        params: Mapping[str, Any] | None = None,
        *,
        key: str | None = None,
        labels: Mapping[str, str] | None = None,
        priority: int = 0,
        fair: str | None = None,
        deadline: str | datetime | None = None,
        answer_seconds: float | None = None,
    ) -> UUID:
        """Submit a job and return its id; the same key gives the same job.

        When this returns, the submission is with the broker and will not be lost. `what` is a job
        function, a definition, or what the command line takes: a file or `module:job`. By its
        `deadline`, a duration such as "2h" from now or a time, the job must have ended. Raises
        `DefinitionError`, `ParameterError`, and `UsageError` if the reactor refuses it within
        `answer_seconds` (no answer by then: no reactor is running yet). Raises `Busy` if no job is
        taken in now, with the seconds after which to try again, with the same key if you like.
        The trace of the job links to the OpenTelemetry span that is current here, if any.
        """
        message = submission(
            source_of(what),
            params or {},
            key=key or str(uuid4()),
            labels=labels,
            priority=priority,
            fair=fair,
            deadline=deadline_of(deadline, _now()),
            traceparent=current_traceparent(),
        )
        return self.send(message, answer_seconds)

    def send(self, message: SubmitJob, answer_seconds: float | None = None) -> UUID:
        """Submit a message that is made already; see `submit`."""
        seconds = self._answer_seconds if answer_seconds is None else answer_seconds
        self._link.ask(message, f"submit/{message.key}", seconds)
        return ids.job_id(message.key)

    def send_all(self, messages: Sequence[SubmitJob]) -> list[UUID]:
        """Submit many messages at once; when this returns, the broker has them all.

        What the reactor refuses is told by `wait` only.
        """
        outgoing = [
            Outgoing(inbox_queue(), msgspec.json.encode(message), f"submit/{message.key}")
            for message in messages
        ]
        self._link.publish(outgoing, f"{len(outgoing)} submissions")
        return [ids.job_id(message.key) for message in messages]

    def steer(self, command: SteeringMessage, name: str) -> bool:
        """Send a command and wait for the reactor's answer; say whether there was one."""
        return self._link.ask(command, name, self._answer_seconds)

    def wait_all(
        self, jobs: Sequence[UUID], timeout_seconds: float | None = None
    ) -> dict[UUID, Outcome]:
        """Wait until all of these root jobs have ended; see `wait`."""
        deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
        asking = [WaitJob(job=job, reply_to=self._link.queue) for job in jobs]
        bodies = [msgspec.json.encode(message) for message in asking]
        messages = [Outgoing(inbox_queue(), body, f"wait/{uuid4()}") for body in bodies]
        self._link.publish(messages, "waiting")
        found: dict[UUID, Outcome] = {}
        for job in jobs:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            outcomes = self._link.outcomes
            known = self._link.until(partial(outcomes.get, job), _soon(left))
            found[job] = outcomes.pop(job) if known else self.wait(job, left)
        return found

    def wait(self, job: UUID, timeout_seconds: float | None = None) -> Outcome:
        """Wait until a root job has ended; raises `TimeoutError` if it has not by then."""
        deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
        while True:
            asked = self._link.ask_outcome(job)
            left = None if deadline is None else deadline - time.monotonic()
            found = self._link.until(partial(self._told, job, asked), _soon(left))
            if isinstance(found, CommandReply) and found.error is not None:
                raise UsageError(found.error.message)
            if isinstance(found, Outcome):
                return self._link.outcomes.pop(job)
            if deadline is not None and time.monotonic() >= deadline:
                raise TimeoutError(f"job {job} has not ended within {timeout_seconds} s")

    def close(self) -> None:
        """Leave."""
        self._link.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _told(self, job: UUID, asked: str) -> Outcome | CommandReply | None:
        return self._link.outcomes.get(job) or self._link.replies.get(asked)


def _soon(left: float | None) -> float:
    """Return until when to wait for an answer that was asked for, before asking once more."""
    now = time.monotonic()
    return now + ASK_AGAIN_SECONDS if left is None else now + min(left, ASK_AGAIN_SECONDS)


def _now() -> datetime:
    from warrener.services import wiring

    return wiring.open_clock().now()


def _open(url: str | None) -> Broker:
    from warrener.services import settings, wiring

    broker_url = settings.load({"broker_url": url}).broker_url
    if broker_url == settings.MEMORY_BROKER:
        raise UsageError(
            "no fleet is named: give Client a URL such as amqp://host, or set WARRENER_BROKER_URL"
        )
    return wiring.open_broker(broker_url)
