"""Takes what people ask for to whoever carries it out: the fleet, or the store itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Protocol, TypeVar, runtime_checkable
from uuid import UUID

from warrener.domain.errors import Busy, ServiceUnavailable, UsageError
from warrener.domain.messages import SubmitJob
from warrener.services.steering_calls import SteeringCalls
from warrener.services.web.per_thread import PerThread
from warrener.services.web.problems import Refused

T = TypeVar("T")
THREADS = 4
WAITING_MAX = 64


@runtime_checkable
class Submits(Protocol):
    """Whatever takes jobs in."""

    def send(self, message: SubmitJob) -> UUID:
        """Submit a job; raises `UsageError` if it is refused, `Busy` if it may be taken later."""
        ...


OpenCalls = Callable[[], AbstractContextManager[SteeringCalls]]


def submits(calls: SteeringCalls, message: SubmitJob) -> UUID:
    """Submit a job to whoever carries commands out; a store alone takes none."""
    if not isinstance(calls, Submits):
        raise ServiceUnavailable(
            "no fleet is named that would work on the job: start `warrener web` with --broker URL"
        )
    return calls.send(message)


class Desk:
    """Makes calls in threads of its own, each with a connection that is kept while it works."""

    def __init__(self, opens: OpenCalls, *, keeps: bool = True, threads: int = THREADS) -> None:
        """Take what opens a way to steer; it is called in each of the threads.

        Without `keeps` it is opened for each call, and closed after it.
        """
        self._open = opens
        self._calls = PerThread(self._open_calls)
        self._keeps = keeps
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="desk")
        self._waiting = 0

    async def call(self, ask: Callable[[SteeringCalls], T]) -> T:
        """Return what a call gives; raises `Refused` where it is refused."""
        if self._waiting >= WAITING_MAX:
            raise ServiceUnavailable(f"{self._waiting} commands wait already")
        self._waiting += 1
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._pool, self._call, ask)
        finally:
            self._waiting -= 1

    def close(self) -> None:
        """Let the threads end and leave."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._calls.close()

    def _call(self, ask: Callable[[SteeringCalls], T]) -> T:
        calls = self._calls.get()
        failed = True
        try:
            found = ask(calls)
            failed = False
        except (UsageError, Busy) as error:
            failed = False
            raise Refused(str(error)) if type(error) is UsageError else error from None
        finally:
            if failed or not self._keeps:
                self._calls.let_go()
        return found

    @contextmanager
    def _open_calls(self) -> Iterator[SteeringCalls]:
        with ExitStack() as stack:
            try:
                calls = stack.enter_context(self._open())
            except UsageError as error:  # such as that a reactor works on the store
                raise ServiceUnavailable(str(error)) from error
            yield calls
