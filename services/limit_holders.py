"""Who holds limits now, by the logs: one pass over what may still be out.

Limits with reserved names are held by all that they bound, whether or not it went out under them:
`@root` for each tree of jobs, `@job:NAME`, `@step:NAME/STEP` and `@queue:NAME` by orders, `@jobs`
and `@jobs:NAME` by root jobs that have started.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import datetime
from itertools import islice
from typing import Final
from uuid import UUID

import msgspec

from warrener.domain.ids import split_path
from warrener.domain.partitions import Logs
from warrener.domain.ports import EventStore
from warrener.domain.step_events import Held
from warrener.projections.ports import ViewStore
from warrener.projections.views import JOBS, JobView
from warrener.projections.why.world import Out, World
from warrener.services.logs import each_log
from warrener.services.why import LogPast, Progress, moment_at

LOADED_AT_ONCE: Final = 1_000
RESERVED: Final = "@"
NO_KEY: Final = "null"  # as that of a limit without one


class Holders(msgspec.Struct, frozen=True):
    """How many hold each limit, and of one of them job and path, by the name of the limit."""

    counts: Counter[Held]
    some: dict[str, tuple[UUID, str]]


def holders_of(
    logs: Logs,
    views: ViewStore,
    reserved: Collection[str],
    now: datetime,
    on_progress: Progress | None = None,
) -> Holders:
    """Return who holds limits; of reserved names those that are asked about."""
    found = Holders(Counter(), {})
    for partition, log in enumerate(each_log(logs)):
        past = LogPast(log, moment_at(log, None, now), None, on_progress, partition)
        world = World([])
        world.fold(past.out(False))
        orders = list(world.out.values())
        jobs = _jobs(views, {out.job for out in orders}) if reserved else {}
        for out in orders:
            for held in (*_own(out), *_bounding(out, jobs.get(out.job), reserved)):
                found.counts[held] += 1
                found.some[held.name] = out.job, out.path
        if any(name.startswith("@jobs") for name in reserved):
            found.counts.update(_of_roots(log, views, reserved))
    return found


def _own(out: Out) -> Iterator[Held]:
    return (held for held in out.limits if not held.name.startswith(RESERVED))


def _bounding(out: Out, job: JobView | None, reserved: Collection[str]) -> Iterator[Held]:
    """Yield the limits with reserved names that bound an order."""
    if job is None:
        return
    step = split_path(out.path)[0]
    names = (f"@job:{job.name}", f"@step:{job.name}/{step}", f"@queue:{out.queue}")
    yield from (Held(name, NO_KEY) for name in names if name in reserved)
    if "@root" in reserved:
        yield Held("@root", str(job.root))


def _of_roots(log: EventStore, views: ViewStore, reserved: Collection[str]) -> Iterator[Held]:
    """Yield the limits that root jobs hold which have started."""
    for view in _jobs(views, log.open_roots()).values():
        names = ("@jobs", f"@jobs:{view.name}") if view.started_at is not None else ()
        yield from (Held(name, NO_KEY) for name in names if name in reserved)


def _jobs(views: ViewStore, jobs: Iterable[UUID]) -> Mapping[UUID, JobView]:
    found: dict[UUID, JobView] = {}
    left = iter(jobs)
    while some := list(islice(left, LOADED_AT_ONCE)):
        found.update(views.load({JOBS: some})[JOBS])
    return found
