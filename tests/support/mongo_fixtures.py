"""Fixtures for tests with a MongoDB. A server that does not start fails them; none is skipped."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.mongo import (
    ExternalMongo,
    MongoError,
    PrivateMongo,
    forget_database,
    fresh_mongo_url,
    shared_mongo,
)


@pytest.fixture(scope="session")
def mongo() -> PrivateMongo | ExternalMongo:
    """Return the server that all tests of this process share: leave it running."""
    try:
        return shared_mongo()
    except MongoError as error:
        pytest.fail(str(error), pytrace=False)


@pytest.fixture
def mongo_url(mongo: PrivateMongo | ExternalMongo) -> Iterator[str]:
    """Give the URL of a database that is this test's own, and goes with it."""
    url = fresh_mongo_url()
    yield url
    forget_database(url)
