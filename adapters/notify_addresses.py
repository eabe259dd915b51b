"""Which IP addresses a webhook may be at.

The tables follow the registries of special-purpose addresses of the IANA. They stand here and not
in `ipaddress`, whose answers differ between versions of Python.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any, Final

Address = IPv4Address | IPv6Address


def _networks(*entries: tuple[str, str]) -> tuple[tuple[Any, str], ...]:
    return tuple((ip_network(network), what) for network, what in entries)


# Where other machines of ours may be: allowed if the configuration says so.
_INSIDE: Final = _networks(
    ("10.0.0.0/8", "private"),
    ("172.16.0.0/12", "private"),
    ("192.168.0.0/16", "private"),
    ("fc00::/7", "private"),
    ("127.0.0.0/8", "loopback"),
    ("::1/128", "loopback"),
    ("100.64.0.0/10", "shared by a carrier (CGNAT)"),
)
# Never: no service of ours, and among them what clouds tell about their machines (169.254.169.254).
_NOWHERE: Final = _networks(
    ("0.0.0.0/8", "of no host"),
    ("169.254.0.0/16", "link-local"),
    ("192.0.0.0/24", "reserved"),
    ("192.0.2.0/24", "reserved"),
    ("192.88.99.0/24", "reserved"),
    ("198.18.0.0/15", "reserved"),
    ("198.51.100.0/24", "reserved"),
    ("203.0.113.0/24", "reserved"),
    ("224.0.0.0/4", "multicast"),
    ("240.0.0.0/4", "reserved"),
    ("::/128", "of no host"),
    ("64:ff9b:1::/48", "NAT64 of one network"),
    ("fe80::/10", "link-local"),
    ("fec0::/10", "site-local"),
    ("ff00::/8", "multicast"),
    ("2001::/23", "reserved"),  # with Teredo
    ("2001:db8::/32", "reserved"),
    ("3fff::/20", "reserved"),
)
# IPv6 addresses that stand for an IPv4 address, and how many bits come after that.
_CARRIERS: Final = (
    (ip_network("::ffff:0:0/96"), "IPv4-mapped", 0),
    (ip_network("::/96"), "IPv4-compatible", 0),
    (ip_network("64:ff9b::/96"), "NAT64", 0),
    (ip_network("2002::/16"), "6to4", 80),
)
_GLOBAL: Final = ip_network("2000::/3")


def refusal(text: str, *, private: bool) -> str | None:
    """Return why an address is not to be connected to, None if it may be.

    `private` allows those that are not of the public network; an IPv6 address that stands for an
    IPv4 address is then judged by that.
    """
    try:
        address = ip_address(text)
    except ValueError:
        return "no address"
    if getattr(address, "scope_id", None):
        return "of one link only"
    return _refusal(address, private=private)


def _refusal(address: Address, *, private: bool) -> str | None:
    if what := _found(address, _NOWHERE):
        return what
    if what := _found(address, _INSIDE):
        return None if private else what
    if isinstance(address, IPv4Address):
        return None
    for network, what, bits_after in _CARRIERS:
        if address in network:
            inner = IPv4Address((int(address) >> bits_after) & 0xFFFFFFFF)
            return _refusal(inner, private=True) if private else what
    return None if address in _GLOBAL else "reserved"


def _found(address: Address, networks: Iterable[tuple[Any, str]]) -> str | None:
    return next((what for network, what in networks if address in network), None)
