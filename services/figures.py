"""Figures of the service beside those of the flow: totals by name, requests, limits, lag."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

import msgspec

from warrener.domain.partitions import Logs
from warrener.projections.ports import ActionFilter, ViewStore
from warrener.projections.total_views import (
    ALL_JOBS,
    ALL_STEPS,
    BUCKETS,
    OTHER,
    TOTALS,
    TotalView,
)
from warrener.services.control_shapes import LimitLine
from warrener.services.lag import Lag, lag
from warrener.services.limit_queries import LimitQueries
from warrener.services.places import Places

JOBS_NAMED_MAX: Final = 100
STEPS_NAMED_MAX: Final = 300
LIMITS_NAMED_MAX: Final = 100
ACTIONS_COUNTED_MAX: Final = 1_000

Name = tuple[str, str]  # of a job and a step


class Sum(msgspec.Struct):
    """The totals of a name over all partitions."""

    begun: int = 0
    now: Counter[str] = msgspec.field(default_factory=Counter)
    ended: Counter[str] = msgspec.field(default_factory=Counter)
    attempts: Counter[str] = msgspec.field(default_factory=Counter)
    failures: Counter[str] = msgspec.field(default_factory=Counter)
    seconds: float = 0.0
    took: list[int] = msgspec.field(default_factory=lambda: [0] * (len(BUCKETS) + 1))

    def add(self, view: TotalView) -> None:
        """Add the totals of a partition."""
        self.begun += view.begun
        self.now.update(view.now)
        self.ended.update(view.ended)
        self.attempts.update(view.attempts)
        self.failures.update(view.failures)
        self.seconds += view.seconds
        for at, count in enumerate(view.took):
            self.took[at] += count

    def less(self, others: Sequence[Sum]) -> Sum:
        """Return what is left without others; never below nothing."""
        left = Sum(begun=self.begun - sum(each.begun for each in others))
        for name in ("now", "ended", "attempts", "failures"):
            counts: Counter[str] = Counter(getattr(self, name))
            for each in others:
                counts.subtract(getattr(each, name))
            setattr(left, name, +counts)
        return left


class Named(msgspec.Struct, frozen=True):
    """Totals by name, those of all, and how many names (at least) are told together as `other`."""

    by_name: Mapping[Name, Sum]
    whole: Sum
    left_out: int


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """What is read for the metrics. `actions` counts open requests, 1,000 at most."""

    jobs: Named
    steps: Named
    actions: int
    oldest_action_seconds: float
    limits: Sequence[LimitLine]
    limits_left_out: int
    lags: Sequence[Lag]


def figures(logs: Logs, views: ViewStore, now: datetime) -> Figures:
    """Read the figures; the cost is bounded, however many jobs there are."""
    requests = views.find_actions(ActionFilter(state="open", limit=ACTIONS_COUNTED_MAX))
    waits = [max(0.0, (now - each.opened_at).total_seconds()) for each in requests]
    limits = LimitQueries(logs, views, Places(views)).limits(None, None)
    limits.sort(key=lambda each: each.waiting, reverse=True)
    return Figures(
        jobs=_named(views, logs.count, of_steps=False),
        steps=_named(views, logs.count, of_steps=True),
        actions=len(requests),
        oldest_action_seconds=max(waits, default=0.0),
        limits=limits[:LIMITS_NAMED_MAX],
        limits_left_out=max(0, len(limits) - LIMITS_NAMED_MAX),
        lags=lag(logs, views, now),
    )


def _named(views: ViewStore, partitions: int, *, of_steps: bool) -> Named:
    """Return the totals of the names of which there is most, the others as one."""
    named_max = STEPS_NAMED_MAX if of_steps else JOBS_NAMED_MAX
    first = views.totals(of_steps=of_steps, limit=named_max * partitions)
    weights: Counter[Name] = Counter()
    for view in first:
        weights[view.job, view.step] += view.weight
    names = [name for name, _ in weights.most_common(named_max)]
    by_name = {name: Sum() for name in names}
    keys = [(partition, *name) for name in names for partition in range(partitions)]
    found: Mapping[object, TotalView] = views.load({TOTALS: keys})[TOTALS]
    for view in found.values():
        by_name[view.job, view.step].add(view)
    whole, known = _whole(views, partitions, ALL_STEPS if of_steps else ALL_JOBS)
    left_out = max(0, known - len(names))
    if left_out:
        other = OTHER, OTHER if of_steps else ""
        by_name.pop(other, None)  # somebody's own name
        by_name[other] = whole.less(list(by_name.values()))
    return Named(by_name, whole, left_out)


def _whole(views: ViewStore, partitions: int, name: Name) -> tuple[Sum, int]:
    keys = [(partition, *name) for partition in range(partitions)]
    found: Mapping[object, TotalView] = views.load({TOTALS: keys})[TOTALS]
    whole = Sum()
    for view in found.values():
        whole.add(view)
    return whole, max((view.names for view in found.values()), default=0)
