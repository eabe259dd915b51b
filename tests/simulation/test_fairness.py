"""Fairness: tenants with little are not held up by one that has much."""

from __future__ import annotations

from statistics import median

import pytest

from warrener.domain.flow.settings import FlowSettings
from warrener.domain.simulation.crews import Crew
from warrener.domain.simulation.engine import Simulation
from warrener.domain.simulation.trace import Attempt, Shape, TraceJob, TraceStep

SMALL_TENANTS = 50
SMALL_STEPS = 10
BIG_STEPS = 100_000
SLOTS = 102
COMES_AT = 30.0  # when the big one has had all workers for a while


def fan(name: str, count: int, seconds: float) -> Shape:
    items = tuple((Attempt(seconds),) for _ in range(count))
    return Shape(name, [TraceStep(name="item", items=items)])


def completions(policy: str, small_seconds: float) -> list[float]:
    """Return how long the jobs of the small tenants took beside the big one."""
    jobs = [TraceJob(0.0, fan("big", BIG_STEPS, 1.0), fair="big")]
    small = fan("small", SMALL_STEPS, small_seconds)
    jobs += [TraceJob(COMES_AT, small, fair=f"tenant{n}") for n in range(SMALL_TENANTS)]
    crews = [Crew(workers=SLOTS)]
    until = COMES_AT + 40 * small_seconds
    record = Simulation(jobs, crews, FlowSettings(policy=policy), until=until).run()
    small_name = record.names.of("small")
    ended = zip(record.job_name, record.completion, strict=True)
    return [seconds for name, seconds in ended if name == small_name]


@pytest.mark.parametrize("policy", ["finish-first", "fair", "weighted"])
@pytest.mark.parametrize("small_seconds", [0.5, 1.0, 3.0])
def test_small_tenants_are_done_within_twice_the_time_of_an_equal_share(
    policy: str, small_seconds: float
) -> None:
    share = SLOTS / (SMALL_TENANTS + 1)
    alone = SMALL_STEPS * small_seconds / share  # five rounds of two slots

    found = completions(policy, small_seconds)

    assert len(found) == SMALL_TENANTS
    waits_for_slots = 1.0  # of a step of the big one, that nobody interrupts
    assert max(found) <= 2 * alone + waits_for_slots
    assert median(found) <= 2 * alone


def test_by_fifo_they_wait_for_all_that_came_before() -> None:
    assert completions("fifo", 1.0) == []
