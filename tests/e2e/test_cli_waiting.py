"""What `jobs`, `show`, `history` and `graph` tell people about jobs that wait or are steered."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

import pytest
from support.cli import Cli
from support.histories import History, definition

from warrener.domain.step_events import StepCancelled
from warrener.services.wiring import open_store

STORE = ("--store", "sqlite:///jobs.db")
WIDE = {"COLUMNS": "300"}
WORK = definition(
    "work",
    load={"call": "a.load", "compensate": "a.unload"},
    ask={"call": "a.ask"},
    retried={"call": "a.retried"},
    hold={"call": "a.hold"},
    broken={"call": "a.broken", "catch": [{"on": "*", "go": "mend"}]},
    mend={"call": "a.mend"},
    late={"call": "a.late", "after": ["load"]},
)


class Told:
    """A store with one job in which much waits, paused by somebody."""

    def __init__(self, folder: Path) -> None:
        history = History()
        self.job = history.submit(WORK)
        history.start(self.job)
        self.request = self._waits(history)
        history.signal(self.job, "go", "k1")
        history.pause(self.job, by="ada", reason="the site\x1b[31m is down")
        store = open_store(f"sqlite:///{folder / 'jobs.db'}")
        store.commit([each.recorded for each in history.store.log], history.store.blobs)
        store.close()

    def _waits(self, history: History) -> UUID:
        job = self.job
        for name in ("load", "ask", "retried", "broken"):
            history.release(job, name)
            history.begin(job, name)
        history.progress(job, "load", 0.42, "42 of 100")
        request = history.ask(job, "ask", message="Reconnect your page")
        history.park(job, "ask", request)
        history.retry(job, "retried")
        history.wait_for(job, "hold", "approval")
        history.fail(job, "broken")
        history.advance(job, settled={"broken": "failed"}, caught={"broken": "mend"})
        history.step(job, "mend", StepCancelled, reason="not today")
        return request


@pytest.fixture(scope="module")
def cli(tmp_path_factory: pytest.TempPathFactory) -> Cli:
    return Cli(tmp_path_factory.mktemp("waiting"))


@pytest.fixture(scope="module")
def told(cli: Cli) -> Told:
    return Told(cli.folder)


def line_of(text: str, start: str) -> str:
    return next(line for line in text.splitlines() if line.strip().startswith(start))


def test_show_tells_how_far_steps_are_and_what_they_wait_for(cli: Cli, told: Told) -> None:
    text = cli("show", str(told.job), *STORE, **WIDE).out

    assert "████░░░░░░ 42 % 42 of 100" in line_of(text, "load")
    ask = line_of(text, "ask")
    assert "waits for a person, about facebook:page: Reconnect your page" in ask
    assert f"warrener answer {told.request}" in ask
    assert f"warrener signal {told.job} approval" in line_of(text, "hold")
    assert "caught by mend" in line_of(text, "broken")
    assert "not today" in line_of(text, "mend")
    assert "undoes load" in line_of(text, "load.compensate")


def test_show_tells_who_paused_the_job_and_what_that_holds_back(cli: Cli, told: Told) -> None:
    text = cli("show", str(told.job), *STORE, **WIDE).out

    assert "work v1 paused" in text
    assert "by ada at 2026-01-02" in line_of(text, "paused")
    assert "\x1b[31m" not in text
    assert "go (kept until a step waits for them)" in line_of(text, "signals")
    assert f"warrener resume {told.job}" in line_of(text, "retried")


def test_jobs_are_listed_and_found_as_paused(cli: Cli, told: Told) -> None:
    assert "paused" in cli("jobs", *STORE, **WIDE).out
    (line,) = cli("jobs", "--state", "paused", "--json", *STORE).lines
    assert line["job"] == str(told.job)


def test_history_tells_who_steered_and_why(cli: Cli, told: Told) -> None:
    lines = cli("history", str(told.job), *STORE, **WIDE).out.splitlines()

    paused = next(line for line in lines if "JobPaused" in line)
    assert "JobPaused by ada: the site\\u001b[31m is down {}" in paused
    cancelled = next(line for line in lines if "StepCancelled" in line)
    assert "StepCancelled: not today" in cancelled
    data = next(line for line in cli("history", str(told.job), "--json", *STORE).lines[::-1])
    assert data["data"] == {"by": "ada", "reason": "the site\x1b[31m is down"}


@pytest.mark.parametrize("form", ["mermaid", "dot", "svg", "json"])
def test_graph_shows_the_states_of_waiting(cli: Cli, told: Told, form: str) -> None:
    drawn = cli("graph", str(told.job), "--format", form, *STORE).out

    for state in ("waiting_user", "retrying", "waiting", "running", "failed", "cancelled"):
        assert state in drawn
