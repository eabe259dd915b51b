"""Jobs that start each other over a tree come to what plain recursion over the tree says."""

from __future__ import annotations

import msgspec
from hypothesis import HealthCheck, given, settings
from support.driving import Driver
from support.recursion_cases import RecursionCase, recursion_cases, run_endpoint
from support.scale import scaled

from warrener.domain.definition.model import JobDefinition
from warrener.domain.errors import PermanentError
from warrener.domain.states import JOB_ENDED
from warrener.services.outcomes import outcome

CASES = 1_000


@settings(max_examples=scaled(CASES), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(recursion_cases())
def test_a_family_of_jobs_over_a_tree_ends_as_recursion_says(case: RecursionCase) -> None:
    driver = Driver()
    definitions = {
        name: msgspec.convert(definition, JobDefinition)
        for name, definition in case.definitions.items()
    }

    job = driver.submit(definitions[case.root], case.params, definitions)
    work_off(driver, case)

    ended = outcome(driver.store, job)
    if case.expected.codes:
        assert ended.error is not None
        assert ended.error.code in case.expected.codes
    else:
        assert (ended.state, ended.result) == ("succeeded", case.expected.result)
    assert driver.controller.memory.jobs == {}
    assert driver.controller.memory.steps == {}
    assert {driver.job(j).state for j in jobs_of(driver)} <= JOB_ENDED


def work_off(driver: Driver, case: RecursionCase) -> None:
    """Answer every order there is, in the order that the case says."""
    answered = 0
    while driver.orders:
        order = driver.orders.pop(case.order[answered % len(case.order)] % len(driver.orders))
        answered += 1
        try:
            result = run_endpoint(order.endpoint, msgspec.json.decode(order.args))
        except PermanentError as error:
            driver.fail(order, error.code)
        else:
            driver.succeed(order, result)


def jobs_of(driver: Driver) -> set:
    """Return all jobs in the log."""
    return {
        positioned.recorded.originator_id
        for positioned in driver.store.read(0, 10**6)
        if type(positioned.recorded.event).__name__ == "JobSubmitted"
    }
