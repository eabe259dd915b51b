"""What a simulation comes to: distributions of waits and completions, in all and by group."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from warrener.domain.flow.figures import percentile
from warrener.domain.simulation.record import Record

GROUPS_MAX = 100  # with the most jobs


class Distribution(msgspec.Struct, frozen=True, kw_only=True):
    """Times in seconds."""

    p50: float
    p95: float
    p99: float
    longest: float
    mean: float


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """Jobs that ended. `wait` is until a worker begins with one, `completion` until its end."""

    jobs: int
    wait: Distribution
    completion: Distribution


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """A simulation under one policy. `seconds` is from the begin of the load to its end.

    `fairness` is Jain's index over fairness keys, None if there are not several. `oldest_wait` is
    the longest time that a ready step was seen to wait, `unfinished` counts jobs that had not
    ended.
    """

    policy: str
    seconds: float
    attempts: int
    unfinished: int
    utilisation: float
    fairness: float | None
    oldest_wait: float
    all: Group
    names: dict[str, Group]
    keys: dict[str, Group]
    incidents: dict[str, int] = {}  # of starvation, by diagnosis, if it was looked for
    measures: dict[str, int] = {}  # that were taken against it, by kind


def summarise(policy: str, record: Record, unfinished: int = 0) -> Summary:
    """Return what a simulation comes to."""
    return Summary(
        policy=policy,
        seconds=record.seconds,
        attempts=record.attempts,
        unfinished=unfinished,
        utilisation=record.utilisation,
        fairness=record.shares.index() if len(record.keys.names) > 1 else None,
        oldest_wait=max(record.oldest_wait(), default=0.0),
        all=_group(record, range(len(record.wait))),
        names=_groups(record, record.job_name, record.names.names),
        keys=_groups(record, record.job_key, record.keys.names),
    )


def distribution(values: Sequence[float]) -> Distribution:
    """Return the distribution of values, all 0 if there are none."""
    ordered = sorted(values)
    return Distribution(
        p50=percentile(ordered, 0.5),
        p95=percentile(ordered, 0.95),
        p99=percentile(ordered, 0.99),
        longest=ordered[-1] if ordered else 0.0,
        mean=sum(ordered) / len(ordered) if ordered else 0.0,
    )


def _groups(record: Record, numbers: Sequence[int], names: Sequence[str]) -> dict[str, Group]:
    places: dict[int, list[int]] = {}
    for place, number in enumerate(numbers):
        places.setdefault(number, []).append(place)
    largest = sorted(places, key=lambda number: (-len(places[number]), names[number]))[:GROUPS_MAX]
    return {names[number]: _group(record, places[number]) for number in largest}


def _group(record: Record, places: Sequence[int]) -> Group:
    return Group(
        jobs=len(places),
        wait=distribution([record.wait[place] for place in places]),
        completion=distribution([record.completion[place] for place in places]),
    )
