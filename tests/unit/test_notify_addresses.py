"""Which URLs and addresses notifications may go to."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warrener.adapters.notify_addresses import refusal
from warrener.adapters.notify_mail_url import addresses_of, relay_of
from warrener.adapters.notify_webhook_url import target_of
from warrener.domain.errors import UsageError

PUBLIC = ["93.184.216.34", "8.8.8.8", "172.32.0.1", "100.128.0.1", "2606:2800:220:1::1", "2a00::1"]
INSIDE = ["127.0.0.1", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.0.1", "100.64.0.1"]
INSIDE_6 = ["::1", "fc00::1", "fd12::1", "::ffff:10.0.0.1", "64:ff9b::10.0.0.1", "2002:7f00:1::"]
NEVER = ["0.0.0.0", "169.254.169.254", "224.0.0.1", "240.0.0.1", "255.255.255.255", "192.0.2.1"]
NEVER_6 = [
    "::",
    "fe80::1",
    "fe80::1%eth0",
    "ff02::1",
    "100::1",
    "2001:db8::1",
    "2001::1",
    "4000::1",
]
NONE = ["4000::1", "64:ff9b:1::1", "x", "", "1.2.3", "1.2.3.4/8"]
CARRYING = ["::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::", "::ffff:0.0.0.0"]


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_allowed(address: str) -> None:
    assert refusal(address, private=False) is None
    assert refusal(address, private=True) is None


@pytest.mark.parametrize("address", [*INSIDE, *INSIDE_6])
def test_addresses_inside_are_allowed_only_if_the_configuration_says_so(address: str) -> None:
    assert refusal(address, private=False)
    assert refusal(address, private=True) is None


@pytest.mark.parametrize("address", [*NEVER, *NEVER_6, *CARRYING, *NONE])
def test_addresses_of_no_service_are_never_allowed(address: str) -> None:
    assert refusal(address, private=False)
    assert refusal(address, private=True)


@pytest.mark.parametrize("address", ["::ffff:8.8.8.8", "64:ff9b::8.8.8.8", "2002:808:808::"])
def test_a_public_address_in_the_clothes_of_another_is_refused(address: str) -> None:
    assert refusal(address, private=False)
    assert refusal(address, private=True) is None


@given(st.ip_addresses(v=4))
def test_what_python_holds_for_not_global_is_never_allowed(address: IPv4Address) -> None:
    if not address.is_global or address.is_multicast:
        assert refusal(str(address), private=False)


@given(st.ip_addresses(v=6))
def test_only_global_unicast_of_ipv6_is_allowed(address: IPv6Address) -> None:
    if refusal(str(address), private=False) is None:
        assert 0x2000 <= int(address) >> 112 <= 0x3FFF


# --- URLs of webhooks -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("https://user:hunter2@h.example/", "user or password"),
        ("https://hunter2@h.example/", "user or password"),
        ("http://h.example/hunter2", "WARRENER_WEBHOOK_PLAIN"),
        ("ftp://h.example/hunter2", "no https"),
        ("file:///etc/hunter2", "no https"),
        ("gopher://h.example/hunter2", "no https"),
        ("//h.example/hunter2", "no https"),
        ("h.example/hunter2", "no https"),
        ("https:///hunter2", "names no host"),
        ("https://h.example:0/hunter2", "no port 0"),
        ("https://h.example:99999/hunter2", "no port 99999"),
        ("https://h.example:x/hunter2", "cannot be read"),
        ("https://[::1/hunter2", "cannot be read"),
        ("https://h.example/hunter2 x", "space"),
        ("https://h.example/hunter2\r\nX: y", "control"),
        ("https://h.example/" + "hunter2" * 1000, "longer"),
        ("", "no https"),
    ],
)
def test_a_url_that_is_not_accepted_is_refused_without_being_shown(url: str, said: str) -> None:
    with pytest.raises(UsageError, match=said) as refused:
        target_of(url)

    assert "hunter2" not in str(refused.value)


def test_a_url_is_shown_without_path_and_query() -> None:
    target = target_of("https://Hooks.Example.com:8443/T0/secret?token=secret#secret")

    assert (target.host, target.port) == ("hooks.example.com", 8443)
    assert target.shown == "https://hooks.example.com:8443"


@pytest.mark.parametrize(
    ("host", "allowed", "fits"),
    [
        ("a.example.com", "a.example.com", True),
        ("A.Example.com", "a.example.COM", True),
        ("a.example.com.", "a.example.com", True),
        ("a.example.com", "*.example.com", True),
        ("b.a.example.com", "*.example.com", True),
        ("example.com", "*.example.com", False),
        ("badexample.com", "*.example.com", False),
        ("example.com.evil.org", "example.com", False),
        ("a.example.com.evil.org", "*.example.com", False),
        ("1.2.3.4", "*.3.4", False),
        ("1.2.3.4", "1.2.3.4", True),
        ("[2606::1]", "2606::1", True),
        ("bücher.example", "xn--bcher-kva.example", True),
    ],
)
def test_only_hosts_that_the_configuration_names_are_allowed(
    host: str, allowed: str, fits: bool
) -> None:
    if fits:
        assert target_of(f"https://{host}/", hosts=["other.example", allowed])
        return
    with pytest.raises(UsageError, match="not in WARRENER_WEBHOOK_ALLOW"):
        target_of(f"https://{host}/", hosts=["other.example", allowed])


@pytest.mark.parametrize("pattern", ["*", "*.", "a.*.com", "*example.com", "https://a.b", "a b"])
def test_a_pattern_that_means_nothing_is_refused(pattern: str) -> None:
    with pytest.raises(UsageError, match="WARRENER_WEBHOOK_ALLOW has"):
        target_of("https://a.example/", hosts=[pattern])


# --- URLs of mail servers, and addresses --------------------------------------------------------


def test_the_url_of_a_mail_server_is_taken_apart() -> None:
    relay = relay_of("smtp://us%40er:p%2Fw@mail.example:2525")

    assert (relay.host, relay.port, relay.user, relay.password) == (
        "mail.example",
        2525,
        "us@er",
        "p/w",
    )
    assert relay.shown == "smtp://mail.example:2525"


@pytest.mark.parametrize(
    ("url", "tls", "starttls", "port"),
    [
        ("smtp://h", False, False, 25),
        ("smtp://h?starttls=require", False, True, 25),
        ("smtp://u:p@h:587", False, True, 587),
        ("smtps://u:p@h", True, False, 465),
        ("smtps://[::1]:1465/", True, False, 1465),
    ],
)
def test_a_password_goes_over_tls_alone(url: str, tls: bool, starttls: bool, port: int) -> None:
    relay = relay_of(url)

    assert (relay.tls, relay.starttls, relay.port) == (tls, starttls, port)


@pytest.mark.parametrize(
    "url",
    [
        "http://u:hunter2@h",
        "smtp:hunter2",
        "smtp://",
        "smtp://u:hunter2@h:x",
        "smtp://u:hunter2@h:0",
        "smtp://u:hunter2@[::1",
        "smtp://u@h",
        "smtp://:hunter2@h",
        "smtp://u:hunter2@h/inbox",
        "smtp://u:hunter2@h?starttls=never",
        "smtp://u:hunter2@h?tls=no",
        "smtp://u:hunter2%0d%0aX@h",
        "",
    ],
)
def test_what_is_no_url_of_a_mail_server_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(UsageError, match="mail server's URL") as refused:
        relay_of(url)

    assert "hunter2" not in str(refused.value)


def test_names_and_several_recipients_are_understood() -> None:
    found = addresses_of("Warrener <w@example.com>", 'a@example.com, "B, C" <b@example.org>')

    assert found.from_address == "w@example.com"
    assert found.to_addresses == ("a@example.com", "b@example.org")
    assert found.domain == "example.com"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nobody",
        "a@",
        "@b",
        "a@b, ",
        "a@b\r\nBcc: c@d",
        "a@b\nX: y",
        "a b@c",
        "<a@b",
        "a@b c@d",
        "a@b;c@d",
        "\x00@b",
    ],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="WARRENER_MAIL_TO"):
        addresses_of("w@example.com", text)
    with pytest.raises(UsageError, match="WARRENER_MAIL_FROM"):
        addresses_of(text, "w@example.com")


def test_a_mail_has_one_sender() -> None:
    with pytest.raises(UsageError, match="one address"):
        addresses_of("a@b, c@d", "e@f")
