"""Queries for many requests at once: threads that each have the read models open for themselves."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import TypeVar

import msgspec

from warrener.domain.errors import ServiceUnavailable, StoreUnavailable
from warrener.domain.partitions import Logs
from warrener.projections.ports import ViewStore
from warrener.services.queries import Queries
from warrener.services.web.per_thread import PerThread

T = TypeVar("T")
AGAIN_SECONDS = 1.0  # after the store could not be opened, all are refused for so long


class Opened(msgspec.Struct, frozen=True):
    """An open store: what is asked of the read models, they themselves, and the logs."""

    queries: Queries
    views: ViewStore
    logs: Logs


Open = Callable[[], AbstractContextManager[Opened]]


class Reader:
    """Answers questions in threads of its own.

    A thread opens the store when it is asked first, and anew after the store failed or `renew` was
    called. More than `waiting_max` questions at once are refused with `ServiceUnavailable`.
    """

    def __init__(self, opens: Open, *, threads: int, waiting_max: int, name: str = "query") -> None:
        """Take what opens the store; it is called in each of the threads."""
        self._open = opens
        self._opened = PerThread(self._open_unless_failed)
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._waiting_max = waiting_max
        self._waiting = 0
        self._failed: tuple[float, StoreUnavailable] | None = None

    async def ask(self, question: Callable[[Opened], T]) -> T:
        """Return the answer to a question; it may raise what it likes."""
        if self._waiting >= self._waiting_max:
            raise ServiceUnavailable(f"{self._waiting} requests wait already")
        self._waiting += 1
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._pool, self._answer, question)
        finally:
            self._waiting -= 1

    def renew(self) -> None:
        """What is open is of a store that is there no more."""
        self._opened.renew()

    def close(self) -> None:
        """Let the threads end and close what they have open."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._opened.close()

    def _answer(self, question: Callable[[Opened], T]) -> T:
        opened = self._opened.get()
        try:
            return question(opened)
        except StoreUnavailable:
            self._opened.let_go()
            raise

    @contextmanager
    def _open_unless_failed(self) -> Iterator[Opened]:
        failed = self._failed
        if failed is not None and time.monotonic() < failed[0]:
            raise StoreUnavailable(str(failed[1]))
        with ExitStack() as stack:
            try:
                opened = stack.enter_context(self._open())
            except StoreUnavailable as error:
                self._failed = (time.monotonic() + AGAIN_SECONDS, error)
                raise
            self._failed = None
            yield opened
