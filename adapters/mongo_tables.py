"""The collections of the read models in MongoDB: what each keeps beside the document, and indexes.

A stored document has `position`, `partition` and `era` (of what it was saved for), `doc` (the
document as JSON: that is read several times as fast as a tree of BSON) and what queries look at.
What belongs to one question stands in a group of its own, absent where the question does not arise;
a sparse index over the group then holds only what the question can find.

Bump `LAYOUT_VERSION` with any change here or in the documents: the views are then built anew.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final
from uuid import UUID

import msgspec

from warrener.adapters.sqlite_tables import microseconds
from warrener.projections.attempt_views import ATTEMPTS, TRACKS, AttemptView, TrackView
from warrener.projections.control_views import (
    ACTIONS,
    FLEET,
    LIMITS,
    ActionView,
    FleetView,
    LimitView,
)
from warrener.projections.flow_views import (
    FLOW,
    FLOW_POINTS,
    INCIDENTS,
    FlowPointView,
    FlowView,
    IncidentView,
)
from warrener.projections.total_views import TOTALS, TotalView
from warrener.projections.views import (
    DEFINITIONS,
    HISTORY,
    JOBS,
    ROOTS,
    STEPS,
    DefinitionView,
    HistoryView,
    JobView,
    RootView,
    StepView,
    View,
)

LAYOUT_VERSION: Final = 4
Fields = dict[str, Any]
Keys = tuple[tuple[str, int], ...]
_POSITION_BITS: Final = 48


class Index(msgspec.Struct, frozen=True):
    """An index: fields, each with its direction. A sparse one leaves out what has none of them."""

    keys: Keys
    sparse: bool = False


class Table(msgspec.Struct, frozen=True):
    """A collection: its documents, their ids, what queries look at, and the indexes for that.

    What is shared belongs to no partition. No index finds the documents of one partition: it would
    make every write dearer, and they are looked for only when a log was exchanged.
    """

    type: type[View]
    id: Callable[[Any], Any]  # key -> id in MongoDB
    fields: Callable[[Any], Fields]
    indexes: tuple[Index, ...] = ()
    shared: bool = False


def _up(*names: str) -> Keys:
    return tuple((name, 1) for name in names)


def label(key: str, value: str) -> str:
    """Return a label as it is looked for."""
    return f"{key}\x1f{value}"


def step_key(job: UUID, path: str) -> str:
    """Return the id of a step: such texts sort by job and path."""
    return f"{job.hex}:{path}"


def child_place(view: JobView) -> str:
    """Return a text that sorts as `JobView.place` does."""
    name, item, job = view.place()
    return f"{name}\x1f{item + 1:010}\x1f{job.hex}"


def _same(key: Any) -> Any:
    return key


def _nothing(_view: View) -> Fields:
    return {}


def _job_fields(view: JobView) -> Fields:
    fields: Fields = {
        "name": view.name,
        "state": view.state,
        "top": view.parent is None,
        "submitted": microseconds(view.submitted_at),
    }
    if view.labels:
        fields["labels"] = [label(key, value) for key, value in view.labels.items()]
    if view.parent is not None:
        fields["child"] = {"of": view.parent.job, "place": child_place(view)}
    return fields


def _step_fields(view: StepView) -> Fields:
    index, step = view.item, step_key(view.job, view.path)
    if index is None:
        fields: Fields = {"named": view.job}
    else:
        fan_out = step_key(view.job, view.name)
        item = {"of": fan_out, "index": index, "state": view.state, "born": view.born}
        fields = {"item": item}
    if view.seconds is not None:
        fields["ran"] = {"root": view.root, "seconds": view.seconds, "step": step}
    if view.request is not None:
        until = None if view.until is None else microseconds(view.until)
        fields["waits"] = {"request": view.request, "job": view.job, "step": step, "until": until}
    return fields


def _action_fields(view: ActionView) -> Fields:
    opened = microseconds(view.opened_at)
    return {"state": view.state, "subject": view.subject, "opened": opened}


def _attempt_fields(view: AttemptView) -> Fields:
    return {
        "step": step_key(view.job, view.path),
        "number": view.attempt,
        "job": view.job,
        "root": view.root,
        "begun": microseconds(view.begun_at),
    }


def _incident_fields(view: IncidentView) -> Fields:
    return {"state": view.state, "opened": microseconds(view.opened_at)}


def _total_fields(view: TotalView) -> Fields:
    name = f"{view.job}\x1f{view.step}\x1f{view.partition:06}"
    return {"of_steps": view.is_of_steps, "weight": view.weight, "name": name}


_NEWEST: Final = ("submitted", "_id")
_OPENED: Final = ("opened", "_id")

TABLES: Final[dict[str, Table]] = {
    DEFINITIONS: Table(DefinitionView, _same, _nothing, shared=True),
    JOBS: Table(
        JobView,
        _same,
        _job_fields,
        (
            *(
                Index(_up(*before, *_NEWEST))
                for of in ((), ("state",), ("name",))
                for before in (of, ("top", *of))
            ),
            # Not sparse: it would hold every job all the same, for all have the other fields.
            *(
                Index(_up("labels", *before, *_NEWEST))
                for of in ((), ("state",))
                for before in (of, ("top", *of))
            ),
            Index(_up("child.of", "child.place"), sparse=True),
        ),
    ),
    STEPS: Table(
        StepView,
        lambda key: step_key(*key),
        _step_fields,
        (
            Index(_up("named"), sparse=True),
            Index(_up("item.of", "item.index"), sparse=True),
            Index(_up("item.of", "item.state", "item.index"), sparse=True),
            Index((("ran.root", 1), ("ran.seconds", -1), ("ran.step", 1)), sparse=True),
            Index(_up("waits.request", "waits.step", "waits.job", "waits.until"), sparse=True),
        ),
    ),
    ROOTS: Table(RootView, _same, _nothing),
    HISTORY: Table(
        HistoryView,
        lambda key: key[0] << _POSITION_BITS | key[1],
        lambda view: {"job": view.job, "root": view.root},
        (Index(_up("job", "position")), Index(_up("root", "position"))),
    ),
    ACTIONS: Table(
        ActionView,
        _same,
        _action_fields,
        tuple(
            Index(_up(*before, *_OPENED))
            for before in ((), ("state",), ("subject",), ("subject", "state"))
        ),
    ),
    LIMITS: Table(
        LimitView,
        lambda key: f"{key[1]}:{key[0]}",
        lambda view: {"limit": {"name": view.name, "partition": view.partition}},
        (Index(_up("limit.name", "limit.partition")),),
    ),
    FLEET: Table(FleetView, _same, _nothing),
    FLOW: Table(FlowView, _same, _nothing),
    FLOW_POINTS: Table(FlowPointView, lambda key: f"{key[0]}:{key[1]}", _nothing),
    INCIDENTS: Table(
        IncidentView,
        _same,
        _incident_fields,
        (Index(_up(*_OPENED)), Index(_up("state", *_OPENED))),
    ),
    ATTEMPTS: Table(
        AttemptView,
        lambda key: f"{step_key(*key[:2])}#{key[2]}",
        _attempt_fields,
        (
            Index(_up("step", "number")),
            Index(_up("job", "begun", "step", "number")),
            Index(_up("root", "begun", "step", "number")),
        ),
    ),
    TRACKS: Table(TrackView, lambda key: step_key(*key), _nothing),
    TOTALS: Table(
        TotalView,
        lambda key: "\x1f".join(map(str, key)),
        _total_fields,
        (Index((("of_steps", 1), ("weight", -1), ("name", 1))),),
    ),
}
