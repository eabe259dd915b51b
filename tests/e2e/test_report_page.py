"""The page of a run report in a real browser: it agrees with the JSON, and names stay text."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import pytest
from playwright.sync_api import Page
from support.browser import NARROW, WIDE, is_wider_than_its_window, watched
from support.cli import ENDPOINTS, SUM_JOB, Cli
from support.histories import REPORT, History, finish_report, half_done_report

from warrener.adapters.memory_views import MemoryViewStore
from warrener.domain.events import Error
from warrener.domain.step_events import StepFailed, StepRetryScheduled
from warrener.services.logs import LogSet
from warrener.services.queries import Queries
from warrener.services.report.gather import run_report
from warrener.services.report.page import CHARACTERS_MAX, UNITS, duration, write
from warrener.services.report.page import page as made_page
from warrener.services.report.shapes import Report

ALERT = "<script>alert(1)</script>"
IMAGE = '"><img src=http://example.invalid/x onerror=alert(2)>'
END = "</script></title></style><svg onload=alert(3)>"
TURNED = "abc\u202etxt.exe\u202c"
CONTROLS = "a\x00b\x1b[31mc\x07"
TEMPLATE = "{{ 7 * 7 }}{% raw %}${7*7}"
HOSTILE = (ALERT, IMAGE, END, TURNED, CONTROLS, TEMPLATE, "&lt;b&gt; ]]> <!-- '\"")


def report_of(history: History, job: UUID) -> tuple[Report, str]:
    """Return the report of a job, and the page."""
    logs = LogSet([history.store])
    queries = Queries(logs, MemoryViewStore())
    report = run_report(queries, logs, job, history.now)
    steps = queries.show(job, whole=False).steps
    states = {name: step.state for name, step in steps.items()}
    items = {name: step.items for name, step in steps.items() if step.items is not None}
    return report, made_page(report, queries.definition(job), states, items)


def finished() -> tuple[History, UUID]:
    history, job, child = half_done_report()
    finish_report(history, job, child)
    return history, job


def hostile() -> tuple[History, UUID]:
    """A job in which everything that comes from users or workers is hostile."""
    history = History()
    labels = {text: text for text in HOSTILE} | {"large": "x" * 1_000_000}
    job = history.submit(REPORT, labels=labels)
    history.start(job)
    history.advance(job, readied={"load": ()})
    for attempt, text in enumerate(HOSTILE, 1):
        history.release(job, "load", attempt=attempt)
        history.begin(job, "load", attempt=attempt, worker=text)
        error = Error(code=text[:100], message=text, attempt=attempt)
        due = history.now + timedelta(seconds=5)
        history.step(
            job,
            "load",
            StepRetryScheduled,
            attempt=attempt,
            error=error,
            due=due,
            rule=0,
            worker=text,
        )
        history.now = due
    last = len(HOSTILE) + 1
    history.release(job, "load", attempt=last)
    error = Error(code=END, message=" ".join(HOSTILE) + "y" * 1_000_000)
    history.step(job, "load", StepFailed, attempt=last, error=error, worker=IMAGE)
    history.advance(job, settled={"load": "failed", "parts": "upstream_failed"})
    history.advance(job, settled=dict.fromkeys(("sub", "merge", "sorry"), "upstream_failed"))
    history.fail_job(job, code=ALERT)
    return history, job


def opened(page: Page, folder: Path, history: History, job: UUID) -> Report:
    report, text = report_of(history, job)
    file = folder / "report.html"
    write(file, text)
    page.goto(file.as_uri())
    return report


def rects(page: Page, row: int, selector: str) -> list[tuple[float, float]]:
    found: list[list[float]] = page.eval_on_selector_all(
        f"#gantt svg[data-row='{row}'] {selector}",
        "all => all.map(r => [+r.getAttribute('x'), +r.getAttribute('width')])",
    )
    return [(x, width) for x, width in found]


# --- agreement with the JSON ----------------------------------------------------------------------


def test_the_chart_has_a_row_for_each_bar_and_its_bars_lie_where_their_times_do(
    page: Page, tmp_path: Path
) -> None:
    report = opened(page, tmp_path, *finished())

    assert page.locator("#gantt svg.track").count() == len(report.bars) > 8
    names = page.locator("#gantt .line:not(.axis) .name bdi").all_text_contents()
    assert names == [bar.name for bar in report.bars]
    units = UNITS / report.elapsed_seconds
    for bar in report.bars:
        drawn = rects(page, bar.row, "rect:not(.crit)")
        assert len(drawn) == len(bar.spans)
        for (x, width), span in zip(drawn, bar.spans, strict=True):
            assert x == pytest.approx(span.from_seconds * units, abs=0.01)
            assert width == pytest.approx((span.to_seconds - span.from_seconds) * units, abs=0.01)


def test_bars_are_as_wide_on_the_screen_as_their_share_of_the_time(
    page: Page, tmp_path: Path
) -> None:
    report = opened(page, tmp_path, *finished())
    bar = next(bar for bar in report.bars if bar.path == "merge")
    track = page.locator(f"#gantt svg[data-row='{bar.row}']")
    whole = track.bounding_box()
    drawn = track.locator("rect.k-computing").bounding_box()
    computing = next(span for span in bar.spans if span.kind == "computing")

    assert whole is not None
    assert drawn is not None
    share = (computing.to_seconds - computing.from_seconds) / report.elapsed_seconds
    assert drawn["width"] / whole["width"] == pytest.approx(share, abs=0.01)
    begin = computing.from_seconds / report.elapsed_seconds
    assert (drawn["x"] - whole["x"]) / whole["width"] == pytest.approx(begin, abs=0.01)


def test_a_fan_out_shows_how_many_of_its_items_were_at_work(page: Page, tmp_path: Path) -> None:
    report = opened(page, tmp_path, *finished())
    parts = next(bar for bar in report.bars if bar.path == "parts")
    assert parts.in_flight is not None

    area = page.locator(f"#gantt svg[data-row='{parts.row}'] path.area")

    box, track = area.bounding_box(), page.locator(f"#gantt svg[data-row='{parts.row}']")
    whole = track.bounding_box()
    assert box is not None
    assert whole is not None
    waited = next(span for span in parts.spans if span.kind == "children")
    share = (waited.to_seconds - waited.from_seconds) / report.elapsed_seconds
    assert box["width"] / whole["width"] == pytest.approx(share, abs=0.01)
    assert page.locator("path.area").count() == 2  # and the sign for it beside the colours
    assert f"up to {max(parts.in_flight):.1f} items" in (area.text_content() or "")


def test_the_critical_path_is_marked_where_it_is_and_fills_the_whole_time(
    page: Page, tmp_path: Path
) -> None:
    report = opened(page, tmp_path, *finished())
    marked = [rect for bar in report.bars for rect in rects(page, bar.row, "rect.crit")]

    own = sum(each.seconds for each in report.critical_path if each.path)
    assert sum(width for _, width in marked) == pytest.approx(
        own * UNITS / report.elapsed_seconds, abs=0.1
    )
    shares: list[float] = page.eval_on_selector_all(
        "#totals rect", "all => all.map(r => +r.getAttribute('width'))"
    )
    assert sum(shares) == pytest.approx(UNITS, abs=0.1)


def test_the_graph_has_every_step_in_its_state_and_says_so_in_words(
    page: Page, tmp_path: Path
) -> None:
    report = opened(page, tmp_path, *finished())

    graph = page.locator("#graph svg")
    words = graph.locator("> desc").text_content() or ""
    for bar in report.bars:
        if bar.above is None:
            assert f"{bar.name} ({bar.state})" in words
            assert graph.locator("text", has_text=bar.name).count() >= 1
    box = graph.bounding_box()
    assert box is not None
    assert box["width"] > 300
    assert (graph.locator("> title").text_content() or "").startswith("report")


def test_the_tables_say_what_the_json_says(page: Page, tmp_path: Path) -> None:
    report = opened(page, tmp_path, *finished())

    def cells(table: str) -> list[list[str]]:
        rows = page.locator(f"#{table} tbody tr")
        return [row.locator("th, td").all_text_contents() for row in rows.all()]

    path = [
        [each.path or "(the job)", duration(each.from_seconds), duration(each.seconds)]
        for each in report.critical_path
    ]
    assert [row[:3] for row in cells("path")] == path
    assert [row[5] for row in cells("path")] == [each.sentence for each in report.critical_path]
    assert [row[0] for row in cells("slowest")] == [each.path for each in report.slowest]
    assert [row[:3] for row in cells("retries")] == [
        [each.path, str(each.attempts), duration(each.lost_seconds)] for each in report.retries
    ]
    assert [row[0] for row in cells("steps")] == [bar.path for bar in report.bars]
    assert [row[0].strip() for row in cells("kinds")] == [each.label for each in report.totals]
    assert [row[0] for row in cells("jobs")] == ["(the job)", "sub"]


def test_the_page_has_the_report_in_it_as_json(page: Page, tmp_path: Path) -> None:
    report = opened(page, tmp_path, *finished())

    inside = page.locator("script#report").text_content() or ""

    assert json.loads(inside) == json.loads(msgspec.json.encode(report))
    assert page.title() == "report succeeded: run report"


def test_a_job_that_still_runs_is_told_so_far(page: Page, tmp_path: Path) -> None:
    history, job, _ = half_done_report()
    history.now += timedelta(seconds=60)

    report = opened(page, tmp_path, history, job)

    assert report.so_far
    assert "so far" in (page.locator(".lead").text_content() or "")
    longest = max(report.bars, key=lambda bar: sum(bar.seconds.values()))
    assert longest.spans[-1].to_seconds == report.elapsed_seconds


# --- hostile texts --------------------------------------------------------------------------------


def test_hostile_names_and_payloads_stay_text(page: Page, tmp_path: Path) -> None:
    report = opened(page, tmp_path, *hostile())

    assert watched(page).faults == []
    assert watched(page).requests == [(tmp_path / "report.html").as_uri()]
    assert page.locator("img, iframe, object, embed, form, a, style ~ svg").count() == 0
    assert page.locator("script").count() == 1
    labels = page.locator(".facts .label dd bdi").all_text_contents()
    for text in (ALERT, IMAGE, END, TEMPLATE):
        assert text in labels
        assert any(text in each for each in page.locator("#path .what").all_text_contents())
    assert "abc\\u202etxt.exe\\u202c" in labels
    assert "a\\u0000b\\u001b[31mc\\u0007" in labels
    assert page.locator(".error strong").text_content() == ALERT
    inside = page.locator("script#report").text_content() or ""
    assert json.loads(inside) == json.loads(msgspec.json.encode(report))
    assert len(report.retries[0].codes) == 5


def test_what_is_very_long_is_cut_and_says_how_long_it_was(page: Page, tmp_path: Path) -> None:
    opened(page, tmp_path, *hostile())

    labels = page.locator(".facts .label dd bdi").all_text_contents()

    assert f"{'x' * CHARACTERS_MAX}… (1,000,000 characters)" in labels
    assert max(map(len, labels)) < CHARACTERS_MAX + 50


@pytest.mark.parametrize("case", [finished, hostile])
def test_no_page_is_wider_than_its_window(page: Page, tmp_path: Path, case: Any) -> None:
    opened(page, tmp_path, *case())

    for is_open in ("each.open", "true"):
        page.eval_on_selector_all("details", f"all => all.forEach(each => each.open = {is_open})")
        for viewport in (NARROW, WIDE):
            page.set_viewport_size(viewport)
            assert not is_wider_than_its_window(page)


@pytest.mark.parametrize(("scheme", "bright"), [("light", True), ("dark", False)])
def test_a_page_is_as_bright_as_its_reader_wants_it(
    page: Page, tmp_path: Path, scheme: Any, bright: bool
) -> None:
    page.emulate_media(color_scheme=scheme)
    opened(page, tmp_path, *finished())

    def brightness(name: str) -> float:
        colour = page.evaluate(f"getComputedStyle(document.body).{name}")
        return sum(int(part) for part in re.findall(r"\d+", colour)[:3]) / (3 * 255)

    assert (brightness("backgroundColor") > 0.9) == bright
    assert abs(brightness("backgroundColor") - brightness("color")) > 0.6


# --- the command ---------------------------------------------------------------------------------

STORE = ("--store", "sqlite:///jobs.db")
KEYS = set(Report.__struct_fields__)


@pytest.fixture(scope="module")
def cli(tmp_path_factory: pytest.TempPathFactory) -> Cli:
    cli = Cli(tmp_path_factory.mktemp("cli"))
    cli.write(endpoints_py=ENDPOINTS, sum_yaml=SUM_JOB)
    return cli


@pytest.fixture(scope="module")
def job(cli: Cli) -> str:
    found: str = cli(
        "run", "sum.yaml", "--param", "a=1", "--label", "team=red", "--json", *STORE
    ).json["job"]
    return found


def test_the_command_writes_the_page_and_json_says_the_same_with_what_is_secret(
    page: Page, cli: Cli, job: str
) -> None:
    (cli.folder / "out.html").write_text("something older")

    done = cli("report", job, "--html", "out.html", *STORE, WARRENER_REDACT="team")
    answer = cli("report", job[:8], "--json", *STORE)

    assert (done.code, done.out) == (0, "")
    assert str(cli.folder / "out.html") in done.err
    page.goto((cli.folder / "out.html").as_uri())
    told = json.loads(page.locator("script#report").text_content() or "")
    assert told == answer.json | {"labels": {"team": "[redacted]"}}
    assert [each.name for each in cli.folder.glob("*.html")] == ["out.html"]
    assert [each["path"] for each in answer.json["bars"]] == ["first", "never", "twice"]
    assert answer.json.keys() == KEYS


def test_an_exported_history_gives_the_same_report(cli: Cli, job: str) -> None:
    assert cli("replay", job, "--export", "sum.history", *STORE).code == 0

    there = cli("report", job, "--json", *STORE).json
    here = cli("report", job, "--json", "--store", "history:sum.history").json

    assert here == there
    assert here["labels"] == {"team": "red"}  # and not where the endpoints of the run were


def test_people_get_the_totals_the_critical_path_and_the_slowest_steps(cli: Cli, job: str) -> None:
    done = cli("report", job, *STORE)

    assert done.code == 0
    assert re.search(r"^sum succeeded \d+\.\d+ s, from ", done.out, re.MULTILINE)
    for text in ("where the time went", "critical path", "slowest steps", "computing", "twice"):
        assert text in done.out
    assert f"warrener report {job} --html FILE {' '.join(STORE)}" in done.err


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["ffff0000"], "no job has the id ffff0000"),
        (["{job}/first"], "is a step: name its job alone"),
        (["{job}", "--html", "no/such/folder.html"], "cannot write no/such/folder.html: No such"),
    ],
)
def test_what_cannot_be_told_or_written_is_refused_in_one_sentence(
    cli: Cli, job: str, arguments: list[str], hint: str
) -> None:
    done = cli("report", *(each.format(job=job) for each in arguments), *STORE)

    assert done.code == 2
    assert hint in done.err
