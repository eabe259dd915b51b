"""Why a job has not ended, or how it has."""

from __future__ import annotations

from collections.abc import Iterator

from warrener.domain.events import JobFailed
from warrener.domain.states import JOB_ENDED
from warrener.projections.why import intake
from warrener.projections.why.ended import RERUN, cancelled_by
from warrener.projections.why.model import NEXT_MAX, Kind, Look, Place, Rank, failure, moment
from warrener.projections.why.pending import cleaning_places, open_steps
from warrener.projections.why.still import decides, paused
from warrener.projections.why.tales import JobTale, Tales


def look(tales: Tales, tale: JobTale) -> Look:
    """Look at a job."""
    state = tale.job.state
    if state in JOB_ENDED:
        return _ended(tales, tale)
    held = paused(tales, tale, state, whole=True)
    if held is not None:
        return held
    if state == "submitted" and tale.job.parent is None:
        return intake.look(tales, tale)
    following = tuple(_open(tale))[:NEXT_MAX]
    if not following:
        return decides(tales, tale, None, "waits for the reactor to go on with it", state)
    kind: Kind = "children"
    return Look(
        state=state,
        kind=kind,
        since=tale.cancelling.at if tale.cancelling else tale.started_at,
        says=f"{_stage(tales, tale)}waits for",
        release="the end of its steps",
        next=following,
        inside=True,
    )


def _stage(tales: Tales, tale: JobTale) -> str:
    """Return how far a job is that runs only to come to its end."""
    if tale.cancelling is not None and tale.job.state == "cancelling":
        return f"is being cancelled, as was asked{cancelled_by(tales, tale)}, and "
    if tale.job.overdue:
        return f"has passed its deadline {moment(tale.job.deadline)} and "
    return "cleans up and " if tale.job.closing else ""


def _open(tale: JobTale) -> Iterator[Place]:
    """Yield what is under way in a job; without that, what is still pending."""
    begun = [name for name, state in tale.job.steps.items() if not tale.job.ended(name)]
    yield from (tale.place(name) for name in begun)
    yield from cleaning_places(tale)
    if not begun and not tale.job.cleaning:
        for phase in ("main", "compensate", "always"):
            yield from (tale.place(name) for name in open_steps(tale, phase))


def _ended(tales: Tales, tale: JobTale) -> Look:
    job, at = tale.job, tale.ended_at
    said = f"{job.state} at {moment(at)}"
    following: tuple[Place, ...] = ()
    if job.state == "cancelled":
        said = f"was cancelled{cancelled_by(tales, tale)}; it ended at {moment(at)}"
    elif isinstance(tale.ended, JobFailed):
        error = tale.ended.error
        said = f"{said} with {failure(error)}"
        following = _culprit(tale, error.path)
        said += ", because of" if following else ""
    return Look(
        state=job.state,
        kind="ended",
        since=at,
        says=said,
        release=RERUN,
        next=following,
        rank=Rank.ENDED,
        inside=bool(following),
    )


def _culprit(tale: JobTale, path: str | None) -> tuple[Place, ...]:
    """Return the step of a job for which it failed."""
    name = (path or "").partition("/")[0].partition("[")[0]
    return (tale.place(name),) if name in tale.plan.steps and tale.job.ended(name) else ()
