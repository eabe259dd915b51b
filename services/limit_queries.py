"""What users ask about limits: what people changed, and what is in use now.

Who is held back is told by the latest samples of the flow. Who holds a slot only the logs tell, see
`services.limit_holders`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec

from warrener.domain.definition.model import Limit
from warrener.domain.definition.names import is_reserved
from warrener.domain.errors import UnknownJob
from warrener.domain.ids import split_path
from warrener.domain.partitions import Logs
from warrener.domain.step_events import Held
from warrener.projections.control_views import LIMITS, LimitView
from warrener.projections.flow_views import OTHERS
from warrener.projections.ports import JobFilter, ViewStore
from warrener.projections.views import JOBS, JobView
from warrener.services.control_shapes import LimitKey, LimitLine, LimitParts, RateLimit
from warrener.services.flow_queries import FlowQueries
from warrener.services.limit_holders import Holders, holders_of
from warrener.services.places import Places
from warrener.services.shapes import optional_time
from warrener.services.why import Progress

LIMITS_MAX: Final = 1_000
KEYS_MAX: Final = 100  # of one limit
_UNITS: Final = ("slots", "rate")


class _Use(msgspec.Struct):
    """A limit in use: who waits for what of it, and who holds it, by key."""

    waiting: Counter[str] = msgspec.field(default_factory=Counter)
    lacking: dict[str, str] = msgspec.field(default_factory=dict)  # key -> slots or rate
    holders: Counter[str] = msgspec.field(default_factory=Counter)
    stage: tuple[str, str] | None = None  # job and step name of somebody who waits
    holder: tuple[UUID, str] | None = None  # job and path of somebody who holds it


class LimitQueries:
    """Answers from the read models, and of who holds limits from the logs."""

    def __init__(self, logs: Logs, views: ViewStore, places: Places) -> None:
        self._logs = logs
        self._views = views
        self._places = places
        self._flow = FlowQueries(views, logs.count)

    def limits(
        self, name: str | None, now: datetime | None, on_progress: Progress | None = None
    ) -> list[LimitLine]:
        """Return limits that were changed or hold somebody back, by name.

        With `now` the logs are looked at for who holds them, too.
        """
        changed = self._changed(name)
        uses: dict[str, _Use] = {}
        self._note_waiting(uses)
        if now is not None:
            reserved = {each for each in changed if is_reserved(each)}
            found = holders_of(self._logs, self._views, reserved, now, on_progress)
            self._note_holders(uses, found)
        names = sorted({*changed, *uses} if name is None else {name} & {*changed, *uses})
        return [
            self._line(each, changed.get(each), uses.get(each), counted=now is not None)
            for each in names[:LIMITS_MAX]
        ]

    def _changed(self, name: str | None) -> dict[str, LimitView]:
        partitions = range(self._logs.count)
        if name is None:
            found = self._views.limits(LIMITS_MAX * len(partitions))
        else:
            keys = [(name, partition) for partition in partitions]
            found = list(self._views.load({LIMITS: keys})[LIMITS].values())
        return {view.name: view for view in sorted(found, key=lambda view: view.since)}

    def _note_waiting(self, uses: dict[str, _Use]) -> None:
        for stage, reason, count in self._flow.held():
            held = limit_of(reason)
            if held is not None:
                use = uses.setdefault(held[1].name, _Use())
                use.waiting[held[1].key] += count
                use.lacking[held[1].key] = held[0]
                use.stage = stage.job, stage.step

    def _note_holders(self, uses: dict[str, _Use], holders: Holders) -> None:
        for held, count in holders.counts.items():
            use = uses.setdefault(held.name, _Use())
            use.holders[held.key] += count
            use.holder = holders.some.get(held.name)
        for held, count in holders.waiting.items():
            use = uses.setdefault(held.name, _Use())
            use.waiting[held.key] += count
            use.lacking[held.key] = "slots"

    def _line(
        self, name: str, view: LimitView | None, use: _Use | None, *, counted: bool
    ) -> LimitLine:
        use = use or _Use()
        defined = self._defined(name, use)
        parts = _parts(view)
        return LimitLine(
            name=name,
            slots=parts.slots,
            rate=parts.rate,
            burst=parts.burst,
            by="" if view is None else view.by,
            reason="" if view is None else view.reason,
            since=None if view is None else optional_time(view.since),
            defined=None if defined is None else _parts(defined),
            waiting=use.waiting.total(),
            holders=use.holders.total() if counted else None,
            keys=_keys(use, counted=counted),
        )

    def _defined(self, name: str, use: _Use) -> Limit | None:
        """Return a limit as the definition of a job says that waits for it or holds it."""
        for content, step in self._steps(use):
            try:
                steps = self._places.definition(content).steps
            except UnknownJob:
                continue
            limits = steps[step].limits if step in steps else ()
            found = next((limit for limit in limits if limit.name == name), None)
            if found is not None:
                return found
        return None

    def _steps(self, use: _Use) -> Iterator[tuple[str, str]]:
        """Yield definitions, and steps of them, that may name a limit."""
        if use.holder is not None:
            job, path = use.holder
            views: Mapping[UUID, JobView] = self._views.load({JOBS: [job]})[JOBS]
            if job in views:
                yield views[job].definition, split_path(path)[0]
        if use.stage is not None:
            wanted = JobFilter(name=use.stage[0], roots_only=False, limit=1)
            for view in self._views.find_jobs(wanted):
                yield view.definition, use.stage[1]


def limit_of(reason: str) -> tuple[str, Held] | None:
    """Return what is lacking of which limit, by the reason why a step is held back.

    None if it is held back for something else.
    """
    unit, space, rest = reason.partition(" ")
    if unit not in _UNITS or not space or reason == OTHERS:
        return None
    # `@step:JOB/STEP` has a slash in its name; every other name has none.
    parts = rest.split("/", 2 if rest.startswith("@step:") else 1)
    return unit, Held("/".join(parts[:-1]) or rest, parts[-1] if len(parts) > 1 else "")


def _parts(limit: LimitView | Limit | None) -> LimitParts:
    if limit is None:
        return LimitParts(slots=None, rate=None, burst=None)
    rate = limit.rate
    shown = None if rate is None else RateLimit(count=rate.count, seconds=rate.seconds)
    return LimitParts(slots=limit.slots, rate=shown, burst=limit.burst)


def _keys(use: _Use, *, counted: bool) -> tuple[LimitKey, ...]:
    """Return the keys of a limit, those with most to do before others."""
    both = use.waiting + use.holders
    return tuple(
        LimitKey(
            key=key,
            waiting=use.waiting[key],
            holders=use.holders[key] if counted else None,
            lacking=use.lacking.get(key),
        )
        for key, _ in both.most_common(KEYS_MAX)
    )
