"""Each command on a store without a broker: what it does there, and what it does when repeated."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

import msgspec
import pytest
from support.driving import Driver

from warrener.adapters.clock import SystemClock
from warrener.domain import ids
from warrener.domain.control_events import LimitChanged, UserActionAnswered, UserActionWithdrawn
from warrener.domain.definition.model import JobDefinition, Rate, RetryRule
from warrener.domain.errors import UsageError
from warrener.domain.events import Event, JobAdjusted, JobPaused, JobRerun, JobResumed, JobSignalled
from warrener.domain.ports import EventStore
from warrener.domain.step_events import StepReadied, StepReleased, StepSucceeded
from warrener.services.logs import LogSet
from warrener.services.steering import StoreSteering
from warrener.services.turn import Chance

FORM = {"type": "object", "required": ["token"], "properties": {"token": {"type": "string"}}}
WHO: dict[str, Any] = {"by": "ada", "reason": "so"}
CHAIN: dict[str, Any] = {
    "job": "chain",
    "steps": {
        "a": {"call": "t.a"},
        "b": {"call": "t.b", "after": ["a"]},
        "items": {"call": "t.item", "for_each": [1, 2, 3], "window": 1, "after": ["a"]},
    },
}
WAITING: dict[str, Any] = {
    "job": "waiting",
    "steps": {
        "go": {"wait": {"for": "go", "form": FORM}},
        "after": {"call": "t.after", "with": {"heard": "${{ steps.go.result }}"}},
    },
}
PARENT: dict[str, Any] = {"job": "parent", "steps": {"sub": {"job": "chain"}}}


def definition(document: dict[str, Any] = CHAIN) -> JobDefinition:
    return msgspec.convert(document, JobDefinition)


def steering(store: EventStore) -> StoreSteering:
    return StoreSteering(LogSet([store]), SystemClock(), Chance(lambda: "0" * 32, lambda: 0.5))


def found(store: EventStore, kind: type[Event]) -> list[Any]:
    events = [positioned.recorded.event for positioned in store.read(0, store.head())]
    return [event for event in events if isinstance(event, kind)]


def twice(call: Callable[[], bool], store: EventStore) -> None:
    """Do it, and do it again: the second time changes nothing."""
    assert call()
    head = store.head()
    assert call()
    assert store.head() == head


def reload(driver: Driver, *roots: UUID) -> None:
    """Let the controller of a run that lives on look at the log again."""
    driver.controller.forget()
    assert driver.controller.recover(roots, driver.now) == {}
    driver.handle("")


def test_a_job_is_paused_and_resumed_and_nothing_goes_out_by_that() -> None:
    driver = Driver()
    job = driver.submit(definition(), {})
    store = driver.store

    twice(lambda: steering(store).pause(job, **WHO), store)
    reload(driver, job)
    driver.succeed(driver.order("a"))
    assert [order.path for order in driver.orders] == ["a"]
    twice(lambda: steering(store).resume(job, **WHO), store)

    assert len(found(store, StepReleased)) == 1
    reload(driver, job)
    assert [order.path for order in driver.orders] == ["a", "b", "items[0]"]
    for kind in (JobPaused, JobResumed):
        (asked,) = found(store, kind)
        assert (asked.by, asked.reason) == ("ada", "so")


def test_a_child_job_is_paused_alone() -> None:
    driver = Driver()
    root = driver.submit(definition(PARENT), {}, {"chain": definition()})
    child = ids.child_job_id(ids.step_id(root, "sub"))

    assert steering(driver.store).pause(child)

    assert driver.job(child).state == "paused"
    assert driver.job(root).state == "running"


def test_what_waits_for_its_next_attempt_is_let_go_at_once() -> None:
    driver = Driver()
    job = driver.submit(definition(), {})
    driver.fail(driver.order("a"), outcome="failed")

    twice(lambda: steering(driver.store).retry(job, "a", **WHO), driver.store)

    (readied,) = found(driver.store, StepReadied)
    assert (readied.by, readied.reason) == ("ada", "so")
    reload(driver, job)
    assert [order.attempt for order in driver.orders] == [1, 2]


def test_what_failed_in_a_job_that_has_ended_begins_anew() -> None:
    driver = Driver()
    job = driver.submit(definition(), {})
    driver.fail(driver.order("a"))
    assert driver.job(job).state == "failed"

    assert steering(driver.store).retry(job, "a", **WHO)

    assert driver.job(job).state == "running"
    assert list(driver.store.open_roots()) == [job]
    reload(driver, job)
    assert [order.attempt for order in driver.orders] == [1, 2]


def test_a_rerun_with_the_same_key_is_one() -> None:
    driver = Driver()
    job = driver.submit(definition(), {})
    driver.fail(driver.order("a"))

    twice(lambda: steering(driver.store).rerun(job, "a", "monday", **WHO), driver.store)

    (rerun,) = found(driver.store, JobRerun)
    assert (rerun.step, rerun.key, rerun.by, rerun.reason) == ("a", "monday", "ada", "so")


def test_a_signal_with_the_same_key_is_one_and_its_data_are_the_result() -> None:
    driver = Driver()
    job = driver.submit(definition(WAITING), {})
    data = {"token": "t"}

    with pytest.raises(UsageError, match="missing: token"):
        steering(driver.store).signal(job, "go", {}, "k", **WHO)
    twice(lambda: steering(driver.store).signal(job, "go", data, "k", **WHO), driver.store)

    (signal,) = found(driver.store, JobSignalled)
    assert (signal.name, signal.step, signal.by, signal.reason) == ("go", "go", "ada", "so")
    assert found(driver.store, StepReleased) == []
    reload(driver, job)
    assert msgspec.json.decode(driver.order("after").args) == {"heard": data}


def test_an_answer_lets_the_steps_of_all_trees_that_wait_for_it_go_on() -> None:
    driver = Driver()
    jobs = [driver.submit(definition(), {}, key=key) for key in ("one", "two")]
    for job in jobs:
        driver.ask(next(o for o in driver.orders if o.job == job), "reconnect", form=FORM)
    (request,) = driver.requests()

    with pytest.raises(UsageError, match="cannot answer: data: missing: token"):
        steering(driver.store).answer(request, {}, **WHO)
    assert steering(driver.store).answer(request, {"token": "t"}, **WHO)
    with pytest.raises(UsageError, match="has been answered already"):
        steering(driver.store).answer(request, {"token": "t"}, **WHO)

    assert len(found(driver.store, UserActionAnswered)) == 1
    assert {event.job for event in found(driver.store, StepReadied)} == set(jobs)
    reload(driver, *jobs)
    assert [order.attempt for order in driver.orders] == [1, 1, 2, 2]
    assert driver.orders[-1].context["answer"] == {"token": "t"}


def test_a_request_for_which_another_tree_still_waits_stays_open() -> None:
    driver = Driver()
    jobs = [driver.submit(definition(), {}, key=key) for key in ("one", "two")]
    for job in jobs:
        driver.ask(next(o for o in driver.orders if o.job == job))
    (request,) = driver.requests()

    steering(driver.store).cancel(jobs[0])
    assert found(driver.store, UserActionWithdrawn) == []
    steering(driver.store).cancel(jobs[1])
    assert len(found(driver.store, UserActionWithdrawn)) == 1

    with pytest.raises(UsageError, match=f"user action {request} is open no longer"):
        steering(driver.store).answer(request)


def test_parameters_of_a_step_are_changed() -> None:
    driver = Driver()
    job = driver.submit(definition(), {})
    driver.succeed(driver.order("a"))
    rule = RetryRule(max=9)

    def adjust() -> bool:
        return steering(driver.store).adjust(
            job, "items", window=3, tolerated=1, retry=[rule], **WHO
        )

    twice(adjust, driver.store)

    (adjusted,) = found(driver.store, JobAdjusted)
    assert (adjusted.window, adjusted.tolerated, adjusted.retry) == (3, 1, (rule,))
    reload(driver, job)
    assert [o.path for o in driver.orders if o.path.startswith("items")] == [
        f"items[{n}]" for n in range(3)
    ]


def test_a_limit_is_changed_without_any_job() -> None:
    store = Driver().store

    twice(lambda: steering(store).change_limit("api", slots=4, rate="20/min", **WHO), store)

    (changed,) = found(store, LimitChanged)
    assert (changed.name, changed.slots, changed.rate, changed.burst) == (
        "api",
        4,
        Rate(20, 60),
        None,
    )
    assert (changed.by, changed.reason) == ("ada", "so")


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda s, job: s.rerun(job, "x", "k"), "cannot rerun .*/x: it has no such step"),
        (lambda s, job: s.rerun(job, "a", "k"), "cannot rerun .*/a: the step has not ended"),
        (lambda s, job: s.retry(job, "x"), "cannot retry .*/x: it has no such step"),
        (lambda s, job: s.retry(job, "a"), "cannot retry .*/a: it is released"),
        (lambda s, job: s.retry(job), "cannot retry .*: nothing of it failed"),
        (lambda s, job: s.adjust(job, "a", window=3), "cannot adjust .*/a: step a is no fan-out"),
        (lambda s, job: s.signal(job, "go"), "cannot signal .*: job chain has no step that waits"),
        (lambda s, job: s.answer(UUID(int=5)), "cannot answer: there is no user action"),
    ],
)
def test_what_cannot_be_done_is_refused_with_the_reason_and_nothing_is_written(
    call: Callable[[StoreSteering, UUID], bool], said: str
) -> None:
    driver = Driver()
    job = driver.submit(definition(), {})
    head = driver.store.head()

    with pytest.raises(UsageError, match=said):
        call(steering(driver.store), job)

    assert driver.store.head() == head
    assert found(driver.store, StepSucceeded) == []
