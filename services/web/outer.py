"""The outermost layer: limits, the Host header, headers of every answer, faults, and the log."""

from __future__ import annotations

import asyncio
import hashlib
import re
import secrets
import time
from collections.abc import Collection
from contextlib import contextmanager
from typing import Any, Final
from urllib.parse import unquote

import structlog

from warrener.domain.payloads import PAYLOAD_BYTES_MAX
from warrener.services.web.access import host_of
from warrener.services.web.problems import MEDIA_TYPE, Denied, encoded, problem_of

BODY_BYTES_MAX: Final = PAYLOAD_BYTES_MAX + 1024 * 1024
URL_BYTES_MAX: Final = 8 * 1024
HEADERS_BYTES_MAX: Final = 32 * 1024
REQUESTS_MAX: Final = 1_000  # at once, streams included
READ_SECONDS: Final = 20.0  # for the next part of a body
READ_RATE_MIN: Final = 16 * 1024  # bytes a second of a body, on the average beyond `READ_SECONDS`
SEND_SECONDS: Final = 30.0  # for a part of an answer to be taken

_TAGGED: Final = ("/api/", "/static/")
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:;"
    " connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
_HEADERS: Final = (
    (b"content-security-policy", _POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-embedder-policy", b"require-corp"),
    (b"permissions-policy", b"geolocation=(), camera=(), microphone=()"),
)

logger = structlog.get_logger()


class Outer:
    """An ASGI application around another one. With `hosts` the Host header must be one of them."""

    def __init__(self, inner: Any, hosts: Collection[str] | None = None) -> None:
        """Take the application; `hosts` are names without ports, None for any."""
        self.inner = inner
        self._hosts = None if hosts is None else frozenset(each.lower() for each in hosts)
        self._open = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.inner(scope, receive, send)
            return
        exchange = _Exchange(scope, receive, send)
        with self._counted():
            try:
                self._check(scope, exchange)
                await self.inner(exchange.scope, exchange.receive, exchange.send)
            except (asyncio.CancelledError, _Gone):
                raise
            except Exception as error:
                await exchange.fail(error)
            finally:
                exchange.log()

    @contextmanager
    def _counted(self) -> Any:
        self._open += 1
        try:
            yield
        finally:
            self._open -= 1

    def _check(self, scope: Any, exchange: _Exchange) -> None:
        if self._open > REQUESTS_MAX:
            raise Denied(503, "too many requests at once", headers={"Retry-After": "1"})
        if len(scope.get("raw_path") or b"") + len(scope["query_string"]) > URL_BYTES_MAX:
            raise Denied(414, f"the URL is longer than {URL_BYTES_MAX} bytes")
        if sum(len(name) + len(value) for name, value in scope["headers"]) > HEADERS_BYTES_MAX:
            raise Denied(431, f"the headers are longer than {HEADERS_BYTES_MAX} bytes")
        if exchange.length is not None and exchange.length > BODY_BYTES_MAX:
            raise _too_large()
        if self._hosts is not None and exchange.host not in self._hosts:
            raise Denied(
                421,
                "the service is not known under this name",
                "`warrener web --host-name NAME` names one more.",
            )


class _Gone(Exception):
    """The other side does not take the answer."""


class _Exchange:
    """One request and its answer."""

    def __init__(self, scope: Any, receive: Any, send: Any) -> None:
        self.id = secrets.token_hex(8)
        self.headers = {name.lower(): value for name, value in scope["headers"]}
        self.method: str = scope["method"]
        self.is_head = self.method == "HEAD"
        self.scope = {
            **scope,
            "warrener.request": self.id,
            "method": "GET" if self.is_head else self.method,
            "path": _path(scope),
        }
        self._receive = receive
        self._send = send
        self._began = time.monotonic()
        self._asked = 0.0
        self._read = 0
        self._ended = False
        self._is_answered = False
        self._is_late = False
        self._status = 0
        self._start: Any = None
        self._has_tag = scope["path"].startswith(_TAGGED) or scope["path"] == "/"

    @property
    def length(self) -> int | None:
        text = self.headers.get(b"content-length", b"")
        return int(text) if text.isdigit() else None

    @property
    def host(self) -> str:
        return host_of(self.headers.get(b"host", b"").decode("latin-1"))

    async def receive(self) -> Any:
        """Return the next part of the request, within bounds of size and time."""
        if self._ended:
            return await self._receive()
        now = time.monotonic()
        self._asked = self._asked or now
        left = self._asked + READ_SECONDS + self._read / READ_RATE_MIN - now
        try:
            async with asyncio.timeout(max(0.0, min(READ_SECONDS, left))):
                message = await self._receive()
        except TimeoutError:
            self._is_late = True
            raise Denied(408, "the body does not come, or too slowly") from None
        self._read += len(message.get("body", b""))
        if self._read > BODY_BYTES_MAX:
            raise _too_large()
        self._ended = not message.get("more_body", False)
        return message

    async def send(self, message: Any) -> None:
        """Send a part of the answer, with our headers; a whole one gets an ETag."""
        if message["type"] == "http.response.start":
            self._status = message["status"]
            self._start = {**message, "headers": [*message["headers"], *self._more(message)]}
            return
        if self._start is not None:
            start, self._start = self._start, None
            message = self._tagged(start, message)
            await self._out(start)
        if self.is_head and message["type"] == "http.response.body":
            if self._is_answered:
                return
            message = {**message, "body": b"", "more_body": False}  # of a stream, too
            self._is_answered = True
        await self._out(message)

    async def fail(self, error: Exception) -> None:
        """Answer with what went wrong, unless the answer has begun."""
        document, headers = problem_of(error, self.id)
        if self._status and self._start is None:
            return
        self._start = None
        body = encoded(document)
        given = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        own = [
            (b"content-type", MEDIA_TYPE.encode()),
            (b"content-length", str(len(body)).encode()),
        ]
        await self.send(
            {"type": "http.response.start", "status": document.status, "headers": [*own, *given]}
        )
        await self.send({"type": "http.response.body", "body": body})

    def log(self) -> None:
        """Say what was asked, by whom, and how it ended."""
        changes = self.method not in ("GET", "HEAD", "OPTIONS")
        told = logger.info if changes or self._status >= 500 else logger.debug
        who = self.scope.get("user")
        told(
            "web.request",
            request=self.id,
            method=self.method,
            path=self.scope["path"],
            status=self._status,
            by=getattr(who, "name", ""),
            seconds=round(time.monotonic() - self._began, 4),
        )

    async def _out(self, message: Any) -> None:
        try:
            async with asyncio.timeout(SEND_SECONDS):
                await self._send(message)
        except TimeoutError:
            raise _Gone from None

    def _more(self, message: Any) -> list[tuple[bytes, bytes]]:
        more = [*_HEADERS, (b"x-request-id", self.id.encode())]
        given = {name.lower() for name, _ in message["headers"]}
        if b"cache-control" not in given:
            more.append((b"cache-control", b"no-store"))
        if self._is_late:
            more.append((b"connection", b"close"))
        return more

    def _tagged(self, start: Any, message: Any) -> Any:
        """Give a whole answer the hash of its text; one that is known already is not sent again."""
        whole = message["type"] == "http.response.body" and not message.get("more_body", False)
        if not (whole and self._has_tag and start["status"] == 200):
            return message
        if self.scope["method"] != "GET":
            return message
        tag = f'"{hashlib.blake2b(message.get("body", b""), digest_size=16).hexdigest()}"'.encode()
        start["headers"].append((b"etag", tag))
        known = [each.strip() for each in self.headers.get(b"if-none-match", b"").split(b",")]
        if tag not in known and b"W/" + tag not in known:
            return message
        left_out = (b"content-length", b"content-type")
        start["headers"] = [each for each in start["headers"] if each[0].lower() not in left_out]
        start["status"] = self._status = 304
        return {**message, "body": b""}


def _path(scope: Any) -> str:
    """Return the path with encoded slashes still encoded: they belong to one segment.

    So are percent signs, so that a name with the text %2F in it is not one with a slash.
    """
    raw = scope.get("raw_path")
    if not raw or b"%2" not in raw:
        return str(scope["path"])
    kept = raw.partition(b"?")[0].replace(b"%25", b"%2525")
    return unquote(re.sub(b"%2[fF]", b"%252F", kept).decode("ascii", "replace"))


def _too_large() -> Denied:
    return Denied(413, f"the body is larger than {BODY_BYTES_MAX} bytes")
