"""What held the steps of a critical path back: asks the log about the longest waits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Final

import msgspec

from warrener.domain.errors import WarrenerError
from warrener.domain.ports import EventStore, Positioned
from warrener.projections.report import model
from warrener.projections.report.critical import Segment
from warrener.projections.why.explain import explain
from warrener.projections.why.model import Place
from warrener.services.log_at import PAGE_EVENTS
from warrener.services.report.words import sentence
from warrener.services.why import LogPast, Moment, moment_at

ASKED_MAX: Final = 12
EVENTS_READ_MAX: Final = 600_000  # for all questions: each reads what went out before its moment
SHARE_MIN: Final = 0.005  # shorter waits do not matter

_ASKED = frozenset(
    {model.HELD, model.WINDOW, model.INTAKE, model.WORKER, model.USER, model.SIGNAL, model.PAUSED}
)
_UNSERVED = "waits for a worker: "
# What `why` says holds a step back, as kinds of time; its window is that of what may be out.
_TOLD = {
    "limit": "limit",
    "rate": "rate",
    "priority": "priority",
    "window": model.TURN,
    "worker": model.WORKER,
    "paused": model.PAUSED,
    "reactor": model.REACTOR,
}


class Told(msgspec.Struct, frozen=True):
    """A segment with what it is told as."""

    segment: Segment
    kind: str
    sentence: str


class Log(msgspec.Struct, frozen=True):
    """The log that a job is in: the `partition` of that number, of several.

    For one question at most `events_max` of its events are read at a stretch.
    """

    store: EventStore
    partition: int = 0
    partitions: int = 1
    events_max: int = EVENTS_READ_MAX


class _Recent(LogPast):
    """The log up to a moment, of which only the end is read for what was out then.

    What is found to be full is full. What seems not to be may be filled by what went out before.
    """

    def __init__(self, log: Log, moment: Moment) -> None:
        super().__init__(log.store, moment, partition=log.partition, partitions=log.partitions)
        self._after = max(0, moment.position - log.events_max)

    @property
    def is_whole(self) -> bool:
        """Say whether nothing is left out."""
        return self._after == 0

    def out(self, whole: bool) -> Iterator[Positioned]:  # noqa: ARG002
        """Return the events that tell what is out, as far back as they are read."""
        after = self._after
        while page := self.log.read(after, PAGE_EVENTS):
            yield from page
            after = page[-1].position


def tell(path: Sequence[Segment], log: Log, now: datetime) -> list[Told]:
    """Return the segments with their sentences; the longest waits are looked at closely."""
    asked = _asked(path)
    log = msgspec.structs.replace(log, events_max=EVENTS_READ_MAX // max(1, len(asked)))
    elapsed = sum(each.length for each in path)
    return [
        _closely(each, log, now) if number in asked else _plainly(each, elapsed)
        for number, each in enumerate(path)
    ]


def _asked(path: Sequence[Segment]) -> set[int]:
    elapsed = sum(each.length for each in path)
    waits = [
        (-each.length, number)
        for number, each in enumerate(path)
        if each.kind in _ASKED and each.length >= elapsed * SHARE_MIN
    ]
    return {number for _, number in sorted(waits)[:ASKED_MAX]}


def _plainly(segment: Segment, elapsed: int = 0) -> Told:
    text = sentence(segment.kind, segment.attempt, segment.note)
    if segment.kind == model.HELD and segment.length > elapsed * SHARE_MIN:
        at = model.moment_of(segment.begin + segment.length // 2).isoformat()
        text += f"; by what: warrener why {segment.job}/{segment.own} --at {at}"
    return Told(segment, segment.kind, text)


def _closely(segment: Segment, log: Log, now: datetime) -> Told:
    """Ask why the step waited in the middle of the segment."""
    plainly = _plainly(segment)
    middle = model.moment_of(segment.begin + segment.length // 2)
    try:
        past = _Recent(log, moment_at(log.store, min(middle, now), now))
        answer = explain(past, Place(segment.job, segment.own or None))
    except WarrenerError:
        return plainly
    if segment.kind == model.WORKER and not answer.sentence.startswith(_UNSERVED):
        return plainly  # one took it later: what was not known then says nothing now
    if not past.is_whole and (segment.kind == model.INTAKE or answer.kind == "reactor"):
        return plainly
    if segment.kind != model.HELD:
        return msgspec.structs.replace(plainly, sentence=answer.sentence)
    kind = _TOLD.get(answer.kind)
    return plainly if kind is None else Told(segment, kind, answer.sentence)
