"""Who you are: beginning and ending sessions."""

from __future__ import annotations

from typing import Any, Final

from litestar import Request, Response, delete, post
from litestar.datastructures import Cookie
from litestar.params import RequestBody

from warrener.services.web import bodies, shapes
from warrener.services.web.access import CHALLENGE, COOKIE, HOW, SESSION_SECONDS, Who, check_own
from warrener.services.web.parts import Given
from warrener.services.web.problems import Denied
from warrener.services.web.routes.common import changes, reads

Asked = Request[Any, Any, Any]
LOGIN_BYTES_MAX: Final = 4_096  # whoever comes may send it
_ENDED = Cookie(key=COOKIE, value="", max_age=0, path="/", httponly=True, samesite="strict")


@reads("/session", "public")
async def session_now(request: Asked, parts: Given) -> shapes.SessionNow:
    """Tell who asks, and what is needed of a page that changes something."""
    who = await parts.access.who(request)
    if who is None:
        raise Denied(401, "this needs a token, or a session", HOW, CHALLENGE)
    return _now(who, parts.version, login=who.by_token)


@changes(post, "/session", "public", status_code=200, request_max_body_size=LOGIN_BYTES_MAX)
async def log_in(
    request: Asked, parts: Given, data: RequestBody[bodies.LogInBody]
) -> Response[shapes.SessionNow]:
    """Begin a session with a token."""
    check_own(request.headers)
    found = await parts.access.log_in(data.token)
    if found is None:
        raise Denied(
            401, "nobody has this token", "It may have expired or been removed.", CHALLENGE
        )
    who, cookie = found
    answer = Response(_now(who, parts.version, login=True))
    answer.set_cookie(
        key=COOKIE,
        value=cookie,
        max_age=SESSION_SECONDS,
        path="/",
        secure=request.scope["scheme"] == "https",
        httponly=True,
        samesite="strict",
    )
    return answer


@changes(delete, "/session", "viewer", status_code=204, response_cookies=[_ENDED])
async def log_out() -> None:
    """End the session of this browser."""


def _now(who: Who, version: str, *, login: bool) -> shapes.SessionNow:
    return shapes.SessionNow(
        name=who.name, role=who.role, csrf=who.csrf, login=login, version=version
    )


HANDLERS = (session_now, log_in, log_out)
