"""Small jobs under the hands of a driver, for the tests of steering."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import msgspec
from support.driving import Driver

from warrener.domain.definition.model import JobDefinition


def definition(steps: dict[str, Any], **fields: Any) -> JobDefinition:
    """Return a job of these steps."""
    return msgspec.convert({"job": "job", "steps": steps, **fields}, JobDefinition)


def started(steps: dict[str, Any], **fields: Any) -> tuple[Driver, UUID]:
    """Submit such a job to a driver of its own."""
    driver = Driver()
    return driver, driver.submit(definition(steps, **fields), {})


def paths(driver: Driver) -> list[str]:
    """Return the paths of all orders so far."""
    return [order.path for order in driver.orders]


def restarted(driver: Driver) -> None:
    """Let the controller begin anew from the log."""
    driver.controller.forget()
    assert driver.controller.recover(driver.store.open_roots(), driver.now) == {}
    driver.handle("")


def raw(value: Any) -> msgspec.Raw:
    """Return a value as messages carry it."""
    return msgspec.Raw(msgspec.json.encode(value))
