"""The core decides like the executable model, whatever the definition and the order of reports."""

from __future__ import annotations

from uuid import UUID

import msgspec
from hypothesis import HealthCheck, given, settings
from support.case import Case
from support.driving import Driver
from support.model import EXPRESSION_ERROR, WORK_ERROR, Model, script
from support.scale import scaled
from support.strategies import cases

from warrener.domain import ids
from warrener.domain.definition.model import JobDefinition
from warrener.domain.flow.settings import FlowSettings
from warrener.domain.states import STEP_ENDED
from warrener.domain.step_events import StepFailed
from warrener.services.outcomes import outcome as outcome_of

CASES = 1_400


def check(driver: Driver, model: Model, job_id: UUID) -> None:
    job = driver.job(job_id)
    states = {
        name: "running" if job.step(name) == "ready" else job.step(name) for name in model.states
    }
    assert states == model.states
    ordered = {order.path for order in driver.orders if job.step(order.path) == "ready"}
    assert ordered == model.running
    assert job.state == model.job


@settings(max_examples=scaled(CASES), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(cases())
def test_the_core_and_the_model_agree_after_every_report(case: Case) -> None:
    driver, model = Driver(settings=FlowSettings(policy="fifo")), Model(case)
    definition = msgspec.convert(case.definition, JobDefinition)

    job_id = driver.submit(definition, case.params)
    model.start()
    check(driver, model, job_id)
    for step, outcome in script(case):
        order = driver.order(step)
        if outcome == "ok":
            driver.succeed(order, case.results[step])
        else:
            driver.fail(order, WORK_ERROR)
        model.report(step, outcome)
        check(driver, model, job_id)

    job = driver.job(job_id)
    assert set(job.steps.values()) <= STEP_ENDED
    if job.state == "succeeded":
        assert outcome_of(driver.store, job_id).result == model.job_result()
    for name, code in model.errors.items():
        last = driver.store.last(ids.step_id(job_id, name))
        assert last is not None
        assert isinstance(last.event, StepFailed)
        assert last.event.error.code == code
    for order in driver.orders:
        assert msgspec.json.decode(order.args) == model.arguments(order.path)
    assert len({order.path for order in driver.orders}) == len(driver.orders)


@settings(
    max_examples=scaled(CASES // 4), deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
@given(cases())
def test_a_job_loaded_again_after_every_report_goes_on_the_same_way(case: Case) -> None:
    driver, model = Driver(), Model(case)
    job_id = driver.submit(msgspec.convert(case.definition, JobDefinition), case.params)
    model.start()
    for step, outcome in script(case):
        order = driver.order(step)
        driver.controller.forget()
        driver.controller.recover([job_id], driver.now)
        if outcome == "ok":
            driver.succeed(order, case.results[step])
        else:
            driver.fail(order, WORK_ERROR)
        model.report(step, outcome)
        check(driver, model, job_id)
    assert {EXPRESSION_ERROR, WORK_ERROR} >= set(model.errors.values())
