"""Notices that something changed, as server-sent events: never data, pages load that."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from litestar import Request
from litestar.params import FromQuery
from litestar.response import Stream

from warrener.services.web.parts import Given
from warrener.services.web.routes.common import reads

_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


@reads("/stream", media_type="text/event-stream")
async def open_stream(
    request: Request[Any, Any, Any], parts: Given, job: FromQuery[UUID | None] = None
) -> Stream:
    """Follow what changes, with `job` in the tree that it is in.

    Of jobs it says which trees and which jobs in them; beside that whether requests for people,
    limits, the flow, starvation or the fleet have changed. After `reset` load everything anew.
    """
    root = None
    if job is not None:
        wanted = job
        root = await parts.reader.ask(lambda opened: opened.queries.show(wanted, whole=False).root)
    last_id = request.headers.get("last-event-id", "")[:4_096]
    frames = parts.hub.open(request.user.name, root, last_id)
    return Stream(frames, media_type="text/event-stream", headers=_HEADERS)


HANDLERS = (open_stream,)
