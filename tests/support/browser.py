"""A real browser for tests of pages: one headless Chromium a test module, a page a test.

A page fails its test if anything goes wrong in it that no user may see: an error or a warning on
its console, an exception of a script, a dialog, and any request that leaves it.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Request, sync_playwright

PROGRAM = os.environ.get("WARRENER_TEST_CHROMIUM") or shutil.which("chromium")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-dev-shm-usage",  # which is small in containers
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
TIMEOUT_MILLISECONDS = 15_000
PICTURES = Path(__file__).parents[2] / "build" / "pictures"
_REFUSED = re.compile(r"status of 4\d\d")
WIDE, NARROW = {"width": 1280, "height": 900}, {"width": 390, "height": 844}


class Watched:
    """What must not happen in a page, as it happens. `allowed` are the starts of good addresses."""

    def __init__(self, page: Page) -> None:
        self.faults: list[str] = []
        self.requests: list[str] = []
        self.allowed: tuple[str, ...] = ("file:", "data:", "about:")
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.faults.append(f"exception: {error}"))
        page.on("dialog", self._dialog)
        page.on("request", self._request)

    def forgive_refusals(self) -> None:
        """Take no offence at requests that were refused so far, as they were to be."""
        self.faults = [each for each in self.faults if not _REFUSED.search(each)]

    def _console(self, message: Any) -> None:
        if message.type in {"error", "warning"}:
            self.faults.append(f"console: {message.text}")

    def _dialog(self, dialog: Any) -> None:
        self.faults.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def _request(self, request: Request) -> None:
        self.requests.append(request.url)
        if not request.url.startswith(self.allowed):
            self.faults.append(f"request: {request.url}")


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Give a Chromium that has nothing of any user's, and nothing kept from before.

    It ends with its module: an event loop runs in this thread as long, and tests have their own.
    """
    assert PROGRAM, "chromium is missing: apt install chromium"
    home = tmp_path_factory.mktemp("chromium")
    environment = {**os.environ, "HOME": str(home), "XDG_CONFIG_HOME": str(home)}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=PROGRAM, headless=True, args=ARGUMENTS, env=environment
        )
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """Give an empty page of a context of its own; `watched(page)` tells what happened in it."""
    context = browser.new_context(viewport=WIDE)  # type: ignore[arg-type]
    context.set_default_timeout(TIMEOUT_MILLISECONDS)
    made = context.new_page()
    found = _WATCHED[made] = Watched(made)
    yield made
    del _WATCHED[made]
    context.close()
    assert found.faults == [], found.faults


_WATCHED: dict[Page, Watched] = {}


def watched(page: Page) -> Watched:
    """Return what happens in a page."""
    return _WATCHED[page]


def is_wider_than_its_window(page: Page) -> bool:
    """Say whether a page has to be scrolled sideways."""
    wide: bool = page.evaluate(
        "document.documentElement.scrollWidth > document.documentElement.clientWidth"
    )
    return wide


def picture(page: Page, name: str) -> None:
    """Take a picture of a whole page and keep it where people find it after the run."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=PICTURES / f"{name}.png", full_page=True)
