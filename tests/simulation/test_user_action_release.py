"""One answer lets a thousand parked steps go on, no faster than their limit allows."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import msgspec
from support.driving import Driver

from warrener.domain import ids
from warrener.domain.definition.model import JobDefinition
from warrener.domain.messages import AnswerUserAction
from warrener.domain.step_events import StepParked, StepReadied, StepReleased

JOBS, STEPS = 300, 1_000
RATE_SECONDS, BURST = 10.0, 20  # ten a second
LIMIT = {"name": "facebook", "rate": [RATE_SECONDS, 1.0], "burst": BURST}


def parked() -> tuple[Driver, list[UUID]]:
    """Return a driver with 1,000 steps of 300 jobs that wait for the same answer."""
    driver = Driver()
    found = []
    for number in range(JOBS):
        count = STEPS // JOBS + (number < STEPS % JOBS)
        steps = {f"post{n}": {"call": "post", "limits": [LIMIT]} for n in range(count)}
        definition = msgspec.convert({"job": f"report{count}", "steps": steps}, JobDefinition)
        job = driver.submit(definition, {}, key=f"job-{number}")
        found += [ids.step_id(job, name) for name in steps]
    done = 0
    while done < STEPS:
        for order in driver.orders[done:]:
            driver.ask(order, "reconnect", cause="facebook")
            done += 1
        run_to_next_due(driver)
    return driver, found


def run_to_next_due(driver: Driver) -> bool:
    due = driver.controller.next_due(driver.now)
    if due is not None:
        driver.wait(max(0.0, (due - driver.now).total_seconds()))
    return due is not None


def released_again(driver: Driver) -> list[tuple[datetime, UUID]]:
    events = [positioned.recorded for positioned in driver.store.read(0, 1_000_000)]
    return [
        (each.event.at, each.originator_id)
        for each in events
        if isinstance(each.event, StepReleased) and each.event.attempt > 1
    ]


def check_release(driver: Driver, steps: list[UUID]) -> None:
    released = released_again(driver)
    assert sorted(step for _, step in released) == sorted(steps)  # each of them, and none twice
    times = [at for at, _ in released]
    for first, last in ((n, m) for n in range(0, STEPS, 7) for m in (n + BURST, n + 100)):
        if last < STEPS:
            seconds = (times[last] - times[first]).total_seconds()
            assert last - first + 1 <= BURST + RATE_SECONDS * seconds + 1e-3
    took = (times[-1] - times[0]).total_seconds()
    assert took <= STEPS / RATE_SECONDS + 1.0  # and no slower than it need be


def test_an_answer_releases_all_steps_at_the_configured_rate_and_none_twice():
    driver, steps = parked()
    (request,) = driver.requests()

    assert driver.command(AnswerUserAction(request=request, by="ada")) is None
    while run_to_next_due(driver):
        pass

    kinds = [type(p.recorded.event) for p in driver.store.read(0, 1_000_000)]
    assert (kinds.count(StepParked), kinds.count(StepReadied)) == (STEPS, STEPS)
    check_release(driver, steps)


def test_it_stays_so_if_the_reactor_is_replaced_in_the_middle():
    driver, steps = parked()
    (request,) = driver.requests()
    driver.command(AnswerUserAction(request=request))

    turns = 0
    while run_to_next_due(driver):
        turns += 1
        if turns % 100 == 0:
            driver.controller.forget()
            driver.controller.recover(driver.store.open_roots(), driver.now)

    check_release(driver, steps)
