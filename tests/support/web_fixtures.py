"""A service over a store with a few jobs, one for a test module, with a fleet that takes commands.

`store` gives the folder and the jobs by name, as `fill` makes them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest
from support.web import Fleet, Served, driven, fill, served, settings_of


@pytest.fixture(scope="module")
def fleet() -> Fleet:
    return Fleet()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, UUID]]:
    folder = tmp_path_factory.mktemp("web")
    with driven(settings_of(folder)) as driver:
        return folder, fill(driver)


@pytest.fixture(scope="module")
def web(store: tuple[Path, dict[str, UUID]], fleet: Fleet) -> Iterator[Served]:
    with served(settings_of(store[0]), fleet=fleet) as found:
        yield found


@pytest.fixture(scope="module")
def jobs(store: tuple[Path, dict[str, UUID]]) -> dict[str, UUID]:
    return store[1]
