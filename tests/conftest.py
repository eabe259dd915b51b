"""The hypothesis profiles: `ci` tries the same examples every time, `dev` new ones.

And the fixtures of RabbitMQ and MongoDB, which start a server when a test asks for them, those of
worker daemons on it, and `desk`, the command line before a fleet that is played by hand.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
import structlog
from hypothesis import HealthCheck, settings
from support.browser import browser, page
from support.desk import desk, fleet_broker, fleet_store
from support.mongo_fixtures import mongo, mongo_url
from support.rabbit_fixtures import (
    broker_url,
    module_broker_url,
    pytest_configure,
    pytest_unconfigure,
    rabbit,
)
from support.scale import scaled
from support.worker_fixtures import daemons, side

__all__ = [
    "broker_url",
    "browser",
    "daemons",
    "desk",
    "fleet_broker",
    "fleet_store",
    "module_broker_url",
    "mongo",
    "mongo_url",
    "page",
    "pytest_configure",
    "pytest_unconfigure",
    "rabbit",
    "side",
]


@pytest.fixture(autouse=True)
def _own_logging() -> Iterator[None]:
    """Take back how a command of the test has set up the logging of this process."""
    yield
    structlog.reset_defaults()


# No deadline and no complaint about slowness: both measure the machine, not the code.
settings.register_profile(
    "dev",
    deadline=None,
    max_examples=scaled(100),
    suppress_health_check=[HealthCheck.too_slow],
    print_blob=True,
)
settings.register_profile(
    "ci", settings.get_profile("dev"), derandomize=True, database=None, print_blob=False
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "dev"))
