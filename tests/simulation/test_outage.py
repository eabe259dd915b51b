"""The case of the outage: `ops/bench/outage.py` at a small scale."""

from __future__ import annotations

import json
from pathlib import Path
from runpy import run_path
from typing import Any

import pytest
from support.scale import scaled

ROOT = Path(__file__).resolve().parents[2]
RATIO_MAX = 1.2  # to what workers need who always have something to do


@pytest.fixture(scope="module")
def outage() -> dict[str, Any]:
    return run_path(str(ROOT / "ops" / "bench" / "outage.py"))


def test_the_default_policy_is_done_with_a_backlog_in_the_time_of_its_work(
    outage: dict[str, Any],
) -> None:
    scale = scaled(1) / 100
    figures, record = outage["play"]("finish-first", scale)

    assert figures["ratio"] <= RATIO_MAX
    assert figures["open_jobs_max"] == pytest.approx(240_000 * scale, rel=0.1)
    later = [series for stage, series in record.stages.items() if stage.step != "split"]
    assert len(later) == 2
    assert max(max(series.waiting) for series in later) <= 3 * figures["workers"]


def test_without_late_release_jobs_end_late_for_stages_wait_for_each_other(
    outage: dict[str, Any],
) -> None:
    plain, record = outage["play"]("plain", 0.01)
    default, _ = outage["play"]("finish-first", 0.01)

    last = next(series for stage, series in record.stages.items() if stage.step == "merge")
    assert max(last.waiting) > 20 * plain["workers"]
    assert default["ended_jobs_at_half_time"] > 1.15 * plain["ended_jobs_at_half_time"]


def test_it_prints_a_line_for_each_policy_and_draws(
    outage: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = tmp_path / "outage.svg"
    words = ["--scale", "0.002", "--policy", "fifo", "--policy", "deadline"]

    assert outage["main"]([*words, "--plot", str(picture)]) == 0

    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["policy"] for line in lines] == ["fifo", "deadline"]
    assert picture.read_text().startswith("<?xml")
