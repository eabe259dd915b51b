"""Builds the read models anew from the log, while the old ones are asked and go on."""

from __future__ import annotations

from typing import Final

from warrener.domain.errors import ServiceUnavailable, StoredDataError
from warrener.domain.partitions import Logs
from warrener.projections.ports import ViewStore
from warrener.services.logs import each_log
from warrener.services.projector import Progress, catch_up

# Larger than a projector's: what counts many steps is then loaded and written less often.
BATCH_EVENTS_MAX: Final = 8_000
REST_EVENTS_MAX: Final = 500  # how far the new ones may be behind when they are put in place
ROUNDS_MAX: Final = 50  # each begins with what has arrived during the one before


def rebuild(
    logs: Logs,
    views: ViewStore,
    on_progress: Progress | None = None,
    batch_size: int = BATCH_EVENTS_MAX,
) -> int:
    """Fold the logs of all partitions into new read models and put them in the place of the old.

    Return how many events were folded. Until the last moment nobody sees anything of it, and if it
    breaks off, all stays as it was. Projectors that work on the old ones go on with the new ones.
    `on_progress` hears of all partitions together. Raises `StoredDataError` if the new ones would
    know less than the old ones, `Conflict` if another rebuild has begun, `ServiceUnavailable` if
    events arrive faster than they are folded.
    """
    fresh = views.fresh()
    try:
        building = _Building(logs, fresh, on_progress, batch_size)
        for _ in range(ROUNDS_MAX):
            building.catch_up()
            if building.behind() <= REST_EVENTS_MAX:
                break
        else:
            raise ServiceUnavailable(
                "events arrive faster than they are folded, so the read models stay as they are:"
                " try again when there is less going on"
            )
        _check_complete(views, fresh)
        views.switch(fresh)
    finally:
        fresh.close()
    return building.reached()


class _Building:
    """The new read models, and how far they are in each partition."""

    def __init__(
        self, logs: Logs, fresh: ViewStore, on_progress: Progress | None, batch_size: int
    ) -> None:
        self._logs = logs
        self._fresh = fresh
        self._on_progress = on_progress
        self._batch_size = batch_size
        self._reached = [0] * logs.count

    def reached(self) -> int:
        """Return how many events were folded."""
        return sum(self._reached)

    def behind(self) -> int:
        """Return how many events have not been folded yet."""
        return self._heads() - self.reached()

    def catch_up(self) -> None:
        """Fold what each log holds now."""
        for partition, log in enumerate(each_log(self._logs)):

            def heard(position: int, _head: int, partition: int = partition) -> None:
                self._reached[partition] = position
                if self._on_progress is not None:
                    self._on_progress(self.reached(), self._heads())

            self._reached[partition] = catch_up(log, self._fresh, heard, self._batch_size)

    def _heads(self) -> int:
        return sum(log.head() for log in each_log(self._logs))


def _check_complete(views: ViewStore, fresh: ViewStore) -> None:
    """Refuse what cannot get past an event that the read models in use did get past."""
    for stopped in fresh.stopped():
        if views.positions(stopped.partition).get(stopped.model, 0) >= stopped.position:
            raise StoredDataError(
                f"the read model {stopped.model} cannot be built anew past event"
                f" {stopped.position} of partition {stopped.partition} ({stopped.reason}):"
                " the read models stay as they are; check the log with `warrener store verify`"
            )
