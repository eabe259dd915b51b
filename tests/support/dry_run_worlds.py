"""Worlds of random jobs, dry-run: what they decided, and what is decided anew."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any
from uuid import UUID

import msgspec
from support.everything import Everything, run
from support.random_jobs import TREE

from warrener.adapters.memory_views import MemoryViewStore
from warrener.domain.definition.model import JobDefinition
from warrener.domain.events import Event, JobAdvanced, JobEvent
from warrener.domain.payloads import Payload
from warrener.domain.step_events import StepEvent, StepProgressed, StepStarted
from warrener.projections.history import job_of
from warrener.services.active_job import payload_bytes
from warrener.services.dry_run.play import Play
from warrener.services.dry_run.record import Record, submission_anew
from warrener.services.dry_run.run import DryRun
from warrener.services.dry_run.shapes import JobReport
from warrener.services.logs import LogSet
from warrener.services.partial_log import PartialLog
from warrener.services.queries import Queries
from warrener.services.submission import Source

# Told otherwise by each side: by whom, when, under which id, and in how many events.
_OWN = {"at", "cause", "token", "worker", "due", "until", "started_at", "ended_at", "limits"}
_OWN |= {"request", "by", "reason", "deadline", "version", "key"}
_UNTOLD = (JobAdvanced, StepStarted, StepProgressed)


class Recorded:
    """A world that has come to its end, with queries over its log."""

    def __init__(self, seed: int) -> None:
        self.world: Everything = run(seed)
        self.logs = LogSet([self.world.log])
        self.queries = Queries(self.logs, MemoryViewStore())

    @property
    def roots(self) -> list[UUID]:
        return self.world.roots

    def source(self, change: Callable[[dict[str, Any]], None] | None = None) -> Source:
        """Return the definitions of the world, each changed."""
        found: dict[str, JobDefinition] = {}
        for name, definition in self.world.jobs.definitions.items():
            plain = msgspec.to_builtins(definition)
            if change is not None:
                change(plain)
            found[name] = msgspec.convert(plain, JobDefinition)
        return Source(found[TREE], found)

    def dry_run(self, root: UUID, source: Source) -> JobReport:
        return DryRun(source).job(self.queries, self.logs, root)

    def record(self, root: UUID, until: int | None = None) -> Record:
        return Record(self.queries.tree_events(root, until=until), self.world.log.blob)

    def moments(self, root: UUID) -> list[int]:
        """Return the positions after which time passed: there every decision is whole."""
        events = [each for each in self.queries.tree_events(root) if job_of(each) is not None]
        return [
            a.position for a, b in pairwise(events) if a.recorded.event.at != b.recorded.event.at
        ]


def decided(log: PartialLog) -> dict[UUID, list[Any]]:
    """Return what the streams of a tree tell of decisions."""
    found: dict[UUID, list[Any]] = {}
    for positioned in log.read(0, 10**7):
        event, stream = positioned.recorded.event, positioned.recorded.originator_id
        if isinstance(event, JobEvent | StepEvent) and not isinstance(event, _UNTOLD):
            found.setdefault(stream, []).append(_told(event, log))
    return found


def _told(event: Event, log: PartialLog) -> Any:
    fields = {
        name: payload_bytes(value, log) if isinstance(value, Payload) else value
        for name, value in msgspec.structs.asdict(event).items()
        if name not in _OWN
    }
    error = fields.get("error")
    if error is not None:
        fields["error"] = (error.code, error.path, error.attempt)
    return type(event).__name__, fields


def anew(record: Record, source: Source) -> Play:
    """Return the record played to other definitions."""
    play = Play(record)
    play.run(submission_anew(record, source))
    return play
