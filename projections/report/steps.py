"""What the events of a step's own stream mean for its record."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from warrener.domain.events import Error, Event
from warrener.domain.step_events import (
    StepCancelled,
    StepEvent,
    StepFailed,
    StepOpened,
    StepParked,
    StepReadied,
    StepReleased,
    StepRenewed,
    StepRetryScheduled,
    StepSkipped,
    StepStarted,
    StepSucceeded,
)
from warrener.projections.report.model import (
    CHILDREN,
    CODES_MAX,
    COMPUTING,
    HELD,
    REACTOR,
    RETRY,
    SIGNAL,
    TIMER,
    USER,
    WORKER,
    JobTimes,
    StepTimes,
    micros,
)
from warrener.projections.report.summing import close

if TYPE_CHECKING:
    from warrener.projections.report.records import Records

NEVER_FIRST: Final = (StepCancelled, StepRenewed)  # of an item in its generation

Apply = Callable[["Records", JobTimes, StepTimes, Any, int], None]


class Wait(NamedTuple):
    """What a step waits for, and which one."""

    kind: str
    note: str = ""


def apply(records: Records, job: JobTimes, step: StepTimes, event: StepEvent, at: int) -> None:
    """Bring the record of a step that has not ended up to an event of its stream."""
    handler = _HANDLERS.get(type(event))
    if handler is not None:
        handler(records, job, step, event, at)


def wait_for(records: Records, job: JobTimes, step: StepTimes, wait: Wait) -> None:
    """The step waits for something of its own from now on."""
    if step.ended or step.state == "waiting":
        return
    if step.before is None:
        step.before = records.position
    close(job, step, records.now)
    step.turn(wait.kind, records.now, wait.note)
    step.state = "waiting"


def _released(
    records: Records, job: JobTimes, step: StepTimes, event: StepReleased, at: int
) -> None:
    _end_wait(job, step, at)
    if step.before is None:
        step.before = records.position
    step.turn(WORKER, at, event.queue)
    step.state, step.attempt, step.released_at = "released", event.attempt, at
    step.attempts += 1


def _started(
    _records: Records, _job: JobTimes, step: StepTimes, event: StepStarted, at: int
) -> None:
    step.worker = event.worker
    if step.state == "released":
        step.turn(COMPUTING, at, event.worker)
        step.state = "running"


def _opened(records: Records, job: JobTimes, step: StepTimes, event: StepOpened, at: int) -> None:
    if event.count is not None:
        records.open_items(job, step, event.count, at)
    elif event.child is not None:
        wait_for(records, job, step, Wait(CHILDREN))
        step.child = event.child
    elif event.request is not None:
        wait_for(records, job, step, Wait(USER, event.signal or ""))
    elif event.signal is not None:
        wait_for(records, job, step, Wait(SIGNAL, event.signal))
    else:
        wait_for(records, job, step, Wait(TIMER))


def _parked(_records: Records, _job: JobTimes, step: StepTimes, event: StepParked, at: int) -> None:
    _report(step, event.worker, None, None, at)
    step.turn(USER, at, step.error)
    step.state = "waiting_user"


def _readied(
    _records: Records, job: JobTimes, step: StepTimes, _event: StepReadied, at: int
) -> None:
    _end_wait(job, step, at)
    step.turn(HELD, at)
    step.state = "ready"


def _end_wait(job: JobTimes, step: StepTimes, at: int) -> None:
    before = len(step.spans)
    close(job, step, at)
    step.lost += sum(span.length for span in step.spans[before:] if span.kind == RETRY)


def _retry_scheduled(
    _records: Records, _job: JobTimes, step: StepTimes, event: StepRetryScheduled, at: int
) -> None:
    _report(step, event.worker, event.started_at, event.ended_at, at)
    _fail(step, event.error)
    step.lost += at - step.released_at
    step.turn(RETRY, at, step.error)
    step.due = micros(event.due)
    step.state = "retrying"


def _succeeded(
    records: Records, job: JobTimes, step: StepTimes, event: StepSucceeded, at: int
) -> None:
    if event.attempt is not None:
        _report(step, event.worker, event.started_at, event.ended_at, at)
    records.end(job, step, "succeeded", at)


def _failed(records: Records, job: JobTimes, step: StepTimes, event: StepFailed, at: int) -> None:
    if event.attempt is not None:
        _report(step, event.worker, event.started_at, event.ended_at, at)
    _fail(step, event.error)
    records.end(job, step, "failed", at)


def _skipped(
    records: Records, job: JobTimes, step: StepTimes, _event: StepSkipped, at: int
) -> None:
    records.end(job, step, "skipped", at)


def _cancelled(
    records: Records, job: JobTimes, step: StepTimes, event: StepCancelled, at: int
) -> None:
    """End the step, unless it is told of the one that a new generation has replaced."""
    if step.state == "pending" or (event.attempt or step.attempt) != step.attempt:
        return
    records.end(job, step, "cancelled", at)


def _fail(step: StepTimes, error: Error) -> None:
    step.failures += 1
    step.error = f"{error.code}: {error.message}" if error.message else error.code
    step.error = step.error[:200]
    if error.code not in step.codes and len(step.codes) < CODES_MAX:
        step.codes.append(error.code[:100])


def _report(
    step: StepTimes,
    worker: str | None,
    started_at: datetime | None,
    ended_at: datetime | None,
    at: int,
) -> None:
    """Tell the attempt that has ended by what its worker said of it, where it said so.

    A worker's clock may be another one: what it says is fitted in between order and report.
    """
    step.worker = worker or step.worker
    if step.state not in ("released", "running"):
        return
    if started_at is None:
        step.close(at)
        return
    began, ended = _fitted(step.released_at, at, micros(started_at), micros(ended_at or started_at))
    queue = step.note if step.kind == WORKER else ""
    while (
        step.spans
        and step.spans[-1].begin >= step.released_at
        and (step.spans[-1].kind in (WORKER, COMPUTING))
    ):
        span = step.spans.pop()
        queue = span.note if span.kind == WORKER else queue
    step.since, step.kind, step.note = step.released_at, WORKER, queue
    step.turn(COMPUTING, began, step.worker)
    step.turn(REACTOR, ended)
    step.close(at)


def _fitted(low: int, high: int, began: int, ended: int) -> tuple[int, int]:
    """Return a stretch moved as little as it takes to lie between two times, cut if too long."""
    length = min(max(0, ended - began), high - low)
    began = min(max(began, low), high - length)
    return began, began + length


_HANDLERS: Final[dict[type[Event], Apply]] = {
    StepReleased: _released,
    StepStarted: _started,
    StepOpened: _opened,
    StepParked: _parked,
    StepReadied: _readied,
    StepRetryScheduled: _retry_scheduled,
    StepSucceeded: _succeeded,
    StepFailed: _failed,
    StepSkipped: _skipped,
    StepCancelled: _cancelled,
}
