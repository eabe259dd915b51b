"""What a simulation tells, as one JSON document."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from warrener.domain.simulation.crews import Crew
from warrener.domain.simulation.summary import Group, Summary
from warrener.services.shapes import format_time
from warrener.services.simulate.what_if import Load


class Played(msgspec.Struct, frozen=True, kw_only=True):
    """The load; `recorded` is what became of its jobs in truth, times are those of submissions."""

    jobs: int
    steps: int
    begin: str
    end: str
    round_trip: float
    hand_over: float
    recorded: Group
    notes: tuple[str, ...]


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """A load, its fleet, and what would have become of it under each policy."""

    load: Played
    fleet: tuple[Crew, ...]
    policies: tuple[Summary, ...]


def document(load: Load, summaries: Sequence[Summary]) -> Document:
    """Return the document."""
    played = Played(
        jobs=len(load.jobs),
        steps=load.steps,
        begin=format_time(load.begin),
        end=format_time(load.end),
        round_trip=load.round_trip,
        hand_over=load.hand_over,
        recorded=load.recorded,
        notes=load.notes,
    )
    return Document(load=played, fleet=tuple(load.crews), policies=tuple(summaries))
