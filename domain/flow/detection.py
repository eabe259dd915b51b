"""Starvation is found here: who waits beyond the bound, for how long by now, and why.

Every look at the flow gives suspicions; those that last become findings.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Final

import msgspec

from warrener.domain.flow.case import Suspicion, longest_wait
from warrener.domain.flow.diagnosis import diagnose
from warrener.domain.flow.figures import FlowSample, QueueSample
from warrener.domain.flow.history import History, step_seconds
from warrener.domain.flow.ready import Stage
from warrener.domain.flow.settings import FlowSettings, Measures
from warrener.domain.flow.trials import CALM_SHARE, Finding, Trials

WINDOW_SECONDS_MIN: Final = 10.0
WINDOW_SECONDS_MAX: Final = 120.0


class _Watch(msgspec.Struct):
    """A queue that is watched."""

    history: History
    trials: Trials


class Detector:
    """Looks at samples of the flow, about one a second, and says who starves and why."""

    def __init__(self, settings: FlowSettings) -> None:
        """Begin with nothing seen."""
        self._settings = settings
        self._watches: dict[str, _Watch] = {}
        self._at: datetime | None = None

    def use(self, settings: FlowSettings) -> None:
        """Go on by other settings; what was seen and found so far remains."""
        self._settings = settings
        for watch in self._watches.values():
            watch.history.window_seconds = self._window_seconds()

    def look(self, sample: FlowSample, measures: Measures | None = None) -> tuple[Finding, ...]:
        """Take a sample; return all findings that stand now.

        A stage that `measures` throttle may wait though there are free slots.
        """
        elapsed = step_seconds(self._at, sample.at)
        self._at = sample.at
        throttled = () if measures is None else measures.throttled.keys()
        before, self._watches = self._watches, {}
        findings: list[Finding] = []
        for queue in sample.queues:
            watch = before.get(queue.queue) or self._new_watch(queue.queue)
            self._watches[queue.queue] = watch
            self._look_at(watch, queue, sample, elapsed, throttled)
            findings += watch.trials.findings()
        return tuple(findings)

    def _new_watch(self, queue: str) -> _Watch:
        return _Watch(History(self._window_seconds()), Trials(queue))

    def _window_seconds(self) -> float:
        return min(WINDOW_SECONDS_MAX, max(WINDOW_SECONDS_MIN, self._settings.bound_seconds))

    def _look_at(
        self,
        watch: _Watch,
        queue: QueueSample,
        sample: FlowSample,
        elapsed: float,
        throttled: Collection[Stage],
    ) -> None:
        bound, history = self._settings.bound_seconds, watch.history
        longest = _longest(queue)
        history.add(sample.at, queue, calm=longest <= CALM_SHARE * bound)
        starving = max(longest, history.stuck_seconds) > bound
        if not starving and not watch.trials:
            return
        span = history.span(longest)
        suspicions: tuple[Suspicion, ...] = ()
        if starving and span is not None:
            suspicions = diagnose(span, sample, bound, throttled)
        watch.trials.weigh(
            sample.at,
            elapsed,
            suspicions,
            waiting=history.waiting(CALM_SHARE * bound),
            falling=history.is_falling(_longest),
        )


def _longest(queue: QueueSample) -> float:
    return max(map(longest_wait, queue.stages), default=0.0)


__all__ = ["Detector", "Finding"]
