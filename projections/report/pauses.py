"""When a job was paused, or one above it: then nothing else is to blame that its steps wait."""

from __future__ import annotations

from typing import Final

from warrener.domain.events import (
    Event,
    JobCancelling,
    JobEnded,
    JobOverdue,
    JobPaused,
    JobRerun,
    JobResumed,
)
from warrener.projections.report.model import JobTimes, Pause

_ENDS: Final = (JobResumed, JobCancelling, JobOverdue, JobEnded, JobRerun)


def pause(pauses: list[Pause], event: Event, at: int) -> None:
    """Note when a job was paused, and until when."""
    is_open = bool(pauses) and pauses[-1][1] is None
    if isinstance(event, JobPaused) and not is_open:
        pauses.append((at, None))
    elif is_open and isinstance(event, _ENDS):
        pauses[-1] = (pauses[-1][0], at)


def paused(job: JobTimes, begin: int, end: int) -> list[tuple[int, int]]:
    """Return when in between a job or one above it was paused, without overlaps, in order."""
    found: list[tuple[int, int]] = []
    lists = [pauses for each in job.line() for pauses in (each.pauses, *each.outer) if pauses]
    known = [(low, end if high is None else high) for each in lists for low, high in each]
    for low, high in sorted(known):
        first, last = max(low, found[-1][1] if found else begin), min(high, end)
        if last > first:
            found.append((first, last))
    return found
