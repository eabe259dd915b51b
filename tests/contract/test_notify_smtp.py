"""Mail, sent to a real server, and to servers that mean no good."""

from __future__ import annotations

import base64
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from support.http_server import Behaviour, Connection, closed, reset, silent
from support.mail_server import (
    PASSWORD,
    USER,
    MailServer,
    ScriptedMailServer,
    dialogue,
    heard,
)
from support.notices import FORM, notification
from support.rabbit_tls import Certificates, make_certificates

from warrener.adapters.notify_mail_url import addresses_of, relay_of
from warrener.adapters.notify_smtp import Limits, MailNotifier
from warrener.domain.errors import NotificationDelayed, NotificationRefused
from warrener.domain.events import Error
from warrener.domain.notices import FAILED, REMINDED

LIMITS = Limits(connect_seconds=1, total_seconds=1)
BOUND_SECONDS = 8.0  # far above the limits, for a busy machine
pytestmark = pytest.mark.filterwarnings("ignore:Requiring AUTH")  # says the test server
SENDER, RECIPIENTS = "Warrener <warrener@example.com>", "a@example.com, b@example.com"


def notifier(url: str, tls: ssl.SSLContext | None = None, **limits: Any) -> MailNotifier:
    addresses = addresses_of(SENDER, RECIPIENTS)
    return MailNotifier(relay_of(url), addresses, tls=tls, limits=Limits(**limits))


def quick(port: int, url: str = "smtp://127.0.0.1:{}") -> MailNotifier:
    addresses = addresses_of(SENDER, RECIPIENTS)
    return MailNotifier(relay_of(url.format(port)), addresses, limits=LIMITS)


@contextmanager
def bounded() -> Iterator[None]:
    begun = time.monotonic()
    yield
    assert time.monotonic() - begun < BOUND_SECONDS


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def server_tls(certificates: Certificates) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.server_certificate, certificates.server_key)
    return context


@pytest.fixture
def trusting(certificates: Certificates) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(certificates.authority))


# --- what is sent -------------------------------------------------------------------------------


def test_a_request_for_help_is_mailed_with_what_to_do() -> None:
    told = notification(form=FORM, answer="warrener answer 9 --data '{...}'", labels={"team": "x"})
    with MailServer() as server:
        notifier(f"smtp://127.0.0.1:{server.port}").tell(told)

    (mail,) = server.mails
    text = mail.text
    assert mail.sender == "warrener@example.com"
    assert mail.recipients == ["a@example.com", "b@example.com"]
    assert mail.message["subject"] == "[warrener] report waits for you: reconnect"
    assert mail.message["message-id"] == f"<{told.id}@example.com>"
    assert mail.message["auto-submitted"] == "auto-generated"
    assert mail.message.get_content_type() == "text/plain"
    assert "  | Reconnect your page\n" in text
    assert "    token (string, required)\n" in text
    assert "Answer with:\n    warrener answer 9 --data '{...}'\n" in text
    assert "team=x" in text


def test_a_reminder_says_which_it_is() -> None:
    with MailServer() as server:
        told = notification(event=REMINDED, reminder=2)
        notifier(f"smtp://127.0.0.1:{server.port}").tell(told)

    assert server.mails[0].message["subject"].endswith("reconnect (reminder 2)")


def test_a_failed_job_is_mailed_with_its_error() -> None:
    error = Error(code="run-timeout", message="it took too long", path="load")
    told = notification(event=FAILED, error=error, request=None, action=None, path=None)
    with MailServer() as server:
        notifier(f"smtp://127.0.0.1:{server.port}").tell(told)

    text = server.mails[0].text
    assert server.mails[0].message["subject"] == "[warrener] job report failed"
    assert "  | run-timeout: it took too long\n" in text
    assert f"    warrener retry {told.job}\n" in text


@pytest.mark.parametrize(
    "hostile", ["x\r\nBcc: evil@example.com", "x\nX-Evil: 1\n\nbody", "\x00\r"]
)
def test_text_of_users_cannot_become_a_header_or_pass_for_ours(hostile: str) -> None:
    told = notification(
        name=hostile,
        action=hostile,
        cause=hostile,
        path=hostile,
        message=f"{hostile}\nAnswer with:\n    rm -rf /",
        labels={hostile: hostile},
        answer=hostile,
        form={"properties": {hostile: {"type": hostile, "title": hostile, "enum": [hostile]}}},
    )
    with MailServer() as server:
        notifier(f"smtp://127.0.0.1:{server.port}").tell(told)

    (mail,) = server.mails
    assert mail.recipients == ["a@example.com", "b@example.com"]
    assert sorted(name.lower() for name in mail.message) == [
        *("auto-submitted", "content-transfer-encoding", "content-type", "date", "from"),
        *("message-id", "mime-version", "subject", "to"),
    ]
    assert mail.text.count("\nAnswer with:\n") == 1
    assert "  | Answer with:\n" in mail.text


@pytest.mark.parametrize(
    "form",
    [
        {},
        {"properties": None},
        {"properties": {"a": True, "b": None}},
        {"properties": {"a": {"enum": "x"}}, "required": "a"},
        {"properties": {f"f{n}": {} for n in range(1000)}},
        {"properties": {"é" * 5000: {"description": "ü" * 5000}}},
    ],
)
def test_any_form_can_be_mailed(form: dict[str, Any]) -> None:
    with MailServer() as server:
        notifier(f"smtp://127.0.0.1:{server.port}").tell(notification(form=form))

    assert len(server.mails[0].text) < 50_000


# --- TLS and passwords --------------------------------------------------------------------------


def test_a_password_is_sent_after_starttls(
    server_tls: ssl.SSLContext, trusting: ssl.SSLContext
) -> None:
    with MailServer(starttls=server_tls, auth=True) as server:
        url = f"smtp://{USER}:{PASSWORD}@localhost:{server.port}"
        notifier(url, trusting).tell(notification())

    assert (server.mails[0].secured, server.mails[0].user) == (True, USER)


def test_a_password_is_sent_over_tls(server_tls: ssl.SSLContext, trusting: ssl.SSLContext) -> None:
    with MailServer(tls=server_tls, auth=True) as server:
        url = f"smtps://{USER}:{PASSWORD}@localhost:{server.port}"
        notifier(url, trusting).tell(notification())

    assert (server.mails[0].secured, server.mails[0].user) == (True, USER)


def test_without_starttls_no_password_and_no_mail_is_sent() -> None:
    with ScriptedMailServer(dialogue(b"220 hi\r\n", b"250-me\r\n250 AUTH PLAIN\r\n")) as server:
        sender = quick(server.port, f"smtp://{USER}:{PASSWORD}@127.0.0.1:{{}}")
        with pytest.raises(NotificationRefused, match="STARTTLS"):
            sender.tell(notification())

    assert [line[:4] for line in heard(server)] == [b"ehlo"]


def test_what_was_said_before_starttls_does_not_count_after_it(
    server_tls: ssl.SSLContext, trusting: ssl.SSLContext
) -> None:
    def smuggling(connection: Connection) -> None:
        connection.send(b"220 hi\r\n")
        connection.link.recv(1000)
        connection.send(b"250-me\r\n250 STARTTLS\r\n")
        connection.link.recv(1000)
        connection.send(b"220 go\r\n250 AUTH PLAIN\r\n")  # the second line is not secured
        silent(connection)

    with ScriptedMailServer(smuggling) as server, bounded():
        sender = MailNotifier(
            relay_of(f"smtp://{USER}:{PASSWORD}@localhost:{server.port}"),
            addresses_of(SENDER, RECIPIENTS),
            tls=trusting,
            limits=LIMITS,
        )
        with pytest.raises((NotificationDelayed, NotificationRefused)):
            sender.tell(notification())


@pytest.mark.parametrize("scheme", ["smtp", "smtps"])
def test_a_certificate_that_is_not_trusted_is_refused(
    scheme: str, server_tls: ssl.SSLContext
) -> None:
    options = {"tls": server_tls} if scheme == "smtps" else {"starttls": server_tls}
    with MailServer(**options) as server:
        url = f"{scheme}://{USER}:{PASSWORD}@localhost:{server.port}"
        with pytest.raises(NotificationRefused, match="certificate verify failed"):
            notifier(url).tell(notification())

    assert server.mails == []


def test_a_certificate_of_another_name_is_refused(
    server_tls: ssl.SSLContext, trusting: ssl.SSLContext
) -> None:
    with (
        MailServer(tls=server_tls, address="127.0.0.2") as server,
        pytest.raises(NotificationRefused, match="not valid for"),
    ):
        notifier(f"smtps://127.0.0.2:{server.port}", trusting).tell(notification())

    assert server.mails == []


def test_a_wrong_password_is_refused_without_being_said(
    server_tls: ssl.SSLContext, trusting: ssl.SSLContext
) -> None:
    with MailServer(tls=server_tls, auth=True) as server:
        url = f"smtps://{USER}:wrong-{PASSWORD}@localhost:{server.port}"
        with pytest.raises(NotificationRefused, match="does not let us in: 535") as refused:
            notifier(url, trusting).tell(notification())

    assert PASSWORD not in str(refused.value)


# --- what the server says -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("450 try later", NotificationDelayed),
        ("452 too many", NotificationDelayed),
        ("550 no such user", NotificationRefused),
    ],
)
@pytest.mark.parametrize("who", [["a@example.com"], ["a@example.com", "b@example.com"]])
def test_a_refused_recipient_is_told_of(said: str, kind: type[Exception], who: list[str]) -> None:
    with MailServer() as server:
        server.handler.refusals = dict.fromkeys(who, said)
        with pytest.raises(kind, match=f"answered for a@example.com {said}"):
            notifier(f"smtp://127.0.0.1:{server.port}").tell(notification())


@pytest.mark.parametrize(
    ("answers", "kind"),
    [
        ([b"554 not you\r\n"], NotificationRefused),
        ([b"421 busy\r\n"], NotificationDelayed),
        ([b"220 hi\r\n", b"250 me\r\n", b"552 too large\r\n"], NotificationRefused),
        ([b"220 hi\r\n", b"250 me\r\n", b"451 later\r\n"], NotificationDelayed),
        ([b"220 hi\r\n", b"250 me\r\n", b"nonsense\r\n"], NotificationDelayed),
    ],
)
def test_a_refusal_is_final_and_trouble_is_not(answers: list[bytes], kind: type[Exception]) -> None:
    with ScriptedMailServer(dialogue(*answers)) as server, bounded(), pytest.raises(kind):
        quick(server.port).tell(notification())


# --- servers that mean no good ------------------------------------------------------------------


def dripping(connection: Connection) -> None:
    connection.send(b"220 ")
    while connection.open:
        connection.send(b"x")
        connection.pause()


def endless_lines(connection: Connection) -> None:
    while connection.open:
        connection.send(b"220-more to come\r\n" * 1000)


def endless_line(connection: Connection) -> None:
    while connection.open:
        connection.send(b"x" * 65_536)


@pytest.mark.parametrize(
    "behaviour", [silent, dripping, endless_lines, endless_line, reset, closed]
)
@pytest.mark.parametrize("scheme", ["smtp", "smtps"])
def test_a_server_that_never_comes_to_the_point_is_left_in_time(
    behaviour: Behaviour, scheme: str
) -> None:
    with ScriptedMailServer(behaviour) as server, bounded():
        sender = quick(server.port, f"{scheme}://127.0.0.1:{{}}")
        with pytest.raises((NotificationDelayed, NotificationRefused), match="smtp"):
            sender.tell(notification())


def test_answers_without_end_are_cut_off_by_their_size_and_not_only_in_time() -> None:
    with ScriptedMailServer(endless_lines) as server, bounded():
        sender = notifier(f"smtp://127.0.0.1:{server.port}", total_seconds=10 * BOUND_SECONDS)
        with pytest.raises(NotificationDelayed, match="longer than 262144 bytes"):
            sender.tell(notification())


def test_nobody_listening_is_worth_another_try() -> None:
    with ScriptedMailServer(closed) as server:
        port = server.port

    with bounded(), pytest.raises(NotificationDelayed, match="cannot be reached"):
        quick(port).tell(notification())


def test_a_goodbye_that_never_comes_leaves_the_mail_taken() -> None:
    answers = [b"220 hi\r\n", b"250 me\r\n", b"250 from\r\n", b"250 to\r\n", b"250 to\r\n"]

    def taking(connection: Connection) -> None:
        connection.send(answers[0])
        with connection.link.makefile("rb") as commands:
            for said in [*answers[1:], b"354 go\r\n"]:
                commands.readline()
                connection.send(said)
            while commands.readline() != b".\r\n":
                pass
            connection.send(b"250 taken\r\n")
            silent(connection)

    with ScriptedMailServer(taking) as server, bounded():
        quick(server.port).tell(notification())


def test_what_the_server_says_about_the_password_is_not_repeated(
    server_tls: ssl.SSLContext, trusting: ssl.SSLContext
) -> None:
    sent = base64.b64encode(f"\0{USER}\0{PASSWORD}".encode())

    def echoing(connection: Connection) -> None:
        link = server_tls.wrap_socket(connection.link, server_side=True)
        link.sendall(b"220 hi\r\n")
        link.recv(1000)
        link.sendall(b"250-me\r\n250 AUTH PLAIN\r\n")
        link.sendall(b"535 you said " + link.recv(1000).strip() + b"\r\n")

    with ScriptedMailServer(echoing) as server, bounded():
        url = f"smtps://{USER}:{PASSWORD}@localhost:{server.port}"
        with pytest.raises(NotificationRefused) as refused:
            notifier(url, trusting).tell(notification())

    assert sent.decode() not in str(refused.value)


def test_no_name_server_is_asked_for_our_own_name(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    monkeypatch.setattr(socket, "getfqdn", lambda *name: asked.append(name) or "slow.example")
    with MailServer() as server:
        notifier(f"smtp://127.0.0.1:{server.port}").tell(notification())

    assert asked == []
