"""The webhook against servers and name servers that mean no good: bounded, and with a reason."""

from __future__ import annotations

import hmac
import json
import logging
import os
import ssl
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.histories import START
from support.http_server import (
    Behaviour,
    HttpServer,
    answer,
    closed,
    endless_chunks,
    endless_headers,
    endless_hints,
    garbage,
    huge_body,
    reset,
    silent,
    slow_body,
    slow_headers,
)
from support.notices import notification
from support.rabbit_tls import Certificates, make_certificates

from warrener.adapters.clock import VirtualClock
from warrener.adapters.notify_webhook import Limits, WebhookNotifier, resolve, signature
from warrener.adapters.notify_webhook_url import target_of
from warrener.domain.errors import NotificationDelayed, NotificationRefused

SECRET = "a secret of sixteen characters"
LIMITS = Limits(resolve_seconds=1, connect_seconds=1, status_seconds=1, answer_seconds=0.5)
BOUND_SECONDS = 8.0  # far above all limits together, for a busy machine
NAME = "hooks.example.com"


def at(*addresses: str) -> Any:
    """Return a resolver that always gives these addresses."""
    return lambda _host, _port: list(addresses)


def notifier(
    port: int,
    *,
    url: str = "http://{name}:{port}/in-the-path?token=in-the-url",
    **given: Any,
) -> WebhookNotifier:
    target = target_of(url.format(name=NAME, port=port), plain=True)
    options = {"resolver": at("127.0.0.1"), "private": True, "limits": LIMITS, **given}
    return WebhookNotifier(target, SECRET, VirtualClock(START), **options)


@contextmanager
def bounded() -> Iterator[None]:
    begun = time.monotonic()
    yield
    assert time.monotonic() - begun < BOUND_SECONDS


# --- what is sent -------------------------------------------------------------------------------


def test_a_notification_is_posted_as_signed_json_to_the_name() -> None:
    told = notification(labels={"team": "red"}, form={"type": "object"})
    with HttpServer(answer(204)) as server:
        notifier(server.port).tell(told)

    (request,) = server.requests
    body = json.loads(request.body)
    at_text, given = request.headers["warrener-signature"].split(",")
    signed = f"{int(START.timestamp())}.".encode() + request.body
    assert request.line == "POST /in-the-path?token=in-the-url HTTP/1.1"
    assert request.headers["host"] == f"{NAME}:{server.port}"
    assert request.headers["content-type"] == "application/json"
    assert request.headers["warrener-id"] == body["id"] == str(told.id)
    assert request.headers["warrener-event"] == body["event"] == "user_action.requested"
    assert at_text == f"t={int(START.timestamp())}"
    assert given == "v1=" + hmac.new(SECRET.encode(), signed, sha256).hexdigest()
    assert (body["labels"], body["form"]) == ({"team": "red"}, {"type": "object"})


def test_the_same_notification_has_the_same_id_at_every_try() -> None:
    with HttpServer(answer(500), answer(200)) as server:
        sender = notifier(server.port)
        with pytest.raises(NotificationDelayed):
            sender.tell(notification())
        sender.tell(notification())

    assert len({request.headers["warrener-id"] for request in server.requests}) == 1


def test_the_signature_covers_time_and_body() -> None:
    made = {
        signature("s" * 16, 1, b"a"),
        signature("s" * 16, 2, b"a"),
        signature("s" * 16, 1, b"b"),
    }

    assert len(made) == 3


# --- what the status says -----------------------------------------------------------------------


@pytest.mark.parametrize("status", [200, 201, 202, 204])
def test_a_status_of_2xx_says_that_it_was_taken(status: int) -> None:
    with HttpServer(answer(status)) as server:
        notifier(server.port).tell(notification())


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 599])
def test_trouble_on_the_other_side_is_worth_another_try(status: int) -> None:
    with HttpServer(answer(status)) as server, pytest.raises(NotificationDelayed) as raised:
        notifier(server.port).tell(notification())

    assert f"answered {status}" in str(raised.value)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 413, 422])
def test_a_refusal_is_not_tried_again(status: int) -> None:
    with HttpServer(answer(status)) as server, pytest.raises(NotificationRefused) as raised:
        notifier(server.port).tell(notification())

    assert f"answered {status}" in str(raised.value)


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("17", 17.0),
        ("Fri, 02 Jan 2026 03:05:05 GMT", 60.0),
        ("Fri, 02 Jan 2026 03:00:00 GMT", 0.0),
        ("99999999999999999999", 9_999_999_999.0),
        ("-5", None),
        ("soon", None),
        ("nan", None),
        ("", None),
    ],
)
def test_what_retry_after_asks_for_is_handed_on(said: str, seconds: float | None) -> None:
    with (
        HttpServer(answer(503, Retry_After=said)) as server,
        pytest.raises(NotificationDelayed) as raised,
    ):
        notifier(server.port).tell(notification())

    assert raised.value.after == seconds


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_refused_and_not_followed(status: int) -> None:
    with HttpServer() as trap:
        inside = f"http://127.0.0.1:{trap.port}/secret"
        with (
            HttpServer(answer(status, Location=inside)) as server,
            pytest.raises(NotificationRefused, match="redirects are not followed"),
        ):
            notifier(server.port).tell(notification())

    assert trap.connections == 0


# --- servers that mean no good ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        (silent, "did not answer within 1 s"),
        (slow_headers, "did not answer within 1 s"),
        (endless_hints, "did not answer within 1 s"),
        (endless_headers, "cannot be reached"),
        (garbage, "cannot be reached"),
        (reset, "cannot be reached"),
        (closed, "cannot be reached"),
    ],
)
def test_an_answer_that_never_comes_is_given_up_in_time(behaviour: Behaviour, reason: str) -> None:
    with (
        HttpServer(behaviour) as server,
        bounded(),
        pytest.raises(NotificationDelayed, match=reason) as raised,
    ):
        notifier(server.port).tell(notification())

    assert "\x1b" not in str(raised.value)


@pytest.mark.parametrize("behaviour", [slow_body, huge_body, endless_chunks])
def test_the_rest_of_an_answer_is_cut_off_and_decides_nothing(behaviour: Behaviour) -> None:
    with HttpServer(behaviour) as server, bounded():
        notifier(server.port).tell(notification())

    assert server.connections == 1


@pytest.mark.parametrize("behaviour", [huge_body, endless_chunks])
def test_a_long_answer_is_cut_off_by_its_size_and_not_only_in_time(behaviour: Behaviour) -> None:
    patient = Limits(answer_seconds=10 * BOUND_SECONDS)
    with HttpServer(behaviour) as server, bounded():
        notifier(server.port, limits=patient).tell(notification())


def test_a_server_that_takes_nothing_is_given_up_in_time() -> None:
    listener = HttpServer()  # nobody accepts: what is sent fills the buffers and no more
    with bounded(), pytest.raises(NotificationDelayed, match="did not answer"):
        notifier(listener.port).tell(notification(message="x" * 20_000_000))
    listener.__exit__()


def test_nobody_listening_is_worth_another_try() -> None:
    with HttpServer() as server:
        port = server.port

    with bounded(), pytest.raises(NotificationDelayed, match="cannot be reached"):
        notifier(port).tell(notification())


def test_an_error_of_the_server_is_over_with_the_next_try() -> None:
    with HttpServer(answer(500), answer(200)) as server:
        with pytest.raises(NotificationDelayed):
            notifier(server.port).tell(notification())
        notifier(server.port).tell(notification())

    assert server.connections == 2


# --- names and addresses ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("127.0.0.1", "loopback"),
        ("10.1.2.3", "private"),
        ("169.254.169.254", "link-local"),
        ("::1", "loopback"),
        ("::ffff:127.0.0.1", "IPv4-mapped"),
        ("64:ff9b::7f00:1", "NAT64"),
        ("100.64.0.1", "CGNAT"),
        ("fe80::1%eth0", "one link"),
    ],
)
def test_a_name_that_leads_inside_is_refused_before_a_connection(address: str, why: str) -> None:
    with HttpServer() as server, pytest.raises(NotificationRefused, match=NAME) as raised:
        notifier(server.port, private=False, resolver=at(address)).tell(notification())

    assert why in str(raised.value)
    assert server.connections == 0


def test_one_address_inside_refuses_all() -> None:
    posted: list[httpx.Request] = []
    sender = notifier(
        80, private=False, resolver=at("93.184.216.34", "127.0.0.1"), transport=kept(posted)
    )

    with pytest.raises(NotificationRefused, match=r"127\.0\.0\.1, which is loopback"):
        sender.tell(notification())

    assert posted == []


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "2130706433", "0x7f.1", "127.1", "[::1]", "[::ffff:7f00:1]", "localhost"]
)
def test_loopback_is_refused_however_it_is_written(host: str) -> None:
    with HttpServer() as server:
        url = f"http://{host}:{server.port}/"
        sender = notifier(server.port, url=url, private=False, resolver=resolve)
        with pytest.raises(NotificationRefused, match=r"loopback|IPv4-mapped"):
            sender.tell(notification())

    assert server.connections == 0


def test_what_clouds_tell_their_machines_is_refused_even_where_private_is_allowed() -> None:
    with pytest.raises(NotificationRefused, match="link-local: no webhook can be there"):
        notifier(80, resolver=at("169.254.169.254")).tell(notification())


def kept(requests: list[httpx.Request]) -> Any:
    """Return a transport that keeps requests instead of sending them."""

    def handle(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return httpx.Response(200, stream=httpx.ByteStream(b""))

    return lambda _tls: httpx.MockTransport(handle)


def test_a_name_is_resolved_once_and_the_checked_address_is_connected_to() -> None:
    posted: list[httpx.Request] = []
    answers = iter([["93.184.216.34"], ["127.0.0.1"]])
    asked: list[str] = []

    def rebinding(host: str, _port: int) -> Sequence[str]:
        asked.append(host)
        return next(answers)

    url = "https://hooks.example.com/hook"
    sender = notifier(0, url=url, private=False, resolver=rebinding, transport=kept(posted))
    sender.tell(notification())
    with pytest.raises(NotificationRefused, match="loopback"):
        sender.tell(notification())

    (request,) = posted
    assert asked == [NAME, NAME]
    assert request.url == "https://93.184.216.34/hook"
    assert request.headers["host"] == NAME
    assert request.extensions["sni_hostname"] == NAME


def test_the_second_answer_of_a_rebinding_name_server_is_not_asked_for() -> None:
    with HttpServer(address="127.0.0.2") as trap, HttpServer(port=trap.port) as server:
        answers = iter([["127.0.0.1"], ["127.0.0.2"]])
        notifier(server.port, resolver=lambda *_: next(answers)).tell(notification())

    assert (server.connections, trap.connections) == (1, 0)


def test_the_next_address_is_tried_if_nobody_listens_at_the_first() -> None:
    with HttpServer() as server:
        notifier(server.port, resolver=at("127.0.0.9", "127.0.0.1")).tell(notification())

    assert server.connections == 1


@pytest.mark.parametrize("fails", [OSError("no such name"), TimeoutError()])
def test_a_name_that_cannot_be_resolved_is_worth_another_try(fails: Exception) -> None:
    def resolver(*_: object) -> Sequence[str]:
        raise fails

    with pytest.raises(NotificationDelayed, match="cannot be resolved"):
        notifier(80, resolver=resolver).tell(notification())


def test_a_name_server_that_never_answers_is_given_up_in_time() -> None:
    release = threading.Event()

    def stuck(*_: object) -> Sequence[str]:
        release.wait(60)
        return []

    with bounded(), pytest.raises(NotificationDelayed, match="not resolved after 1 s"):
        notifier(80, resolver=stuck).tell(notification())
    release.set()


def test_a_name_without_addresses_is_no_address() -> None:
    with pytest.raises(NotificationDelayed, match="has no address"):
        notifier(80, resolver=at()).tell(notification())


def test_proxies_of_the_environment_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    with HttpServer() as proxy, HttpServer() as server:
        for variable in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(variable, f"http://127.0.0.1:{proxy.port}")
        monkeypatch.delenv("NO_PROXY", raising=False)
        notifier(server.port).tell(notification())

    assert (proxy.connections, server.connections) == (0, 1)


# --- TLS ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("tls"))


def server_tls(certificates: Certificates) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.server_certificate, certificates.server_key)
    return context


def trusting(authority: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(authority))


def test_a_certificate_of_the_name_is_accepted_at_the_address(certificates: Certificates) -> None:
    names: list[str] = []
    context = server_tls(certificates)
    context.sni_callback = lambda _link, name, _context: names.append(name)
    with HttpServer(tls=context) as server:
        url = f"https://localhost:{server.port}/"
        tls = trusting(certificates.authority)
        notifier(0, url=url, tls=tls).tell(notification())

    assert server.requests[0].headers["host"] == f"localhost:{server.port}"
    assert names == ["localhost"]


def test_a_certificate_of_another_name_is_refused(certificates: Certificates) -> None:
    with HttpServer(tls=server_tls(certificates)) as server, bounded():
        tls = trusting(certificates.authority)
        with pytest.raises(NotificationRefused, match=r"TLS with .* failed.*certificate"):
            notifier(server.port, url="https://{name}:{port}/", tls=tls).tell(notification())

    assert server.requests == []


def test_a_certificate_of_an_unknown_authority_is_refused(certificates: Certificates) -> None:
    with (
        HttpServer(tls=server_tls(certificates)) as server,
        bounded(),
        pytest.raises(NotificationRefused, match="certificate verify failed"),
    ):
        notifier(0, url=f"https://localhost:{server.port}/").tell(notification())

    assert server.requests == []


def test_a_server_without_tls_is_refused() -> None:
    with (
        HttpServer(garbage) as server,
        bounded(),
        pytest.raises((NotificationRefused, NotificationDelayed), match=NAME),
    ):
        notifier(server.port, url="https://{name}:{port}/").tell(notification())


def test_a_server_that_lets_tls_wait_is_given_up_in_time() -> None:
    listener = HttpServer()  # nobody accepts
    with bounded(), pytest.raises(NotificationDelayed):
        notifier(listener.port, url="https://{name}:{port}/").tell(notification())
    listener.__exit__()


# --- secrets ------------------------------------------------------------------------------------


@pytest.mark.parametrize("behaviour", [answer(200), answer(400), answer(302), silent, garbage])
def test_neither_secret_nor_url_is_said_or_logged(
    behaviour: Behaviour, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    said = ""
    with HttpServer(behaviour) as server:
        try:
            notifier(server.port).tell(notification())
        except (NotificationRefused, NotificationDelayed) as error:
            said = str(error)

    everything = said + caplog.text
    for secret in (SECRET, "in-the-url", "in-the-path", "v1="):
        assert secret not in everything


def test_the_clock_that_signs_is_the_one_that_is_given() -> None:
    clock = VirtualClock(START)
    with HttpServer() as server:
        target = target_of(f"http://{NAME}:{server.port}/", plain=True)
        sender = WebhookNotifier(
            target, SECRET, clock, private=True, resolver=at("127.0.0.1"), limits=LIMITS
        )
        clock.advance(timedelta(hours=1).total_seconds())
        sender.tell(notification())

    later = int(START.timestamp()) + 3600
    assert server.requests[0].headers["warrener-signature"].startswith(f"t={later},")


def test_no_thread_or_descriptor_is_left_behind() -> None:
    with HttpServer() as server:
        sender = notifier(server.port)
        sender.tell(notification())
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(20):
            sender.tell(notification())
        after = len(os.listdir("/proc/self/fd"))

    assert after <= before + 5
