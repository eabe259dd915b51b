"""Who asks, and whether they may: tokens, sessions, and what keeps other web sites out."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from http.cookies import CookieError, SimpleCookie
from typing import Any, Final, Literal
from urllib.parse import urlsplit

import msgspec
from itsdangerous import BadSignature, URLSafeTimedSerializer
from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler

from warrener.domain.tokens import ROLES, AccessToken, Role, Tokens
from warrener.services.tokens import digest_of, found_by, secret_of
from warrener.services.web.problems import Denied

COOKIE: Final = "warrener_session"
CSRF_HEADER: Final = "x-warrener-csrf"
SESSION_SECONDS: Final = 12 * 3_600
THREADS: Final = 4
SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
PUBLIC: Final = "public"
CHALLENGE: Final = {"WWW-Authenticate": 'Bearer realm="warrener"'}
_SALT: Final = "warrener.session"
HOW: Final = "Send `Authorization: Bearer TOKEN`; `warrener web token add NAME` makes one."

Needed = Literal["public", "viewer", "submitter", "operator"]


class Who(msgspec.Struct, frozen=True, kw_only=True):
    """Whoever asks. A `csrf` is wanted back with each change that a browser may make for others."""

    name: str
    role: Role
    csrf: str = ""
    by_token: bool = True  # and not because everybody is let in

    @property
    def by(self) -> str:
        """Return what is recorded about who asked for something."""
        return f"{self.name} (web)".strip()

    def may(self, needed: Needed) -> bool:
        """Say whether the role allows what this one does."""
        return needed == PUBLIC or ROLES.index(self.role) >= ROLES.index(needed)


class Access:
    """Tells who asks by the tokens as they are now: one that is removed ends its sessions, too.

    Without any token everybody is an operator under the name `nobody_named`, if the service is
    reached under one of the names `open_to`: else a page of another site could let itself be
    resolved to this machine. With None nobody gets in without a token.
    """

    def __init__(
        self,
        tokens: Tokens,
        *,
        open_to: Collection[str] | None,
        nobody_named: str = "",
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Take the tokens of the store; raises `StoreUnavailable`."""
        self._tokens = tokens
        self._open_to = None if open_to is None else frozenset(open_to)
        self._nobody_named = nobody_named
        self._now = now
        self._secret = secret_of(tokens)
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="tokens")
        digest = {"key_derivation": "hmac", "digest_method": hashlib.sha256}
        self._signer = URLSafeTimedSerializer(self._secret, _SALT, signer_kwargs=digest)

    async def who(self, connection: ASGIConnection[Any, Any, Any, Any]) -> Who | None:
        """Return who makes a request, None if it must log in; raises `StoreUnavailable`."""
        headers = connection.headers
        kept = await self._kept()
        if not kept:
            return self._anybody(host_of(headers.get("host", "")))
        scheme, _, text = headers.get("authorization", "").partition(" ")
        if scheme:
            found = None
            if scheme.lower() == "bearer":
                found = found_by(kept, digest_of(text.strip()), self._now())
            return None if found is None else Who(name=found.name, role=found.role)
        return self._of_session(kept, _cookie(headers.get("cookie", "")))

    async def log_in(self, text: str) -> tuple[Who, str] | None:
        """Return who a token belongs to and the cookie of a new session; None if there is none."""
        kept = await self._kept()
        digest = digest_of(text)
        found = found_by(kept, digest, self._now())
        if found is None:
            return None
        session = secrets.token_urlsafe(16)
        who = Who(name=found.name, role=found.role, csrf=self._csrf(session))
        return who, str(self._signer.dumps([session, digest]))

    def close(self) -> None:
        """Let its threads end."""
        self._threads.shutdown()

    async def _kept(self) -> Sequence[AccessToken]:
        """Read the tokens, in threads that wait for nothing else: no request goes by them."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._tokens.all)

    def _anybody(self, host: str) -> Who | None:
        if self._open_to is None:
            return None
        if host not in self._open_to:
            hint = "`warrener web --host-name NAME` names one more."
            raise Denied(421, "the service is not known under this name", hint)
        csrf = self._csrf("open")
        return Who(name=self._nobody_named, role="operator", csrf=csrf, by_token=False)

    def _of_session(self, kept: Any, cookie: str) -> Who | None:
        try:
            session, digest = self._signer.loads(cookie, max_age=SESSION_SECONDS)
        except (BadSignature, ValueError, TypeError):
            return None
        found: AccessToken | None = found_by(kept, str(digest), self._now())
        if found is None:
            return None
        return Who(name=found.name, role=found.role, csrf=self._csrf(str(session)))

    def _csrf(self, session: str) -> str:
        return hmac.new(self._secret, b"csrf\0" + session.encode(), hashlib.sha256).hexdigest()


async def guard(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    """Let a request through to its handler, or raise `Denied`. What has no rule is refused."""
    needed = needed_by(handler)
    if needed == PUBLIC:
        return
    access: Access = connection.app.state.access
    who = await access.who(connection)
    if who is None:
        raise Denied(401, "this needs a token, or a session", HOW, CHALLENGE)
    connection.scope["user"] = who
    if not who.may(needed):
        raise Denied(403, f"this needs the role {needed}, and {who.name} is a {who.role}")
    if who.csrf and connection.scope.get("method") not in SAFE:
        check_own(connection.headers)
        sent = connection.headers.get(CSRF_HEADER, "")
        if not hmac.compare_digest(sent.encode("utf-8", "replace"), who.csrf.encode()):
            raise Denied(
                403,
                f"the header {CSRF_HEADER} is missing or not that of the session",
                "GET /api/v1/session tells it.",
            )


def needed_by(handler: BaseRouteHandler) -> Needed:
    """Return the role that a handler needs; raises `Denied` if nobody has said."""
    if getattr(handler, "http_methods", None) == {"OPTIONS"}:
        return "viewer"  # made by the framework
    needed: Needed | None = handler.opt.get("role")
    if needed is None:
        raise Denied(403, "nobody may do this: it has no rule")
    return needed


def check_own(headers: Mapping[str, str]) -> None:
    """Raise `Denied` for a request that a page of another site has made."""
    site = headers.get("sec-fetch-site", "same-origin")
    origin = headers.get("origin")
    if site not in ("same-origin", "none") or (origin is not None and not _is_own(origin, headers)):
        raise Denied(403, "this request comes from a page of another site")


def host_of(header: str) -> str:
    """Return the name in a Host header, without the port."""
    name, colon, port = header.lower().rpartition(":")
    return name if colon and port.isdigit() else header.lower()


def _is_own(origin: str, headers: Mapping[str, str]) -> bool:
    """Compare without the scheme, which a proxy before us may have changed."""
    try:
        return bool(urlsplit(origin).netloc) and urlsplit(origin).netloc == headers.get("host", "")
    except ValueError:
        return False


def _cookie(header: str) -> str:
    try:
        found = SimpleCookie(header).get(COOKIE)
    except CookieError:
        return ""
    return found.value if found is not None else ""
