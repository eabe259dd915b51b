"""How far the read models are behind the logs: computed by anyone, from the store alone."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

import msgspec

from warrener.domain.errors import StoredDataError
from warrener.domain.partitions import Logs
from warrener.domain.ports import EventStore
from warrener.projections.apply import READ_MODELS
from warrener.projections.ports import StoppedModel, ViewStore


class Lag(msgspec.Struct, frozen=True, kw_only=True):
    """How far a read model is behind the log of a partition.

    `events` is how many it has not folded; `seconds` is how long ago the first of them was
    recorded, 0 if there is none. `stopped` says what it cannot get past, if it has stopped.
    """

    model: str
    partition: int
    position: int
    head: int
    events: int
    seconds: float
    stopped: StoppedModel | None = None


def lag(logs: Logs, views: ViewStore, now: datetime) -> list[Lag]:
    """Return the lag of every read model in every partition, by partition.

    Asks of each partition its head, the positions, and an event for each position that is behind.
    """
    stopped = {(each.partition, each.model): each for each in views.stopped()}
    return [
        each
        for partition in range(logs.count)
        for each in _of_partition(logs.log(partition), views, partition, stopped, now)
    ]


def _of_partition(
    log: EventStore,
    views: ViewStore,
    partition: int,
    stopped: dict[tuple[int, str], StoppedModel],
    now: datetime,
) -> Iterator[Lag]:
    positions = views.positions(partition)
    head = log.head()
    waiting: dict[int, float] = {head: 0.0}  # seconds behind, by position
    for model in READ_MODELS:
        position = positions.get(model.name, 0)
        stop = stopped.get((partition, model.name))
        if position not in waiting:
            waiting[position] = _seconds(log, position, stop, now)
        yield Lag(
            model=model.name,
            partition=partition,
            position=position,
            head=head,
            events=max(0, head - position),
            seconds=waiting[position],
            stopped=stop,
        )


def _seconds(log: EventStore, position: int, stop: StoppedModel | None, now: datetime) -> float:
    """Return how long ago the event after a position was recorded.

    Of one that cannot be decoded the time is not known: then it is since the read model stopped.
    """
    try:
        first = next(iter(log.read(position, 1)), None)
        at = None if first is None else first.recorded.event.at
    except StoredDataError:
        at = None if stop is None else stop.at
    return 0.0 if at is None else max(0.0, (now - at).total_seconds())
