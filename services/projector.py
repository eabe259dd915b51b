"""Brings the read models up to the log, in bounded batches, each read model for itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime

from warrener.domain.errors import Conflict
from warrener.domain.partitions import Logs
from warrener.domain.ports import EventStore, Positioned
from warrener.projections.apply import READ_MODELS
from warrener.projections.ports import ViewStore
from warrener.services.folding import Folding, fold_into
from warrener.services.logs import each_log

BATCH_EVENTS_MAX = 2_000
CONFLICTS_MAX = 20

Progress = Callable[[int, int], None]  # position reached, head of the log


def catch_up(
    store: EventStore,
    views: ViewStore,
    on_progress: Progress | None = None,
    batch_size: int = BATCH_EVENTS_MAX,
) -> int:
    """Fold everything that the log of a partition holds now; return the position reached.

    Another process may do the same at the same time: the one that comes second looks again.
    Views of the partition that are ahead of its log belong to another log and are built anew. A
    read model that cannot be brought past an event is left behind, and says so; see `Folding`.
    """
    folding = Folding(store, views, partition_of_log(store))
    head, conflicts, more = store.head(), 0, True
    while more:
        try:
            more = folding.turn(datetime.now(UTC), batch_size, head)
        except Conflict:
            conflicts += 1
            if conflicts > CONFLICTS_MAX:
                raise
        if more and on_progress is not None:
            on_progress(folding.position, head)
    return folding.position


def catch_up_all(
    logs: Logs,
    views: ViewStore,
    on_progress: Progress | None = None,
    batch_size: int = BATCH_EVENTS_MAX,
) -> tuple[int, ...]:
    """Do so for the logs of all partitions; return the positions reached, by partition."""
    return tuple(catch_up(log, views, on_progress, batch_size) for log in each_log(logs))


def apply_batch(
    views: ViewStore, batch: Sequence[Positioned], positions: Mapping[str, int]
) -> None:
    """Fold a batch into every read model that has not seen all of it; faults of theirs come out."""
    for model in READ_MODELS:
        after = positions.get(model.name, 0)
        fresh = [each for each in batch if each.position > after]
        if fresh and fresh[0].position == after + 1:  # else the views were emptied just now
            fold_into(views, model, fresh, after)


def partition_of_log(store: EventStore) -> int:
    """Return the partition that a log is of; one that does not know is the only one."""
    partition: int = getattr(store, "partition", 0)
    return partition
