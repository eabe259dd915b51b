"""Opens whole stores for those who look after them."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from warrener.domain.errors import UsageError
from warrener.services import wiring
from warrener.services.logs import LogSet
from warrener.services.settings import MEMORY, redacted_url, sqlite_path

if TYPE_CHECKING:
    from collections.abc import Iterator

    from warrener.domain.partitions import Logs
    from warrener.domain.ports import Lease

SQLITE_PARTITIONS = 1


class Made(msgspec.Struct, frozen=True):
    """A store that is ready; `made` says whether it was not there before."""

    store: str
    partitions: int
    made: bool


def make_store(url: str, partitions: int | None) -> Made:
    """Make a store if there is none; raises `UsageError` if it cannot have so many partitions."""
    path = sqlite_path(url, "store")
    if path == MEMORY:
        raise UsageError("a store in memory ends with this command: give --store sqlite:///PATH")
    if partitions not in (None, SQLITE_PARTITIONS):
        raise UsageError(f"a SQLite store has one partition, not {partitions}: leave --partitions")
    made = not Path(path).exists()
    wiring.open_store(url).close()
    return Made(redacted_url(url), SQLITE_PARTITIONS, made)


@contextmanager
def opened_logs(url: str, *, create: bool = False) -> Iterator[Logs]:
    """Open all logs of a store, be they restored to their end or not."""
    logs = LogSet([wiring.open_store(url, create=create, whole=False)])
    try:
        yield logs
    finally:
        logs.close()


def kind_of(url: str) -> str:
    """Return what a store is made of."""
    return "memory" if sqlite_path(url, "store") == MEMORY else "sqlite"


def leases_of(url: str) -> dict[int, Lease]:
    """Return who holds which partition."""
    leases = wiring.open_leases(url)
    try:
        return leases.all()
    finally:
        leases.close()
