"""The client of a fleet for asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import wraps
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

from warrener.domain.ports import Broker
from warrener.services.client import ANSWER_SECONDS, Client

P = ParamSpec("P")
T = TypeVar("T")


def _awaitable(
    method: Callable[Concatenate[Client, P], T],
) -> Callable[Concatenate[AsyncClient, P], Coroutine[Any, Any, T]]:
    """Return a method that has the one of `Client` done in the client's own thread."""

    @wraps(method)
    async def called(self: AsyncClient, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._call(lambda client: method(client, *args, **kwargs))

    return called


class AsyncClient:
    """The same for asyncio: every method of `Client`, awaitable."""

    def __init__(
        self,
        url: str | None = None,
        *,
        broker: Broker | None = None,
        answer_seconds: float = ANSWER_SECONDS,
    ) -> None:
        """Connect when the first method is called, in a thread of this client's own."""
        self._url = url
        self._broker = broker
        self._answer_seconds = answer_seconds
        self._client: Client | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="warrener-client")

    submit = _awaitable(Client.submit)
    send = _awaitable(Client.send)
    send_all = _awaitable(Client.send_all)
    wait = _awaitable(Client.wait)
    wait_all = _awaitable(Client.wait_all)
    cancel = _awaitable(Client.cancel)
    pause = _awaitable(Client.pause)
    resume = _awaitable(Client.resume)
    retry = _awaitable(Client.retry)
    rerun = _awaitable(Client.rerun)
    signal = _awaitable(Client.signal)
    answer = _awaitable(Client.answer)
    adjust = _awaitable(Client.adjust)
    change_limit = _awaitable(Client.change_limit)

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
        context = copy_context()  # with the current span, if there is one
        return await asyncio.get_running_loop().run_in_executor(
            self._thread, lambda: context.run(work, self._connected())
        )

    def _connected(self) -> Client:
        if self._client is None:
            self._client = Client(
                self._url, broker=self._broker, answer_seconds=self._answer_seconds
            )
        return self._client
