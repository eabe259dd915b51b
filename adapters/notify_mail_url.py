"""URLs of mail servers, and addresses of mail."""

from __future__ import annotations

from collections.abc import Sequence
from email.errors import MessageError
from email.message import EmailMessage
from email.policy import SMTP
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import msgspec

from warrener.domain.errors import UsageError

_PORTS = {"smtp": 25, "smtps": 465}
_SHAPE = "smtp://user:password@host:587 or smtps://user:password@host"


class Relay(msgspec.Struct, frozen=True):
    """The server that takes our mail. `shown` has no user and no password."""

    host: str
    port: int
    shown: str
    tls: bool = False  # from the first byte
    starttls: bool = False  # asked for, and required
    user: str = ""
    password: str = ""


class Addresses(msgspec.Struct, frozen=True):
    """Who writes to whom: as headers say it, and as the servers take it."""

    sender: str
    recipients: str
    from_address: str
    to_addresses: tuple[str, ...]
    domain: str  # of the sender


def relay_of(url: str) -> Relay:
    """Return what a URL names; raises `UsageError`, never with the password.

    A password goes over TLS alone: with `smtp://` STARTTLS is required then, as it is with
    `?starttls=require`.
    """
    try:
        parts = urlsplit(url)
        port, options = parts.port, parse_qs(parts.query, strict_parsing=bool(parts.query))
    except ValueError:
        raise UsageError(f"the mail server's URL cannot be read: it is {_SHAPE}") from None
    if parts.scheme not in _PORTS or not parts.hostname or port == 0 or parts.path not in ("", "/"):
        raise UsageError(f"the mail server's URL is none: it is {_SHAPE}")
    if options not in ({}, {"starttls": ["require"]}):
        raise UsageError("the mail server's URL has an unknown option: ?starttls=require is known")
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    if bool(user) != bool(password) or not (user + password).isprintable():
        raise UsageError("the mail server's URL needs both user and password, or neither")
    tls = parts.scheme == "smtps"
    port = port or _PORTS[parts.scheme]
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return Relay(
        host=parts.hostname,
        port=port,
        shown=f"{parts.scheme}://{host}:{port}",
        tls=tls,
        starttls=not tls and (bool(password) or bool(options)),
        user=user,
        password=password,
    )


def addresses_of(sender: str, recipients: str) -> Addresses:
    """Return the addresses of a sender and of one or more recipients, separated by commas."""
    from_header, senders = _parsed(sender, "From", "WARRENER_MAIL_FROM")
    to_header, receivers = _parsed(recipients, "To", "WARRENER_MAIL_TO")
    if len(senders) != 1:
        raise UsageError("WARRENER_MAIL_FROM is one address, such as warrener@example.com")
    return Addresses(
        sender=from_header,
        recipients=to_header,
        from_address=senders[0].addr_spec,
        to_addresses=tuple(receiver.addr_spec for receiver in receivers),
        domain=senders[0].domain,
    )


def _parsed(text: str, header: str, variable: str) -> tuple[str, Sequence[Any]]:
    """Return a header with addresses, and the addresses in it."""
    if text and text.isprintable():
        message = EmailMessage(policy=SMTP)
        try:
            message[header] = text
            found: Any = message[header]
            fine = not found.defects and all(one.username and one.domain for one in found.addresses)
            if fine and found.addresses:
                return str(found), found.addresses
        except (MessageError, ValueError, IndexError, AttributeError):
            pass  # the parser stumbles over some texts that are no addresses
    raise UsageError(f"{variable} has no address of mail in it, or something else beside")
