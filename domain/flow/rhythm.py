"""When to look at the flow, and which samples are worth recording."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from warrener.domain.control_events import FlowSampled
from warrener.domain.flow.figures import PAUSED, FlowSample
from warrener.domain.flow.lanes import Flow

LOOK_SECONDS: Final = 1.0  # between two looks while somebody waits
SAMPLE_SECONDS: Final = 5.0  # between two samples that are recorded, at least
STAGE_SECONDS: Final = 0.25  # longer for each stage: samples of many are large
SAMPLE_SECONDS_MAX: Final = 30.0
_LOOK: Final = timedelta(seconds=LOOK_SECONDS)
_SAMPLE: Final = timedelta(seconds=SAMPLE_SECONDS)
_CAUSE: Final = "flow"


class Rhythm:
    """Says when the next look is due.

    Only who waits for a release, or an incident, is a reason to look though nothing happens. While
    work goes on without anybody waiting, one look in a while is taken as messages come.
    """

    def __init__(self, flow: Flow, *, samples: bool) -> None:
        """Begin with nothing seen."""
        self._flow = flow
        self._samples = samples
        self._looked_at: datetime | None = None  # or when there came to be something to see
        self._last: FlowSampled | None = None

    def next_due(self, now: datetime, *, open_yet: bool) -> datetime | None:
        """Return when to look next even if nothing happens; `open_yet`: incidents are."""
        if not (open_yet or self._flow.waits()):
            return None
        at = self._looked_at
        return now if at is None or now < at else at + _LOOK

    def is_due(self, now: datetime, *, open_yet: bool) -> bool:
        """Say whether to look now."""
        waits = self._flow.waits()
        if not waits and self._flow.at_rest():
            unsettled = self._last is not None and not rests(self._last.sample)
            self._looked_at = self._looked_at if open_yet else None
            return open_yet or unsettled
        if self._looked_at is None or now < self._looked_at:
            self._looked_at = now
        return now >= self._looked_at + (_LOOK if waits or open_yet else _SAMPLE)

    def looked(
        self, sample: FlowSample, now: datetime, incidents: tuple[UUID, ...]
    ) -> FlowSampled | None:
        """Return the sample to record now, if it says something new; incidents always are."""
        self._looked_at = now
        if not self._samples:
            return None
        last = self._last
        if last is None or incidents != last.incidents:
            worth = last is not None or bool(incidents) or _moves(sample)
        else:
            since = now - last.at
            due = not timedelta(0) <= since < _between(sample) or rests(sample)
            worth = due and _signature(sample) != _signature(last.sample)
        if not worth:
            return None
        return FlowSampled(at=now, cause=_CAUSE, sample=sample, incidents=incidents)

    def recorded(self, event: FlowSampled) -> None:
        """A sample is in the log."""
        self._last = event


def _between(sample: FlowSample) -> timedelta:
    """Return how long there is between samples of this size."""
    stages = sum(len(queue.stages) for queue in sample.queues)
    seconds = min(SAMPLE_SECONDS_MAX, max(SAMPLE_SECONDS, STAGE_SECONDS * stages))
    return timedelta(seconds=seconds)


def rests(sample: FlowSample) -> bool:
    """Say whether nothing waits in a sample but for people, and nothing is out."""
    stages = (stage for queue in sample.queues for stage in queue.stages)
    return not any(each.ready or each.out or set(each.held) - {PAUSED} for each in stages)


def _moves(sample: FlowSample) -> bool:
    return any(stage.arrived or stage.out for queue in sample.queues for stage in queue.stages)


def _signature(sample: FlowSample) -> list[Any]:
    """Return what changes only if something happens."""
    return [
        (q.queue, q.workers, q.slots, q.busy, q.unknown, q.out, [_counts(s) for s in q.stages])
        for q in sample.queues
    ]


def _counts(stage: Any) -> tuple[Any, ...]:
    counted = (stage.arrived, stage.released, stage.ended, stage.failed)
    return stage.job, stage.step, stage.ready, stage.out, stage.held, *counted
