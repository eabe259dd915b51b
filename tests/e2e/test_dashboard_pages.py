"""The pages beside that of a job, in a real browser, on data that a real fleet makes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml
from playwright.sync_api import Locator, Page, expect
from support.axe_check import axe, serious_faults
from support.browser import (
    NARROW,
    SCHEMES,
    WIDE,
    is_wider_than_its_window,
    picture,
    pictures,
    tables_cut_off,
    watched,
)
from support.daemons import Daemons
from support.log_checks import eventually
from support.web import Served, served, settings_of

from warrener.services.client import Client
from warrener.services.settings import Settings
from warrener.services.web import hub
from warrener.services.web.routes import stream

__all__ = ["axe"]

ENDPOINTS = Path(__file__).parents[1] / "support" / "endpoints_dashboard.py"
SOON = 20_000  # milliseconds
HOSTILE = "<img src=x onerror=hit()>\u202e"
PAGES = ("jobs", "actions", "fleet", "flow")


class Dashboard:
    """A reactor and a worker behind RabbitMQ, and the service over their store."""

    def __init__(self, folder: Path, service: Served, client: Client) -> None:
        self.folder = folder
        self.service = service
        self.client = client

    def submit(self, name: str, steps: dict[str, Any], **more: Any) -> str:
        """Submit a job; return its id."""
        file = self.folder / f"{name}.yaml"
        file.write_text(
            yaml.safe_dump(
                {"job": name, "endpoints": [str(ENDPOINTS)], "steps": steps}, sort_keys=False
            )
        )
        return str(self.client.submit(str(file), {}, **more))

    def reaches(self, job: str, state: str) -> None:
        """Wait until a job is known, and in a state."""
        get = self.service.client.get
        eventually(lambda: get(f"/api/v1/jobs/{job}").json().get("state") == state, state)


@pytest.fixture(scope="module")
def dashboard(
    module_broker_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Dashboard]:
    folder = tmp_path_factory.mktemp("dashboard")
    settings: Settings = settings_of(folder, broker_url=module_broker_url)
    variables = {
        "WARRENER_STORE_URL": settings.store_url,
        "WARRENER_BROKER_URL": settings.broker_url,
    }
    with ExitStack() as stack:
        daemons = stack.enter_context(Daemons(folder, variables))
        daemons.reactor()
        daemons.worker("--endpoints", ENDPOINTS, "--threads", "--slots", 3, "--name", "w1")
        service = stack.enter_context(served(settings))
        client = stack.enter_context(Client(module_broker_url))
        yield Dashboard(folder, service, client)


WORK = {"a": {"call": "dash.work", "with": {"number": 1}}}


def visit(page: Page, dashboard: Dashboard, place: str) -> None:
    """Open a page of the dashboard, anew."""
    watched(page).allowed = ("data:", "about:", dashboard.service.url)
    page.goto("about:blank")
    page.goto(f"{dashboard.service.url}/#/{place}")
    page.locator("main h1").first.wait_for()


def card(page: Page, name: str) -> Locator:
    """Return the part of a page with a title."""
    return page.get_by_role("region", name=name, exact=True).first


# --- jobs ----------------------------------------------------------------------------------------


def test_a_job_appears_in_the_list_as_it_is_submitted_and_ends(
    page: Page, dashboard: Dashboard
) -> None:
    visit(page, dashboard, "jobs?name=appears")
    expect(page.get_by_text("No job fits these filters.")).to_be_visible()

    job = dashboard.submit("appears", WORK, labels={"team": "red", "note": HOSTILE})

    row = page.get_by_role("row").filter(has_text=job[:8])
    expect(row).to_contain_text("succeeded", timeout=SOON)
    expect(row).to_contain_text("1 / 1")
    expect(row).to_contain_text("note=<img src=x onerror=hit()>\ufffd")


def test_filters_stay_in_the_address_and_say_what_is_shown(
    page: Page, dashboard: Dashboard
) -> None:
    red = dashboard.submit("filtered", WORK, labels={"team": "scarlet"})
    blue = dashboard.submit("filtered", WORK, labels={"team": "blue"})
    dashboard.reaches(red, "succeeded")
    dashboard.reaches(blue, "succeeded")
    visit(page, dashboard, "jobs")

    page.get_by_label("Label", exact=True).fill("team=scarlet")
    page.get_by_role("combobox", name="State").select_option("succeeded")
    page.get_by_role("button", name="Show", exact=True).click()

    expect(page.get_by_role("link", name=red[:8])).to_be_visible()
    expect(page.get_by_role("link", name=blue[:8])).to_have_count(0)
    page.reload()
    expect(page.get_by_role("link", name=red[:8])).to_be_visible()
    expect(page.get_by_label("Label", exact=True)).to_have_value("team=scarlet")


def test_what_is_counted_and_listed_is_what_the_command_line_says(
    page: Page, dashboard: Dashboard
) -> None:
    for number in range(60):
        dashboard.submit("many", WORK, key=f"many-{number}")
    eventually(lambda: dashboard.service.get("/jobs/counts").keys() <= {"succeeded", "running"})
    eventually(lambda: "running" not in dashboard.service.get("/jobs/counts"), "the end of all")
    visit(page, dashboard, "jobs")
    total = dashboard.service.get("/jobs/counts")["succeeded"]
    counts = page.get_by_role("navigation", name="Jobs by state")
    expect(counts).to_contain_text(f"succeeded {total}", timeout=SOON)
    expect(page.locator("main tbody tr")).to_have_count(50)

    page.get_by_role("button", name="Show older jobs").click()

    expect(page.locator("main tbody tr")).to_have_count(min(100, total))


def test_what_is_typed_stays_while_the_list_goes_on(page: Page, dashboard: Dashboard) -> None:
    page.clock.install()
    visit(page, dashboard, "jobs")
    page.get_by_label("Name or id").fill("half a na")

    page.clock.run_for(5_000)  # times of open jobs are drawn anew every second

    expect(page.get_by_label("Name or id")).to_have_value("half a na")


def test_an_id_typed_in_leads_to_its_job(page: Page, dashboard: Dashboard) -> None:
    job = dashboard.submit("typed", WORK)
    dashboard.reaches(job, "succeeded")
    visit(page, dashboard, "jobs")

    page.get_by_label("Name or id").fill(job[:8])
    page.keyboard.press("Enter")

    page.locator("h1").get_by_text("typed").wait_for()


# --- user actions --------------------------------------------------------------------------------


def test_a_request_is_answered_by_its_form_with_the_keyboard_alone(
    page: Page, dashboard: Dashboard
) -> None:
    visit(page, dashboard, "actions")
    steps = {"ask": {"call": "dash.ask", "with": {"cause": "account:ada"}}}
    job = dashboard.submit("asks", steps)
    request = page.get_by_role("article").filter(has_text="account:ada")
    expect(request).to_contain_text("Connect <i>again</i>, \ufffdplease", timeout=SOON)
    expect(page.get_by_role("navigation", name="Pages")).to_contain_text("User actions1 open")

    pictures(page, "actions-open")

    request.get_by_role("button", name="Answer").focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    pictures(page, "actions-answer")
    dialog.get_by_label("Access token").focus()
    page.keyboard.type("s3cret")
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    dialog.get_by_label("more").fill('["a", "b"]')
    dialog.get_by_label("again").select_option("yes")
    dialog.get_by_role("button", name="Send the answer").focus()
    page.keyboard.press("Enter")

    expect(dialog).to_have_count(0, timeout=SOON)
    expect(page.get_by_text("No job waits for a person.")).to_be_visible(timeout=SOON)
    dashboard.reaches(job, "succeeded")
    answer = dashboard.service.get(f"/jobs/{job}")["steps"]["ask"]["result"]
    assert answer == {
        "token": "s3cret",
        "network": "<b>twitter</b>",
        "days": 7,
        "again": True,
        "more": ["a", "b"],
    }


def test_an_answer_that_does_not_fit_is_refused_in_the_dialog_and_loses_nothing(
    page: Page, dashboard: Dashboard
) -> None:
    steps = {"ask": {"call": "dash.ask", "with": {"cause": "account:bob"}}}
    job = dashboard.submit("refused", steps)
    visit(page, dashboard, "actions")
    request = page.get_by_role("article").filter(has_text="account:bob")
    request.get_by_role("button", name="Answer").click(timeout=SOON)
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Access token").fill("kept")
    dialog.get_by_label("network").select_option(index=1)
    dialog.get_by_label("more").fill("[1]")

    dialog.get_by_role("button", name="Send the answer").click()

    expect(dialog.get_by_role("alert")).to_contain_text("string", timeout=SOON)
    watched(page).forgive_refusals()
    expect(dialog.get_by_label("Access token")).to_have_value("kept")
    dialog.get_by_label("more").fill("")
    dialog.get_by_role("button", name="Send the answer").click()
    expect(dialog).to_have_count(0, timeout=SOON)
    dashboard.reaches(job, "succeeded")


# --- fleet and flow ------------------------------------------------------------------------------


def test_the_fleet_shows_workers_with_their_slots_and_beats(
    page: Page, dashboard: Dashboard
) -> None:
    visit(page, dashboard, "fleet")

    row = card(page, "Workers").get_by_role("row").filter(has_text="w1")
    expect(row).to_contain_text("of 3 busy", timeout=SOON)
    expect(row).to_contain_text("ago")
    expect(card(page, "Queues").get_by_role("row").filter(has_text="default")).to_contain_text("3")
    expect(card(page, "Endpoints")).to_contain_text("dash.work")


def test_a_limit_is_set_and_changed_on_the_page_of_the_flow(
    page: Page, dashboard: Dashboard
) -> None:
    visit(page, dashboard, "flow")
    page.get_by_role("button", name="Set a limit").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Name").fill("@job:capped")
    dialog.get_by_label("Slots").fill("2")
    dialog.get_by_label("Why").fill(HOSTILE)
    dialog.get_by_role("button", name="Change it").click()

    row = card(page, "Limits").get_by_role("row").filter(has_text="@job:capped")
    expect(row).to_contain_text("2", timeout=SOON)
    expect(row).to_contain_text("<img src=x onerror=hit()>\ufffd")
    row.get_by_role("button", name="Change @job:capped").click()
    expect(dialog.get_by_label("Slots")).to_have_value("2")
    dialog.get_by_label("Slots").fill("5")
    dialog.get_by_role("button", name="Change it").click()

    expect(row.get_by_role("cell").nth(1)).to_have_text("5", timeout=SOON)
    assert dashboard.service.get("/limits/@job:capped")["slots"] == 5


def test_an_incident_of_starvation_appears_with_its_cause_and_goes_when_it_is_cured(
    page: Page, dashboard: Dashboard
) -> None:
    visit(page, dashboard, "flow")
    page.get_by_role("button", name="Change", exact=True).click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Steps starve after").fill("1")
    dialog.get_by_label("Starvation").select_option("observe")
    dialog.get_by_role("button", name="Change it").click()
    expect(card(page, "What is set")).to_contain_text("after 1.00 s", timeout=SOON)

    dashboard.service.send("PUT", "/limits/narrow", {"slots": 0})
    limits = [{"name": "narrow", "slots": 9}]
    job = dashboard.submit("starves", {"a": {**WORK["a"], "limits": limits}})

    starvation = card(page, "Starvation")
    expect(starvation).to_contain_text("slots-full", timeout=SOON)
    expect(starvation).to_contain_text("default: starves/a")
    pictures(page, "flow-starvation")
    row = card(page, "Limits").get_by_role("row").filter(has_text="narrow")
    row.get_by_role("button", name="Change narrow").click(timeout=SOON)
    dialog.get_by_label("Slots").fill("3")
    dialog.get_by_role("button", name="Change it").click()
    dashboard.reaches(job, "succeeded")
    expect(starvation).to_contain_text("Nobody starves.", timeout=SOON)
    starvation.get_by_label("ended ones, too").check()
    expect(starvation).to_contain_text("slots-full", timeout=SOON)


# --- who may, and how it looks -------------------------------------------------------------------


def test_with_tokens_one_signs_in_and_sees_what_the_role_may(page: Page, tmp_path: Path) -> None:
    with served(settings_of(tmp_path)) as service:
        token = service.token("vera", "viewer")
        watched(page).allowed = ("data:", "about:", service.url)
        page.goto(service.url)
        page.get_by_label("Token").fill("wrong")
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_role("alert")).to_be_visible()
        watched(page).forgive_refusals()

        page.get_by_label("Token").fill(token)
        page.get_by_role("button", name="Sign in").click()

        expect(page.get_by_text("vera (viewer)")).to_be_visible()
        page.get_by_role("link", name="Flow").click()
        expect(page.get_by_role("button", name="Set a limit")).to_be_disabled()
        page.get_by_role("button", name="Sign out").click()
        expect(page.get_by_label("Token")).to_be_visible()
        watched(page).forgive_refusals()


def test_an_open_page_asks_for_a_token_again_once_its_session_is_over(
    page: Page, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "HEARTBEAT_SECONDS", 0.1)
    monkeypatch.setattr(stream, "CHECK_SECONDS", 0.0)
    with served(settings_of(tmp_path)) as service:
        tokens = {name: service.token(name, "viewer") for name in ("vera", "otto")}
        watched(page).allowed = ("data:", "about:", service.url)
        page.goto(service.url)
        for name, text in tokens.items():
            page.get_by_label("Token").fill(text, timeout=SOON)
            page.get_by_role("button", name="Sign in").click()
            expect(page.get_by_text(f"{name} (viewer)")).to_be_visible()
            expect(page.get_by_text("live", exact=True)).to_be_visible(timeout=SOON)
            watched(page).forgive_refusals()

            service.parts.tokens.remove("vera")


def test_the_page_to_sign_in_fits_its_window_and_axe_finds_no_serious_fault(
    page: Page, axe: str, tmp_path: Path
) -> None:
    with served(settings_of(tmp_path)) as service:
        service.token("vera", "viewer")
        watched(page).allowed = ("data:", "about:", service.url)
        page.goto(service.url)
        page.get_by_label("Token").wait_for()
        pictures(page, "login")
        for scheme in SCHEMES:
            page.emulate_media(color_scheme=scheme)
            assert serious_faults(page, axe) == []
        watched(page).forgive_refusals()
        page.goto("about:blank")


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
def test_pages_fit_their_window_and_axe_finds_no_serious_fault(
    page: Page, dashboard: Dashboard, axe: str, scheme: Any, size: Any
) -> None:
    watched(page).allowed = ("data:", "about:", dashboard.service.url)
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size(size)
    faults: list[str] = []
    for name in PAGES:
        page.goto("about:blank")
        page.goto(f"{dashboard.service.url}/#/{name}")
        page.locator("main h1").wait_for()
        expect(page.get_by_text("live", exact=True)).to_be_visible(timeout=SOON)
        picture(page, f"{name}-{scheme}-{size['width']}")
        faults += [f"{name}: {each} is cut off" for each in tables_cut_off(page)]
        faults += [f"{name}: {each}" for each in serious_faults(page, axe)]
        if is_wider_than_its_window(page):
            faults.append(f"{name} is wider than its window")

    assert not faults
