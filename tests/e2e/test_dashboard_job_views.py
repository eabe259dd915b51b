"""What the page of a job shows, in a real browser: its views, its past, and what is hostile."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect
from support.axe_check import axe, serious_faults
from support.browser import NARROW, SCHEMES, WIDE, pictures, watched
from support.job_pages import SOON, Runs, ended, node, only_refusals, press, runs, visit

__all__ = ["axe", "ended", "runs"]

TABS = ("graph", "timeline", "steps", "tree", "history", "report")
WITH_STEP = ("graph", "timeline", "steps")

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
    opened = next(i for i, each in enumerate(events) if each["path"] == "each")
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


def test_timeline_and_tree_follow_the_slider(page: Page, ended: tuple[Runs, str]) -> None:
    runs, job = ended
    events = runs.service.get(f"/jobs/{job}/history?limit=1000")["items"]
    done = [each for each in events if each["path"] == "parts[1]"]
    at = done[-1]["position"]  # it has succeeded
    visit(page, runs, job, f"?tab=timeline&at={at}")

    bars = page.locator(".gantt-bars .bar title")
    first = runs.service.get(f"/jobs/{job}/steps/first")
    expect(bars.filter(has_text=re.compile("^first, "))).to_have_count(first["attempts"])
    expect(bars.filter(has_text=re.compile("^last, "))).to_have_count(0)
    page.get_by_role("link", name="Tree").click()
    then = runs.service.get(f"/jobs/{job}/replay/tree?at={at}")
    rows = page.get_by_role("treeitem")
    expect(rows).to_have_count(1 + len(then["children"]), timeout=SOON)
    expect(rows.first).to_contain_text("running")
    page.get_by_role("link", name="Back to now").click()
    expect(rows).to_have_count(5, timeout=SOON)
    expect(rows.first).to_contain_text("failed")


def test_the_slider_reaches_every_event_of_a_long_job(page: Page, runs: Runs) -> None:
    job = runs.run({f"s{number}": {"set": {"a": 1}} for number in range(2_500)})
    runs.reaches(job, "succeeded")
    last = runs.service.get(f"/jobs/{job}/positions?limit=50000")["items"]
    assert len(last) > 2_500
    visit(page, runs, job, "?tab=steps")
    press(page, "Slide back in time")
    slider = page.get_by_role("slider")
    expect(slider).to_have_attribute("max", str(len(last) - 1), timeout=SOON)
    expect(slider).to_have_attribute("aria-valuetext", re.compile(": the job succeeded"))
    slider.focus()
    page.keyboard.press("ArrowLeft")

    expect(page).to_have_url(re.compile(f"at={last[-2]}$"), timeout=SOON)
    expect(page.locator(".job-head .state").first).to_contain_text("running", timeout=SOON)


def test_the_history_tells_every_event_with_its_cause_and_data(
    page: Page, ended: tuple[Runs, str]
) -> None:
    runs, job = ended
    visit(page, runs, job, "?tab=history")
    table = page.get_by_role("region", name="Events by position")
    expect(table.locator("tbody tr").first).to_contain_text("the job was submitted", timeout=SOON)
    count = len(runs.service.get(f"/jobs/{job}/history?limit=1000")["items"])

    for shown in range(100, count, 100):
        expect(table.locator("tbody tr")).to_have_count(shown)
        page.get_by_role("button", name="Show more events").click()

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
    visit(page, runs, job, f"{'/bad' if tab in WITH_STEP else ''}?tab={tab}")
    page.locator(".job-main section, .job-main .report").first.wait_for(timeout=SOON)
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
    page: Page, ended: tuple[Runs, str], axe: str, tab: str
) -> None:
    runs, job = ended
    steps = {"graph": ("/each", "/bad"), "steps": ("/large",)}.get(tab, ())
    for rest in ("", *steps):
        visit(page, runs, job, f"{rest}?tab={tab}")
        page.locator(".job-main section, .job-main .report").first.wait_for(timeout=SOON)
        pictures(page, f"job-{tab}{rest.replace('/', '-')}")
        for scheme in SCHEMES:
            page.emulate_media(color_scheme=scheme)
            assert serious_faults(page, axe) == []
        page.emulate_media(color_scheme="light")
        page.set_viewport_size(NARROW)  # type: ignore[arg-type]
        assert serious_faults(page, axe) == []  # what it changes is the same in both schemes
        page.set_viewport_size(WIDE)  # type: ignore[arg-type]
