"""The line of a stage in the lane of its queue: what waits, what is held back, what is counted."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta
from typing import Final

import msgspec

from warrener.domain.flow.backlog import Backlog, Entry
from warrener.domain.flow.figures import PAUSED, StageCounts, StageSample, percentile
from warrener.domain.flow.ready import Stage

REASONS_TOLD_MAX: Final = 50  # for which steps are held back; samples are stored often
_NO_TIME: Final = timedelta(0)


class StageLine(msgspec.Struct, eq=False):
    """A stage in its lane. `held` counts what waits elsewhere, by reason and by since when."""

    backlog: Backlog
    remaining: int
    counts: StageCounts = msgspec.field(default_factory=StageCounts)
    out: int = 0
    held: dict[str, dict[datetime, int]] = {}
    endpoint: str = ""

    def hold(self, since: datetime, reason: str) -> None:
        """A step that has waited since then waits elsewhere now."""
        held = self.held.setdefault(reason, {})
        held[since] = held.get(since, 0) + 1

    def let_go(self, since: datetime, reason: str) -> None:
        """A step waits elsewhere no more."""
        held = self.held.get(reason, {})
        left = held.pop(since, 0) - 1
        if left > 0:
            held[since] = left
        elif not held:
            self.held.pop(reason, None)

    def sample(
        self, stage: Stage, running: int, now: datetime, oldest: Entry | None
    ) -> StageSample:
        """Return the figures of the stage; `oldest` is what has waited longest."""
        counts, waits = self.counts, sorted(self.counts.waits)
        return StageSample(
            job=stage.job,
            step=stage.step,
            ready=self.backlog.count,
            held=self._told(),
            held_wait=self._held_wait(now),
            endpoint=self.endpoint,
            out=self.out,
            running=running,
            oldest_wait=seconds_of(now - oldest.since) if oldest else 0.0,
            oldest_priority=oldest.standing.priority if oldest else 0,
            wait_p50=percentile(waits, 0.5),
            wait_p95=percentile(waits, 0.95),
            wait_p99=percentile(waits, 0.99),
            service_seconds=counts.service_seconds,
            arrived=counts.arrived,
            released=counts.released,
            ended=counts.ended,
            failed=counts.failed,
            busy_seconds=counts.busy_seconds,
            failed_seconds=counts.failed_seconds,
            remaining=self.remaining,
        )

    def _held_wait(self, now: datetime) -> float:
        """Return the longest wait of what is held back, but for pauses."""
        waits = (now - min(since) for reason, since in self.held.items() if reason != PAUSED)
        return seconds_of(max(waits, default=_NO_TIME))

    def _told(self) -> dict[str, int]:
        """Return how many are held back for each reason; of too many, the keys are left out."""
        counts: Counter[str] = Counter()
        for reason, since in self.held.items():
            told = reason if len(self.held) <= REASONS_TOLD_MAX else reason.partition("/")[0]
            counts[told] += sum(since.values())
        return dict(counts)


def seconds_of(wait: timedelta) -> float:
    """Return a wait in seconds: none, if the clock was set back since it began."""
    return max(0.0, wait.total_seconds())
