"""The epoch of a log while it is being restored: below zero, so that nobody works on half of it."""

from __future__ import annotations

from warrener.domain.errors import StoreUnavailable
from warrener.domain.partitions import Logs
from warrener.services.logs import each_log


def while_restored(epoch: int) -> int:
    """Return what stands in a log until it is restored to the end, and then has this epoch."""
    return -epoch


def check_whole(logs: Logs) -> None:
    """Close logs that were not restored to their end, and raise `StoreUnavailable`."""
    if any(log.epoch() < 0 for log in each_log(logs)):
        logs.close()
        raise StoreUnavailable(
            "the store was not restored to the end: run warrener store restore again, with the"
            " same file"
        )
