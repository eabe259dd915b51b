"""Mail servers for tests: a real one that keeps what it takes, and one that follows a script."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import SMTP as SMTP_POLICY
from typing import Any, Self

from aiosmtpd.smtp import SMTP, AuthResult
from support.http_server import Behaviour, Connection, HttpServer

USER, PASSWORD = "warrener", "hunter2"


@dataclass
class Mail:
    """A mail as the server took it."""

    sender: str
    recipients: list[str]
    message: EmailMessage
    secured: bool  # by TLS
    user: str | None

    @property
    def text(self) -> str:
        """What it says, with plain ends of lines."""
        return str(self.message.get_content()).replace("\r\n", "\n")


@dataclass
class Handler:
    """Keeps mails; refuses recipients as it is told."""

    mails: list[Mail] = field(default_factory=list)
    refusals: dict[str, str] = field(default_factory=dict)

    async def handle_RCPT(  # noqa: N802
        self, server: Any, session: Any, envelope: Any, address: str, options: Any
    ) -> str:
        if address in self.refusals:
            return self.refusals[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
        message = message_from_bytes(envelope.content, policy=SMTP_POLICY)
        secured = server.transport.get_extra_info("ssl_object") is not None
        mail = Mail(envelope.mail_from, envelope.rcpt_tos, message, secured, session.auth_data)
        self.mails.append(mail)
        return "250 taken"


class MailServer:
    """A mail server on a port of its own, in a thread of its own."""

    def __init__(
        self,
        *,
        tls: ssl.SSLContext | None = None,
        starttls: ssl.SSLContext | None = None,
        auth: bool = False,
        address: str = "127.0.0.1",
    ) -> None:
        self._address = address
        self.handler = Handler()
        self.port = 0
        self._tls = tls
        self._options: dict[str, Any] = {"tls_context": starttls, "hostname": "test"}
        if auth:
            self._options["authenticator"] = _authenticate
            self._options["auth_require_tls"] = tls is None
            self._options["auth_required"] = True
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    @property
    def mails(self) -> list[Mail]:
        return self.handler.mails

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._server.close)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    async def _listen(self) -> None:
        self._server = await asyncio.get_running_loop().create_server(
            lambda: SMTP(self.handler, loop=self._loop, **self._options),
            self._address,
            0,
            ssl=self._tls,
        )
        self.port = self._server.sockets[0].getsockname()[1]


def _authenticate(
    server: Any, session: Any, envelope: Any, mechanism: str, data: Any
) -> AuthResult:
    fine = (data.login, data.password) == (USER.encode(), PASSWORD.encode())
    return AuthResult(success=fine, handled=False, auth_data=USER)


class ScriptedMailServer(HttpServer):
    """Sends what a behaviour sends; reads nothing first, for mail servers speak first."""

    def __init__(self, behaviour: Behaviour) -> None:
        super().__init__(behaviour, reads=False)


def dialogue(*answers: bytes) -> Behaviour:
    """Greet with the first answer, and give the others to one command each."""

    def behave(connection: Connection) -> None:
        connection.send(answers[0])
        with connection.link.makefile("rb") as commands:
            for said in answers[1:]:
                connection.heard.append(commands.readline())
                connection.send(said)
            while line := commands.readline():
                connection.heard.append(line)

    return behave


def heard(server: HttpServer) -> Sequence[bytes]:
    """Return all that was said to a scripted server."""
    return [line for connection in server.served for line in connection.heard]
