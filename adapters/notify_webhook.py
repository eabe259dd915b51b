"""Notifications to a webhook: a signed POST of JSON.

The other side is not trusted, nor is what its name resolves to. The name is resolved here, every
address is checked, and the connection goes to a checked address, so that no second answer of the
name server counts; name and certificate are checked as ever. The transport of httpx is used
without its client: there are no redirects, no proxies of the environment, no cookies, no
decompression, and nothing writes the URL to a log.
"""

from __future__ import annotations

import asyncio
import hmac
import socket
import ssl
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from email.utils import parsedate_to_datetime
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Final

import httpx
import msgspec

from warrener.adapters.notify_addresses import refusal
from warrener.adapters.notify_webhook_url import Target
from warrener.adapters.tls import client_context, is_about_tls
from warrener.domain.errors import NotificationDelayed, NotificationRefused
from warrener.domain.notices import Notification
from warrener.domain.ports import Clock
from warrener.domain.text import one_line

ANSWER_BYTES_MAX: Final = 64 * 1024
ADDRESSES_TRIED_MAX: Final = 4
AGAIN: Final = frozenset({408, 425, 429})  # as every status from 500 on
_ENCODE = msgspec.json.Encoder().encode

Resolver = Callable[[str, int], Sequence[str]]


class Limits(msgspec.Struct, frozen=True):
    """How long each part of an exchange may take, whatever the other side does."""

    resolve_seconds: float = 5.0
    connect_seconds: float = 5.0  # of each address, TLS included
    status_seconds: float = 15.0  # from the first connection until the status has come
    answer_seconds: float = 3.0  # the rest of the answer, which decides nothing


class Answer(msgspec.Struct, frozen=True):
    """What counts of an answer."""

    status: int
    retry_after: str | None


def resolve(host: str, port: int) -> Sequence[str]:
    """Return the addresses of a name as this machine sees them."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def signature(secret: str, at: int, body: bytes) -> str:
    """Return the value of the header `Warrener-Signature` for a body sent at a Unix time."""
    digest = hmac.new(secret.encode(), b"%d." % at + body, "sha256").hexdigest()
    return f"t={at},v1={digest}"


class WebhookNotifier:
    """A `Notifier` that posts to one URL."""

    name = "webhook"

    def __init__(
        self,
        target: Target,
        secret: str,
        clock: Clock,
        *,
        private: bool = False,
        tls: ssl.SSLContext | None = None,
        resolver: Resolver = resolve,
        limits: Limits | None = None,
        transport: Callable[[ssl.SSLContext], httpx.AsyncBaseTransport] | None = None,
    ) -> None:
        """Sign with `secret`; `private` allows addresses that are not of the public network."""
        self._target = target
        self._secret = secret
        self._clock = clock
        self._private = private
        self._tls = tls or client_context()
        self._resolver = resolver
        self._limits = limits or Limits()
        self._transport = transport or _transport

    def tell(self, notification: Notification) -> None:
        """Post a notification; a status of 2xx says that it was taken."""
        body = _ENCODE(notification)
        addresses = self._checked_addresses()
        answer = asyncio.run(self._exchange(addresses, body, self._headers(notification, body)))
        self._judge(answer)

    def _headers(self, notification: Notification, body: bytes) -> Mapping[str, str]:
        at = int(self._clock.now().timestamp())
        return {
            "Host": self._target.url.netloc.decode("ascii"),
            "Content-Type": "application/json",
            "User-Agent": "warrener",
            "Accept-Encoding": "identity",
            "Connection": "close",
            "Warrener-Id": str(notification.id),
            "Warrener-Event": notification.event,
            "Warrener-Signature": signature(self._secret, at, body),
        }

    def _checked_addresses(self) -> Sequence[str]:
        """Return the addresses of the host; one that must not be connected to refuses them all."""
        addresses = self._resolved()
        if not addresses:
            raise NotificationDelayed(f"the name {self._target.host} has no address")
        for address in addresses:
            if why := refusal(address, private=self._private):
                raise NotificationRefused(
                    f"{self._target.host} is at {address}, which is {why}: "
                    + ("no webhook can be there" if self._private else "not allowed")
                )
        return addresses[:ADDRESSES_TRIED_MAX]

    def _resolved(self) -> Sequence[str]:
        """Ask for the name in a thread of its own: the system's resolver knows no time limit."""
        answers: SimpleQueue[Sequence[str] | Exception] = SimpleQueue()
        host, port = self._target.host, self._target.port

        def work() -> None:
            try:
                answers.put(self._resolver(host, port))
            except Exception as error:  # told to the thread that waits
                answers.put(error)

        Thread(target=work, daemon=True, name="resolver").start()
        try:
            found = answers.get(timeout=self._limits.resolve_seconds)
        except Empty:
            seconds = self._limits.resolve_seconds
            raise NotificationDelayed(
                f"the name {host} is not resolved after {seconds} s"
            ) from None
        if isinstance(found, UnicodeError):
            raise NotificationRefused(f"{host} is no name of a host")
        if isinstance(found, Exception):
            raise NotificationDelayed(f"the name {host} cannot be resolved: {_said(found)}")
        return found

    async def _exchange(
        self, addresses: Sequence[str], body: bytes, headers: Mapping[str, str]
    ) -> Answer:
        """Post to the first address that can be connected to."""
        shown, limits = self._target.shown, self._limits
        try:
            async with self._transport(self._tls) as transport:
                async with asyncio.timeout(limits.status_seconds):
                    response = await self._post(transport, addresses, body, headers)
                await _read(response, limits.answer_seconds)
        except TimeoutError:
            seconds = limits.status_seconds
            raise NotificationDelayed(f"{shown} did not answer within {seconds} s") from None
        except httpx.HTTPError as error:
            if is_about_tls(error):
                raise NotificationRefused(f"TLS with {shown} failed: {_said(error)}") from error
            raise NotificationDelayed(f"{shown} cannot be reached: {_said(error)}") from error
        return Answer(response.status_code, response.headers.get("retry-after"))

    async def _post(
        self,
        transport: httpx.AsyncBaseTransport,
        addresses: Sequence[str],
        body: bytes,
        headers: Mapping[str, str],
    ) -> httpx.Response:
        limits = self._limits
        times = dict.fromkeys(("read", "write", "pool"), limits.status_seconds)
        timeout = {**times, "connect": limits.connect_seconds}
        extensions = {"timeout": timeout, "sni_hostname": self._target.host}
        for last, address in _marked(addresses):
            url = self._target.at(address)
            request = httpx.Request(
                "POST", url, content=body, headers=headers, extensions=extensions
            )
            try:
                return await transport.handle_async_request(request)
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                if last or is_about_tls(error):
                    raise
        raise AssertionError("unreachable: there is an address")

    def _judge(self, answer: Answer) -> None:
        status, shown = answer.status, self._target.shown
        if 200 <= status < 300:
            return
        if status in AGAIN or status >= 500:
            raise NotificationDelayed(f"{shown} answered {status}", self._seconds(answer))
        if 300 <= status < 400:
            raise NotificationRefused(f"{shown} answered {status}: redirects are not followed")
        raise NotificationRefused(f"{shown} answered {status}")

    def _seconds(self, answer: Answer) -> float | None:
        """Return what `Retry-After` asks for: seconds, or a date."""
        text = (answer.retry_after or "").strip()
        if text.isascii() and text.isdigit():
            return float(text[:10])
        with suppress(ValueError, TypeError):
            return max(0.0, (parsedate_to_datetime(text) - self._clock.now()).total_seconds())
        return None


async def _read(response: httpx.Response, seconds: float) -> None:
    """Take the rest of a short answer; what is long, slow or broken is cut off."""
    stream, taken = response.stream, 0
    assert isinstance(stream, httpx.AsyncByteStream)
    with suppress(TimeoutError, httpx.HTTPError):
        async with asyncio.timeout(seconds):
            async for chunk in stream:
                taken += len(chunk)
                if taken > ANSWER_BYTES_MAX:
                    break
    await response.aclose()


def _transport(tls: ssl.SSLContext) -> httpx.AsyncBaseTransport:
    return httpx.AsyncHTTPTransport(
        verify=tls, trust_env=False, limits=httpx.Limits(max_connections=1)
    )


def _marked(addresses: Sequence[str]) -> Iterator[tuple[bool, str]]:
    return ((number == len(addresses), each) for number, each in enumerate(addresses, 1))


def _said(error: BaseException) -> str:
    return one_line(str(error) or type(error).__name__)
