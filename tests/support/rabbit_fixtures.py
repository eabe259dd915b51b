"""Fixtures for tests with a RabbitMQ. A missing server fails these tests; it never skips them."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest
from support.rabbit_node import RabbitError, RabbitNode
from support.rabbit_shared import ExternalRabbit, close_session, open_session, shared_rabbit


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):  # set in the workers of pytest-xdist
        open_session()


def pytest_unconfigure() -> None:
    close_session()


@pytest.fixture(scope="session")
def rabbit() -> RabbitNode | ExternalRabbit:
    """Return the server that all tests of the session share: leave it running, and as it is."""
    try:
        return shared_rabbit()
    except RabbitError as error:
        pytest.fail(str(error), pytrace=False)


@pytest.fixture
def broker_url(rabbit: RabbitNode | ExternalRabbit) -> Iterator[str]:
    """Give the URL of a virtual host that is this test's own, and goes with it."""
    yield from _own_vhost(rabbit)


@pytest.fixture(scope="module")
def module_broker_url(rabbit: RabbitNode | ExternalRabbit) -> Iterator[str]:
    """Give the URL of a virtual host that is this module's own, and goes with it."""
    yield from _own_vhost(rabbit)


def _own_vhost(rabbit: RabbitNode | ExternalRabbit) -> Iterator[str]:
    vhost = f"test-{secrets.token_hex(6)}"
    rabbit.add_vhost(vhost)
    yield rabbit.url(vhost)
    rabbit.delete_vhost(vhost)
