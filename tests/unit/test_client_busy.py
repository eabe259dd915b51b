"""What senders see of a job that is refused because as many are open as may be."""

from __future__ import annotations

import asyncio

import pytest
from support.fleet import Fleet
from support.gate import ONE

from warrener.domain.errors import Busy, ServiceUnavailable
from warrener.services.cli.failures import UNREACHABLE, failure_of
from warrener.services.client_async import AsyncClient
from warrener.services.endpoints import Registry


def full_fleet() -> Fleet:
    """Return a fleet that takes in one job at once; nobody works on it."""
    fleet = Fleet(Registry())
    fleet.reactor()
    client = fleet.client()
    assert client.change_flow(intake="refuse")
    assert client.change_limit("@jobs", slots=1)
    client.submit(ONE, {}, key="first")
    return fleet


def test_a_client_is_told_after_how_many_seconds_to_try_again() -> None:
    with full_fleet() as fleet, pytest.raises(Busy, match="limit @jobs allows: 1") as caught:
        fleet.client().submit(ONE, {}, key="second")

    assert isinstance(caught.value, ServiceUnavailable)
    assert caught.value.retry_after == 10


def test_a_client_for_asyncio_is_told_the_same() -> None:
    async def submit(fleet: Fleet) -> None:
        async with AsyncClient(broker=fleet.broker) as client:
            await client.submit(ONE, {}, key="second")

    with full_fleet() as fleet, pytest.raises(Busy):
        asyncio.run(submit(fleet))


def test_the_command_line_says_when_to_try_again_and_that_the_service_is_away() -> None:
    failure = failure_of(Busy("cannot submit: busy", 12))

    assert failure.exit_code == UNREACHABLE == 4
    assert (failure.code, failure.retry_after) == ("busy", 12)
    assert failure.message == "cannot submit: busy; try again in 12 s"
