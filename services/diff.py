"""Two runs, or two attempts of a step, compared: reads the logs for `projections.diff`."""

from __future__ import annotations

from collections.abc import Iterable
from heapq import heappush, heappushpop
from typing import Any, Final
from uuid import UUID

import msgspec

from warrener.domain import ids
from warrener.domain.definition.model import JobDefinition
from warrener.domain.errors import StoredDataError, UsageError
from warrener.domain.events import DefinitionStored, Recorded
from warrener.domain.payloads import Payload
from warrener.domain.plan import Plan, build_plan
from warrener.domain.ports import EventStore
from warrener.projections.diff import compare
from warrener.projections.diff.facts import StepFacts, Tried, job_facts
from warrener.projections.diff.model import Divergence, Row
from warrener.projections.diff.values import ABSENT
from warrener.projections.diff.walk import Walk
from warrener.projections.diff.words import sentence
from warrener.services.active_job import payload_bytes
from warrener.services.bounded import bounded
from warrener.services.places import Place
from warrener.services.recordings import Recording, recordings
from warrener.services.shapes import Shape

TIMES_MAX: Final = 10  # steps whose times are told


class Difference(Shape, frozen=True, kw_only=True):
    """The first difference: what kind, of which step, where in its values, and in words.

    A side that has no such value is left out.
    """

    kind: str
    path: str
    place: str
    sentence: str
    a: Any = msgspec.UNSET
    b: Any = msgspec.UNSET


class StepSide(Shape, frozen=True, kw_only=True):
    """A step in one of the runs."""

    state: str
    attempts: int
    seconds: float | None
    worker: str | None


class StepPair(Shape, frozen=True, kw_only=True):
    """A step in both runs. `kind` says what differs; it is null where only times do.

    `follows` says that something differs already that the step depends on.
    """

    path: str
    kind: str | None
    follows: bool
    a: StepSide | None
    b: StepSide | None


class Compared(Shape, frozen=True, kw_only=True):
    """Two runs, or two attempts. `steps` are those that differ, `left_out` are not shown.

    `times` are the steps whose times differ most; that is no difference by itself.
    """

    a: str
    b: str
    same: bool
    first: Difference | None
    steps_compared: int
    steps_differing: int
    steps: tuple[StepPair, ...]
    left_out: int
    times: tuple[StepPair, ...]


class Side(msgspec.Struct, frozen=True):
    """What is compared: a job or a step of it, in a log, as somebody named it."""

    log: EventStore
    place: Place
    name: str


class LogRun:
    """A log as one side of a comparison."""

    def __init__(self, log: EventStore) -> None:
        self._log = log

    def stream(self, stream: UUID) -> Iterable[Recorded]:
        """Return the events of one stream in order of version."""
        return self._log.stream(stream)

    def position(self, stream: UUID, version: int) -> int | None:
        """Return the position of one event of a stream."""
        return self._log.position(stream, version)

    def plan(self, definition: str) -> Plan:
        """Return the plan of a stored definition."""
        last = self._log.last(ids.definition_id(definition))
        if last is None or not isinstance(last.event, DefinitionStored):
            raise StoredDataError(f"definition {definition} is not in the store")
        return build_plan(msgspec.json.decode(last.event.json, type=JobDefinition))

    def value(self, payload: Payload) -> Any:
        """Return the JSON value of a payload."""
        return msgspec.json.decode(payload_bytes(payload, self._log))


class Gathered:
    """What is told of the steps, bounded."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._times: list[tuple[float, int, Row]] = []
        self.compared = self.differing = 0
        self.rows: list[Row] = []

    def take(self, row: Row) -> None:
        """Take a step."""
        self.compared += 1
        if row.kind is not None:
            self.differing += 1
            if len(self.rows) < self._limit:
                self.rows.append(row)
        if row.a is not None and row.b is not None:
            self._time(row, row.a.seconds, row.b.seconds)

    def _time(self, row: Row, a: float | None, b: float | None) -> None:
        if a is None or b is None or a == b:
            return
        entry = (abs(a - b), -self.compared, row)
        if len(self._times) < TIMES_MAX:
            heappush(self._times, entry)
        else:
            heappushpop(self._times, entry)

    def times(self) -> tuple[StepPair, ...]:
        """Return the steps whose times differ most."""
        return tuple(_pair(row) for _, _, row in sorted(self._times, reverse=True))


def compare_runs(a: Side, b: Side, *, tree: bool = True, limit: int = 50) -> Compared:
    """Return how two jobs differ, or two steps with what is below them.

    Up to `limit` steps that differ are told. Raises `UsageError` if one is a job and one a step.
    """
    if (a.place.path is None) != (b.place.path is None):
        raise UsageError(f"{a.name} and {b.name}: compare a job with a job, or a step with a step")
    gathered = Gathered(limit)
    walk = Walk(LogRun(a.log), LogRun(b.log), gathered.take, tree=tree)
    if a.place.path is None or b.place.path is None:
        first = walk.jobs(a.place.job, b.place.job)
    else:
        pair = walk.pair(a.place.job, b.place.job)
        first = walk.steps(pair, a.place.path, b.place.path)
    return _compared(a.name, b.name, first, gathered)


def compare_attempts(side: Side, numbers: tuple[int, int]) -> Compared:
    """Return how two attempts of a step differ; raises `UsageError` if there is no such attempt."""
    run, path = LogRun(side.log), side.place.path or ""
    facts = job_facts(run, side.place.job)
    if facts is None:
        raise StoredDataError(f"job {side.place.job} is not in the store")
    a, b = _attempts(side, numbers)
    values = compare.Values(run, run)
    planned = facts.plan.at(path)
    first = compare.before(a, b, planned, path, values) or compare.after(a, b, path, values)
    gathered = Gathered(1)
    gathered.take(Row(path, a, b, None if first is None else first.kind, follows=False))
    names = [f"{side.name}, attempt {number}" for number in numbers]
    return _compared(names[0], names[1], first, gathered)


def _attempts(side: Side, numbers: tuple[int, int]) -> list[StepFacts]:
    found = {
        recording.number: recording
        for recording in recordings(side.log, side.place.id)
        if recording.number in numbers
    }
    for number in numbers:
        if number not in found:
            raise UsageError(f"{side.name} has no attempt {number}: show --attempts lists them")
    return [_as_facts(found[number]) for number in numbers]


def _as_facts(recording: Recording) -> StepFacts:
    """Return an attempt as if the step had had no other."""
    error, ended = recording.error, recording.ended
    outcome = recording.outcome or "running"
    began, end = getattr(ended, "started_at", None), getattr(ended, "ended_at", None)
    return StepFacts(
        path=recording.released.path,
        state="failed" if outcome == "retry" else outcome,
        begun=True,
        args=recording.released.args,
        attempts=1,
        tries=(Tried(outcome),) if error is None else (Tried("failed", error.code),),
        result=recording.result,
        error=error,
        worker=recording.worker,
        seconds=(end - began).total_seconds() if began and end else None,
    )


def _compared(a: str, b: str, first: Divergence | None, gathered: Gathered) -> Compared:
    return Compared(
        a=a,
        b=b,
        same=first is None,
        first=None if first is None else _difference(first),
        steps_compared=gathered.compared,
        steps_differing=gathered.differing,
        steps=tuple(_pair(row) for row in gathered.rows),
        left_out=gathered.differing - len(gathered.rows),
        times=gathered.times(),
    )


def _difference(found: Divergence) -> Difference:
    sides = {"a": found.a, "b": found.b}
    there = {name: bounded(value) for name, value in sides.items() if value is not ABSENT}
    return Difference(
        kind=found.kind,
        path=found.path,
        place=found.place,
        sentence=sentence(found),
        **there,
    )


def _pair(row: Row) -> StepPair:
    return StepPair(
        path=row.path, kind=row.kind, follows=row.follows, a=_side(row.a), b=_side(row.b)
    )


def _side(facts: StepFacts | None) -> StepSide | None:
    if facts is None:
        return None
    return StepSide(
        state=facts.state, attempts=facts.attempts, seconds=facts.seconds, worker=facts.worker
    )
