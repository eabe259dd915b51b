"""Folds the log of one partition into the read models, and leaves those behind that cannot go on.

An event that a read model cannot digest stops that one alone, in that partition: whether its own
fold has a fault or the event cannot be decoded. It is tried again later, by a newer version maybe.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

import msgspec
import structlog

from warrener.domain.errors import Conflict, ServiceUnavailable, StoredDataError
from warrener.domain.events import Event
from warrener.domain.ports import EventStore, Positioned
from warrener.projections.apply import READ_MODELS, ReadModel
from warrener.projections.ports import StoppedModel, ViewStore

RETRY_SECONDS_FIRST: Final = 5.0
RETRY_SECONDS_MAX: Final = 300.0
REASON_CHARACTERS_MAX: Final = 1_000
_ADVICE: Final = (
    "run a version of Warrener that can read this event, then it goes on by itself; if this is the"
    " newest one, check the log with `warrener store verify` and report the fault"
)
_NEVER_A_FAULT = (Conflict, ServiceUnavailable, MemoryError)

Folded = Callable[[str, int, float], None]  # read model, events, seconds

log = structlog.get_logger()


class Hole(msgspec.Struct, frozen=True):
    """An event that cannot be decoded; `name` is that of its type, as far as it is known."""

    position: int
    name: str
    reason: str


class Stretch(msgspec.Struct, frozen=True):
    """Events of a log that follow each other, up to the end or to one that cannot be read."""

    events: Sequence[Positioned]
    hole: Hole | None = None


class _Stop(msgspec.Struct):
    """A read model that waits for its next try."""

    position: int
    due: datetime | None = None  # at once
    tries: int = 0


class Folding:
    """The work on one partition. It keeps in mind how far the read models are.

    Others may work on the same views: what they did is seen when a save ends in `Conflict`, which
    comes out of `turn`; the next turn looks again.
    """

    def __init__(
        self,
        store: EventStore,
        views: ViewStore,
        partition: int = 0,
        models: Sequence[ReadModel] = READ_MODELS,
        on_folded: Folded = lambda *_: None,
    ) -> None:
        """Take the log of the partition, and the views that are to follow it.

        `on_folded` hears of each batch that was saved.
        """
        self._on_folded = on_folded
        self.partition = partition
        self._store = store
        self._views = views
        self._models = models
        self._positions: dict[str, int] | None = None
        self._stops: dict[str, _Stop] = {}
        self._log = log.bind(partition=partition)

    @property
    def position(self) -> int:
        """Return what every read model has reached that goes on, or all of them if none does."""
        going = [model for model in self._models if model.name not in self._stops]
        return min(self._at(model) for model in going or self._models)

    def turn(self, now: datetime, limit: int, head: int | None = None) -> bool:
        """Fold one batch into every read model that is due; say whether there may be more at once.

        With `head` nothing after that position is read. Raises `StoreUnavailable` and `Conflict`.
        """
        try:
            return self._turn(now, limit, head)
        except Conflict:
            self.look_again()
            raise

    def look_again(self) -> None:
        """Have the next turn ask how far the read models are, as others may have worked on them."""
        self._positions = None

    def _turn(self, now: datetime, limit: int, head: int | None) -> bool:
        if self._positions is None:
            self._positions = self._found_positions()
        more = False
        for after, models in self._groups(now):
            room = limit if head is None else min(limit, head - after)
            stretch = self._read(after, room) if room > 0 else Stretch(())
            for model in models if stretch.events or stretch.hole else ():
                more |= self._advance(model, stretch, now)
        return more

    def _found_positions(self) -> dict[str, int]:
        """Return how far the read models are; those that are ahead of the log are built anew.

        The head is asked for after the positions, so that a log that grows is never mistaken.
        """
        positions = self._views.positions(self.partition)
        if max(positions.values(), default=0) <= self._store.head():
            self._know_stopped(positions)
            return dict(positions)
        self._log.warning("read_models.of_another_log", positions=positions)
        self._views.forget(self.partition, positions)
        self._stops.clear()
        return {}

    def _know_stopped(self, positions: Mapping[str, int]) -> None:
        """Note what stopped under somebody else, to be tried at once: this may be a newer version.

        What went on under somebody else stands still no more.
        """
        for name, stop in list(self._stops.items()):
            if stop.position <= positions.get(name, 0):
                del self._stops[name]
        for stopped in self._views.stopped():
            if stopped.partition == self.partition and stopped.model not in self._stops:
                self._stops[stopped.model] = _Stop(stopped.position)

    def _groups(self, now: datetime) -> Iterator[tuple[int, list[ReadModel]]]:
        """Yield the read models to work on by their position; one that is behind holds up none."""
        groups: dict[int, list[ReadModel]] = {}
        for model in self._models:
            stop = self._stops.get(model.name)
            if stop is None or stop.due is None or now >= stop.due:
                groups.setdefault(self._at(model), []).append(model)
        yield from sorted(groups.items())

    def _read(self, after: int, limit: int) -> Stretch:
        """Read events; before one that cannot be decoded it ends."""
        try:
            return Stretch(self._store.read(after, limit))
        except StoredDataError as error:
            if limit == 1:
                return Stretch((), Hole(after + 1, error.event, str(error)))
        first = self._read(after, limit // 2)
        if first.hole is not None or len(first.events) < limit // 2:
            return first
        rest = self._read(after + limit // 2, limit - limit // 2)
        return Stretch((*first.events, *rest.events), rest.hole)

    def _advance(self, model: ReadModel, stretch: Stretch, now: datetime) -> bool:
        """Bring one read model to the end of a stretch; say whether it is there."""
        if stretch.events and not self._fold(model, stretch.events, now):
            return False
        hole = stretch.hole
        if hole is None:
            return True
        if needs(model, hole.name):
            self._stop(model, hole.position, hole.name, hole.reason, now)
            return False
        self._views.save(model.name, hole.position - 1, hole.position, {}, self.partition)
        self._reached(model, hole.position)
        return True

    def _fold(self, model: ReadModel, batch: Sequence[Positioned], now: datetime) -> bool:
        """Fold a batch, or what of it comes before an event that the read model cannot digest."""
        stop = self._stops.get(model.name)
        if stop is not None and stop.position == batch[0].position and len(batch) > 1:
            return self._fold(model, batch[:1], now) and self._fold(model, batch[1:], now)
        began = time.perf_counter()
        try:
            fold_into(self._views, model, batch, self._at(model))
        except _NEVER_A_FAULT:
            raise
        except Exception as error:  # whatever a fault of a projection, or of a document, raises
            if len(batch) == 1:
                reason = f"{type(error).__name__}: {error}"
                self._stop(model, batch[0].position, _named(batch[0]), reason, now)
                return False
            half = len(batch) // 2
            return self._fold(model, batch[:half], now) and self._fold(model, batch[half:], now)
        self._on_folded(model.name, len(batch), time.perf_counter() - began)
        self._reached(model, batch[-1].position)
        return True

    def _reached(self, model: ReadModel, position: int) -> None:
        if self._positions is not None:
            self._positions[model.name] = position
        stop = self._stops.get(model.name)
        if stop is not None and stop.position <= position:
            del self._stops[model.name]
            self._log.info("read_model.goes_on", model=model.name, position=position)

    def _stop(self, model: ReadModel, at: int, event: str, reason: str, now: datetime) -> None:
        """Say that a read model cannot get past an event, keep it, and wait for the next try."""
        before = self._stops.get(model.name)
        tries = 1 + (before.tries if before is not None and before.position == at else 0)
        seconds = min(RETRY_SECONDS_MAX, RETRY_SECONDS_FIRST * 2 ** min(tries - 1, 10))
        self._stops[model.name] = _Stop(at, now + timedelta(seconds=seconds), tries)
        reason = reason[:REASON_CHARACTERS_MAX]
        self._keep(
            StoppedModel(
                model=model.name,
                partition=self.partition,
                position=at,
                event=event,
                reason=reason,
                at=now,
            )
        )
        self._log.error(
            "read_model.stopped",
            model=model.name,
            position=at,
            event_stopped_at=event,
            reason=reason,
            again_in_seconds=seconds,
            todo=_ADVICE,
        )

    def _keep(self, stopped: StoppedModel) -> None:
        """Record it, unless it is known: then since when it stands still must not change."""
        place = (stopped.model, stopped.partition, stopped.position)
        known = [(each.model, each.partition, each.position) for each in self._views.stopped()]
        if place not in known:
            self._views.stop(stopped)

    def _at(self, model: ReadModel) -> int:
        return (self._positions or {}).get(model.name, 0)


def fold_into(views: ViewStore, model: ReadModel, batch: Sequence[Positioned], after: int) -> None:
    """Fold events that follow position `after` into one read model, and save it."""
    first = model.wanted(batch)
    loaded = dict(views.load(first))
    for table, found in views.load(model.wanted_then(batch, first, loaded)).items():
        loaded[table] = {**loaded.get(table, {}), **found}
    changes = model.fold(batch, loaded)
    position, partition = batch[-1].position, batch[0].partition
    views.save(model.name, after, position, changes, partition, loaded=loaded)


def needs(model: ReadModel, name: str) -> bool:
    """Say whether a read model needs events of a type; of one that nobody knows every one may."""
    kind = next((kind for kind in _kinds(Event) if kind.__name__ == name), None)
    return kind is None or issubclass(kind, model.kinds)


def _kinds(kind: type[Event]) -> Iterator[type[Event]]:
    for below in kind.__subclasses__():
        yield below
        yield from _kinds(below)


def _named(positioned: Positioned) -> str:
    recorded = positioned.recorded
    kind = type(recorded.event).__name__
    return f"{kind}, event {recorded.originator_version} of stream {recorded.originator_id}"
