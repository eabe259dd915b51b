"""Which workers there are in a simulation: as recorded, or as asked for."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from datetime import datetime
from statistics import fmean
from typing import Final

from warrener.domain.errors import UsageError
from warrener.domain.simulation.crews import Crew
from warrener.services.simulate.runs import JobRun

WORKERS_MAX: Final = 1_000_000
HAND_OVER_SECONDS_MAX: Final = 1.0
_ASKED: Final = re.compile(r"(?:(?P<queue>[^=]+)=)?(?P<count>[0-9]{1,7})\Z")

Changes = Sequence[tuple[datetime, dict[str, int]]]


def asked_crews(asked: Iterable[str], slots: int, queues: Sequence[str]) -> list[Crew]:
    """Return the workers that `N` (for all queues) and `QUEUE=N` ask for."""
    crews = []
    for word in asked:
        found = _ASKED.match(word)
        count = int(found["count"]) if found else 0
        if found is None or not 0 < count <= WORKERS_MAX:
            raise UsageError(
                f"--workers {word} is no number of workers: give N, or QUEUE=N,"
                f" from 1 to {WORKERS_MAX:,}"
            )
        serves = tuple(queues) if found["queue"] is None else (found["queue"],)
        crews.append(Crew(workers=count, queues=serves, slots=slots))
    return crews


def recorded_crews(changes: Changes, jobs: Iterable[JobRun], begin: datetime) -> list[Crew]:
    """Return the workers that announced themselves; without any, as many as were seen at work."""
    if not changes:
        return [
            Crew(workers=most, queues=(queue,)) for queue, most in sorted(_at_work(jobs).items())
        ]
    ordered = sorted(changes, key=lambda each: each[0])
    times = [max(0.0, (at - begin).total_seconds()) for at, _ in ordered]
    queues = sorted({queue for _, slots in ordered for queue in slots})
    alike: dict[tuple[int, ...], list[str]] = {}  # who has the same slots all the time shares them
    for queue in queues:
        alike.setdefault(tuple(slots.get(queue, 0) for _, slots in ordered), []).append(queue)
    crews = []
    for series, served in alike.items():
        ends = (*times[1:], None)
        for since, until, slots in zip(times, ends, series, strict=True):
            if slots > 0 and since != until:
                crews.append(Crew(workers=slots, queues=tuple(served), since=since, until=until))
    return crews


def hand_over(jobs: Iterable[JobRun]) -> float:
    """Return what a slot takes from one order to the next that lay there, at the mean."""
    gaps: list[float] = []
    for moves in _moves(jobs).values():
        free: list[datetime] = []  # slots that have ended their work, by when
        for at, released_at in moves:
            if released_at is None:
                free.append(at)
                continue
            waited_for = bisect_right(free, released_at)  # the first that ended after its release
            if waited_for < len(free):
                gaps.append((at - free.pop(waited_for)).total_seconds())
            elif free:
                del free[0]
    gaps = [gap for gap in gaps if gap <= HAND_OVER_SECONDS_MAX]
    return fmean(gaps) if gaps else 0.0


def _at_work(jobs: Iterable[JobRun]) -> dict[str, int]:
    """Return how many attempts of each queue were at work at once, at most."""
    found = {}
    for queue, moves in _moves(jobs).items():
        most = now = 0
        for _, released_at in moves:
            now += -1 if released_at is None else 1
            most = max(most, now)
        found[queue] = max(1, most)
    return found


def _moves(jobs: Iterable[JobRun]) -> dict[str, list[tuple[datetime, datetime | None]]]:
    """Return when attempts of each queue began (with when they were released) and ended (None)."""
    moves: dict[str, list[tuple[datetime, datetime | None]]] = {}
    for job in jobs:
        for step in job.steps.values():
            own = moves.setdefault(step.queue, [])
            for each in step.tries:
                ended = each.ended_at or each.known_at
                if each.started_at is not None and ended is not None:
                    own.append((each.started_at, each.released_at))
                    own.append((max(ended, each.started_at), None))
    for own in moves.values():
        own.sort(key=_ends_first)
    return {queue: own for queue, own in moves.items() if own}


def _ends_first(move: tuple[datetime, datetime | None]) -> tuple[datetime, bool]:
    return move[0], move[1] is not None
