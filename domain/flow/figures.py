"""What is counted of every stage and queue, and the samples of it that are looked at.

Counters only grow; rates come from the difference of two samples.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from datetime import datetime
from typing import Final

import msgspec

from warrener.domain.flow.ready import Stage

WAITS_KEPT: Final = 256  # of each stage, the latest
SMOOTHING: Final = 0.1  # weight of the newest in the moving mean of a stage
PAUSED: Final = "paused"  # why steps of paused jobs are held back


def smoothed(mean: float | None, newest: float, weight: float) -> float:
    """Return a moving mean, in which the newest figure has a weight; None: it is the first."""
    return newest if mean is None else mean + weight * (newest - mean)


class StageCounts(msgspec.Struct):
    """What happened to the steps of a stage since the controller started."""

    arrived: int = 0
    released: int = 0
    ended: int = 0  # attempts that were answered, or will never be
    failed: int = 0  # of these, those that did not succeed
    busy_seconds: float = 0.0  # of workers
    failed_seconds: float = 0.0  # of these, for attempts that did not succeed
    service_seconds: float | None = None  # of one attempt, a moving mean
    waits: deque[float] = msgspec.field(default_factory=lambda: deque(maxlen=WAITS_KEPT))

    def measure(self, seconds: float, *, succeeded: bool) -> None:
        """An attempt has taken so many seconds of a worker."""
        self.busy_seconds += seconds
        if not succeeded:
            self.failed += 1
            self.failed_seconds += seconds
        self.service_seconds = smoothed(self.service_seconds, seconds, SMOOTHING)

    def lose(self, seconds: float) -> None:
        """Nobody will answer an attempt; it is thought to have taken so many seconds."""
        self.failed += 1
        self.busy_seconds += seconds
        self.failed_seconds += seconds


class StageSample(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A stage at one time; counters are since the controller started, waits in seconds.

    `held` counts those that are held back, by reason (such as `slots api/key`, `rate api/key` or
    `paused`), and `held_wait` is the longest wait among them, but for those that are paused;
    `oldest_wait` is that of the others, and `oldest_priority` the priority of who waits so long.
    `running` is an estimate.
    """

    job: str
    step: str
    ready: int = 0
    endpoint: str = ""
    held: dict[str, int] = {}
    held_wait: float = 0.0
    out: int = 0
    running: int = 0
    oldest_wait: float = 0.0
    oldest_priority: int = 0
    wait_p50: float = 0.0
    wait_p95: float = 0.0
    wait_p99: float = 0.0
    service_seconds: float | None = None
    arrived: int = 0
    released: int = 0
    ended: int = 0
    failed: int = 0
    busy_seconds: float = 0.0
    failed_seconds: float = 0.0
    remaining: int = 0  # steps after it in its job, as last seen

    def stage(self, queue: str) -> Stage:
        """Return the stage."""
        return Stage(queue, self.job, self.step)


class QueueSample(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A queue at one time.

    `slots` are those that this controller counts on, of `all_slots` there are (0: all of them), and
    `busy` those of all that work, as workers said last. `unknown` are endpoints of stages that no
    worker of the queue knows. By priority, `served` counts releases since the controller started,
    and `worked` the seconds of workers.
    """

    queue: str
    workers: int = 0
    slots: int = 0
    all_slots: int = 0
    busy: int = 0
    unknown: tuple[str, ...] = ()
    window: int = 0
    out: int = 0
    stages: tuple[StageSample, ...] = ()
    served: dict[int, int] = {}
    worked: dict[int, float] = {}


class FlowSample(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The flow of a partition at one time.

    `commit_seconds` and `confirm_seconds` are what the latest commits to the store, and the
    latest confirmations of the broker, took at the worst; `unconfirmed` is how long what waits for
    the broker has waited by now.
    """

    at: datetime
    queues: tuple[QueueSample, ...] = ()
    commit_seconds: float = 0.0
    confirm_seconds: float = 0.0
    unconfirmed: float = 0.0


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value below which a share of sorted values lies, 0 if there are none."""
    if not values:
        return 0.0
    return values[min(len(values) - 1, int(share * len(values)))]
