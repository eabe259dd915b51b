"""Notifications by mail, over one SMTP server.

`smtplib` limits each wait, but neither a whole exchange nor the length of an answer; here both are.
"""

from __future__ import annotations

import smtplib
import socket
import ssl
import time
from collections.abc import Mapping
from email.message import EmailMessage
from typing import Any, Final

import msgspec

from warrener.adapters.notify_mail_text import mail_of
from warrener.adapters.notify_mail_url import Addresses, Relay
from warrener.adapters.tls import client_context, is_about_tls
from warrener.domain.errors import NotificationDelayed, NotificationRefused
from warrener.domain.notices import Notification
from warrener.domain.text import one_line

ANSWERS_BYTES_MAX: Final = 256 * 1024  # of all answers of an exchange
READ_BYTES: Final = 4096


class Limits(msgspec.Struct, frozen=True):
    """How long an exchange may take, whatever the other side does."""

    connect_seconds: float = 10.0  # of each address, TLS included
    total_seconds: float = 60.0


class MailNotifier:
    """A `Notifier` that sends mail."""

    name = "mail"

    def __init__(
        self,
        relay: Relay,
        addresses: Addresses,
        *,
        tls: ssl.SSLContext | None = None,
        limits: Limits | None = None,
    ) -> None:
        """Send from and to these addresses."""
        self._relay = relay
        self._addresses = addresses
        self._tls = tls or client_context()
        self._limits = limits or Limits()

    def tell(self, notification: Notification) -> None:
        """Send a mail; it is told once the server has taken it for every recipient.

        Where it took it for some and asks to try again for others, all get it again.
        """
        to = self._addresses
        mail = mail_of(notification, to.sender, to.recipients, to.domain)
        shown = self._relay.shown
        try:
            refused = self._send(mail)
        except smtplib.SMTPRecipientsRefused as error:
            refused = error.recipients
        except smtplib.SMTPAuthenticationError as error:  # its words may repeat what we sent
            raise _judged(f"{shown} does not let us in:", error.smtp_code, "") from error
        except smtplib.SMTPResponseException as error:
            raise _judged(f"{shown} answered", error.smtp_code, error.smtp_error) from error
        except smtplib.SMTPNotSupportedError as error:
            raise NotificationRefused(f"{shown}: {_said(error)}") from error
        except (smtplib.SMTPException, OSError) as error:
            if is_about_tls(error):
                raise NotificationRefused(f"TLS with {shown} failed: {_said(error)}") from error
            raise NotificationDelayed(f"{shown} cannot be reached: {_said(error)}") from error
        self._check_recipients(refused)

    def _send(self, mail: EmailMessage) -> Mapping[str, Any]:
        relay, limits = self._relay, self._limits
        deadline = time.monotonic() + limits.total_seconds
        server = _TlsServer(deadline, self._tls) if relay.tls else _Server(deadline)
        try:
            server.timeout = limits.connect_seconds
            code, said = server.connect(relay.host, relay.port)
            if code != 220:
                raise smtplib.SMTPConnectError(code, said)
            if relay.starttls:
                server.ehlo_or_helo_if_needed()
                server.starttls(context=self._tls)
            if relay.password:
                server.login(relay.user, relay.password)
            to = self._addresses
            refused = server.send_message(mail, to.from_address, to.to_addresses)
            server.leave()
            return refused
        finally:
            server.close()

    def _check_recipients(self, refused: Mapping[str, Any]) -> None:
        """Raise what the worst of the refusals asks for: those that may pass come first."""
        for who, (code, said) in sorted(refused.items(), key=lambda entry: entry[1][0]):
            raise _judged(f"{self._relay.shown} answered for {one_line(who)}", code, said)


class _Server(smtplib.SMTP):
    """A connection that ends at a deadline."""

    def __init__(self, deadline: float) -> None:
        """Connect later; the name we give is found without asking a name server."""
        name = socket.gethostname()
        super().__init__(local_hostname=name if "." in name else "[127.0.0.1]")
        self._deadline = deadline

    def connect(self, host: str = "localhost", port: int = 0, source_address: Any = None) -> Any:
        """Connect, for certificates to the name as well as to the address."""
        self._host = host  # what TLS checks; the constructor sets it only where it connects itself
        return super().connect(host, port, source_address)

    def getreply(self) -> tuple[int, bytes]:
        """Read an answer, of bounded length and before the deadline."""
        if self.file is None:
            self.file: Any = _Answers(self.sock, self._deadline)
        return super().getreply()

    def send(self, s: Any) -> None:
        """Send before the deadline."""
        if self.sock is not None:
            self.sock.settimeout(_seconds_left(self._deadline))
        super().send(s)

    def leave(self) -> None:
        """Say goodbye: whatever comes of it, the mail is taken."""
        try:
            self.quit()
        except (smtplib.SMTPException, OSError):
            self.close()


class _TlsServer(_Server, smtplib.SMTP_SSL):
    """The same, with TLS from the first byte."""

    def __init__(self, deadline: float, context: ssl.SSLContext) -> None:
        super().__init__(deadline)
        self.context = context


class _Answers:
    """The lines that a server sends, as `smtplib` reads them."""

    def __init__(self, link: Any, deadline: float) -> None:
        self._link = link
        self._deadline = deadline
        self._held = b""
        self._taken = 0

    def readline(self, limit: int) -> bytes:
        while b"\n" not in self._held and len(self._held) < limit:
            self._link.settimeout(_seconds_left(self._deadline))
            read = self._link.recv(READ_BYTES)
            self._taken += len(read)
            if self._taken > ANSWERS_BYTES_MAX:
                raise OSError(f"its answers are longer than {ANSWERS_BYTES_MAX} bytes")
            if not read:
                break
            self._held += read
        end = min(self._held.find(b"\n") + 1 or len(self._held), limit)
        line, self._held = self._held[:end], self._held[end:]
        return line

    def close(self) -> None:
        """The connection is closed on its own."""


def _seconds_left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("the exchange took too long")
    return left


def _judged(what: str, code: int, said: bytes | str) -> NotificationDelayed | NotificationRefused:
    words = said.decode("utf-8", "replace") if isinstance(said, bytes) else said
    kind = NotificationRefused if 500 <= code < 600 else NotificationDelayed
    return kind(f"{what} {code} {one_line(words)}".rstrip())


def _said(error: Exception) -> str:
    return one_line(str(error) or type(error).__name__)
