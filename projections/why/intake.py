"""Why a root job that was submitted is not started: what intake lets in, and who is in already."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from msgspec.structs import replace

from warrener.domain import ids
from warrener.domain.caps import names_for_job
from warrener.domain.control_events import (
    FlowSampled,
    LimitChanged,
    MeasureEnded,
    MeasureTaken,
    flow_settings,
)
from warrener.domain.events import (
    JobEnded,
    JobRerun,
    JobStarted,
    JobSubmitted,
    Recorded,
    event_of,
)
from warrener.domain.limit_state import Claim
from warrener.domain.limits import Limits
from warrener.domain.step_events import Held
from warrener.projections.why.caps import change_of, claims_of_job
from warrener.projections.why.model import (
    BLOCKERS_MAX,
    Blocker,
    Look,
    Rank,
    asked_by,
    lasting,
    listed,
    moment,
)
from warrener.projections.why.past import Past
from warrener.projections.why.still import decides
from warrener.projections.why.tales import JobTale, Tales


def look(tales: Tales, tale: JobTale) -> Look:
    """Look at a root job that waits for its start, without a pass over the log."""
    settings = flow_settings(tales.past.last(ids.FLOW_ID))
    if settings.intake == "accept" and _measure(tales.past) is None:
        return decides(tales, tale, None, "waits for the reactor to start it", tale.job.state)
    return Look(
        state=tale.job.state,
        kind="limit",
        since=tale.submitted.at,
        says="waits for its start",
        release="its start",
        rank=Rank.HELD,
        held=True,
    )


def look_closer(tales: Tales, tale: JobTale, seen: Look) -> Look:
    """Return what holds a job back; makes a pass over the log."""
    past = tales.past
    seen = replace(seen, held=False)
    measure = _measure(past)
    if measure is not None:
        return replace(
            seen,
            says=f"{seen.says}: no jobs are started since {moment(measure.at)}, while"
            f" steps of queue {measure.measure.queue} starve",
            release=f"the end of that, or the time {moment(measure.until)}",
            until=measure.until,
        )
    intake = flow_settings(past.last(ids.FLOW_ID)).intake
    claims = claims_of_job(past, tale.job.name) if intake != "accept" else []
    full = _Open(past, claims).full() if claims else None
    if full is not None:
        return replace(seen, **{**full, "says": f"{seen.says}: {full['says']}"})
    if past.partitions > 1 and claims:
        return _of_its_share(past, claims[0], seen)
    says = f"{seen.says}, and nothing holds it back: the reactor has to start it"
    return decides(tales, tale, None, says, seen.state)


def _of_its_share(past: Past, claim: Claim, seen: Look) -> Look:
    """Look at a limit that other partitions have a part of: what is open there is not known."""
    name = claim.held.name
    return replace(
        seen,
        says=f"{seen.says}, and for its share of limit {name}, which holds for all"
        f" {past.partitions} partitions together; which jobs are open in the others is not known"
        " here",
        release=f"the end of a job in whatever partition, or: warrener limits {name} --set slots=N",
    )


def _measure(past: Past) -> MeasureTaken | None:
    """Return the measure by which intake is held back, None if there is none."""
    sampled = event_of(past.last(ids.FLOW_SAMPLES_ID), FlowSampled)
    incidents = () if sampled is None else sampled.incidents
    found = (_taken(past.stream(incident)) for incident in incidents)
    return next((taken for taken in found if taken is not None and taken.until > past.now), None)


def _taken(events: Iterable[Recorded]) -> MeasureTaken | None:
    taken: MeasureTaken | None = None
    for recorded in events:
        event = recorded.event
        if isinstance(event, MeasureTaken) and event.measure.kind == "hold-intake":
            taken = event
        elif isinstance(event, MeasureEnded) and event.measure.kind == "hold-intake":
            taken = None
    return taken


class _Open:
    """The root jobs that are open, and what they hold of some limits."""

    def __init__(self, past: Past, claims: Sequence[Claim]) -> None:
        self._past = past
        self._claims = claims
        self._changes: dict[str, LimitChanged] = {}
        self._limits = Limits(self._changes.get)
        self._names: dict[UUID, str | None] = {}  # None: of a child job
        self._since: dict[UUID, datetime] = {}  # the oldest first
        changes = {claim.held.name: change_of(past, claim.held.name) for claim in claims}
        for positioned in past.out(any(change and change.rate for change in changes.values())):
            self._fold(positioned.recorded)
        self._changes.update((name, change) for name, change in changes.items() if change)

    def full(self) -> dict[str, Any] | None:
        """Return what is to be told of the first of the limits that has no room, if one has."""
        held = self._limits.blocker(self._claims, self._past.now)
        if held is None:
            return None
        change = self._changes[held.name]
        named = f"limit {held.name}, as set at {moment(change.at)}{asked_by(change.by, '')},"
        if change.slots is not None and len(self._holders(held)) >= change.slots:
            return self._slots_taken(held, named, change.slots)
        assert change.rate is not None
        due = self._limits.room_at(held, self._past.now)
        until = due and due + timedelta(
            microseconds=-due.microsecond % 1_000
        )  # its hair rounded up
        lets = f"lets {change.rate.count:g} in {lasting(change.rate.seconds)} start"
        return {
            "kind": "rate",
            "until": until,
            "says": f"{named} {lets}, the next at {moment(until)}",
            "release": f"the time {moment(until)}",
            "rank": Rank.CLOCK,
        }

    def _slots_taken(self, held: Held, named: str, slots: int) -> dict[str, Any]:
        jobs = self._holders(held)
        names = listed([str(job) for job in jobs[:BLOCKERS_MAX]], len(jobs[BLOCKERS_MAX:]))
        more = f"warrener limits {held.name} --set slots=N"
        return {
            "says": f"{named} has {len(jobs)} of {slots} slots taken{names and f': {names}'}",
            "release": f"the end of one of these jobs, or: {more}" if jobs else more,
            "blockers": tuple(self._blocker(job) for job in jobs[:BLOCKERS_MAX]),
            "rank": Rank.HELD if jobs else Rank.PEOPLE,
        }

    def _blocker(self, job: UUID) -> Blocker:
        since = self._since[job]
        said = f"is open since {moment(since)}"
        return Blocker(
            kind="job", id=job, job=job, path="", state="running", since=since, sentence=said
        )

    def _holders(self, held: Held) -> list[UUID]:
        return [job for job in self._since if held.name in self._names_of(job)]

    def _names_of(self, job: UUID) -> Sequence[str]:
        """Return the limits that a job is under, none if it is no root."""
        if job not in self._names:
            event = event_of(next(iter(self._past.stream(job)), None), JobSubmitted)
            self._names[job] = None if event is None or event.parent is not None else event.name
        name = self._names[job]
        return () if name is None else names_for_job(name)

    def _fold(self, recorded: Recorded) -> None:
        job, event = recorded.originator_id, recorded.event
        if isinstance(event, LimitChanged):
            self._changes[event.name] = event
            self._limits.changed(event.name, event.at)
        elif isinstance(event, JobStarted | JobRerun):
            under = self._names_of(job)
            claims = [claim for claim in self._claims if claim.held.name in under]
            if under and job not in self._since:
                self._since[job] = event.at
            if claims and isinstance(event, JobStarted):
                self._limits.take(job, claims, event.at)
            elif claims:
                self._limits.hold(job, tuple(claim.held for claim in claims))
        elif isinstance(event, JobEnded):
            self._since.pop(job, None)
            self._limits.give_back(job)
