"""Rates and forecasts from two samples of a queue."""

from __future__ import annotations

from typing import Any

import pytest

from warrener.domain.flow.figures import QueueSample, StageSample
from warrener.domain.flow.rates import StageRates, rates


def stage(step: str, remaining: int, *, job: str = "job", **rest: Any) -> StageSample:
    return StageSample(job=job, step=step, remaining=remaining, **rest)


def queue(*stages: StageSample, slots: int = 10) -> QueueSample:
    return QueueSample(queue="default", slots=slots, stages=stages)


def by_step(stages: tuple[StageRates, ...]) -> dict[str, StageRates]:
    return {each.step: each for each in stages}


def test_rates_are_the_differences_of_counters_by_the_time_between() -> None:
    before = queue(stage("a", 1, arrived=100, ended=80, failed=8, busy_seconds=40.0))
    after = queue(
        stage("a", 1, arrived=150, ended=120, failed=10, busy_seconds=60.0),
        stage("b", 0, arrived=20, ended=10, busy_seconds=60.0),
    )

    found = rates(before, after, 10.0)

    a, b = found.stages
    assert (a.arrived, a.ended, a.failed, a.share) == (5.0, 4.0, 0.2, 0.25)
    assert (b.arrived, b.ended, b.failed, b.share) == (2.0, 1.0, 0.0, 0.75)
    assert (found.arrived, found.ended) == (7.0, 5.0)
    assert found.utilisation == pytest.approx(80.0 / 10.0 / 10)


def test_the_backlog_before_a_stage_is_forecast_by_its_fan_out_so_far() -> None:
    after = queue(
        stage("split", 2, arrived=110, ended=10, ready=90, out=10, service_seconds=0.1),
        stage("map", 1, arrived=50, ended=25, ready=25, service_seconds=1.0),
        stage("merge", 0, arrived=5, ended=5, service_seconds=2.0),
        stage("other", 0, arrived=7, job="another"),
    )

    found = rates(after, after, 1.0)

    steps = by_step(found.stages)
    assert steps["split"].coming == 0.0
    assert steps["map"].coming == 100 * 5.0
    assert steps["merge"].coming == (25 + 500) * 0.2
    assert steps["other"].coming == 0.0
    assert steps["merge"].work_seconds == 105 * 2.0
    assert found.drain_seconds == pytest.approx((10 + 525 + 210) / 10)


def test_the_load_is_what_arrives_from_outside_with_all_that_follows() -> None:
    counted = {"service_seconds": 1.0, "ended": 100}
    before = queue(
        stage("split", 1, arrived=100, **counted), stage("map", 0, arrived=300, **counted)
    )
    after = queue(
        stage("split", 1, arrived=110, **counted), stage("map", 0, arrived=300, **counted)
    )

    found = rates(before, after, 10.0)

    assert found.load == pytest.approx((1.0 * (1 + 3)) / 10)


def test_what_comes_faster_than_it_is_done_is_never_done() -> None:
    before = queue(stage("a", 0), slots=2)
    after = queue(stage("a", 0, arrived=30, ready=30, service_seconds=1.0), slots=2)

    assert rates(before, after, 10.0).load == pytest.approx(1.5)
    assert rates(before, after, 10.0).drain_seconds is None
    assert rates(before, before, 10.0).drain_seconds == 0.0


def test_without_workers_nothing_is_drained() -> None:
    after = queue(stage("a", 0, arrived=1, ready=1), slots=0)

    found = rates(after, after, 1.0)

    assert (found.utilisation, found.load, found.drain_seconds) == (0.0, 0.0, None)


def test_paused_steps_are_no_work() -> None:
    after = queue(stage("a", 0, arrived=9, held={"paused": 5, "slots api/": 4}))

    assert rates(after, after, 1.0).work_seconds == 4.0


def test_counters_that_begin_anew_are_taken_from_nothing() -> None:
    before = queue(stage("a", 0, arrived=100, ended=90, busy_seconds=50.0))
    after = queue(stage("a", 0, arrived=10, ended=5, busy_seconds=2.0))

    (found,) = rates(before, after, 10.0).stages

    assert (found.arrived, found.ended, found.share) == (1.0, 0.5, 1.0)
