"""The client of a fleet: submits jobs, waits for them, stops them. Plain and for asyncio."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from types import TracebackType
from typing import Any, Self, TypeVar
from uuid import UUID, uuid4

import msgspec

from warrener.domain import ids
from warrener.domain.errors import BrokerUnavailable, UsageError
from warrener.domain.messages import (
    CancelJob,
    CommandReply,
    JobOutcome,
    ReplyMessage,
    SubmitJob,
    WaitJob,
    decoder,
)
from warrener.domain.ports import Broker, Outgoing
from warrener.domain.topology import inbox_queue, reply_queue
from warrener.services.outcomes import Outcome
from warrener.services.sources import What, source_of
from warrener.services.submission import submission

CONFIRM_SECONDS = 30.0  # how long the broker may take to be answerable for a command
ANSWER_SECONDS = 5.0  # how long to listen for a refusal by the reactor
ASK_AGAIN_SECONDS = 10.0  # a reactor that was replaced does not know who waits
POLL_SECONDS = 0.25

T = TypeVar("T")

_decode: Callable[[bytes], CommandReply | JobOutcome] = decoder(ReplyMessage)


class Client:
    """Talks to a fleet over its broker. Belongs to one thread."""

    def __init__(self, url: str | None = None, *, broker: Broker | None = None) -> None:
        """Connect to the broker at `url`, by default that of the settings.

        Raises `BrokerUnavailable`, and `UsageError` for a URL that is none.
        """
        self._id = str(uuid4())
        self._queue = reply_queue(self._id)
        self._channel = (broker or _open(url)).channel()
        self._channel.subscribe(self._queue)
        self._batches = 0
        self._confirmed: set[int] = set()
        self._replies: dict[str, CommandReply] = {}
        self._outcomes: dict[UUID, Outcome] = {}

    def submit(
        self,
        what: What,
        params: Mapping[str, Any] | None = None,
        *,
        key: str | None = None,
        labels: Mapping[str, str] | None = None,
        priority: int = 0,
        fair: str | None = None,
        answer_seconds: float = ANSWER_SECONDS,
    ) -> UUID:
        """Submit a job and return its id; the same key gives the same job.

        When this returns, the submission is with the broker and will not be lost. `what` is a job
        function, a definition, or what the command line takes: a file or `module:job`. Raises
        `DefinitionError`, `ParameterError`, and `UsageError` if the reactor refuses it within
        `answer_seconds` (no answer by then: no reactor is running yet).
        """
        message = submission(
            source_of(what),
            params or {},
            key=key or str(uuid4()),
            labels=labels,
            priority=priority,
            fair=fair,
        )
        return self.send(message, answer_seconds)

    def send(self, message: SubmitJob, answer_seconds: float = ANSWER_SECONDS) -> UUID:
        """Submit a message that is made already; see `submit`."""
        self._ask(message, f"submit/{message.key}", answer_seconds)
        return ids.job_id(message.key)

    def send_all(self, messages: Sequence[SubmitJob]) -> list[UUID]:
        """Submit many messages at once; when this returns, the broker has them all.

        What the reactor refuses is told by `wait` only.
        """
        outgoing = [
            Outgoing(inbox_queue(), msgspec.json.encode(message), f"submit/{message.key}")
            for message in messages
        ]
        self._publish(outgoing, f"{len(outgoing)} submissions")
        return [ids.job_id(message.key) for message in messages]

    def wait_all(
        self, jobs: Sequence[UUID], timeout_seconds: float | None = None
    ) -> dict[UUID, Outcome]:
        """Wait until all of these root jobs have ended; see `wait`."""
        deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
        asking = [WaitJob(job=job, reply_to=self._queue) for job in jobs]
        bodies = [msgspec.json.encode(message) for message in asking]
        self._publish([Outgoing(inbox_queue(), b, f"wait/{uuid4()}") for b in bodies], "waiting")
        found: dict[UUID, Outcome] = {}
        for job in jobs:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            known = self._until(partial(self._outcomes.get, job), _soon(left))
            found[job] = self._outcomes.pop(job) if known else self.wait(job, left)
        return found

    def wait(self, job: UUID, timeout_seconds: float | None = None) -> Outcome:
        """Wait until a root job has ended; raises `TimeoutError` if it has not by then."""
        deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
        while True:
            asked = self._send(WaitJob(job=job, reply_to=self._queue), f"wait/{uuid4()}")
            left = None if deadline is None else deadline - time.monotonic()
            found = self._until(partial(self._answer, job, asked), _soon(left))
            if isinstance(found, CommandReply) and found.error is not None:
                raise UsageError(found.error.message)
            if isinstance(found, Outcome):
                return self._outcomes.pop(job)
            if deadline is not None and time.monotonic() >= deadline:
                raise TimeoutError(f"job {job} has not ended within {timeout_seconds} s")

    def cancel(self, job: UUID, reason: str = "", answer_seconds: float = ANSWER_SECONDS) -> None:
        """Stop a root job and everything below it; raises `UsageError` if that is refused."""
        self._ask(CancelJob(job=job, reason=reason), f"cancel/{uuid4()}", answer_seconds)

    def close(self) -> None:
        """Leave."""
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _answer(self, job: UUID, asked: str) -> Outcome | CommandReply | None:
        return self._outcomes.get(job) or self._replies.get(asked)

    def _ask(self, command: SubmitJob | CancelJob, name: str, answer_seconds: float) -> None:
        asking = msgspec.structs.replace(command, reply_to=self._queue)
        self._replies.pop(name, None)
        self._send(asking, name)
        deadline = time.monotonic() + answer_seconds
        answer = self._until(lambda: self._replies.pop(name, None), deadline)
        if answer is not None and answer.error is not None:
            raise UsageError(answer.error.message)

    def _send(self, command: SubmitJob | CancelJob | WaitJob, name: str) -> str:
        """Send a command and wait until the broker is answerable for it; return its id."""
        self._publish([Outgoing(inbox_queue(), msgspec.json.encode(command), name)], name)
        return name

    def _publish(self, outgoing: Sequence[Outgoing], what: str) -> None:
        self._batches += 1
        batch = self._batches
        self._channel.publish(outgoing, batch)
        if not self._until(lambda: batch in self._confirmed, time.monotonic() + CONFIRM_SECONDS):
            raise BrokerUnavailable(f"the broker did not confirm {what} in {CONFIRM_SECONDS:.0f} s")
        self._confirmed.discard(batch)

    def _until(self, found: Callable[[], T], deadline: float) -> T | None:
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
                self._outcomes[message.job] = _outcome(message)
            else:
                self._replies[message.command] = message


class AsyncClient:
    """The same for asyncio: every method of `Client`, awaitable."""

    def __init__(self, url: str | None = None, *, broker: Broker | None = None) -> None:
        """Connect when the first method is called, in a thread of this client's own."""
        self._url = url
        self._broker = broker
        self._client: Client | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="warrener-client")

    async def submit(
        self, what: What, params: Mapping[str, Any] | None = None, **options: Any
    ) -> UUID:
        """Submit a job; see `Client.submit`."""
        return await self._call(lambda client: client.submit(what, params, **options))

    async def wait(self, job: UUID, timeout_seconds: float | None = None) -> Outcome:
        """Wait until a job has ended; see `Client.wait`."""
        return await self._call(lambda client: client.wait(job, timeout_seconds))

    async def cancel(self, job: UUID, reason: str = "") -> None:
        """Stop a job; see `Client.cancel`."""
        await self._call(lambda client: client.cancel(job, reason))

    async def close(self) -> None:
        """Leave."""
        if self._client is not None:
            await self._call(lambda client: client.close())
        self._thread.shutdown(wait=False)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _call(self, work: Callable[[Client], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(
            self._thread, lambda: work(self._connected())
        )

    def _connected(self) -> Client:
        if self._client is None:
            self._client = Client(self._url, broker=self._broker)
        return self._client


def _soon(left: float | None) -> float:
    """Return until when to wait for an answer that was asked for, before asking once more."""
    now = time.monotonic()
    return now + ASK_AGAIN_SECONDS if left is None else now + min(left, ASK_AGAIN_SECONDS)


def _open(url: str | None) -> Broker:
    from warrener.services import settings, wiring

    broker_url = settings.load({"broker_url": url}).broker_url
    if broker_url == settings.MEMORY_BROKER:
        raise UsageError(
            "no fleet is named: give Client a URL such as amqp://host, or set WARRENER_BROKER_URL"
        )
    return wiring.open_broker(broker_url)


def _outcome(message: JobOutcome) -> Outcome:
    names = set(Outcome.__struct_fields__) & set(JobOutcome.__struct_fields__)
    fields = {name: getattr(message, name) for name in names}
    return Outcome(**{**fields, "result": msgspec.json.decode(message.result)})
