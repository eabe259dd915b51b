"""What workers and policies of others say does not carry the flow away."""

from __future__ import annotations

from datetime import timedelta

import msgspec
import pytest
from support.driving import Driver

from warrener.domain.definition.model import JobDefinition

ONE = msgspec.convert({"job": "one", "steps": {"a": {"call": "work"}}}, JobDefinition)


@pytest.mark.parametrize(("said_seconds", "counted"), [(-1e9, 0.0), (2.0, 2.0), (1e9, 3.0)])
def test_no_attempt_is_taken_to_have_run_for_longer_than_it_was_out(
    said_seconds: float, counted: float
) -> None:
    driver = Driver()
    driver.submit(ONE, {})
    driver.now += timedelta(seconds=3)
    name, report = driver.report(driver.order("a"), "succeeded")
    began = driver.now - timedelta(seconds=said_seconds)

    driver.handle(name, msgspec.structs.replace(report, started_at=began))

    (queue,) = driver.controller.flow.sample(driver.now, lambda _: True).queues
    assert queue.stages[0].busy_seconds == queue.stages[0].service_seconds == counted
