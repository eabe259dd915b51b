"""What steps did, put together: waits split by what held them, and sums over trees."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from uuid import UUID

from warrener.projections.report.model import (
    HELD,
    PAUSED,
    RETRY,
    JobTimes,
    Span,
    StepTimes,
    Summary,
)
from warrener.projections.report.pauses import paused


def close(job: JobTimes, step: StepTimes, at: int) -> None:
    """Keep the open span of a step as it is until now, told by what held it back."""
    if at > step.since:
        for span in split(job, step, at):
            step.put(span)
        step.since = at


def split(job: JobTimes, step: StepTimes, until: int) -> Iterator[Span]:
    """Yield the open span of a step: a retry only until it is due, and pauses for themselves."""
    begin, kind = step.since, step.kind
    if kind == RETRY and step.due < until:
        due = max(begin, step.due)
        if due > begin:
            yield Span(RETRY, begin, due, step.attempt, step.note)
        begin, kind = due, HELD
    if kind != HELD:
        yield Span(kind, begin, until, step.attempt, step.note)
        return
    for low, high in paused(job, begin, until):
        if low > begin:
            yield Span(HELD, begin, low, step.attempt)
        yield Span(PAUSED, low, high, step.attempt)
        begin = high
    if until > begin:
        yield Span(HELD, begin, until, step.attempt)


def spans_of(job: JobTimes, step: StepTimes, until: int) -> list[Span]:
    """Return the spans of a step, with that which is open as it is until then."""
    if step.ended or until <= step.since:
        return step.spans
    return [*step.spans, *split(job, step, until)]


def summary_of(jobs: Mapping[UUID, JobTimes], top: JobTimes, until: int) -> Summary:
    """Return what a job and everything below it did in the present generation."""
    found = Summary()
    waiting = [top]
    while waiting:
        job = waiting.pop()
        found.jobs += 1
        for step in job.steps.values():
            if step.kept:
                continue
            found.add(job, step, spans_of(job, step, until))
            waiting += _child(jobs, step)
            if step.items is None:
                continue
            found.merge(step.items.past)
            for item in step.items.known.values():
                if not item.ended:
                    found.add(job, item, spans_of(job, item, until))
                    waiting += _child(jobs, item)
    return found


def _child(jobs: Mapping[UUID, JobTimes], step: StepTimes) -> list[JobTimes]:
    child = None if step.child is None else jobs.get(step.child)
    return [] if child is None else [child]
