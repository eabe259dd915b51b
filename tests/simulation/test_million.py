"""The large simulation, `ops/bench/million.py`, at a small scale."""

from __future__ import annotations

from pathlib import Path
from runpy import run_path

ROOT = Path(__file__).resolve().parents[2]
STEPS = 15_000
WORKERS = 100


def test_a_large_fleet_is_kept_busy_and_only_open_jobs_are_kept() -> None:
    bench = run_path(str(ROOT / "ops" / "bench" / "million.py"))

    found = bench["measure"](STEPS, WORKERS, "finish-first", 1)

    assert found["steps"] == STEPS
    assert found["utilisation"] > 0.9
    assert found["open_jobs_max"] < STEPS / 3 / 5
    assert found["fairness"] > 0.98
