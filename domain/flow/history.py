"""What was seen of a queue lately, and what is usual there: the figures a diagnosis goes by."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Final

import msgspec

from warrener.domain.flow.figures import QueueSample, StageSample
from warrener.domain.flow.rates import change, key_of

SPACING_SECONDS: Final = 1.0  # samples that follow sooner are not kept
STEP_SECONDS: Final = 1.0  # from look to look, by and large
STEP_SECONDS_MAX: Final = 15.0  # a longer step is one of the clock, or of who was stopped
EARLY_SPACING_SECONDS: Final = 10.0
EARLY_SECONDS_MAX: Final = 600.0
FALLING_SECONDS: Final = 8.0
USUAL_SPACING_SECONDS: Final = 10.0
USUAL_MEMORY_SECONDS: Final = 3_600.0  # what is usual follows what is by then
USUAL_ATTEMPTS_MIN: Final = 20  # fewer say nothing about what is usual
SLOWER: Final = 1.8  # times what is usual is clearly slower

_Key = tuple[str, str]


class StageSpan(msgspec.Struct, frozen=True, kw_only=True):
    """A stage over a span of time.

    `now` is its last sample, `change` has the counters of the span alone. `running` are the slots
    it took on average, `usual_seconds` what an attempt took before anybody waited for long (None:
    not known), and `stuck_seconds` for how long now orders are out and none has ended.
    """

    now: StageSample
    change: StageSample
    running: float
    usual_seconds: float | None
    stuck_seconds: float

    @property
    def succeeded(self) -> int:
        """Return how many attempts of the span succeeded."""
        return self.change.ended - self.change.failed

    @property
    def seconds(self) -> float | None:
        """Return what a successful attempt took in the span, None if there was none."""
        if self.succeeded <= 0:
            return None
        return max(0.0, self.change.busy_seconds - self.change.failed_seconds) / self.succeeded

    @property
    def name(self) -> str:
        """Return what people call the stage."""
        return f"{self.now.job}/{self.now.step}"


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """A queue over a span of time: `before` is its first sample, and `now` its last.

    The `early` sample is from `early_seconds` ago, before the first of those who wait now. `slots`
    are those there were on average, one at least, and `busy` the part of them that worked;
    `idle_seconds` tells for how long now orders are out that no worker has, though slots are free,
    and `deserted_seconds` for how long nobody serves the queue.
    """

    before: QueueSample
    now: QueueSample
    seconds: float
    early: QueueSample
    early_seconds: float
    slots: float
    busy: float
    idle_seconds: float
    deserted_seconds: float
    stages: tuple[StageSpan, ...]


class _Usual(msgspec.Struct):
    """What an attempt usually takes: a mean that follows slowly."""

    mark: StageSample
    elapsed: float = 0.0  # since the mark
    mean: float = 0.0
    attempts: int = 0

    def learn(self, now: StageSample, elapsed: float, *, calm: bool) -> None:
        self.elapsed += elapsed
        if self.elapsed < USUAL_SPACING_SECONDS and calm:
            return
        new = change(self.mark, now)
        count = new.ended - new.failed
        if calm and count > 0:
            self.attempts += count
            passed = 1.0 - math.exp(-self.elapsed / USUAL_MEMORY_SECONDS)
            mean = max(0.0, new.busy_seconds - new.failed_seconds) / count
            known = self.attempts - count >= USUAL_ATTEMPTS_MIN
            odd = known and mean >= SLOWER * self.mean  # that is learnt only if it lasts
            weight = passed if odd else max(count / self.attempts, passed)
            self.mean += weight * (mean - self.mean)
        self.mark, self.elapsed = now, 0.0

    @property
    def seconds(self) -> float | None:
        return self.mean if self.attempts >= USUAL_ATTEMPTS_MIN else None


class _Line(msgspec.Struct):
    """A stage as it goes on; `running` is the time that slots worked for it, in seconds."""

    usual: _Usual
    running: float = 0.0
    stuck_seconds: float = 0.0
    ended: int = 0


class _Point(msgspec.Struct):
    time: float
    sample: QueueSample
    worked: float
    offered: float
    running: dict[_Key, float]


class History:
    """The samples of a queue of the last `window_seconds`, and sums since the first one.

    Its time goes on with that of the samples, but neither back nor by leaps: a clock that is set
    changes nothing of what was counted.
    """

    def __init__(self, window_seconds: float) -> None:
        """Begin with nothing."""
        self.window_seconds = window_seconds
        self._points: deque[_Point] = deque()
        self._early: deque[_Point] = deque()  # fewer, from longer ago
        self._lines: dict[_Key, _Line] = {}
        self._now: _Point | None = None
        self._at: datetime | None = None
        self._time = 0.0
        self._worked = 0.0  # slot seconds
        self._offered = 0.0
        self._idle_seconds = 0.0
        self._deserted_seconds = 0.0
        self._hears_busy = False

    def add(self, at: datetime, sample: QueueSample, *, calm: bool) -> None:
        """Add a sample; `calm` says that nobody waits for long, so that all is as usual."""
        elapsed = step_seconds(self._at, at)
        self._at = at
        self._time += elapsed
        self._hears_busy = self._hears_busy or sample.busy > 0
        there = sample.all_slots or sample.slots
        busy = sample.busy if self._hears_busy else min(sample.out, there)
        worked = sample.slots * min(1.0, busy / there) if there else 0.0
        self._worked += worked * elapsed
        self._offered += sample.slots * elapsed
        waits = self._hears_busy and sample.out > busy and busy < there
        self._idle_seconds = self._idle_seconds + elapsed if waits else 0.0
        ended = self._add_stages(sample, worked, elapsed, calm=calm)
        deserted = not sample.slots and not ended
        self._deserted_seconds = self._deserted_seconds + elapsed if deserted else 0.0
        running = {key: line.running for key, line in self._lines.items()}
        self._now = _Point(self._time, sample, self._worked, self._offered, running)
        self._keep(self._now)

    def _add_stages(
        self, sample: QueueSample, worked: float, elapsed: float, *, calm: bool
    ) -> bool:
        """Say whether any attempt has ended."""
        estimate = sum(stage.running for stage in sample.stages)
        part = min(1.0, worked / estimate) if estimate else 0.0
        lines: dict[_Key, _Line] = {}
        any_ended = False
        for stage in sample.stages:
            line = self._lines.get(key_of(stage)) or _Line(_Usual(stage))
            line.running += stage.running * part * elapsed
            stuck = stage.out > 0 and stage.ended == line.ended
            line.stuck_seconds = line.stuck_seconds + elapsed if stuck else 0.0
            any_ended = any_ended or stage.ended != line.ended
            line.ended = stage.ended
            line.usual.learn(stage, elapsed, calm=calm)
            lines[key_of(stage)] = line
        self._lines = lines
        return any_ended

    @property
    def stuck_seconds(self) -> float:
        """Return for how long orders of a stage have reached no worker, at most, if that may be."""
        now = self._now
        if now is None or not (self._idle_seconds or self._deserted_seconds or now.sample.unknown):
            return 0.0
        return max((line.stuck_seconds for line in self._lines.values()), default=0.0)

    def waiting(self, seconds: float) -> set[_Key]:
        """Return the stages whose steps have waited for longer, for their release or a worker."""
        if self._now is None:
            return set()
        stuck = self.stuck_seconds > seconds
        return {
            key_of(stage)
            for stage in self._now.sample.stages
            if max(stage.oldest_wait, stage.held_wait) > seconds
            or (stuck and self._lines[key_of(stage)].stuck_seconds > seconds)
        }

    def _keep(self, point: _Point) -> None:
        _append(self._points, point, SPACING_SECONDS, self.window_seconds)
        _append(self._early, point, EARLY_SPACING_SECONDS, EARLY_SECONDS_MAX)

    def is_falling(self, longest: Callable[[QueueSample], float]) -> bool:
        """Say whether a wait is shorter than it was a moment ago."""
        now = self._now
        if now is None:
            return False
        lately = (p for p in reversed(self._points) if now.time - p.time >= FALLING_SECONDS)
        before = next(lately, None)
        return before is not None and longest(now.sample) < longest(before.sample)

    def span(self, longest_wait: float) -> Span | None:
        """Return what went on in the window, None if there is no earlier sample."""
        now, first = self._now, self._points[0] if self._points else None
        if now is None or first is None or now.time <= first.time:
            return None
        seconds, offered = now.time - first.time, now.offered - first.offered
        long_ago = now.time - max(longest_wait, self.window_seconds)
        early = next((p for p in reversed(self._early) if p.time <= long_ago), self._early[0])
        return Span(
            early=early.sample,
            early_seconds=now.time - early.time,
            before=first.sample,
            now=now.sample,
            seconds=seconds,
            slots=max(1.0, offered / seconds),
            busy=(now.worked - first.worked) / offered if offered else 0.0,
            idle_seconds=self._idle_seconds,
            deserted_seconds=self._deserted_seconds,
            stages=tuple(self._spans(first, now, seconds)),
        )

    def _spans(self, first: _Point, now: _Point, seconds: float) -> Iterable[StageSpan]:
        earlier = {key_of(stage): stage for stage in first.sample.stages}
        for stage in now.sample.stages:
            key = key_of(stage)
            line = self._lines[key]
            yield StageSpan(
                now=stage,
                change=change(earlier.get(key), stage),
                running=max(0.0, now.running[key] - first.running.get(key, 0.0)) / seconds,
                usual_seconds=line.usual.seconds,
                stuck_seconds=line.stuck_seconds,
            )


def _append(points: deque[_Point], point: _Point, spacing: float, seconds: float) -> None:
    """Add a point, unless it is too near the last, and let go of those no longer needed."""
    if not points or point.time - points[-1].time >= spacing:
        points.append(point)
    while len(points) > 1 and point.time - points[1].time >= seconds:
        points.popleft()


def step_seconds(before: datetime | None, now: datetime) -> float:
    """Return how much time has passed between two looks, as far as clocks can be trusted."""
    if before is None:
        return 0.0
    passed = (now - before).total_seconds()
    return passed if 0.0 <= passed <= STEP_SECONDS_MAX else STEP_SECONDS
