"""The view stores that tests run over: each by its name, opened as often as a test asks."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest

from warrener.adapters.memory_views import MemoryViewStore
from warrener.adapters.mongo_views import MongoViewStore
from warrener.adapters.sqlite_views import SqliteViewStore
from warrener.projections.ports import ViewStore

VIEW_STORES = ("memory", "mongo", "sqlite")
Opener = Callable[[], ViewStore]


def view_store_opener(name: str, request: pytest.FixtureRequest) -> Opener:
    """Return what opens one place again and again, as several processes do; memory has only one."""
    if name == "memory":
        only = MemoryViewStore()
        return lambda: only
    if name == "sqlite":
        return partial(SqliteViewStore, str(request.getfixturevalue("tmp_path") / "views.db"))
    return partial(MongoViewStore, request.getfixturevalue("mongo_url"))
