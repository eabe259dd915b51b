"""The budget of a tree of jobs holds within one turn, too."""

from __future__ import annotations

import msgspec
from support.driving import Driver

from warrener.domain.definition.model import JobDefinition


def test_child_jobs_that_begin_in_one_turn_count_before_they_are_opened() -> None:
    driver = Driver()
    steps = {name: {"call": "work"} for name in "abc"}
    child = msgspec.convert({"job": "child", "steps": steps}, JobDefinition)
    each = {"for_each": "${{ [1, 2, 3] }}", "job": "child", "with": {"n": "${{ item }}"}}
    root = {"job": "root", "budget": {"steps": 10}, "steps": {"each": {**each, "tolerate": 3}}}

    job = driver.submit(msgspec.convert(root, JobDefinition), {}, {"child": child})

    assert len(driver.orders) == 6  # 1 step, 3 items and 2 children of 3 steps
    items = driver.job(job).fan_outs["each"]
    assert items.counts == {"failed": 1}
