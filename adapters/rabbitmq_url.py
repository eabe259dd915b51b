"""URLs of brokers: `amqp://user:password@host:port/vhost?option=value`, several by commas."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, cast
from urllib.parse import parse_qs, unquote, urlsplit

import msgspec
import pika

from warrener.domain.errors import UsageError
from warrener.domain.topology import QueueType

HEARTBEAT_SECONDS = 30
CONNECT_SECONDS = 10.0
BLOCKED_SECONDS = 60.0
OPTIONS = (
    *("cacertfile", "certfile", "keyfile", "verify", "server_name_indication"),
    *("heartbeat", "connection_timeout", "blocked_connection_timeout", "queue_type"),
)


class Target(msgspec.Struct, frozen=True):
    """Where to connect to: the nodes of one broker, tried in turn."""

    nodes: tuple[Any, ...]  # pika.ConnectionParameters
    queue_type: QueueType
    shown: str  # without user and password, for messages


def target_of(url: str, heartbeat_seconds: float = HEARTBEAT_SECONDS) -> Target:
    """Return what a URL names; raises `UsageError` for what is none, never with its password.

    `heartbeat_seconds` holds where the URL names none.
    """
    parts = [part.strip() for part in url.split(",") if part.strip()]
    if not parts:
        raise UsageError("the broker's URL is empty: give one such as amqp://localhost")
    beat = {"heartbeat": str(max(1, round(heartbeat_seconds)))}
    options = [beat | _options(part) for part in parts]
    nodes = tuple(_node(part, found) for part, found in zip(parts, options, strict=True))
    kind = options[0].get("queue_type", "quorum")
    if kind not in ("quorum", "classic"):
        raise UsageError(f"queue_type is {kind!r}: it is quorum or classic")
    shown = ", ".join(f"{node.host}:{node.port}{_vhost(node)}" for node in nodes)
    return Target(nodes, cast(QueueType, kind), shown)


def _vhost(node: Any) -> str:
    return "" if node.virtual_host == "/" else f"/{node.virtual_host}"


def _options(url: str) -> dict[str, str]:
    try:
        query = parse_qs(urlsplit(url).query, keep_blank_values=True)
    except ValueError as error:
        raise UsageError(f"the broker's URL cannot be read: {error}") from None
    for name in query:
        if name not in OPTIONS:
            near = get_close_matches(name, OPTIONS, n=1)
            hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(OPTIONS)}"
            raise UsageError(f"unknown option {name} in the broker's URL: {hint}")
    return {name: values[-1] for name, values in query.items()}


def _node(url: str, options: Mapping[str, str]) -> Any:
    parts = urlsplit(url)
    if parts.scheme not in ("amqp", "amqps") or not parts.hostname:
        raise UsageError("the URL of a RabbitMQ is amqp:// or amqps:// with a host")
    secure = parts.scheme == "amqps"
    try:
        port = parts.port or (5671 if secure else 5672)
        return pika.ConnectionParameters(
            host=parts.hostname,
            port=port,
            virtual_host=unquote(parts.path[1:]) or "/",
            credentials=pika.PlainCredentials(
                unquote(parts.username or "guest"), unquote(parts.password or "guest")
            ),
            heartbeat=int(options["heartbeat"]),
            socket_timeout=float(options.get("connection_timeout", CONNECT_SECONDS)),
            stack_timeout=float(options.get("connection_timeout", CONNECT_SECONDS)) + 5,
            blocked_connection_timeout=float(
                options.get("blocked_connection_timeout", BLOCKED_SECONDS)
            ),
            ssl_options=_tls(parts.hostname, options) if secure else None,
            client_properties={"connection_name": "warrener"},
        )
    except (ValueError, TypeError) as error:
        raise UsageError(f"the broker's URL cannot be used: {error}") from None


def _tls(host: str, options: Mapping[str, str]) -> Any:
    try:
        context = ssl.create_default_context(cafile=options.get("cacertfile"))
        if options.get("verify") == "verify_none":
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if "certfile" in options:
            context.load_cert_chain(options["certfile"], options.get("keyfile"))
    except (OSError, ssl.SSLError) as error:
        raise UsageError(f"a certificate of the broker's URL cannot be used: {error}") from None
    return pika.SSLOptions(context, options.get("server_name_indication", host))
