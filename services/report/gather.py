"""Makes a run report: reads the events of a tree once, and shapes what they tell."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import Final
from uuid import UUID

from warrener.domain.errors import UnknownJob
from warrener.domain.partitions import Logs, partition_of
from warrener.domain.ports import Positioned
from warrener.projections.report import critical, model
from warrener.projections.report.fold import Times
from warrener.projections.report.model import JobTimes, micros, moment_of
from warrener.projections.report.summing import summary_of
from warrener.services.queries import Queries
from warrener.services.report.bars import Chart
from warrener.services.report.held import Log, Told, tell
from warrener.services.report.shapes import JobTime, KindTime, Report, Retried, Segment, Slow
from warrener.services.report.words import LABELS, label
from warrener.services.shapes import Show, format_time

SLOWEST_MAX: Final = 20
RETRIES_MAX: Final = 20
JOBS_MAX: Final = 100
OWN_LABELS: Final = "warrener."
PROGRESS_EVENTS: Final = 1_000
_MICRO: Final = 1_000_000

Progress = Callable[[int, int], None]  # position, and that of the last event to be read


def run_report(
    queries: Queries,
    logs: Logs,
    job: UUID,
    now: datetime | None = None,
    on_progress: Progress | None = None,
) -> Report:
    """Return where the time of a job went; raises `UnknownJob`.

    One that has not ended is told up to now, or without that up to its last event.
    """
    shown = queries.show(job, whole=False)
    partition = partition_of(shown.root, logs.count)
    log = Log(logs.log(partition), partition, logs.count)
    times = Times(job, _above(queries, shown))
    head = log.store.head()
    times.fold(_watched(queries.tree_events(job), head, on_progress))
    top = times.top
    if top is None:
        raise UnknownJob(f"no job {job} in the store")
    until = top.ended_at
    if until is None:
        until = times.now if now is None else max(times.now, micros(now))
    path = critical.shortened(critical.critical_path(times.jobs, top, until), top)
    told = tell(path, log, moment_of(until))
    return _Shaping(times, top, until, told).report(shown)


def _above(queries: Queries, shown: Show) -> list[UUID]:
    """Return the jobs above one."""
    found: list[UUID] = []
    while shown.parent is not None:
        found.append(shown.parent)
        shown = queries.show(shown.parent, whole=False)
    return found


def _told_labels(shown: Show) -> dict[str, str]:
    """Return the labels without our own, which name files of the machine that submitted the job."""
    return {key: value for key, value in shown.labels.items() if not key.startswith(OWN_LABELS)}


def _watched(
    events: Iterable[Positioned], head: int, on_progress: Progress | None
) -> Iterator[Positioned]:
    for number, positioned in enumerate(events):
        if on_progress is not None and number % PROGRESS_EVENTS == 0:
            on_progress(positioned.position, head)
        yield positioned


class _Shaping:
    """Gives the records of a tree their shape."""

    def __init__(self, times: Times, top: JobTimes, until: int, told: list[Told]) -> None:
        self._times = times
        self._top = top
        self._until = until
        self._told = told
        self._summary = summary_of(times.jobs, top, until).finish()

    def report(self, shown: Show) -> Report:
        top, summary = self._top, self._summary
        jobs = self._jobs()
        chart = Chart(self._times.jobs, top, self._told, self._until)
        return Report(
            job=top.id,
            name=shown.name,
            version=shown.version,
            state=top.state,
            labels=_told_labels(shown),
            error=shown.error,
            generation=top.generation,
            rerun=top.rerun_at is not None,
            so_far=top.ended_at is None,
            begun_at=format_time(moment_of(top.begin)),
            ended_at=format_time(moment_of(self._until)),
            elapsed_seconds=(self._until - top.begin) / _MICRO,
            jobs=summary.jobs,
            steps=summary.steps,
            states=dict(sorted(summary.states.items())),
            step_seconds=sum(summary.micros.values()) / _MICRO,
            totals=tuple(self._totals()),
            critical_path=tuple(map(self._segment, self._told)),
            slowest=tuple(map(_slow, summary.slowest[:SLOWEST_MAX])),
            retried=summary.retried,
            lost_seconds=summary.lost / _MICRO,
            retries=tuple(map(_retried, summary.retries[:RETRIES_MAX])),
            job_times=tuple(jobs),
            jobs_left_out=max(0, summary.jobs - len(jobs)),
            bars=tuple(chart.bars()),
            position=self._times.position,
        )

    def _totals(self) -> Iterator[KindTime]:
        """Yield the kinds of time that occur."""
        steps, path = dict(self._summary.micros), dict[str, int]()
        for each in self._told:
            path[each.kind] = path.get(each.kind, 0) + each.segment.length
            if each.kind != each.segment.kind:  # what held that step back is known better now
                known = steps.get(each.segment.kind, 0)
                steps[each.segment.kind] = max(0, known - each.segment.length)
                steps[each.kind] = steps.get(each.kind, 0) + each.segment.length
        of_steps, of_path = sum(steps.values()) or 1, sum(path.values()) or 1
        for kind in LABELS:
            if steps.get(kind) or path.get(kind):
                yield KindTime(
                    kind=kind,
                    label=label(kind),
                    step_seconds=steps.get(kind, 0) / _MICRO,
                    step_share=steps.get(kind, 0) / of_steps,
                    critical_seconds=path.get(kind, 0) / _MICRO,
                    critical_share=path.get(kind, 0) / of_path,
                )

    def _segment(self, told: Told) -> Segment:
        segment, begin = told.segment, self._top.begin
        return Segment(
            job=segment.job,
            step=segment.own,
            path=segment.path,
            kind=told.kind,
            attempt=segment.attempt or None,
            begun_at=format_time(moment_of(segment.begin)),
            ended_at=format_time(moment_of(segment.end)),
            from_seconds=(segment.begin - begin) / _MICRO,
            to_seconds=(segment.end - begin) / _MICRO,
            seconds=segment.length / _MICRO,
            share=segment.length / max(1, self._until - begin),
            sentence=told.sentence,
        )

    def _jobs(self) -> list[JobTime]:
        """Return the jobs of the tree that are known, level by level."""
        found: list[JobTime] = []
        level = [self._top]
        while level and len(found) < JOBS_MAX:
            level = level[: JOBS_MAX - len(found)]
            found += map(self._job, level)
            level = [child for job in level for child in self._started_by(job)]
        return found

    def _started_by(self, job: JobTimes) -> Iterator[JobTimes]:
        for step in job.steps.values():
            for each in (step, *(step.items.known.values() if step.items else ())):
                child = None if each.child is None else self._times.jobs.get(each.child)
                if child is not None and not step.kept:
                    yield child

    def _job(self, job: JobTimes) -> JobTime:
        end = self._until if job.ended_at is None else job.ended_at
        summary = summary_of(self._times.jobs, job, self._until)
        return JobTime(
            job=job.id,
            path=job.path,
            name=job.name,
            state=job.state,
            from_seconds=max(0, job.begin - self._top.begin) / _MICRO,
            to_seconds=max(0, end - self._top.begin) / _MICRO,
            steps=summary.steps,
            seconds={kind: spent / _MICRO for kind, spent in summary.micros.items()},
        )


def _slow(slow: model.Slow) -> Slow:
    return Slow(
        job=slow.job,
        path=slow.path,
        state=slow.state,
        computing_seconds=slow.computing / _MICRO,
        waited_seconds=(slow.taken - slow.computing) / _MICRO,
        attempts=slow.attempts,
        worker=slow.worker or None,
    )


def _retried(again: model.Retried) -> Retried:
    return Retried(
        job=again.job,
        path=again.path,
        state=again.state,
        attempts=again.attempts,
        codes=again.codes,
        lost_seconds=again.lost / _MICRO,
    )
