"""The epoch of a log while it is being restored: below zero, so that nobody works on half of it."""

from __future__ import annotations

from warrener.domain.errors import StoreUnavailable
from warrener.domain.ports import EventStore


def while_restored(epoch: int) -> int:
    """Return what stands in a log until it is restored to the end, and then has this epoch."""
    return -epoch


def is_whole(store: EventStore) -> bool:
    """Say whether no restore of a log was begun and not ended."""
    return store.epoch() >= 0


def check_whole(store: EventStore) -> None:
    """Close a log that was not restored to its end, and raise `StoreUnavailable`."""
    if not is_whole(store):
        store.close()
        raise StoreUnavailable(
            "the store was not restored to the end: run warrener store restore again, with the"
            " same file"
        )
