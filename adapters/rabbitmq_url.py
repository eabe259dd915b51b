"""URLs of brokers: `amqp://user:password@host:port/vhost?option=value`.

`amqps://` is TLS. Several URLs separated by commas are the nodes of one cluster. Options:

    cacertfile, certfile, keyfile     PEM files: authority, own certificate and its key
    verify                            verify_peer (default) or verify_none
    server_name_indication            the name in the broker's certificate, if it is not the host
    heartbeat                         seconds of silence after which a connection counts as lost
    connection_timeout                seconds to connect
    blocked_connection_timeout        seconds that the broker may take no messages (memory, disk)
    queue_type                        quorum (default) or classic, for queues that are declared
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from os import getpid
from socket import gethostname
from typing import Any, Final, TypeVar, cast
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

import msgspec
import pika

from warrener.domain.errors import UsageError
from warrener.domain.topology import QueueType

HEARTBEAT_SECONDS: Final = 30
CONNECT_SECONDS: Final = 10.0
BLOCKED_SECONDS: Final = 60.0
PORTS: Final = {"amqp": 5672, "amqps": 5671}
TLS_OPTIONS: Final = ("cacertfile", "certfile", "keyfile", "verify", "server_name_indication")
OPTIONS: Final = (
    *TLS_OPTIONS,
    *("heartbeat", "connection_timeout", "blocked_connection_timeout", "queue_type"),
)
QUEUE_TYPES: Final = ("quorum", "classic")
VERIFY: Final = ("verify_peer", "verify_none")

Chosen = TypeVar("Chosen", str, int, float)


class Target(msgspec.Struct, frozen=True):
    """Where to connect to: the nodes of one broker, tried in turn."""

    nodes: tuple[Any, ...]  # pika.ConnectionParameters
    queue_type: QueueType
    shown: str  # without user and password, for messages
    connect_seconds: float  # for one node


def target_of(url: str, heartbeat_seconds: float = HEARTBEAT_SECONDS) -> Target:
    """Return what a URL names; raises `UsageError` for what is none, never with its password.

    `heartbeat_seconds` holds where the URL names none; RabbitMQ knows whole seconds only.
    """
    parts = [_split(part.strip()) for part in url.split(",") if part.strip()]
    if not parts:
        raise UsageError("the broker's URL is empty: give one such as amqp://localhost")
    options = [_options(part) for part in parts]
    heartbeat = {"heartbeat": str(max(1, round(heartbeat_seconds)))}
    nodes = tuple(
        _node(part, heartbeat | found) for part, found in zip(parts, options, strict=True)
    )
    return Target(
        nodes,
        cast(QueueType, _one_of("queue_type", options[0], QUEUE_TYPES)),
        ", ".join(map(shown, nodes)),
        nodes[0].stack_timeout,
    )


def shown(node: Any) -> str:
    """Return a node as it may be shown, such as `rabbit:5672` or `rabbit:5672 (vhost jobs)`."""
    vhost = "" if node.virtual_host == "/" else f" (vhost {node.virtual_host})"
    return f"{node.host}:{node.port}{vhost}"


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in PORTS and parts.hostname and parts.port != 0
    except ValueError:  # its text may quote a password, where that is taken for a port
        raise UsageError(
            "the broker's URL cannot be read: is its port a number, and are / @ : # ? in its"
            " password written as %2F %40 %3A %23 %3F?"
        ) from None
    if not usable:
        raise UsageError(
            "the broker's URL is not one of RabbitMQ, such as amqp://user:password@host:5672/vhost"
        )
    return parts


def _options(parts: SplitResult) -> dict[str, str]:
    found = dict(parse_qsl(parts.query, keep_blank_values=True))
    for name in found:
        if name not in OPTIONS:
            near = get_close_matches(name, OPTIONS, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(OPTIONS)}"
            raise UsageError(f"unknown option {name!r} in the broker's URL: {hint}")
        if name in TLS_OPTIONS and parts.scheme != "amqps":
            raise UsageError(f"the option {name} in the broker's URL needs amqps://")
    return found


def _node(parts: SplitResult, options: Mapping[str, str]) -> Any:
    connect_seconds = _number("connection_timeout", options, CONNECT_SECONDS, float)
    host = parts.hostname or ""
    return pika.ConnectionParameters(
        host=host,
        port=parts.port or PORTS[parts.scheme],
        virtual_host=unquote(parts.path[1:]) or "/",
        credentials=pika.PlainCredentials(
            unquote(parts.username or "guest"), unquote(parts.password or "guest")
        ),
        heartbeat=_number("heartbeat", options, HEARTBEAT_SECONDS, int),
        socket_timeout=connect_seconds,
        stack_timeout=connect_seconds,
        blocked_connection_timeout=_number(
            "blocked_connection_timeout", options, BLOCKED_SECONDS, float
        ),
        ssl_options=_tls(host, options) if parts.scheme == "amqps" else None,
        client_properties={"connection_name": f"warrener {gethostname()} {getpid()}"},
    )


def _tls(host: str, options: Mapping[str, str]) -> Any:
    verify = _one_of("verify", options, VERIFY)
    if "keyfile" in options and "certfile" not in options:
        raise UsageError("the broker's URL has a keyfile, but no certfile")
    try:
        context = ssl.create_default_context(cafile=options.get("cacertfile"))
        if "certfile" in options:
            context.load_cert_chain(options["certfile"], options.get("keyfile"))
    except OSError as error:  # of SSL, too
        raise UsageError(f"a certificate in the broker's URL cannot be used: {error}") from None
    if verify == "verify_none":
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return pika.SSLOptions(context, options.get("server_name_indication", host))


def _one_of(name: str, options: Mapping[str, str], known: tuple[str, ...]) -> str:
    value = options.get(name, known[0])
    if value not in known:
        raise UsageError(f"{name} in the broker's URL is {value!r}: it is {' or '.join(known)}")
    return value


def _number(
    name: str, options: Mapping[str, str], default: Chosen, kind: Callable[[str], Chosen]
) -> Chosen:
    try:
        value = kind(options[name]) if name in options else default
    except ValueError:
        value = kind("0")
    if not 0 < float(value) < float("inf"):
        raise UsageError(
            f"{name} in the broker's URL is {options[name]!r}: it is a number of seconds over 0"
        )
    return value
