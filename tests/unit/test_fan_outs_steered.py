"""Fan-outs whose items begin out of order, whose window changes, and that begin anew."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import msgspec
from support.driving import Driver

from warrener.domain.definition.model import JobDefinition
from warrener.domain.messages import AdjustStep, RerunJob, RunStep

EACH: dict[str, Any] = {
    "for_each": "${{ params.items }}",
    "call": "work",
    "with": {"item": "${{ item }}"},
}
CHILD = msgspec.convert({"job": "child", "steps": {"a": {"call": "work"}}}, JobDefinition)


def job(**each: Any) -> JobDefinition:
    return msgspec.convert({"job": "fan", "steps": {"each": {**EACH, **each}}}, JobDefinition)


def restart(driver: Driver, job: UUID) -> None:
    driver.controller.forget()
    assert driver.controller.recover([job], driver.now) == {}
    driver.handle("")


def items(driver: Driver) -> list[Any]:
    return [msgspec.json.decode(order.args)["item"] for order in driver.orders]


def succeed_all(driver: Driver) -> None:
    done: set[tuple[UUID, int]] = set()
    while open_orders := [o for o in driver.orders if (o.step, o.attempt) not in done]:
        order: RunStep = open_orders[0]
        done.add((order.step, order.attempt))
        driver.succeed(order)


def test_items_that_a_limit_holds_back_while_later_ones_go_are_there_after_a_restart() -> None:
    driver = Driver()
    limited = job(limits=[{"name": "one", "key": "${{ item }}", "slots": 1}])
    run = driver.submit(limited, {"items": ["a", "a", "b"]})
    assert items(driver) == ["a", "b"]

    restart(driver, run)
    succeed_all(driver)

    assert items(driver) == ["a", "b", "a"]
    assert driver.job(run).state == "succeeded"


def test_an_item_that_has_begun_is_tried_again_though_the_window_was_made_smaller() -> None:
    driver = Driver()
    run = driver.submit(job(window=3, retry=[{"jitter": "none"}]), {"items": ["a", "b", "c"]})

    driver.command(AdjustStep(job=run, step="each", window=1))
    driver.fail(driver.order("each[2]"), outcome="failed")
    driver.wait(1.0)

    assert items(driver) == ["a", "b", "c", "c"]


def test_child_jobs_begin_once_though_the_window_was_made_smaller() -> None:
    driver = Driver()
    fan = job(call=None, job="child", window=3, **{"with": {"item": "${{ item }}"}})
    run = driver.submit(fan, {"items": ["a", "b", "c", "d"]}, {"child": CHILD})

    driver.command(AdjustStep(job=run, step="each", window=1))
    succeed_all(driver)

    assert len(driver.orders) == 4
    assert driver.job(run).state == "succeeded"


def test_a_fan_out_that_begins_anew_over_other_items_has_those_after_a_restart() -> None:
    driver = Driver()
    steps = {"list": {"call": "list"}, "each": {**EACH, "for_each": "${{ steps.list.result }}"}}
    listed = msgspec.convert({"job": "listed", "steps": steps}, JobDefinition)
    run = driver.submit(listed, {})
    driver.succeed(driver.order("list"), ["old"])
    driver.succeed(driver.order("each[0]"))
    driver.command(RerunJob(job=run, step="list", key="again"))
    driver.succeed(driver.order("list"), ["new", "newer"])
    driver.fail(driver.order("each[1]"), outcome="failed")

    restart(driver, run)
    driver.wait(10.0)

    assert msgspec.json.decode(driver.order("each[1]").args) == {"item": "newer"}
