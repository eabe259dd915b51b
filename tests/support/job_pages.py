"""The page of a job in a browser: on jobs that run in processes, served by the real service."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from playwright.sync_api import Page, expect
from support.browser import watched
from support.daemons import Daemons
from support.endpoints_page import HOSTILE
from support.log_checks import eventually
from support.web import Served, served, settings_of

ENDPOINTS = Path(__file__).parent / "endpoints_page.py"
SOON = 20_000  # milliseconds
PART = {
    "job": "part",
    "steps": {"one": {"call": "page.echo", "with": {"value": 1}}, "two": {"set": {"a": 1}}},
}


def gate(name: str, **more: Any) -> dict[str, Any]:
    """Return a step that waits for a file."""
    return {"call": "page.wait", "with": {"folder": "${{ params.folder }}", "name": name}, **more}


def need(name: str, **more: Any) -> dict[str, Any]:
    """Return a step that fails unless there is a file."""
    found = {"folder": "${{ params.folder }}", "name": name}
    return {"call": "page.need", "with": found, "retry": [{"max": 1}], **more}


MANY = {
    "first": gate("first"),
    "each": {
        "for_each": "${{ [0, 1, 2, 3, 4, 5, 6, 7] }}",
        "call": "page.echo",
        "with": {"value": "${{ item }}"},
        "after": ["first"],
    },
    "parts": {"for_each": "${{ [1, 2, 3] }}", "job": "part", "after": ["first"]},
    "last": gate("last", after=["each", "parts"]),
}
ODD = {
    "large": {"call": "page.large"},
    "bad": need("never"),
    "below": {"job": "part", "after": ["large"]},
    "tidy": {"set": {"done": True}, "always": True},
}


class Runs:
    """A folder with a store that is served, and jobs that run in processes of their own."""

    def __init__(self, folder: Path, daemons: Daemons, service: Served) -> None:
        self.folder = folder
        self.service = service
        self._daemons = daemons

    def run(self, steps: dict[str, Any], *more: object) -> str:
        """Begin a job; return its id."""
        file = self.folder / f"{len(steps)}.yaml"
        top = {"job": "report", "endpoints": [str(ENDPOINTS)], "steps": steps}
        top["params"] = {"type": "object", "properties": {"folder": {"type": "string"}}}
        file.write_text(yaml.safe_dump(top, sort_keys=False))
        part = self.folder / "part.yaml"
        part.write_text(yaml.safe_dump({**PART, "endpoints": [str(ENDPOINTS)]}, sort_keys=False))
        store = f"sqlite:///{self.folder / 'jobs.db'}"
        options = ("--store", store, "--workers", 4, "--runner", "threads", "--wait-for-user")
        self._daemons.start("run", file, "--param", f"folder={self.folder}", *options, *more)
        return str(eventually(self._newest)["job"])

    def _newest(self) -> Any:
        return next(iter(self.service.get("/jobs")["items"]), None)

    def open(self, name: str) -> None:
        """Put the file there that steps wait for."""
        (self.folder / name).touch()

    def show(self, job: str) -> Any:
        """Return what the API says of a job."""
        return self.service.get(f"/jobs/{job}")

    def reaches(self, job: str, state: str) -> None:
        """Wait until a job is in a state."""
        eventually(lambda: self.show(job)["state"] == state, f"{job} {state}", 30.0)

    def url(self, job: str, rest: str = "") -> str:
        """Return the address of a job's page."""
        return f"{self.service.url}/#/jobs/{job}{rest}"


@contextmanager
def running(folder: Path) -> Iterator[Runs]:
    """Serve a store in a folder."""
    (folder / "home").mkdir()
    with ExitStack() as stack:
        service = stack.enter_context(served(settings_of(folder)))
        yield Runs(folder, stack.enter_context(Daemons(folder, {})), service)


@pytest.fixture
def runs(page: Page, tmp_path: Path) -> Iterator[Runs]:
    """Give a folder of its own; the page leaves it first, or would miss its stream loudly."""
    with running(tmp_path) as found:
        yield found
        page.goto("about:blank")


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Runs, str]]:
    """Give a job that has ended: it failed, with hostile texts wherever there are any."""
    with running(tmp_path_factory.mktemp("ended")) as found:
        job = found.run({**MANY, **ODD}, "--label", f"note={HOSTILE[:40]}")
        found.open("first")
        found.open("last")
        found.reaches(job, "failed")
        yield found, job


def visit(page: Page, runs: Runs, job: str, rest: str = "") -> None:
    """Open the page of a job."""
    watched(page).allowed = ("data:", "about:", runs.service.url)
    page.goto("about:blank")
    page.goto(runs.url(job, rest))
    page.locator("h1").get_by_text("report").wait_for()


def node(page: Page, name: str, state: str = "") -> Any:
    """Return the node of a step in the graph, in a state."""
    return page.locator(f'a.node[data-step="{name}"]{f".s-{state}" if state else ""}')


def press(page: Page, name: str) -> None:
    """Push a button of the page."""
    page.get_by_role("button", name=name, exact=True).click()


def confirm(page: Page, reason: str = "") -> None:
    """Give the reason in the dialog, and do it."""
    dialog = page.locator("dialog")
    if reason:
        dialog.get_by_label("Reason").fill(reason)
    dialog.locator("button[type=submit]").click()
    expect(dialog).to_have_count(0, timeout=SOON)


def only_refusals(page: Page) -> None:
    """Take answers of 4xx, which Chromium logs, out of what went wrong in a page."""
    page.goto("about:blank")  # no more come
    watched(page).forgive_refusals()
