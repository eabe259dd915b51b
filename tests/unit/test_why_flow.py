"""Why a ready step is not released: the policy, who goes before it, and starvation."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from support.driving import START
from support.situations import CALL, Estate

from warrener.domain import ids
from warrener.domain.control_events import (
    FlowSampled,
    MeasureEnded,
    MeasureTaken,
    StarvationDetected,
    StarvationEnded,
)
from warrener.domain.flow.figures import FlowSample
from warrener.domain.flow.incidents import Measure, Victim
from warrener.domain.flow.orders import AGEING_SECONDS, ORDERS
from warrener.domain.messages import ChangeFlow
from warrener.services.shapes import format_time

INCIDENT = UUID(int=77)
ITEMS = {"items": {"for_each": [0, 1, 2, 3], "call": "work"}}


def busy(**more: Any) -> tuple[Estate, UUID]:
    """Return a fleet of one slot, of which orders of a first job are out, and a second job."""
    driver = Estate(fleet=True)
    driver.hire(slots=1)
    driver.begin(ITEMS, key="first", **more)
    driver.now += timedelta(seconds=1)
    return driver, driver.begin({"late": CALL}, key="second")


def starve(driver: Estate, step: str = "late", queue: str = "default") -> None:
    victim = Victim(job="main", step=step, waiting=1, oldest_wait=70.0)
    driver.write(
        INCIDENT,
        StarvationDetected,
        queue=queue,
        diagnosis="upstream-flood",
        victims=(victim,),
        since=driver.now,
    )
    sample(driver, INCIDENT)


def sample(driver: Estate, *incidents: UUID) -> None:
    figures = FlowSample(at=driver.now)
    driver.write(ids.FLOW_SAMPLES_ID, FlowSampled, sample=figures, incidents=incidents)


def throttle(step: str, amount: int = 2) -> Measure:
    return Measure(kind="throttle-producer", queue="default", job="main", step=step, amount=amount)


# --- policies ------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", sorted(ORDERS))
def test_what_waits_for_its_release_names_the_policy_and_what_goes_first(policy: str) -> None:
    driver, job = busy()
    driver.command(ChangeFlow(policy=policy))

    waiting = driver.why(job, "late").waiting

    assert waiting.kind == "window"
    told = f"by the policy {policy} ({ORDERS[policy].summary}): 2 orders are out"
    assert told in waiting.sentence


def test_what_others_of_a_higher_priority_pass_waits_for_that() -> None:
    driver, job = busy()
    driver.begin(ITEMS, key="urgent", priority=5)
    for index in range(2):
        driver.succeed(driver.newest(f"items[{index}]", ids.job_id("first")))
    then = driver.now

    found = driver.why(job, "late")

    assert {order.job for order in driver.orders[-2:]} == {ids.job_id("urgent")}
    assert found.waiting.kind == "priority"
    assert "what has a higher priority goes first" in found.waiting.sentence
    assert f"{AGEING_SECONDS:g} s" in found.waiting.release
    driver.now += timedelta(seconds=1)
    driver.succeed(driver.newest("items[0]", ids.job_id("urgent")))
    assert driver.why(job, "late", at=then) == found


def test_the_same_or_a_lower_priority_is_no_reason_and_neither_is_what_went_before() -> None:
    driver, job = busy(priority=5)  # they were out before

    assert driver.why(job, "late").waiting.kind == "window"

    driver, job = busy()
    driver.succeed(driver.newest("items[0]", ids.job_id("first")))  # then others of the same
    assert driver.why(job, "late").waiting.kind == "window"


def test_a_policy_without_priorities_passes_nobody_for_them() -> None:
    driver, job = busy()
    driver.begin(ITEMS, key="urgent", priority=5)
    for index in range(2):
        driver.succeed(driver.newest(f"items[{index}]", ids.job_id("first")))
    driver.command(ChangeFlow(policy="weighted"))

    assert driver.why(job, "late").waiting.kind == "window"


def test_a_policy_that_is_not_known_here_is_named_all_the_same() -> None:
    driver, job = busy()
    driver.controller.flow.orders = {**ORDERS, "own": ORDERS["fifo"]}
    driver.command(ChangeFlow(policy="own"))

    assert "by the policy own: 2 orders are out" in driver.why(job, "late").waiting.sentence


# --- starvation ----------------------------------------------------------------------------------


def test_a_step_that_starves_names_the_incident_its_cause_and_what_is_done() -> None:
    driver, job = busy()
    calm = driver.why(job, "late").waiting.sentence
    starve(driver)
    alone = driver.why(job, "late").waiting.sentence
    until = driver.now + timedelta(seconds=60)
    driver.write(INCIDENT, MeasureTaken, measure=throttle("items", 9), until=until)
    starving, then = driver.why(job, "late"), driver.now
    driver.now += timedelta(seconds=1)
    driver.write(INCIDENT, MeasureEnded, measure=throttle("items", 9), why="ended")
    after = driver.why(job, "late").waiting.sentence
    driver.now += timedelta(seconds=1)
    driver.write(INCIDENT, StarvationEnded)

    assert "starves" not in calm
    assert f"it starves: incident {INCIDENT}" in alone
    assert "upstream-flood; nothing is done about it" in alone
    assert "upstream-flood; throttle-producer of main/items until 2030" in starving.waiting.sentence
    assert starving.waiting.kind == "window"
    assert "nothing is done about it" in after
    assert driver.why(job, "late").waiting.sentence == calm
    assert driver.why(job, "late", at=then) == starving


def test_an_incident_of_other_stages_or_queues_is_not_told() -> None:
    driver, job = busy()
    starve(driver, step="items")
    other = driver.why(job, "late").waiting.sentence
    driver, job = busy()
    starve(driver, queue="gpu")

    assert "starves" not in other
    assert "starves" not in driver.why(job, "late").waiting.sentence


def test_a_stage_that_is_throttled_says_so_that_others_do_not_starve() -> None:
    driver = Estate(fleet=True)
    driver.hire(slots=8)
    job = driver.begin({"items": {**ITEMS["items"], "window": 2}}, key="first")
    driver.command(ChangeFlow(mode="observe"))
    starve(driver)
    until = START + timedelta(seconds=60)
    driver.write(INCIDENT, MeasureTaken, measure=throttle("items"), until=until)
    driver.controller.flow.measures.throttled = dict.fromkeys(stages_of(driver), 2)
    driver.command(adjusted(job))

    found = driver.why(job, "items[2]")

    assert found.state == "ready"
    assert found.waiting.kind == "window"
    assert "its stage may have 2 orders out until 2030-01-01 00:01:00Z" in found.waiting.sentence
    assert f"(incident {INCIDENT}, upstream-flood)" in found.waiting.sentence
    assert found.waiting.until == format_time(until)
    assert [each.path for each in found.waiting.blockers] == ["items[0]", "items[1]"]
    driver.now = until
    assert "its stage may have" not in driver.why(job, "items[2]").waiting.sentence


def stages_of(driver: Estate) -> list[Any]:
    """Return the stages that the controller has orders of."""
    return [stage for lane in driver.controller.flow._lanes.values() for stage in lane._lines]


def adjusted(job: UUID) -> Any:
    from warrener.domain.messages import AdjustStep

    return AdjustStep(job=job, step="items", window=4)
