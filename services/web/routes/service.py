"""The service itself: whether it works, its figures, its description, and the dashboard's files."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import msgspec
from litestar import Request, Response, get
from litestar.exceptions import NotFoundException
from litestar.params import FromPath

from warrener.services.figures import figures
from warrener.services.figures_metrics import FiguresCollector
from warrener.services.metrics import page, registry_of
from warrener.services.web import shapes
from warrener.services.web.parts import Given, Parts
from warrener.services.web.reader import Opened
from warrener.services.web.routes.common import reads

INDEX: Final = "index.html"
TYPES: Final = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".mjs": "text/javascript",
    ".json": "application/json",
    ".map": "application/json",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".ico": "image/x-icon",
    ".woff2": "font/woff2",
    ".txt": "text/plain",
}
_FILES: Final = {"Cache-Control": "no-cache"}


@reads("/healthz", "public")
async def healthz() -> shapes.Ready:
    """Say that the process lives."""
    return shapes.Ready(ready=True)


@reads("/readyz", "public")
async def readyz(parts: Given) -> Response[shapes.Ready]:
    """Say whether the store is there and has been read."""
    failure = parts.follower.failure
    told = shapes.Ready(ready=not failure, reason="" if not failure else "the store is not there")
    return Response(told, status_code=503 if failure else 200)


@get("/metrics", opt={"role": "viewer"}, include_in_schema=False)
async def metrics(parts: Given) -> Response[bytes]:
    """Give the figures for Prometheus."""

    def question(opened: Opened) -> tuple[bytes, str]:
        told = FiguresCollector(lambda: figures(opened.logs, opened.views, parts.now()))
        return page(registry_of(lambda: opened.queries.flow(points=0), told))

    text, kind = await parts.reader.ask(question)
    return Response(text, media_type=kind.partition("; charset")[0])


@get("/schema", opt={"role": "public"}, include_in_schema=False)
async def schema(request: Request[Any, Any, Any]) -> Response[bytes]:
    """Give the OpenAPI document of the API, made once: whoever comes may ask for it."""
    state = request.app.state
    if "described" not in state:
        state["described"] = msgspec.json.encode(request.app.openapi_schema.to_schema())
    return Response(state["described"], media_type="application/json")


@get("/", opt={"role": "public"}, include_in_schema=False)
async def index(request: Request[Any, Any, Any], parts: Given) -> Response[bytes]:
    """Give the dashboard."""
    return _file(parts, INDEX, request)


@get("/static/{path:path}", opt={"role": "public"}, include_in_schema=False)
async def static_file(
    request: Request[Any, Any, Any], parts: Given, path: FromPath[Path]
) -> Response[bytes]:
    """Give a file of the dashboard."""
    return _file(parts, str(path).lstrip("/"), request)


def _file(parts: Parts, name: str, request: Request[Any, Any, Any]) -> Response[bytes]:
    kind = TYPES.get(Path(name).suffix)
    hidden = any(part.startswith(".") for part in Path(name).parts)
    if kind is None or hidden or "\0" in name or "\\" in name:
        raise NotFoundException(f"there is no {request.scope['path']}")
    file = parts.static / name
    try:
        inside = file.resolve().is_relative_to(parts.static.resolve())
        data = file.read_bytes() if inside else None
    except OSError:
        data = None
    if data is None:
        raise NotFoundException(f"there is no {request.scope['path']}")
    return Response(data, media_type=kind, headers=_FILES)


PUBLIC_HANDLERS = (healthz, readyz, metrics, schema, index, static_file)
