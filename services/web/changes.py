"""What changed in a store between two looks at its logs, as open pages are told: never data."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final
from uuid import UUID

import msgspec

from warrener.domain import control_events as control
from warrener.domain.events import Event, JobEnded
from warrener.domain.ports import EventStore, Positioned
from warrener.domain.step_events import StepParked
from warrener.projections.apply import READ_MODELS
from warrener.projections.history import job_of
from warrener.projections.ports import ViewStore
from warrener.projections.views import HISTORY, HistoryView

EVENTS_MAX: Final = 5_000  # at one look, of one partition
ROOTS_MAX: Final = 200  # named in one notice
JOBS_MAX: Final = 50  # named of one tree

_PLACE: Final = re.compile(r"([0-9]{1,20}):([0-9]{1,20})")  # longer numbers are none of ours

FLAGS: Final = ("actions", "limits", "flow", "starvation", "fleet")
_FLAGS_OF: Final[tuple[tuple[type[Event], tuple[str, ...]], ...]] = (
    (control.UserActionEvent, ("actions",)),
    (StepParked, ("actions",)),
    (control.LimitChanged, ("limits",)),
    (control.FleetChanged, ("fleet", "flow")),
    (control.FlowChanged, ("flow",)),
    (control.FlowSampled, ("flow", "limits")),
    (control.StarvationEvent, ("starvation", "flow")),
)


class TreeChange(msgspec.Struct):
    """A tree of jobs in which something happened; with `more` not all of its jobs are named."""

    root: UUID
    jobs: set[UUID] = msgspec.field(default_factory=set)
    ended: bool = False
    types: set[str] = msgspec.field(default_factory=set)
    more: bool = False

    def add(self, job: UUID, event: Event) -> None:
        """Note an event of one of the jobs."""
        self.types.add(type(event).__name__)
        self.ended |= isinstance(event, JobEnded) and job == self.root
        if job in self.jobs or len(self.jobs) < JOBS_MAX:
            self.jobs.add(job)
        else:
            self.more = True

    def shown(self) -> dict[str, object]:
        """Return what a page is told."""
        return {
            "root": self.root,
            "jobs": sorted(self.jobs, key=str),
            "ended": self.ended,
            "types": sorted(self.types),
            "more": self.more,
        }


class Changes(msgspec.Struct):
    """All that changed, up to a position in the log of each partition.

    With `lost` it is not known what: a page that hears so loads everything anew.
    """

    before: dict[int, int]
    after: dict[int, int]
    trees: dict[UUID, TreeChange] = msgspec.field(default_factory=dict)
    flags: set[str] = msgspec.field(default_factory=set)
    lost: bool = False

    def add(self, positioned: Positioned, row: HistoryView | None) -> None:
        """Note an event; `row` says to which tree it belongs."""
        event = positioned.recorded.event
        for kind, flags in _FLAGS_OF:
            if isinstance(event, kind):
                self.flags.update(flags)
        if row is None:
            return
        if row.root not in self.trees:
            self.trees[row.root] = TreeChange(row.root)
        self.trees[row.root].add(row.job, event)
        self.lost |= len(self.trees) > ROOTS_MAX

    @property
    def id(self) -> str:
        """Return where this ends, as the id of a server-sent event."""
        return position_text(self.after)

    @property
    def is_empty(self) -> bool:
        """Say whether there is nothing to tell."""
        return not (self.trees or self.flags or self.lost)

    def data(self, root: UUID | None = None) -> bytes:
        """Return what is told as JSON, with `root` of that tree alone."""
        trees = [each for each in self.trees.values() if root in (None, each.root)]
        told: dict[str, object] = {"roots": [each.shown() for each in trees]}
        told.update({flag: flag in self.flags for flag in FLAGS})
        return msgspec.json.encode(told)


def position_text(positions: Mapping[int, int]) -> str:
    """Return positions as the id of a server-sent event."""
    return ",".join(f"{partition}:{position}" for partition, position in sorted(positions.items()))


def positions_in(text: str) -> dict[int, int] | None:
    """Return what `position_text` made such a text of, None if it did not."""
    found = [_PLACE.fullmatch(part) for part in text.split(",")]
    return {int(each[1]): int(each[2]) for each in found if each} if all(found) else None


def folded_to(views: ViewStore, partition: int) -> int:
    """Return how far all read models of a partition are; one that has stopped holds up none."""
    stopped = {each.model for each in views.stopped() if each.partition == partition}
    positions = views.positions(partition)
    going = [positions.get(each.name, 0) for each in READ_MODELS if each.name not in stopped]
    return min(going, default=0)


def look(changes: Changes, log: EventStore, views: ViewStore, partition: int) -> None:
    """Add what came since `changes.after` and is in the read models by now."""
    seen, until = changes.after.get(partition, 0), folded_to(views, partition)
    if until == seen:
        return
    changes.after[partition] = until
    if not 0 < until - seen <= EVENTS_MAX:
        changes.lost = True
        return
    found = log.read(seen, until - seen)
    keys = [(partition, each.position) for each in found if job_of(each) is not None]
    rows: Mapping[tuple[int, int], HistoryView] = views.load({HISTORY: keys})[HISTORY]
    for each in found:
        changes.add(each, rows.get((partition, each.position)))
