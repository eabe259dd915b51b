"""A detector that finds by chance: whatever it says, flow control must keep its promises."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from warrener.domain.flow.detection import Finding
from warrener.domain.flow.figures import FlowSample, QueueSample
from warrener.domain.flow.incidents import Diagnosis, Victim
from warrener.domain.flow.settings import FlowSettings, Measures

STANDS_SECONDS = 20  # about as long stands what is found
FOUND = 0.9
DIAGNOSES: tuple[Diagnosis, ...] = (
    "upstream-flood",
    "upstream-flood",
    "priority",
    "slow-step",
    "poison-loop",
    "too-few-workers",
    "slots-full",
)


class ChanceDetector:
    """Finds the same for the same seed, time and sample, and nothing once all `is_well`."""

    def __init__(self, seed: int, is_well: Callable[[], bool]) -> None:
        self._seed = seed
        self._is_well = is_well

    def use(self, settings: FlowSettings) -> None:
        """Go on."""

    def look(self, sample: FlowSample, measures: Measures | None = None) -> tuple[Finding, ...]:
        """Return what chance finds."""
        span = int(sample.at.timestamp()) // STANDS_SECONDS
        found = (self._of(queue, sample, span) for queue in sample.queues)
        return tuple(each for each in found if each is not None)

    def _of(self, queue: QueueSample, sample: FlowSample, span: int) -> Finding | None:
        chance = Random(f"{self._seed}/{queue.queue}/{span}")
        victims = tuple(
            Victim(job=each.job, step=each.step, waiting=each.ready, oldest_wait=each.oldest_wait)
            for each in queue.stages
            if each.ready
        )
        if not victims or self._is_well() or chance.random() > FOUND:
            return None
        return Finding(
            queue=queue.queue,
            diagnosis=chance.choice(DIAGNOSES),
            victims=victims,
            evidence={},
            since=sample.at,
        )
