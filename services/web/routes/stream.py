"""Notices that something changed, as server-sent events: never data, pages load that."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any, Final
from uuid import UUID

from litestar import Request
from litestar.params import FromQuery
from litestar.response import Stream

from warrener.domain.errors import StoreUnavailable
from warrener.services.web.access import Access, Who
from warrener.services.web.parts import Given
from warrener.services.web.problems import Denied
from warrener.services.web.routes.common import reads

Asked = Request[Any, Any, Any]
CHECK_SECONDS: Final = 10.0  # and with the next frame after: whether they may still listen
_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


@reads("/stream", media_type="text/event-stream")
async def open_stream(request: Asked, parts: Given, job: FromQuery[UUID | None] = None) -> Stream:
    """Follow what changes, with `job` in the tree that it is in.

    Of jobs it says which trees and which jobs in them; beside that whether requests for people,
    limits, the flow, starvation or the fleet have changed. After `reset` load everything anew.
    It ends when the token is removed or the session is over.
    """
    root = None
    if job is not None:
        wanted = job
        root = await parts.reader.ask(lambda opened: opened.queries.show(wanted, whole=False).root)
    last_id = request.headers.get("last-event-id", "")[:4_096]
    frames = parts.hub.open(request.user.name, root, last_id)
    told = _while_let_in(frames, parts.access, request)
    return Stream(told, media_type="text/event-stream", headers=_HEADERS)


async def _while_let_in(
    frames: AsyncGenerator[bytes, None], access: Access, request: Asked
) -> AsyncIterator[bytes]:
    """Yield what a stream sends, as long as whoever opened it would be let in again."""
    again = time.monotonic() + CHECK_SECONDS
    async with aclosing(frames):
        async for frame in frames:
            if time.monotonic() >= again:
                if not await _is_let_in(access, request):
                    return
                again = time.monotonic() + CHECK_SECONDS
            yield frame


async def _is_let_in(access: Access, request: Asked) -> bool:
    opened: Who = request.user
    try:
        who = await access.who(request)
    except StoreUnavailable:
        return True  # nothing happens meanwhile, and nobody knows
    except Denied:
        return False
    return who is not None and who.name == opened.name


HANDLERS = (open_stream,)
