"""Takes what people ask for to whoever carries it out: the fleet, or the store itself."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from typing import Protocol, TypeVar, runtime_checkable
from uuid import UUID

from warrener.domain.errors import Busy, ServiceUnavailable, UsageError
from warrener.domain.messages import SubmitJob
from warrener.services.steering_calls import SteeringCalls
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
        self._keeps = keeps
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="desk")
        self._own = threading.local()
        self._lock = threading.Lock()
        self._stacks: set[ExitStack] = set()
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
        for stack in list(self._stacks):
            self._close(stack)

    def _call(self, ask: Callable[[SteeringCalls], T]) -> T:
        calls = self._calls()
        failed = True
        try:
            found = ask(calls)
            failed = False
        except (UsageError, Busy) as error:
            failed = False
            raise Refused(str(error)) if type(error) is UsageError else error from None
        finally:
            if failed or not self._keeps:
                self._let_go()
        return found

    def _calls(self) -> SteeringCalls:
        calls: SteeringCalls | None = getattr(self._own, "calls", None)
        if calls is None:
            stack = ExitStack()
            calls = self._opened(stack)
            self._own.calls, self._own.stack = calls, stack
            with self._lock:
                self._stacks.add(stack)
        return calls

    def _opened(self, stack: ExitStack) -> SteeringCalls:
        try:
            return stack.enter_context(self._open())
        except UsageError as error:  # such as that a reactor works on the store
            raise ServiceUnavailable(str(error)) from error

    def _let_go(self) -> None:
        stack = self._own.stack
        self._own.calls = self._own.stack = None
        if stack is not None:
            self._close(stack)

    def _close(self, stack: ExitStack) -> None:
        with self._lock:
            self._stacks.discard(stack)
        with contextlib.suppress(Exception):  # it may have failed before, whatever way
            stack.close()
