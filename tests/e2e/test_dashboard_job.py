"""A job in a real browser: followed while it runs, and steered, by mouse and by keyboard alone."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Page, expect
from support.browser import watched
from support.endpoints_page import HOSTILE
from support.job_pages import (
    MANY,
    SOON,
    Runs,
    confirm,
    ended,
    gate,
    need,
    node,
    only_refusals,
    press,
    running,
    runs,
    visit,
)

__all__ = ["ended", "runs"]


def test_a_page_follows_a_job_without_being_loaded_anew(page: Page, runs: Runs) -> None:
    job = runs.run(MANY)
    visit(page, runs, job)
    expect(node(page, "last", "pending")).to_be_visible(timeout=SOON)
    page.evaluate("window.stays = true")

    runs.open("first")
    expect(node(page, "each", "succeeded")).to_be_visible(timeout=SOON)
    expect(node(page, "parts", "succeeded")).to_be_visible(timeout=SOON)
    runs.open("last")

    expect(page.locator(".job-head .state").first).to_have_text("✓succeeded", timeout=SOON)
    progress = page.locator(".job-head").get_by_role("progressbar")
    total = runs.show(job)["progress"]["total"]
    expect(progress).to_have_attribute("aria-valuenow", str(total), timeout=SOON)
    assert page.evaluate("window.stays") is True


def test_the_page_says_why_a_job_waits_and_leads_to_what_is_in_the_way(
    page: Page, runs: Runs
) -> None:
    job = runs.run({"hold": {"wait": {"for": "go"}}, "then": {"set": {"a": 1}, "after": ["hold"]}})
    visit(page, runs, job)
    why = page.get_by_role("region", name="Why it waits")
    expect(why).to_contain_text("waits for signal go", timeout=SOON)

    why.get_by_role("link", name="hold").click()

    panel = page.get_by_role("complementary", name="Step hold")
    expect(panel.get_by_role("button", name="Send its signal")).to_be_visible()
    visit(page, runs, job, "/then")
    expect(page.locator(".step-panel .why")).to_contain_text("hold")


# --- steering ------------------------------------------------------------------------------------


def test_pausing_and_resuming_are_told_with_who_and_why(page: Page, runs: Runs) -> None:
    job = runs.run(MANY)
    visit(page, runs, job)

    press(page, "Pause")
    confirm(page, f"the API is down {HOSTILE}")

    note = page.locator(".job-head .note", has_text="Paused by")
    expect(note).to_contain_text("the API is down <script>", timeout=SOON)
    paused = runs.show(job)["paused"]
    assert paused["by"].endswith("(web)")
    expect(note).to_contain_text(paused["by"])
    press(page, "Resume")
    confirm(page)
    expect(note).to_have_count(0, timeout=SOON)
    assert runs.show(job)["paused"] is None


def test_cancelling_ends_the_job(page: Page, runs: Runs) -> None:
    job = runs.run({"hold": {"wait": {"for": "go"}}})
    visit(page, runs, job)

    press(page, "Cancel…")
    confirm(page, "wrong account")

    expect(page.locator(".job-head .state").first).to_have_text("■cancelled", timeout=SOON)
    expect(page.locator(".job-head .note")).to_contain_text("wrong account")
    assert runs.show(job)["cancelling"]["reason"] == "wrong account"


def test_a_failed_step_is_retried_from_its_panel(page: Page, runs: Runs) -> None:
    steps = {"bad": need("cure"), "hold": {"wait": {"for": "go"}}}
    job = runs.run(steps)
    visit(page, runs, job, "/bad?tab=steps")
    panel = page.get_by_role("complementary", name="Step bad")
    expect(panel.locator(".note.bad")).to_contain_text("FileNotFoundError", timeout=SOON)

    runs.open("cure")
    panel.get_by_role("button", name="Retry").click()
    confirm(page, "it is there now")

    expect(panel.locator("header .state")).to_have_text("✓succeeded", timeout=SOON)
    outcomes = panel.get_by_role("region", name="Attempts of bad").locator("tbody .state")
    expect(outcomes).to_have_text(["✗failed", "✓succeeded"], timeout=SOON)


def test_a_step_and_what_follows_it_run_again(page: Page, runs: Runs) -> None:
    job = runs.run({"a": {"set": {"x": 1}}, "b": gate("go", after=["a"]), "c": gate("go")})
    runs.open("go")
    runs.reaches(job, "succeeded")
    visit(page, runs, job, "/b")

    press(page, "Rerun from here")
    confirm(page, "template corrected")

    expect(page.locator(".job-head .strip")).to_contain_text("no. 2", timeout=SOON)
    rerun = runs.show(job)["rerun"]
    assert rerun["reason"] == "template corrected"
    expect(page.locator(".job-head .note", has_text="Run again")).to_contain_text(rerun["by"])


def test_a_signal_is_sent_with_data_that_must_be_json(page: Page, runs: Runs) -> None:
    job = runs.run({"hold": {"wait": {"for": "go"}}})
    visit(page, runs, job)
    expect(node(page, "hold", "waiting")).to_be_visible(timeout=SOON)

    press(page, "Signal…")
    dialog = page.locator("dialog")
    expect(dialog.get_by_label("Name")).to_have_value("go")
    dialog.get_by_label("Data").fill("{not json")
    dialog.locator("button[type=submit]").click()
    expect(dialog.get_by_role("alert")).to_contain_text("not JSON")
    dialog.get_by_label("Data").fill('{"fine": [1, 2]}')
    confirm(page)

    expect(page.locator(".job-head .state").first).to_have_text("✓succeeded", timeout=SOON)
    assert runs.show(job)["steps"]["hold"]["result"] == {"fine": [1, 2]}


def test_what_is_refused_is_told_in_the_words_of_the_service(
    page: Page, ended: tuple[Runs, str]
) -> None:
    runs, job = ended
    visit(page, runs, job)

    press(page, "Rerun…")
    page.locator("dialog select").select_option("tidy")
    page.route("**/rerun", lambda route: route.continue_(post_data='{"step": "nobody"}'))
    page.locator("dialog button[type=submit]").click()

    expect(page.locator("dialog").get_by_role("alert")).to_contain_text("nobody")
    only_refusals(page)


def test_viewers_see_the_actions_but_cannot_use_them(page: Page, tmp_path: Path) -> None:
    with running(tmp_path) as runs:
        job = runs.run({"hold": {"wait": {"for": "go"}}})
        token = runs.service.token("eve", "viewer")
        watched(page).allowed = ("data:", "about:", runs.service.url)
        page.goto(runs.url(job))
        page.get_by_label("Token").fill(token)
        press(page, "Sign in")

        cancel = page.locator("button.danger")
        expect(cancel).to_be_disabled(timeout=SOON)
        expect(cancel).to_contain_text("Only operators may do this")
        only_refusals(page)


def test_a_step_is_found_read_and_steered_by_keyboard_alone(page: Page, runs: Runs) -> None:
    job = runs.run({"hold": {"wait": {"for": "go"}}, "then": {"set": {"a": 1}, "after": ["hold"]}})
    visit(page, runs, job)
    expect(node(page, "hold", "waiting")).to_be_visible(timeout=SOON)
    reach(page, "document.activeElement.classList.contains('graph-frame')")

    page.keyboard.press("Enter")
    expect(node(page, "hold")).to_be_focused()
    page.keyboard.press("ArrowRight")
    expect(node(page, "then")).to_be_focused()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Enter")
    panel = page.get_by_role("complementary", name="Step hold")
    expect(panel.get_by_role("heading", name="hold")).to_be_focused()
    reach(page, "document.activeElement.textContent === 'Send its signal'")
    page.keyboard.press("Enter")
    expect(page.locator("dialog").get_by_label("Name")).to_be_focused()
    page.keyboard.press("Enter")

    expect(page.locator(".job-head .state").first).to_have_text("✓succeeded", timeout=SOON)
    expect(page.locator("dialog")).to_have_count(0)
    page.keyboard.press("Escape")
    expect(panel).to_have_count(0)
    expect(node(page, "hold")).to_be_focused()


def reach(page: Page, what: str) -> None:
    """Press Tab until something has the focus."""
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate(what):
            return
    raise AssertionError(f"Tab does not lead to {what}")
