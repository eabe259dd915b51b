"""Two causes that can be met in any state: the job is paused, or it is the reactor's turn."""

from __future__ import annotations

import msgspec

from warrener.domain.events import JobPaused
from warrener.projections.why.model import Blocker, Look, Rank, asked_by, moment
from warrener.projections.why.tales import JobTale, Tales

DECIDES = "the reactor's next turn"


def decides(
    tales: Tales, tale: JobTale, path: str | None, says: str = "", state: str = "pending"
) -> Look:
    """Look at what waits for nothing but the reactor's next turn."""
    past = tales.past
    begun = None if path is None else tales.step(tale, path)
    since = begun.since if begun else tale.submitted.at if path is None else tale.since(path)
    reason = says or "waits for nothing any more: the reactor decides about it next"
    keeper = past.keeper()
    silent = f"; the log has been silent since {moment(past.silent_since)}"
    return Look(
        state=state,
        kind="reactor",
        since=since,
        says=f"{reason}{silent}{keeper and f'; {keeper}'}",
        release=DECIDES,
        rank=Rank.HELD,
    )


def paused(
    tales: Tales, tale: JobTale, state: str, more: str = "", *, whole: bool = False
) -> Look | None:
    """Look at what a pause of the job, or of one above it, holds back; None without a pause.

    `whole` asks about the job itself, else it is about a step of it.
    """
    for above in tales.above(tale):
        if above.job.state == "paused" and above.paused is not None:
            return _paused_by(above, above.paused, state, _Held(above is tale, whole, more))
    return None


class _Held(msgspec.Struct, frozen=True):
    """Whether a job itself is paused or one above it, whether it is asked about, and more."""

    itself: bool
    whole: bool
    more: str


def _paused_by(above: JobTale, event: JobPaused, state: str, held: _Held) -> Look:
    job = above.job.id
    said = f"was paused at {moment(event.at)}{asked_by(event.by, event.reason)}"
    which = "its job" if held.itself else f"job {job} above it"
    blocker = Blocker(
        kind="job", id=job, job=job, path="", state="paused", since=event.at, sentence=said
    )
    alone = held.itself and held.whole
    return Look(
        state=state,
        kind="paused",
        since=event.at,
        says=said if alone else f"is held back: {which} {said}{held.more}",
        release=f"warrener resume {job}",
        blockers=() if alone else (blocker,),
        rank=Rank.PEOPLE,
    )
