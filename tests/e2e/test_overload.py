"""Jobs of three stages come faster than real workers behind RabbitMQ can do them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[2] / "ops" / "bench"))
from overload import Load, warrener

LOAD = Load(seconds=8.0, slots=10, step_seconds=0.2, load=1.5)


@pytest.mark.parametrize(
    ("policy", "complete", "of_bare"), [("finish-first", (0.75, 1.1), 3.0), ("fifo", (0, 0.9), 99)]
)
def test_as_it_is_jobs_complete_at_the_rate_of_the_workers_from_the_start(
    broker_url: str, policy: str, complete: tuple[float, float], of_bare: float
) -> None:
    found = warrener(broker_url, LOAD, policy)

    least, most = complete
    assert least <= found["complete_of_ideal"] <= most, found
    assert found["median_admitted_of_bare"] <= of_bare, found
    assert found["steps_per_second"] >= 0.85 * LOAD.slots / LOAD.step_seconds, found
