"""The application, put together out of parts that it is given."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from litestar import Litestar, Request, Router
from litestar.datastructures import State
from litestar.di import Provide
from litestar.openapi import OpenAPIConfig
from litestar.openapi.spec import Components, SecurityScheme

from warrener.domain.errors import PayloadError
from warrener.domain.payloads import INLINE_BYTES_MAX, decode_json
from warrener.services.web.access import COOKIE, guard
from warrener.services.web.outer import BODY_BYTES_MAX, Outer
from warrener.services.web.parts import Parts
from warrener.services.web.problems import Denied, answer_to
from warrener.services.web.routes import (
    control,
    definitions,
    jobs,
    past,
    service,
    session,
    steering,
    stream,
)

API: Final = "/api/v1"
_JSON: Final = "application/json"


class CheckedRequest(Request[Any, Any, Any]):
    """A request whose body is JSON within the bounds that all values of users have."""

    async def json(self) -> Any:
        """Return the body as a value; raises `Denied` if it cannot be one."""
        kind = self.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != _JSON:
            raise Denied(415, f"the body must be {_JSON}")
        body = await self.body()
        try:
            if len(body) <= INLINE_BYTES_MAX:
                return decode_json(body)
            return await asyncio.to_thread(decode_json, body)  # a large one takes seconds
        except PayloadError as error:
            status = 413 if error.code == "payload-too-large" else 400
            raise Denied(status, str(error)) from None


def build(parts: Parts) -> Outer:
    """Return the service as an ASGI application; it begins and ends with its lifespan."""
    return Outer(inner(parts), parts.hosts)


def inner(parts: Parts) -> Litestar:
    """Return the application without its outermost layer."""
    families = (session, jobs, past, steering, control, definitions, stream)
    api = Router(API, route_handlers=[each for family in families for each in family.HANDLERS])
    return Litestar(
        route_handlers=[api, *service.PUBLIC_HANDLERS],
        dependencies={"parts": Provide(lambda: parts, sync_to_thread=False)},
        guards=[guard],
        exception_handlers={Exception: answer_to},
        request_class=CheckedRequest,
        request_max_body_size=BODY_BYTES_MAX,
        state=State({"access": parts.access}),
        on_startup=[parts.start],
        on_shutdown=[parts.close],
        openapi_config=_described(parts.version),
        logging_config=None,
        debug=False,
    )


def _described(version: str) -> OpenAPIConfig:
    return OpenAPIConfig(
        title="Warrener",
        version=version,
        path="/schema/own",
        use_handler_docstrings=True,
        components=Components(
            security_schemes={
                "bearer": SecurityScheme(type="http", scheme="bearer"),
                "session": SecurityScheme(type="apiKey", security_scheme_in="cookie", name=COOKIE),
            }
        ),
        security=[{"bearer": []}, {"session": []}, {}],
    )
