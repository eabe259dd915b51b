"""Fixtures for tests of worker daemons on a real broker, whose orders the test itself sends."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.controller_side import ControllerSide
from support.daemons import Daemons

from warrener.adapters.rabbitmq import RabbitBroker

TESTS = Path(__file__).parents[1]


@pytest.fixture
def side(broker_url: str) -> Iterator[ControllerSide]:
    with ControllerSide(RabbitBroker(broker_url)) as side:
        yield side


@pytest.fixture
def daemons(tmp_path: Path, broker_url: str) -> Iterator[Daemons]:
    variables = {"WARRENER_BROKER_URL": broker_url, "PYTHONPATH": str(TESTS)}
    with Daemons(tmp_path, variables) as daemons:
        yield daemons
