"""What must hold of the events of a history file; whatever does not is a `ValueError` that says it.

Readers of a log rely on this without looking: a store has written it, but a file may be anyone's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any, Final, get_args
from uuid import UUID

import msgspec

from warrener.domain import ids
from warrener.domain import job as jobs
from warrener.domain import step as steps
from warrener.domain.control_events import (
    FleetChanged,
    FlowChanged,
    LimitChanged,
    UserActionEvent,
    UserActionRequested,
)
from warrener.domain.definition.model import JobDefinition
from warrener.domain.errors import PayloadError, UsageError
from warrener.domain.events import (
    DefinitionStored,
    Event,
    FanOut,
    JobAdjusted,
    JobAdvanced,
    JobEvent,
    JobRerun,
    JobSignalled,
    JobSubmitted,
    Recorded,
)
from warrener.domain.ids import content_hash
from warrener.domain.payloads import Payload, decode_json
from warrener.domain.plan import build_plan
from warrener.domain.ports import Positioned
from warrener.domain.step_events import StepEvent
from warrener.services.histories.file_format import Header

POSITION_MAX: Final = 2**62
YEARS: Final = range(1900, 9_000)
INTEGER_MAX: Final = 2**62
ITEMS_MAX: Final = 10_000_000  # of one fan-out
DEPTH_MAX: Final = 200
_BEGINS_LATER: Final = (LimitChanged, FlowChanged, FleetChanged)  # earlier events are left out


class Checks:
    """Looks at one event after the other, in the order of the file."""

    def __init__(self, header: Header, blobs: Mapping[str, bytes]) -> None:
        """Take the header, and the blobs that were read so far."""
        self._header = header
        self._blobs = blobs
        self._positions: set[int] = set()
        self._streams: dict[UUID, tuple[int, int, type[Event]]] = {}  # version, position, kind
        self._steps: dict[str, frozenset[str]] = {}  # definition -> its steps
        self._jobs: dict[UUID, JobSubmitted] = {}
        self._states: dict[UUID, Any] = {}  # of jobs and steps

    def take(self, each: Positioned) -> None:
        """Take the next event; raises `ValueError`."""
        self._place(each)
        self._stream(each)
        event = each.recorded.event
        if isinstance(event, DefinitionStored):
            self._definition(event)
        elif isinstance(event, JobSubmitted):
            self._job(each.recorded, event)
        self._content(event)
        self._known(each.recorded)
        self._evolve(each.recorded)

    def end(self) -> None:
        """Compare the header with what there was; raises `ValueError`."""
        if self._header.root not in self._jobs:
            raise ValueError(f"the root job {self._header.root} is not there")
        found = (min(self._positions), max(self._positions), len(self._jobs), len(self._positions))
        header = self._header
        if found != (header.first, header.last, header.jobs, header.events):
            raise ValueError("there is more or less than the first line says")

    def _place(self, each: Positioned) -> None:
        if not 1 <= each.position <= POSITION_MAX:
            raise ValueError(f"{each.position} is no position of a log")
        if each.position in self._positions:
            raise ValueError(f"there is another event at position {each.position}")
        self._positions.add(each.position)

    def _stream(self, each: Positioned) -> None:
        """Streams have no holes, go up, and hold one kind of events."""
        recorded, kind = each.recorded, type(each.recorded.event)
        stream, version = recorded.originator_id, recorded.originator_version
        known = self._streams.get(stream)
        family = _family(kind)
        if family is None or _stream_of(recorded) not in (None, stream):
            raise ValueError(f"no {kind.__name__} can be in stream {stream} of a history")
        later = family in _BEGINS_LATER
        if known is None:
            right = 1 <= version <= POSITION_MAX if later else version == 1
        else:
            right = version == known[0] + 1 and family is known[2]
            if each.position < known[1]:
                raise ValueError(f"event {version} of stream {stream} is before the one it follows")
        if not right or (family in _FIRST and (version == 1) is not (kind is _FIRST[family])):
            raise ValueError(
                f"event {version} of stream {stream} does not follow what is before it"
            )
        self._streams[stream] = (version, each.position, family)

    def _definition(self, event: DefinitionStored) -> None:
        changed = event.hash in self._header.redaction.definitions
        if not changed and content_hash(event.json.encode()) != event.hash:
            raise ValueError(f"the definition of {event.name!r} does not fit its hash")
        try:
            plan = build_plan(msgspec.json.decode(event.json, type=JobDefinition))
        except (msgspec.MsgspecError, UsageError, RecursionError) as error:
            raise ValueError(f"the definition of {event.name!r} is not valid: {error}") from error
        self._steps[event.hash] = frozenset(plan.steps)

    def _job(self, recorded: Recorded, event: JobSubmitted) -> None:
        job, parent = recorded.originator_id, event.parent
        missing = {event.definition, *event.library.values()} - self._steps.keys()
        if missing:
            raise ValueError(f"the definition {min(missing)} of job {job} was not there before")
        above = None if parent is None else self._jobs.get(parent.job)
        if event.root != self._header.root or (parent is None) is not (job == event.root):
            raise ValueError(f"job {job} is not of the tree of {self._header.root}")
        depth = 0 if above is None else above.depth + 1
        if (parent is None) is not (above is None) or not depth == event.depth <= DEPTH_MAX:
            raise ValueError(f"job {job} has no job above it, or is not at its depth")
        self._jobs[job] = event

    def _known(self, recorded: Recorded) -> None:
        """Of a job's steps only those are named that its definition has."""
        event = recorded.event
        if not isinstance(event, JobEvent | StepEvent):
            return
        job = event.job if isinstance(event, StepEvent) else recorded.originator_id
        submitted = self._jobs.get(job)
        if submitted is None:
            raise ValueError(f"job {job} was not submitted before")
        unknown = set(_steps_named(event)) - self._steps[submitted.definition]
        if unknown:
            raise ValueError(f"the definition of job {job} has no step {min(unknown)!r}")

    def _evolve(self, recorded: Recorded) -> None:
        """What an event says must be possible after those before it."""
        event, stream = recorded.event, recorded.originator_id
        if not isinstance(event, JobEvent | StepEvent):
            return
        project = jobs.project if isinstance(event, JobEvent) else steps.project
        try:
            self._states[stream] = project(self._states.get(stream), [recorded])
        except Exception as error:  # whatever an impossible event does to a state
            text = f"{type(error).__name__}: {error}"
            raise ValueError(f"{type(event).__name__} cannot be at this place: {text}") from error

    def _content(self, event: Event) -> None:
        """Times, numbers and values are such as stores hold."""
        for value in _inside(event):
            if isinstance(value, datetime):
                if value.tzinfo is None or value.year not in YEARS:
                    raise ValueError(f"{value.isoformat()} has no time zone, or is too far away")
            elif isinstance(value, Payload):
                self._payload(value)
            elif isinstance(value, FanOut) and not 0 <= value.count <= ITEMS_MAX:
                raise ValueError(f"a fan-out over {value.count} items")
            elif isinstance(value, int) and abs(value) > INTEGER_MAX:
                raise ValueError("a number is too large")

    def _payload(self, payload: Payload) -> None:
        if (payload.json is None) is (payload.blob is None):
            raise ValueError("a value has either its JSON or the name of a blob")
        try:
            if payload.json is not None:
                decode_json(payload.json)
                return
        except PayloadError as error:
            raise ValueError(f"a value cannot be used: {error}") from error
        data = self._blobs.get(payload.blob or "")
        if data is None or len(data) != payload.size:
            raise ValueError(f"blob {payload.blob} was not there before, or has another size")


_FIRST: Final[Mapping[type[Event], type[Event]]] = {
    JobEvent: JobSubmitted,
    UserActionEvent: UserActionRequested,
    DefinitionStored: DefinitionStored,
}
_FAMILIES: Final = (JobEvent, StepEvent, UserActionEvent, DefinitionStored, *_BEGINS_LATER)


@lru_cache(200)
def _family(kind: type[Event]) -> type[Event] | None:
    return next((family for family in _FAMILIES if issubclass(kind, family)), None)


def _stream_of(recorded: Recorded) -> UUID | None:
    """Return the stream that an event must be in; None if its own says it."""
    event = recorded.event
    if isinstance(event, StepEvent):
        return ids.step_id(event.job, event.path)
    if isinstance(event, DefinitionStored):
        return ids.definition_id(event.hash)
    if isinstance(event, LimitChanged):
        return ids.limit_id(event.name)
    if isinstance(event, FlowChanged | FleetChanged):
        return ids.FLOW_ID if isinstance(event, FlowChanged) else ids.FLEET_ID
    return None


def _steps_named(event: Event) -> Iterator[str]:
    """Yield the names of the steps that an event of a job or step is about."""
    if isinstance(event, StepEvent):
        yield ids.split_path(event.path)[0]
    elif isinstance(event, JobAdvanced):
        for step, edges in event.edges.items():
            yield from (step, *edges)
        for step, blind in event.readied.items():
            yield from (step, *blind)
        yield from (*event.fan_outs, *event.children, *event.begun, *event.settled, *event.items)
        yield from (*event.caught, *event.caught.values())
    elif isinstance(event, JobRerun):
        yield from (event.step, *event.steps)
    elif isinstance(event, JobAdjusted | JobSignalled) and event.step is not None:
        yield event.step


def _inside(value: Any) -> Iterator[Any]:
    """Yield the times, numbers and payloads that an event has, at whatever depth."""
    if isinstance(value, datetime | int | Payload | FanOut):
        yield value
    if isinstance(value, msgspec.Struct):
        for name in _looked_at(type(value)):
            yield from _inside(getattr(value, name))
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _inside(inner)
    elif isinstance(value, tuple):
        for inner in value:
            yield from _inside(inner)


@lru_cache(500)
def _looked_at(kind: type[msgspec.Struct]) -> tuple[str, ...]:
    """Return the fields that may have something to look at: texts and ids have not."""
    return tuple(field.name for field in msgspec.structs.fields(kind) if not _only_text(field.type))


def _only_text(type_: Any) -> bool:
    return all(part in (str, UUID, type(None)) for part in get_args(type_) or (type_,))
