"""The page for receivers of webhooks is true, and its example works."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import pytest
from support.http_server import HttpServer
from support.notices import notification

from warrener.adapters.clock import SystemClock
from warrener.adapters.notify_webhook import AGAIN, ANSWER_BYTES_MAX, Limits, WebhookNotifier
from warrener.adapters.notify_webhook import signature as signed
from warrener.adapters.notify_webhook_url import target_of
from warrener.domain.notices import KINDS, Notification
from warrener.services.notifier import Patience

PAGE = (Path(__file__).parents[2] / "ops" / "protocol" / "webhook.md").read_text("utf-8")
SECRET = "a secret of sixteen characters"


def example() -> Any:
    """Return the function on the page."""
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    names: dict[str, Any] = {}
    exec(compile(code, "webhook.md", "exec"), names)
    return names["is_from_warrener"]


def test_the_example_accepts_what_is_sent() -> None:
    with HttpServer() as server:
        target = target_of(f"http://127.0.0.1:{server.port}/", plain=True)
        WebhookNotifier(target, SECRET, SystemClock(), private=True).tell(notification())
    (request,) = server.requests

    assert example()(SECRET, request.headers["warrener-signature"], request.body)


@pytest.mark.parametrize(
    ("secret", "age", "body"),
    [(SECRET + "x", 0, b"{}"), (SECRET, 301, b"{}"), (SECRET, -301, b"{}"), (SECRET, 0, b"{ }")],
)
def test_the_example_refuses_another_secret_time_or_body(
    secret: str, age: int, body: bytes
) -> None:
    header = signed(secret, int(time.time()) - age, b"{}")

    assert not example()(SECRET, header, body)


@pytest.mark.parametrize("header", ["", "t=", "t=x,v1=y", "v1=y", "t=1", "t=²,v1=é", "=,=,", "t"])
def test_the_example_refuses_what_is_no_signature(header: str) -> None:
    assert not example()(SECRET, header, b"{}")


def test_the_example_is_short() -> None:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)

    assert len([line for line in code.splitlines() if line.strip()]) <= 15


def test_every_field_is_on_the_page() -> None:
    rows = re.findall(r"^\| (`.*?) \|", PAGE, re.MULTILINE)
    listed = {name for row in rows for name in re.findall(r"`(\w+)`", row)}

    assert listed == {*Notification.__struct_fields__, "type"}


def test_the_figures_on_the_page_are_those_of_the_program() -> None:
    patience, limits = Patience(), Limits()

    assert f"{patience.tries_max} times in all" in PAGE
    assert f"at most {patience.pause_seconds_max / 60:.0f} minutes apart" in PAGE
    assert f"2xx within {limits.status_seconds:.0f} seconds" in PAGE
    assert f"{ANSWER_BYTES_MAX // 1024} KiB are cut off" in PAGE
    assert "5xx, " + ", ".join(map(str, sorted(AGAIN))) in PAGE
    assert all(f"`{kind}`" in PAGE for kind in KINDS)
