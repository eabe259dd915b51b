"""The page of a job in a real browser: on data of real runs, served by the real service."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from playwright.sync_api import Browser, Page, expect
from support.axe_check import axe, serious_faults
from support.browser import NARROW, is_wider_than_its_window, watched
from support.daemons import Daemons
from support.endpoints_page import HOSTILE
from support.log_checks import eventually
from support.web import Served, served, settings_of

__all__ = ["axe"]

ENDPOINTS = Path(__file__).parents[1] / "support" / "endpoints_page.py"
TABS = ("graph", "timeline", "steps", "tree", "history", "report")
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
def runs(tmp_path: Path) -> Iterator[Runs]:
    with running(tmp_path) as found:
        yield found


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


# --- live ----------------------------------------------------------------------------------------


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


def only_refusals(page: Page) -> None:
    """Take answers of 4xx, which Chromium logs, out of what went wrong in a page."""
    faults = watched(page).faults
    faults[:] = [each for each in faults if not re.search(r"status of 4\d\d", each)]


# --- looking back --------------------------------------------------------------------------------


def test_the_slider_shows_graph_and_steps_as_they_were(page: Page, ended: tuple[Runs, str]) -> None:
    runs, job = ended
    visit(page, runs, job)
    expect(node(page, "last", "succeeded")).to_be_visible(timeout=SOON)
    press(page, "Slide back in time")
    slider = page.get_by_role("slider")
    slider.focus()
    page.keyboard.press("Home")

    expect(page.get_by_text("As of position")).to_be_visible(timeout=SOON)
    expect(page.locator(".job-head .state").first).to_have_text("◔submitted")
    expect(node(page, "last", "pending")).to_be_visible()
    events = runs.service.get(f"/jobs/{job}/history?limit=1000")["items"]
    opened = next(i for i, each in enumerate(events) if each["type"] == "StepOpened")
    for _ in range(opened):
        page.keyboard.press("ArrowRight")
    expect(page).to_have_url(re.compile(f"at={events[opened]['position']}$"), timeout=SOON)
    expect(node(page, "first", "succeeded")).to_be_visible(timeout=SOON)
    expect(node(page, "last", "pending")).to_be_visible()
    page.get_by_role("link", name="Steps").click()
    at = runs.service.get(f"/jobs/{job}/replay?at={events[opened]['position']}")["steps"]
    for name in ("first", "last", "each"):
        row = page.get_by_role("row").filter(has=page.get_by_role("link", name=name, exact=True))
        expect(row.locator(".state").first).to_contain_text(at[name]["state"])
    page.get_by_role("link", name="Back to now").click()
    expect(page.get_by_text("As of position")).to_have_count(0)


def test_the_history_tells_every_event_with_its_cause_and_data(
    page: Page, ended: tuple[Runs, str]
) -> None:
    runs, job = ended
    visit(page, runs, job, "?tab=history")
    table = page.get_by_role("region", name="Events by position")
    expect(table.locator("tbody tr").first).to_contain_text("the job was submitted", timeout=SOON)
    count = len(runs.service.get(f"/jobs/{job}/history?limit=1000")["items"])

    while (more := page.get_by_role("button", name="Show more events")).count():
        more.click()
        page.wait_for_timeout(50)

    expect(table.locator("tbody tr")).to_have_count(count)
    row = table.locator("tr", has_text="first succeeded")
    expect(row).to_contain_text("report of attempt 1 of first by worker thread-")
    row.get_by_role("button").click()
    expect(table.locator("tr.unfolded")).to_contain_text('"result": "first"')


# --- views ---------------------------------------------------------------------------------------


def test_a_fan_out_unfolds_into_its_items_by_state(page: Page, ended: tuple[Runs, str]) -> None:
    runs, job = ended
    visit(page, runs, job, "/each")
    panel = page.get_by_role("complementary", name="Step each")
    rows = panel.get_by_role("region", name="Items of each").locator("tbody tr")
    expect(rows).to_have_count(8, timeout=SOON)

    panel.get_by_role("button", name="succeeded").click()
    rows.nth(3).get_by_role("link").click()

    item = page.get_by_role("complementary", name="Step each[3]")
    expect(item.get_by_role("region", name="result")).to_have_text("3", timeout=SOON)
    expect(item.get_by_role("region", name="Attempts of each[3]").locator("tbody")).to_contain_text(
        "by thread-"
    )
    item.get_by_text("Input").click()
    expect(item.get_by_role("region", name="input")).to_contain_text('"value": 3')


def test_a_sub_job_unfolds_into_its_graph_and_is_one_link_away(
    page: Page, ended: tuple[Runs, str]
) -> None:
    runs, job = ended
    visit(page, runs, job, "/below")
    panel = page.get_by_role("complementary", name="Step below")
    panel.get_by_role("button", name="Unfold its graph here").click()
    expect(panel.locator('a.node[data-step="two"]')).to_be_visible(timeout=SOON)

    panel.get_by_role("link", name="Open its job").click()

    expect(page.locator("h1")).to_contain_text("part", timeout=SOON)
    crumbs = page.get_by_role("navigation", name="Where this job is")
    expect(crumbs).to_contain_text("below")
    crumbs.get_by_role("link", name=job[:8]).first.click()
    expect(page.locator("h1")).to_contain_text("report", timeout=SOON)


def test_the_chart_over_time_unfolds_items_and_sub_jobs(
    page: Page, ended: tuple[Runs, str]
) -> None:
    runs, job = ended
    visit(page, runs, job, "?tab=timeline")
    page.get_by_role("button", name="Unfold parts").click()
    page.get_by_role("button", name="Unfold parts[1]").click()

    expect(page.locator(".gantt-name", has_text="one")).to_be_visible(timeout=SOON)
    titles = page.locator(".gantt-bars .bar title").all_text_contents()
    assert any(each.startswith("bad, attempt 1: failed") for each in titles), titles
    page.get_by_text("The same as a table").click()
    attempts = runs.service.get(f"/jobs/{job}/timeline?limit=1000")["items"]
    table = page.get_by_role("region", name="Attempts and waits")
    expect(table.locator("tbody tr")).to_have_count(len(attempts))


def test_the_tree_is_walked_by_keyboard(page: Page, ended: tuple[Runs, str]) -> None:
    runs, job = ended
    visit(page, runs, job, "?tab=tree")
    tree = page.get_by_role("tree")
    items = tree.get_by_role("treeitem")
    expect(items).to_have_count(5, timeout=SOON)
    items.first.focus()

    page.keyboard.press("ArrowLeft")
    expect(items).to_have_count(1)
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("End")
    page.keyboard.press("Enter")

    expect(page.locator("h1")).to_contain_text("part", timeout=SOON)


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


def test_numbers_of_the_page_are_those_of_the_service(page: Page, ended: tuple[Runs, str]) -> None:
    runs, job = ended
    shown = runs.show(job)
    visit(page, runs, job, "?tab=steps")
    table = page.get_by_role("region", name="Steps of the job")
    expect(table.locator("tbody tr")).to_have_count(len(shown["steps"]), timeout=SOON)

    counts: dict[str, int] = {}
    for step in shown["steps"].values():
        counts[step["state"]] = counts.get(step["state"], 0) + 1
    chips = page.get_by_role("navigation", name="Steps by state").get_by_role("link")
    expected = {f"{state.replace('_', ' ')} {count}" for state, count in counts.items()}
    assert {re.sub(r"^\W+", "", text).strip() for text in chips.all_text_contents()} == expected
    chips.filter(has_text="failed").first.click()
    expect(table.locator("tbody tr")).to_have_count(counts["failed"])


def test_two_thousand_steps_stay_a_few_elements(page: Page, runs: Runs) -> None:
    wide = {
        f"s{layer}_{place}": {"set": {"a": 1}, "after": [f"s{layer - 1}_{place}"] if layer else []}
        for layer in range(40)
        for place in range(50)
    }
    job = runs.run(wide)
    runs.reaches(job, "succeeded")
    visit(page, runs, job)
    count = "document.querySelectorAll('.graph-frame *').length"
    page.locator(".graph-frame path.far").first.wait_for()
    assert page.evaluate(count) < 50

    page.locator(".graph-frame").focus()
    page.keyboard.press("Enter")
    for _ in range(39):
        page.keyboard.press("ArrowRight")

    expect(node(page, "s39_0")).to_be_focused()
    assert page.evaluate(count) < 2_000


# --- hostile, missing, accessible -----------------------------------------------------------------


@pytest.mark.parametrize("tab", TABS)
def test_hostile_names_and_values_stay_text(page: Page, ended: tuple[Runs, str], tab: str) -> None:
    runs, job = ended
    page.add_init_script("window.hits = 0; window.hit = () => { window.hits += 1; }")
    visit(page, runs, job, f"/bad?tab={tab}" if tab in ("graph", "timeline", "steps") else f"?tab={tab}")
    page.locator(".job-main").get_by_text("bad").first.wait_for(state="attached", timeout=SOON) if (
        tab not in ("tree",)
    ) else page.get_by_role("tree").wait_for(timeout=SOON)
    for details in page.locator("details").all():
        details.evaluate("each => { each.open = true; }")

    expect(page.locator(".job-head .note.bad")).to_contain_text("<script>hit()</script>")
    assert page.locator("main script, main img").count() == 0
    assert "\u202e" not in page.locator("main").inner_text()
    assert page.evaluate("window.hits") == 0


def test_a_megabyte_in_a_result_is_told_of_and_not_shown(
    page: Page, ended: tuple[Runs, str]
) -> None:
    runs, job = ended
    visit(page, runs, job, "/large")

    result = page.get_by_role("complementary", name="Step large").get_by_role(
        "region", name="result"
    )
    expect(result).to_contain_text("bytes, not shown", timeout=SOON)


def test_a_job_that_is_not_there_is_told_of(page: Page, ended: tuple[Runs, str]) -> None:
    runs, _ = ended
    watched(page).allowed = ("data:", "about:", runs.service.url)

    page.goto(runs.url("00000000-0000-4000-8000-000000000000"))

    expect(page.locator("h1")).to_have_text("There is no such job", timeout=SOON)
    expect(page.get_by_role("link", name="All jobs")).to_be_visible()
    only_refusals(page)


def test_a_pruned_job_is_told_of(page: Page, ended: tuple[Runs, str]) -> None:
    runs, job = ended
    watched(page).allowed = ("data:", "about:", runs.service.url)
    document = '{"status": 410, "detail": "job 1 was pruned and is in the archive a.zst"}'
    page.route(f"**/api/v1/jobs/{job}", lambda route: route.fulfill(status=410, body=document))

    page.goto(runs.url(job))

    expect(page.locator("h1")).to_have_text("This job has been pruned", timeout=SOON)
    expect(page.get_by_role("alert")).to_contain_text("archive a.zst")
    only_refusals(page)


@pytest.mark.parametrize("tab", TABS)
def test_every_view_can_be_used_by_all_and_is_no_wider_than_its_window(
    browser: Browser, page: Page, ended: tuple[Runs, str], axe: str, tab: str
) -> None:
    runs, job = ended
    steps = ("each", "bad") if tab == "graph" else ("large",) if tab == "steps" else ()
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        for rest in ("", *(f"/{step}" for step in steps)):
            visit(page, runs, job, f"{rest}?tab={tab}")
            page.wait_for_load_state("networkidle") if tab == "never" else None
            page.locator(".job-main section, .job-main .report").first.wait_for(timeout=SOON)

            assert serious_faults(page, axe) == []
            assert not is_wider_than_its_window(page)
    page.set_viewport_size(NARROW)  # type: ignore[arg-type]
    assert not is_wider_than_its_window(page)
    assert serious_faults(page, axe) == []
