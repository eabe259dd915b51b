"""Recorded events as far as simulations need them, from a store or from an exported history."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import msgspec

from warrener.domain.control_events import FlowChanged, LimitChanged
from warrener.domain.errors import UsageError
from warrener.domain.events import DefinitionStored, Event, FanOut, Parent
from warrener.domain.partitions import Logs
from warrener.domain.ports import Positioned
from warrener.domain.step_events import Held

PAGE_EVENTS: Final = 1_000
LINE_BYTES_MAX: Final = 64 * 1024 * 1024

Progress = Callable[[int, int], None]


class Fact(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The fields of an event that simulations look at; those it does not have are left out."""

    name: str = ""
    definition: str = ""
    root: UUID | None = None
    parent: Parent | None = None
    depth: int = 0
    priority: int = 0
    fair: str | None = None
    deadline: datetime | None = None
    readied: dict[str, tuple[str, ...]] = {}
    settled: dict[str, str] = {}
    fan_outs: dict[str, FanOut] = {}
    job: UUID | None = None
    path: str = ""
    queue: str = ""
    limits: tuple[Held, ...] = ()
    count: int | None = None
    child: UUID | None = None
    due: datetime | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    slots: dict[str, int] = {}


class Told(msgspec.Struct, frozen=True):
    """An event: its type, its stream and its version there, its time, and what it says."""

    type: str
    id: UUID
    version: int
    at: datetime
    fact: Fact


class _Line(msgspec.Struct, frozen=True):
    """A line of an exported history."""

    type: str
    id: UUID
    version: int
    at: datetime
    data: msgspec.Raw = msgspec.Raw(b"{}")


TYPES: Final = frozenset(
    (
        "JobSubmitted",
        "JobAdvanced",
        "JobSucceeded",
        "JobFailed",
        "JobCancelled",
        "StepReleased",
        "StepStarted",
        "StepOpened",
        "StepParked",
        "StepReadied",
        "StepRetryScheduled",
        "StepSucceeded",
        "StepFailed",
        "StepSkipped",
        "StepCancelled",
        "FleetChanged",
    )
)
RULES: Final = (DefinitionStored, LimitChanged, FlowChanged)
_FIELDS: Final = tuple(
    (field.name, field.default_factory() if field.default is msgspec.NODEFAULT else field.default)
    for field in msgspec.structs.fields(Fact)
)


def told(positioned: Positioned) -> Told | None:
    """Return an event of a store, None if simulations do not need it."""
    recorded = positioned.recorded
    event = recorded.event
    name = type(event).__name__
    if name not in TYPES:
        return None
    found = {field: getattr(event, field, default) for field, default in _FIELDS}
    fact = Fact(**found)
    return Told(name, recorded.originator_id, recorded.originator_version, event.at, fact)


def read_store(logs: Logs, rule: Callable[[Event], None], progress: Progress) -> Iterator[Told]:
    """Yield what a store has, log by log; definitions and what people have set go to `rule`.

    The fleet is told by each log alike: that of the first counts.
    """
    heads = [logs.log(number).head() for number in range(logs.count)]
    done, fleet_of = 0, None
    for number, head in enumerate(heads):
        position = 0
        while position < head:
            page = logs.log(number).read(position, PAGE_EVENTS)
            if not page:
                break
            for positioned in page:
                event = positioned.recorded.event
                if isinstance(event, RULES):
                    rule(event)
                    continue
                found = told(positioned)
                if found is None:
                    continue
                if found.type == "FleetChanged":
                    fleet_of = number if fleet_of is None else fleet_of
                    if fleet_of != number:
                        continue
                yield found
            done += page[-1].position - position
            position = page[-1].position
            progress(done, sum(heads))


def read_files(paths: Sequence[Path], progress: Progress) -> Iterator[Told]:
    """Yield what exported histories have; raises `UsageError` with file and line of a bad one."""
    sizes = [_size(path) for path in paths]
    done = 0
    for path in paths:
        with path.open("rb") as file:
            number = 0
            while line := file.readline(LINE_BYTES_MAX + 1):
                number += 1
                found = _parse(line, f"{path}:{number}")
                done += len(line)
                if found is not None:
                    yield found
                if number % PAGE_EVENTS == 0:
                    progress(done, sum(sizes))


def _size(path: Path) -> int:
    try:
        if path.is_dir():
            raise UsageError(f"{path} is a folder: name a file that has an exported history")
        return path.stat().st_size
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error


def _parse(line: bytes, place: str) -> Told | None:
    if len(line) > LINE_BYTES_MAX:
        raise UsageError(f"{place}: a line of more than {LINE_BYTES_MAX} bytes is no event")
    if not line.strip():
        return None
    try:
        found = msgspec.json.decode(line, type=_Line)
        if found.type not in TYPES:
            return None
        fact = msgspec.json.decode(found.data, type=Fact)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, OverflowError) as error:
        raise UsageError(
            f"{place}: not an event of a history: {error};"
            " export one with: warrener history JOB --tree --json > FILE"
        ) from error
    return _aware(Told(found.type, found.id, found.version, found.at, fact), place)


def _aware(found: Told, place: str) -> Told:
    """Return an event if its times have a time zone."""
    fact = found.fact
    times: tuple[Any, ...] = (found.at, fact.deadline, fact.due, fact.started_at, fact.ended_at)
    if any(time is not None and time.tzinfo is None for time in times):
        raise UsageError(f"{place}: a time has no time zone, such as 2030-01-01T12:00:00Z has")
    return found
