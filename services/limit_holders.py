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

from warrener.domain import caps
from warrener.domain.definition.names import is_reserved
from warrener.domain.flow.ready import Stage
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


class Holders(msgspec.Struct, frozen=True):
    """How many hold each limit, and of one of them job and path, by the name of the limit.

    `waiting` are root jobs that wait for their start.
    """

    counts: Counter[Held]
    some: dict[str, tuple[UUID, str]]
    waiting: Counter[Held]


def holders_of(
    logs: Logs,
    views: ViewStore,
    reserved: Collection[str],
    now: datetime,
    on_progress: Progress | None = None,
) -> Holders:
    """Return who holds limits; of reserved names those that are asked about."""
    found = Holders(Counter(), {}, Counter())
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
        if any(map(caps.bounds_jobs, reserved)):
            _count_roots(log, views, reserved, found)
    return found


def _own(out: Out) -> Iterator[Held]:
    return (held for held in out.limits if not is_reserved(held.name))


def _bounding(out: Out, job: JobView | None, reserved: Collection[str]) -> Iterator[Held]:
    """Yield the limits with reserved names that bound an order."""
    if job is None:
        return
    stage = Stage(out.queue, job.name, split_path(out.path)[0])
    for name in caps.names_for_step(stage):
        if name in reserved:
            yield caps.held_of(name, job.root)


def _count_roots(
    log: EventStore, views: ViewStore, reserved: Collection[str], found: Holders
) -> None:
    """Count root jobs that are open, those that have started and those that have not."""
    for view in _jobs(views, log.open_roots()).values():
        counts = found.waiting if view.started_at is None else found.counts
        for name in caps.names_for_job(view.name):
            if name in reserved:
                counts[caps.held_of(name)] += 1


def _jobs(views: ViewStore, jobs: Iterable[UUID]) -> Mapping[UUID, JobView]:
    found: dict[UUID, JobView] = {}
    left = iter(jobs)
    while some := list(islice(left, LOADED_AT_ONCE)):
        found.update(views.load({JOBS: some})[JOBS])
    return found
