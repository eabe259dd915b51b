"""Series of the figures of stages, from the samples that partitions took at times of their own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from warrener.projections.flow_views import FlowPointView, StagePoint
from warrener.services.flow_shapes import Series
from warrener.services.shapes import format_time

Key = tuple[str, str, str]  # queue, name of the job, step
Present = Mapping[int, Mapping[Key, StagePoint]]  # partition -> what it told last


def series_of(points: Iterable[FlowPointView], length_max: int) -> dict[Key, Series]:
    """Return the series of every stage: at each time, what all partitions had told by then."""
    ordered = sorted(points, key=lambda point: (point.at, point.partition))
    kept = set(_evenly(len(ordered), length_max))
    present: dict[int, dict[Key, StagePoint]] = {}
    times: list[datetime] = []
    rows: list[Present] = []
    for number, point in enumerate(ordered):
        present[point.partition] = {(s.queue, s.job, s.step): s for s in point.stages}
        if number in kept:
            times.append(point.at)
            rows.append(dict(present))
    at = tuple(map(format_time, times))
    keys = {key for row in rows for stages in row.values() for key in stages}
    return {key: _series(key, at, rows) for key in keys}


def _evenly(count: int, length_max: int) -> Iterable[int]:
    """Return up to so many numbers below a count, at even distances, with the last one."""
    pace = max(1, -(-count // max(1, length_max)))
    return range(count - 1, -1, -pace)


def _series(key: Key, at: tuple[str, ...], rows: Sequence[Present]) -> Series:
    found = [[stages[key] for stages in row.values() if key in stages] for row in rows]
    return Series(
        at=at,
        ready=tuple(sum(each.ready + each.held for each in points) for points in found),
        out=tuple(sum(each.out for each in points) for points in found),
        oldest_wait=tuple(
            max((each.oldest_wait for each in points), default=0.0) for points in found
        ),
    )
