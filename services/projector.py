"""Brings the read models up to the log, in bounded batches."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from warrener.domain.errors import Conflict
from warrener.domain.ports import EventStore, Positioned
from warrener.projections.apply import READ_MODELS, ReadModel
from warrener.projections.ports import ViewStore

BATCH_EVENTS_MAX = 2_000
CONFLICTS_MAX = 20

Progress = Callable[[int, int], None]  # position reached, head of the log


def catch_up(
    store: EventStore,
    views: ViewStore,
    on_progress: Progress | None = None,
    batch_size: int = BATCH_EVENTS_MAX,
) -> int:
    """Fold everything that the log holds now into the read models; return the position reached.

    Another process may do the same at the same time: the one that comes second looks again.
    Views that are ahead of the log belong to another log and are built anew.
    """
    head = store.head()
    position, conflicts = _lowest(store, views), 0
    while position < head:
        batch = store.read(position, min(batch_size, head - position))
        if not batch:
            break
        try:
            apply_batch(views, batch, views.positions())
        except Conflict:
            conflicts += 1
            if conflicts > CONFLICTS_MAX:
                raise
        position = _lowest(store, views)
        if on_progress is not None:
            on_progress(position, head)
    return position


def apply_batch(
    views: ViewStore, batch: Sequence[Positioned], positions: Mapping[str, int]
) -> None:
    """Fold a batch into every read model that has not seen all of it."""
    for model in READ_MODELS:
        after = positions.get(model.name, 0)
        fresh = [each for each in batch if each.position > after]
        if fresh and fresh[0].position == after + 1:  # else the views were emptied just now
            _apply(views, model, fresh, after)


def _apply(views: ViewStore, model: ReadModel, batch: Sequence[Positioned], after: int) -> None:
    loaded = dict(views.load(model.wanted(batch)))
    for table, found in views.load(model.wanted_then(loaded)).items():
        loaded[table] = {**loaded.get(table, {}), **found}
    changes = model.fold(batch, loaded)
    views.save(model.name, after, batch[-1].position, changes, loaded=loaded)


def _lowest(store: EventStore, views: ViewStore) -> int:
    """Return the position that every read model has reached."""
    positions = views.positions()
    if max(positions.values(), default=0) > store.head():
        views.reset()
        return 0
    return min(positions.get(model.name, 0) for model in READ_MODELS)
