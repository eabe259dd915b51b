"""URLs of webhooks: which are accepted, and how they are shown."""

from __future__ import annotations

import re
from collections.abc import Sequence
from ipaddress import ip_address

import httpx
import msgspec

from warrener.domain.errors import UsageError

URL_CHARACTERS_MAX = 2_000
_PATTERN = re.compile(r"(\*\.)?[a-z0-9_.:-]+")
_PORTS = {"https": 443, "http": 80}


class Target(msgspec.Struct, frozen=True):
    """Where a webhook is. `shown` has neither path nor query: both often hold secrets."""

    url: httpx.URL
    host: str  # as in the URL, ASCII
    port: int
    shown: str

    def at(self, address: str) -> httpx.URL:
        """Return the URL with an address in place of the name."""
        return self.url.copy_with(host=address)


def target_of(url: str, *, hosts: Sequence[str] = (), plain: bool = False) -> Target:
    """Return what a URL names; raises `UsageError`, without the URL, for what is not accepted.

    `hosts` are the hosts that are allowed, `*.example.com` for all below one; without any the one
    of the URL is. `plain` allows `http://`.
    """
    parsed = _parsed(url)
    if parsed.userinfo:
        raise _refused("has a user or password in it: receivers check the signature instead")
    if parsed.scheme not in _PORTS:
        raise _refused("is no https:// URL")
    if parsed.scheme == "http" and not plain:
        raise _refused("is not https://: set WARRENER_WEBHOOK_PLAIN=yes to send in the clear")
    host = parsed.raw_host.decode("ascii").lower()
    if not host:
        raise _refused("names no host")
    if parsed.port is not None and not 0 < parsed.port < 65_536:
        raise _refused(f"has no port {parsed.port}")
    if hosts and not any(_fits(host, pattern) for pattern in _patterns(hosts)):
        raise UsageError(f"the webhook's host {host} is not in WARRENER_WEBHOOK_ALLOW")
    shown = f"{parsed.scheme}://{parsed.netloc.decode('ascii')}"
    return Target(parsed, host, parsed.port or _PORTS[parsed.scheme], shown)


def _parsed(url: str) -> httpx.URL:
    if len(url) > URL_CHARACTERS_MAX:
        raise _refused(f"is longer than {URL_CHARACTERS_MAX} characters")
    if any(character <= " " or character == "\x7f" for character in url):
        raise _refused("has a space or control character in it")
    try:
        return httpx.URL(url)
    except (httpx.InvalidURL, ValueError):  # their words would have the URL in them
        raise _refused("cannot be read") from None


def _patterns(hosts: Sequence[str]) -> Sequence[str]:
    found = [host.strip().lower().rstrip(".") for host in hosts]
    for pattern in found:
        if not _PATTERN.fullmatch(pattern):
            raise UsageError(f"WARRENER_WEBHOOK_ALLOW has {pattern!r}: host, or *.example.com")
    return found


def _fits(host: str, pattern: str) -> bool:
    name = host.rstrip(".")
    if not pattern.startswith("*."):
        return name == pattern
    return not _is_address(name) and name.endswith(pattern[1:]) and len(name) >= len(pattern)


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _refused(why: str) -> UsageError:
    return UsageError(f"the webhook's URL {why}")
