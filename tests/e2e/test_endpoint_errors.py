"""What becomes of each error of an endpoint: one table, in memory and on RabbitMQ."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from support.hand_fleet import HandFleet

from warrener.adapters.memory import MemoryBroker
from warrener.adapters.rabbitmq import RabbitBroker
from warrener.domain.errors import PermanentError, RetryLater, UserActionRequired
from warrener.domain.events import Error
from warrener.domain.messages import AnswerUserAction
from warrener.domain.step_events import StepFailed, StepRetryScheduled
from warrener.services.endpoints import Endpoint, Registry

STEP = {"call": "work", "with": {"n": 1}}


@pytest.fixture(scope="module", params=["memory", "rabbitmq"])
def fleet(request: pytest.FixtureRequest) -> Iterator[HandFleet]:
    if request.param == "memory":
        found = HandFleet(MemoryBroker())
    else:
        found = HandFleet(RabbitBroker(request.getfixturevalue("module_broker_url")))
    yield found
    found.close()


def registry(function: Callable[..., Any]) -> Registry:
    found = Registry()
    found.add(Endpoint(function, "work"))
    return found


def raising(error: Exception) -> Registry:
    def work(n: int) -> None:
        raise error

    return registry(work)


def last_error(fleet: HandFleet, job: Any) -> tuple[str, Error]:
    events = [each.event for each in fleet.store.stream(fleet.step(job, "x").id)]
    failures = [event for event in events if isinstance(event, StepFailed | StepRetryScheduled)]
    return fleet.state(job, "x"), failures[-1].error


def text(n: str) -> None:
    """An endpoint that takes text, where the step gives a number."""


def number(n: int) -> int:
    return "no number"  # type: ignore[return-value]


RAISED: list[tuple[Registry, str, str, float | None]] = [
    # endpoint, state after it, code of the error, seconds to the next attempt
    (raising(RetryLater(30, code="throttled")), "retrying", "throttled", 30.0),
    (raising(PermanentError("no-such-page", "gone")), "failed", "no-such-page", None),
    (raising(ValueError("odd")), "retrying", "error", 0.5),
    (registry(text), "failed", "bad-input", None),
    (registry(number), "failed", "bad-result", None),
]


@pytest.mark.parametrize(
    ("endpoint", "state", "code", "wait_seconds"), RAISED, ids=[row[2] for row in RAISED]
)
def test_what_an_endpoint_raises(
    fleet: HandFleet, endpoint: Registry, state: str, code: str, wait_seconds: float | None
):
    job = fleet.submit({"x": STEP})

    fleet.perform(fleet.order(job, "x"), endpoint)

    assert last_error(fleet, job)[0] == state
    assert last_error(fleet, job)[1].code == code
    if wait_seconds is not None:
        due = fleet.clock.now() + timedelta(seconds=wait_seconds)
        assert fleet.step(job, "x").until == due
        fleet.wait(wait_seconds)
        assert fleet.order(job, "x").attempt == 2


def test_any_other_exception_is_tried_four_times_with_a_growing_wait(fleet: HandFleet):
    job = fleet.submit({"x": STEP})
    waits = []

    for _ in range(3):
        fleet.perform(fleet.order(job, "x"), raising(KeyError("k")))
        waits.append((fleet.step(job, "x").until - fleet.clock.now()).total_seconds())
        fleet.wait(waits[-1])
    fleet.perform(fleet.order(job, "x"), raising(KeyError("k")))

    state, error = last_error(fleet, job)
    assert (state, error.code, error.type, error.attempt) == ("failed", "error", "KeyError", 4)
    assert waits == [0.5, 1.0, 2.0]  # 1 s, twice as much each time, half of it by the jitter


def test_a_user_action_is_asked_for_once_and_its_answer_lets_all_steps_go_on(fleet: HandFleet):
    asking = raising(UserActionRequired("reconnect", cause="page-7", message="please"))
    found = [fleet.submit({"x": STEP}) for _ in range(3)]
    for job in found:
        fleet.perform(fleet.order(job, "x"), asking)

    requests = {fleet.request(job, "x") for job in found}
    assert [fleet.state(job, "x") for job in found] == ["waiting_user"] * 3
    assert len(requests) == 1
    assert not fleet.controller.memory.limits.waiting()
    assert fleet.command(AnswerUserAction(request=requests.pop())) is None
    assert [fleet.order(job, "x").attempt for job in found] == [2, 2, 2]
    assert [fleet.state(job, "x") for job in found] == ["released"] * 3


TIMES: list[tuple[str, str, str]] = [
    ("queue", "retrying", "queue-timeout"),
    ("run", "retrying", "run-timeout"),
    ("beat", "retrying", "worker-lost"),
    ("total", "failed", "total-timeout"),
]


@pytest.mark.parametrize(("kind", "state", "code"), TIMES, ids=[row[0] for row in TIMES])
def test_what_a_timeout_brings(fleet: HandFleet, kind: str, state: str, code: str):
    job = fleet.submit({"x": {**STEP, "timeout": {kind: 60.0}}})
    late = fleet.order(job, "x")
    if kind in {"run", "beat"}:
        fleet.beat(late)
    fleet.wait(59.9)
    assert fleet.state(job, "x") in {"released", "running"}

    fleet.wait(0.1)

    assert last_error(fleet, job)[0] == state
    assert last_error(fleet, job)[1].code == code
    fleet.report(late, "succeeded")  # too late: it counts no more
    assert fleet.state(job, "x") == state


def test_an_order_that_was_delivered_too_often_is_poison(fleet: HandFleet):
    job = fleet.submit({"x": STEP})

    fleet.poison(fleet.order(job, "x"))

    assert last_error(fleet, job)[0] == "failed"
    assert last_error(fleet, job)[1].code == "poison"


def test_where_no_worker_serves_the_endpoint_the_step_waits(fleet: HandFleet):
    job = fleet.submit({"x": {**STEP, "queue": "nobody"}})

    fleet.wait(24 * 3600.0)

    assert fleet.state(job, "x") == "released"
    assert fleet.job(job).state == "running"
