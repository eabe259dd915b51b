"""Policies of other packages: found by entry point, checked, and never a crash."""

from __future__ import annotations

import importlib.metadata
from datetime import datetime, timedelta
from importlib.metadata import EntryPoint
from typing import Any

import msgspec
import pytest
from structlog.testing import capture_logs
from support.driving import Driver

from warrener.domain.definition.model import JobDefinition
from warrener.domain.errors import UsageError
from warrener.domain.flow.orders import DEFAULT_ORDER, ORDERS, Order
from warrener.domain.flow.settings import FlowSettings
from warrener.domain.ids import job_id
from warrener.domain.messages import ChangeFlow, RerunJob
from warrener.services import policies

SHORT = Order(
    name="short", summary="the shortest first", rank=lambda standing: (standing.remaining,)
)
RENAMED = msgspec.structs.replace(SHORT, name="other")
NO_TUPLE = msgspec.structs.replace(SHORT, name="no-tuple", rank=lambda standing: 1)
NO_ORDER = msgspec.structs.replace(
    SHORT, name="no-order", rank=lambda standing: (standing.deadline,)
)
FAULTY = msgspec.structs.replace(SHORT, name="faulty", tier=lambda standing: standing.size)
WEIGHTLESS = msgspec.structs.replace(SHORT, name="weightless", weight=lambda standing, weights: 0)
FIFO = msgspec.structs.replace(SHORT, name="fifo")


@pytest.fixture
def entries(monkeypatch: pytest.MonkeyPatch) -> list[EntryPoint]:
    """The entry points that are installed."""
    found: list[EntryPoint] = []
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: list(found))
    return found


def test_a_policy_of_another_package_is_known_beside_ours(entries: list[EntryPoint]) -> None:
    entries.append(given("short", SHORT))

    found = policies.orders()

    assert (found["short"].name, found["short"].summary) == ("short", SHORT.summary)
    assert set(found) == {*ORDERS, "short"}


def given(name: str, value: object) -> Any:
    """Return an entry point that gives a value."""

    class Given(EntryPoint):
        def load(self) -> object:
            if isinstance(value, Exception):
                raise value
            return value

    return Given(name, "own.module:order", policies.GROUP)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("short", RENAMED, "it calls itself 'other'"),
        ("short", "text", "it is a str, not an Order"),
        ("no-tuple", NO_TUPLE, "its rank is a int, not a tuple"),
        ("no-order", NO_ORDER, "TypeError"),
        ("faulty", FAULTY, "AttributeError"),
        ("weightless", WEIGHTLESS, "its weight is not greater than 0"),
        ("fifo", FIFO, "there is another one of this name"),
        ("gone", ModuleNotFoundError("no module"), "ModuleNotFoundError: no module"),
    ],
)
def test_a_policy_that_cannot_be_used_is_told_and_left_out(
    entries: list[EntryPoint], name: str, value: object, said: str
) -> None:
    entries += [
        given(name, value),
        given("zz-good", msgspec.structs.replace(SHORT, name="zz-good")),
    ]

    with capture_logs() as logs:
        found = policies.orders()

    assert set(found) == {*ORDERS, "zz-good"}
    assert found["fifo"] is ORDERS["fifo"]
    (told,) = logs
    assert (told["event"], told["log_level"], told["policy"]) == ("policy.broken", "error", name)
    assert said in told["reason"]


def test_an_unknown_policy_is_refused_with_the_nearest_one_and_all_there_are() -> None:
    driver = Driver()

    refused = driver.command(ChangeFlow(policy="fare"))
    taken = driver.command(ChangeFlow(policy="fair"))

    assert refused is not None
    assert "there is no policy 'fare': did you mean 'fair'?" in refused
    assert all(f"{order.name}: {order.summary}" in refused for order in ORDERS.values())
    assert taken is None
    assert driver.controller.flow.settings.policy == "fair"
    with pytest.raises(UsageError, match="no policy 'own'"):
        policies.check_known("own", ORDERS)


def test_a_policy_that_is_set_but_not_installed_is_told_and_the_default_holds() -> None:
    with capture_logs() as logs:
        driver = Driver(settings=FlowSettings(policy="of-another-host"))

    assert [(each["event"], each["policy"], each["instead"]) for each in logs] == [
        ("policy.unknown", "of-another-host", DEFAULT_ORDER)
    ]
    assert driver.controller.flow._order() is ORDERS[DEFAULT_ORDER]


def test_steps_of_child_jobs_are_due_with_their_root_as_it_is_now() -> None:
    driver = Driver()
    child = msgspec.convert({"job": "child", "steps": {"a": {"call": "work"}}}, JobDefinition)
    parent = msgspec.convert({"job": "parent", "steps": {"below": {"job": "child"}}}, JobDefinition)
    due = driver.now + timedelta(minutes=5)
    driver.submit(parent, {}, {"child": child}, deadline=due)

    assert _due(driver) == due
    driver.wait(301)
    assert driver.command(RerunJob(job=job_id("key"), step="below", key="again")) is None
    assert _due(driver) is None


def _due(driver: Driver) -> datetime | None:
    active = driver.controller.memory.jobs[driver.order("a").job]
    return active.standing("a").deadline
