"""What workers and policies of others say does not carry the flow away."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import timedelta
from itertools import cycle
from typing import Any
from uuid import uuid4

import msgspec
import pytest
from structlog.testing import capture_logs
from support.driving import Driver
from support.ready import START, queued

from warrener.domain.definition.model import JobDefinition
from warrener.domain.flow.lanes import Flow
from warrener.domain.flow.orders import Order
from warrener.domain.flow.settings import FlowSettings
from warrener.services.policy_guard import guarded

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


def in_turn(values: Iterable[Any]) -> Callable[..., Any]:
    """Return a rule that gives one value after the other, or raises it."""
    given = cycle(values)

    def rule(*_: object) -> Any:
        value = next(given)
        if isinstance(value, Exception):
            raise value
        return value

    return rule


NAN = float("nan")
RANKS = [
    (),
    (1,),
    ("a", 2),
    (None,),
    (NAN,),
    (START,),
    (START.replace(tzinfo=None),),
    7,
    ([(1, "b")],),
]


@pytest.mark.parametrize(
    ("rule", "values"),
    [
        ("rank", [*RANKS, ZeroDivisionError("a bug")]),
        ("tier", [1, "high", None, 2.5, KeyError("fair")]),
        ("key", ["a", 1, None, ("b",), ValueError("a bug")]),
        ("weight", [1.0, NAN, 0, -1, float("inf"), 1e-300, "1", None, TypeError("a bug")]),
    ],
)
def test_a_policy_of_others_that_gives_nonsense_stops_nothing(rule: str, values: list[Any]) -> None:
    order = Order(name="own", summary="", rank=lambda standing: (standing.remaining,))
    rules: dict[str, Any] = {"key": lambda standing: standing.fair, rule: in_turn(values)}
    own = guarded(msgspec.structs.replace(order, **rules))
    flow = Flow(lambda _: 4, FlowSettings(policy="own"), orders={"own": own})

    with capture_logs() as logs:
        for number in range(200):
            flow.add(queued(number + 1, f"s{number % 3}", fair=f"key{number % 5}"))
            if number % 2:
                taken = flow.take(START)
                assert taken is not None
                step = uuid4()
                flow.released(step, taken, START)
                flow.measured(step, 1.0, succeeded=True)
                flow.completed(step, START)
        places = sorted(flow.place(queued(number + 1).standing) for number in range(50))
        flow.use(FlowSettings(policy="own", weights={"key1": 2.0}))

    left = [flow.take(START) for _ in range(100)]
    assert None not in left
    assert len(places) == 50
    assert [(each["event"], each["rule"]) for each in logs] == [("policy.failed", rule)]
