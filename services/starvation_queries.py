"""What users ask about starvation: incidents, those of several partitions as one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from uuid import UUID

from warrener.domain.errors import UsageError
from warrener.projections.flow_views import INCIDENTS, IncidentView, MeasureView
from warrener.projections.ports import IncidentFilter, ViewStore
from warrener.services.flow_shapes import ActionTaken, StarvationLine, VictimLine
from warrener.services.places import HEX, PREFIX_MIN
from warrener.services.shapes import format_time, optional_time

NAMED_IN_ERRORS = 3
_NEVER = datetime.max.replace(tzinfo=UTC)


class StarvationQueries:
    """Answers from the read models."""

    def __init__(self, views: ViewStore, partitions: int = 1) -> None:
        self._views = views
        self._partitions = partitions

    def starvation(
        self, *, open_only: bool, since: datetime | None, limit: int
    ) -> list[StarvationLine]:
        """Return incidents, the newest first."""
        state = "open" if open_only else None
        wanted = IncidentFilter(state=state, since=since, limit=limit * self._partitions)
        groups = together(self._views.find_incidents(wanted))
        lines = [_line(group) for group in groups]
        return sorted(lines, key=lambda line: line.opened_at, reverse=True)[:limit]

    def find_incident(self, text: str) -> StarvationLine:
        """Return the incident with this id or start of one; raises `UsageError`."""
        digits = text.strip().lower().replace("-", "")
        found = self._starting_with(digits) if HEX.fullmatch(digits) else []
        if len(digits) < PREFIX_MIN or not found:
            raise UsageError(f"there is no incident {text!r}: {self._known()}")
        if len(found) > 1:
            raise UsageError(f"{text!r} is the start of several incidents: {_listed(found)}")
        view: IncidentView = self._views.load({INCIDENTS: found})[INCIDENTS][found[0]]
        return _line([view])

    def _starting_with(self, digits: str) -> list[UUID]:
        low, high = UUID(digits.ljust(32, "0")), UUID(digits.ljust(32, "f"))
        return list(self._views.incidents_between(low, high, NAMED_IN_ERRORS))

    def _known(self) -> str:
        newest = self._views.find_incidents(IncidentFilter(limit=NAMED_IN_ERRORS))
        if not newest:
            return "there is none"
        return f"the newest are {_listed(view.incident for view in newest)}"


def together(found: Iterable[IncidentView]) -> list[list[IncidentView]]:
    """Return incidents in groups: of the same queue and cause, at the same time."""
    groups: list[list[IncidentView]] = []
    newest: dict[tuple[str, str], list[IncidentView]] = {}
    for view in sorted(found, key=lambda view: (view.opened_at, view.partition)):
        group = newest.get((view.queue, view.diagnosis))
        if group is None or max(map(_end, group)) < view.opened_at:
            group = newest[view.queue, view.diagnosis] = []
            groups.append(group)
        group.append(view)
    return groups


def _end(view: IncidentView) -> datetime:
    return view.closed_at or _NEVER


def _line(group: Sequence[IncidentView]) -> StarvationLine:
    first = group[0]
    worst = max(group, key=lambda view: sum(victim.waiting for victim in view.victims))
    is_open = any(view.closed_at is None for view in group)
    last = max(group, key=_end)
    return StarvationLine(
        incident=first.incident,
        incidents=tuple(view.incident for view in group),
        partitions=tuple(sorted({view.partition for view in group})),
        cause=first.diagnosis,
        queue=first.queue,
        state="open" if is_open else "closed",
        victims=_victims(group),
        evidence=worst.evidence,
        since=format_time(min(view.since for view in group)),
        opened_at=format_time(first.opened_at),
        closed_at=None if is_open else optional_time(last.closed_at),
        why="" if is_open else last.why,
        actions=tuple(
            _action(view.partition, measure) for view in group for measure in view.measures
        ),
    )


def _victims(group: Iterable[IncidentView]) -> tuple[VictimLine, ...]:
    """Return who starves in all partitions, those with the longest wait first."""
    found: dict[tuple[str, str], tuple[int, float]] = {}
    for view in group:
        for victim in view.victims:
            waiting, oldest = found.get((victim.job, victim.step), (0, 0.0))
            both = waiting + victim.waiting, max(oldest, victim.oldest_wait)
            found[victim.job, victim.step] = both
    lines = [
        VictimLine(job=job, step=step, waiting=waiting, oldest_wait=oldest)
        for (job, step), (waiting, oldest) in found.items()
    ]
    return tuple(sorted(lines, key=lambda line: -line.oldest_wait))


def _action(partition: int, view: MeasureView) -> ActionTaken:
    measure = view.measure
    return ActionTaken(
        kind=measure.kind,
        queue=measure.queue,
        job=measure.job,
        step=measure.step,
        amount=measure.amount,
        workers=measure.workers,
        partition=partition,
        state=view.state,
        proposed_at=optional_time(view.proposed_at),
        taken_at=optional_time(view.taken_at),
        until=optional_time(view.until),
        ended_at=optional_time(view.ended_at),
        by=view.by,
        request=view.request,
        why=view.why,
    )


def _listed(incidents: Iterable[UUID]) -> str:
    return ", ".join(map(str, incidents))
