"""Opens whole stores for those who look after them."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from warrener.domain.errors import UsageError
from warrener.services import wiring
from warrener.services.settings import redacted_url, refuse_history, sqlite_path, store_kind

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
    refuse_history(url)
    kind = store_kind(url)
    if kind == "memory":
        raise UsageError("a store in memory ends with this command: give --store sqlite:///PATH")
    if kind == "sqlite":
        if partitions not in (None, SQLITE_PARTITIONS):
            text = f"a SQLite store has one partition, not {partitions}: leave out --partitions"
            raise UsageError(text)
        made = not Path(sqlite_path(url)).exists()
        wiring.open_store(url).close()
        return Made(redacted_url(url), SQLITE_PARTITIONS, made)
    from warrener.adapters.mongo_logs import PARTITIONS, init_logs

    made = not _is_there(url)
    count = partitions or PARTITIONS
    init_logs(url, count)
    return Made(redacted_url(url), count, made)


def _is_there(url: str) -> bool:
    try:
        with opened_logs(url):
            return True
    except UsageError:
        return False


@contextmanager
def opened_logs(url: str, *, create: bool = False) -> Iterator[Logs]:
    """Open all logs of a store, be they restored to their end or not."""
    refuse_history(url)
    logs = wiring.open_logs(url, create=create, whole=False)
    try:
        yield logs
    finally:
        logs.close()


def leases_of(url: str) -> dict[int, Lease]:
    """Return who holds which partition."""
    leases = wiring.open_leases(url)
    try:
        return leases.all()
    finally:
        leases.close()
