"""Messages to the controller that are no reports: beats, commands and their answers, notices."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import msgspec
from support.driving import Driver

from warrener.domain import ids
from warrener.domain.definition.model import JobDefinition
from warrener.domain.messages import (
    Beat,
    CancelJob,
    CancelStep,
    CommandReply,
    EventNotice,
    JobOutcome,
    RunStep,
    SubmitJob,
    WaitJob,
)
from warrener.domain.ports import Notice, Outgoing
from warrener.domain.step_events import StepReleased, StepStarted
from warrener.domain.topology import CONTROL, EVENTS, reply_queue
from warrener.services.submission import Source, submission

ME = reply_queue("me")
ONE: dict[str, Any] = {"job": "one", "steps": {"a": {"call": "work"}}, "result": "${{ steps.a.result }}"}  # noqa: E501  # fmt: skip


def definition(document: dict[str, Any] = ONE) -> JobDefinition:
    return msgspec.convert(document, JobDefinition)


def started() -> tuple[Driver, UUID, RunStep]:
    driver = Driver()
    job = driver.submit(definition(), {})
    return driver, job, driver.order("a")


def beat(order: RunStep, driver: Driver, **changes: Any) -> Beat:
    fields = {"job": order.job, "step": order.step, "attempt": order.attempt, "token": order.token}
    return Beat(worker="w", at=driver.now, **{**fields, **changes})


def replies(driver: Driver, kind: type[Any]) -> list[Any]:
    sent = [each for each in driver.sent if isinstance(each, Outgoing) and each.queue == ME]
    found = []
    for each in sent:
        message = msgspec.json.decode(each.body, type=CommandReply | JobOutcome)
        if isinstance(message, kind):
            found.append(message)
    return found


def notices(driver: Driver, exchange: str = EVENTS) -> list[Notice]:
    return [e for e in driver.sent if isinstance(e, Notice) and e.exchange == exchange]


def test_the_first_beat_of_an_attempt_says_that_it_runs_and_later_ones_change_nothing():
    driver, _, order = started()

    first = driver.handle("beat-1", beat(order, driver))
    second = driver.handle("beat-2", beat(order, driver))

    assert [type(each.event) for each in first.events] == [StepStarted]
    assert second.events == []


def test_a_beat_with_a_wrong_token_attempt_or_job_is_ignored_and_counted():
    driver, _, order = started()

    for change in ({"token": "x"}, {"attempt": 2}, {"job": uuid4()}, {"step": uuid4()}):
        assert driver.handle("beat", beat(order, driver, **change)).events == []

    assert driver.controller.ignored == 4


def test_a_forged_report_is_ignored_and_counted():
    driver, _, order = started()
    name, genuine = driver.report(order, "succeeded", b"1")

    for change in ({"token": "x"}, {"attempt": 2}, {"attempt": 0}, {"job": uuid4()}):
        forged = msgspec.structs.replace(genuine, **change)
        assert driver.handle(name, forged).events == []

    assert driver.controller.ignored == 4
    assert driver.handle(name, genuine).ended


def test_a_submission_is_answered_and_one_that_is_repeated_too():
    driver = Driver()
    message = submission(Source(definition()), {}, key="k")
    message = msgspec.structs.replace(message, reply_to=ME)

    driver.handle("m1", message)
    driver.handle("m2", message)

    answers = replies(driver, CommandReply)
    assert [(a.command, a.job, a.error) for a in answers] == [
        ("m1", ids.job_id("k"), None),
        ("m2", ids.job_id("k"), None),
    ]
    assert len(driver.orders) == 1


def test_a_refused_submission_is_answered_with_the_reason_and_writes_nothing():
    driver = Driver()
    message = SubmitJob(key="k", definition="{}", params=msgspec.Raw(b"{}"), reply_to=ME)

    batch = driver.handle("m", message)

    (answer,) = replies(driver, CommandReply)
    assert batch.events == []
    assert answer.error.code == "refused"
    assert "cannot submit" in answer.error.message


def test_who_waits_is_told_when_the_job_ends():
    driver, job, order = started()
    driver.handle("w", WaitJob(job=job, reply_to=ME))
    driver.handle("w2", WaitJob(job=job, reply_to=ME))
    assert replies(driver, JobOutcome) == []

    driver.succeed(order, {"n": 7})

    (outcome,) = replies(driver, JobOutcome)
    assert (outcome.job, outcome.state, bytes(outcome.result)) == (job, "succeeded", b'{"n":7}')
    assert outcome.steps == {"succeeded": 1}


def test_who_asks_for_a_job_that_has_ended_is_told_at_once():
    driver, job, order = started()
    driver.fail(order, "broken")

    driver.handle("w", WaitJob(job=job, reply_to=ME))

    (outcome,) = replies(driver, JobOutcome)
    assert (outcome.state, outcome.error.code) == ("failed", "broken")


def test_who_asks_in_the_batch_in_which_the_job_ends_is_told_once_it_is_committed():
    driver, job, order = started()
    name, report = driver.report(order, "succeeded", b"1")

    driver.handle(name, report, WaitJob(job=job, reply_to=ME))

    assert [outcome.state for outcome in replies(driver, JobOutcome)] == ["succeeded"]


def test_who_asks_for_an_unknown_job_is_told_so():
    driver = Driver()

    driver.handle("w", WaitJob(job=uuid4(), reply_to=ME))

    (answer,) = replies(driver, CommandReply)
    assert "cannot wait: no job" in answer.error.message


def test_cancelling_tells_the_workers_and_the_client_and_may_be_asked_for_twice():
    driver, job, order = started()

    driver.handle("c1", CancelJob(job=job, reason="no need", reply_to=ME))
    driver.handle("c2", CancelJob(job=job, reply_to=ME))

    (told,) = notices(driver, CONTROL)
    assert told.routing_key == "step.cancel"
    assert msgspec.json.decode(told.body, type=CancelStep) == CancelStep(
        job=job, step=order.step, attempt=1
    )
    first, second = replies(driver, CommandReply)
    assert (first.error, second.error) == (None, None)  # asking twice is harmless
    assert driver.job(job).state == "cancelled"


def test_the_end_of_a_job_and_the_failure_of_a_step_are_announced_in_order():
    driver, job, order = started()

    driver.fail(order, "broken")

    found = [msgspec.json.decode(each.body, type=EventNotice) for each in notices(driver)]
    assert [each.routing_key for each in notices(driver)] == ["step.failed", "job.failed"]
    assert [(e.event, e.job, e.name, e.path) for e in found] == [
        ("step.failed", job, "one", "a"),
        ("job.failed", job, "one", None),
    ]
    positions = [each.position for each in found]
    events = {p.position: p.recorded.event for p in driver.store.read(0, 100)}
    assert [type(events[p]).__name__ for p in positions] == ["StepFailed", "JobFailed"]


def test_catching_up_sends_open_orders_and_all_notices_after_a_position_again():
    driver, job, order = started()
    other = driver.submit(definition(), {}, key="other")
    driver.fail(order, "broken")
    released = [p.position for p in driver.store.read(0, 100) if isinstance(p.recorded.event, StepReleased)]  # noqa: E501  # fmt: skip
    driver.controller.forget()
    driver.controller.recover([other], driver.now)

    everything = driver.controller.outbox.catch_up(0)
    later = driver.controller.outbox.catch_up(released[-1])

    orders = [e for e in everything if isinstance(e, Outgoing)]
    assert [msgspec.json.decode(e.body, type=RunStep).job for e in orders] == [other]
    assert [e.routing_key for e in everything if isinstance(e, Notice)] == ["step.failed", "job.failed"]  # noqa: E501  # fmt: skip
    assert [e.routing_key for e in later if isinstance(e, Notice)] == ["step.failed", "job.failed"]
    assert not [e for e in later if isinstance(e, Outgoing)]
    assert driver.job(job).state == "failed"
