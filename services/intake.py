"""Intake: which submitted jobs start, which wait for that, and which are refused.

A root job holds its slot of the limits `@jobs` and `@jobs:NAME` from its start until all of its
tree has ended. One that is begun anew counts, but is not held back; nor is a child job ever.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from datetime import datetime
from math import ceil
from typing import TYPE_CHECKING
from uuid import UUID

from warrener.domain.caps import JOBS
from warrener.domain.errors import Busy
from warrener.domain.flow.lanes import Flow
from warrener.domain.flow.ready import Queued, Ready, Stage, Standing
from warrener.domain.job_state import Job
from warrener.domain.limit_state import Claim, Waiter, Waiters
from warrener.domain.step_events import Held
from warrener.services import children
from warrener.services.active_job import ActiveJob

if TYPE_CHECKING:
    from warrener.services.turn import Turn
    from warrener.services.working_set import WorkingSet

STARTS_MAX = 1_000  # of waiting jobs in one turn
ENDS_KEPT = 64  # times at which jobs ended, to tell how fast they do
RESERVE_SLOTS = 8  # that a partition has at hand: who is refused does not wait for its share
RETRY_SECONDS_MAX = 300
RETRY_SECONDS_UNKNOWN = 10.0  # while no job has ended yet


class Intake:
    """The root jobs that wait for their start. `idle` are those that wait for no limit."""

    def __init__(self, *, bounded: bool) -> None:
        """Begin with none; unless it is `bounded`, every job starts at once."""
        self.bounded = bounded
        self.waiting: dict[UUID, ActiveJob] = {}
        self.idle = Waiters()
        self.more = False  # the last turn has started as many as it may
        self.ends: deque[datetime] = deque(maxlen=ENDS_KEPT)

    def wait(self, active: ActiveJob, flow: Flow) -> None:
        """Let a job wait for its start."""
        self.waiting[active.job.id] = active
        standing = _standing(active)
        queued = Queued(Ready(active.job.id, ""), standing, standing.submitted_at)
        self.idle.add(Waiter(queued, place=flow.place(standing)))

    def wait_anew(self, flow: Flow) -> None:
        """Have all that waits looked at: it is under other rules now."""
        self.idle = Waiters()
        for active in self.waiting.values():
            self.wait(active, flow)

    def may_go_on(self, flow: Flow) -> bool:
        """Say whether a turn would start jobs, as far as that is not up to limits."""
        return self.more or (bool(self.idle) and self.lets_in(flow))

    def lets_in(self, flow: Flow) -> bool:
        """Say whether nothing but limits holds jobs back."""
        return not (self.bounded and flow.measures.intake_held)

    def retry_seconds(self, now: datetime) -> int:
        """Return after how many seconds a job will have ended, by how fast they do."""
        seconds = RETRY_SECONDS_UNKNOWN
        if len(self.ends) > 1:
            seconds = (now - self.ends[0]).total_seconds() / len(self.ends)
        return bounded_seconds(seconds)


def bounded_seconds(seconds: float) -> int:
    """Return whole seconds that are neither no time nor too long."""
    return min(max(ceil(seconds), 1), RETRY_SECONDS_MAX)


def claims_of(memory: WorkingSet, flow: Flow, name: str) -> Sequence[Claim]:
    """Return the limits that hold back root jobs of a name."""
    bounded = memory.intake.bounded and flow.settings.intake != "accept"
    return memory.caps.of_job(name) if bounded else ()


def refuse_if_busy(turn: Turn, name: str) -> None:
    """Raise `Busy` if a job of this name is not to be taken now."""
    memory, flow, now = turn.memory, turn.flow, turn.batch.now
    if flow.settings.intake != "refuse" or not memory.intake.bounded:
        return
    if not memory.intake.lets_in(flow):
        said = "no jobs are taken in while steps starve"
        raise Busy(said, memory.intake.retry_seconds(now))
    claims = memory.caps.of_job(name)
    memory.limits.reserve(claims, RESERVE_SLOTS, now)
    blocker = memory.limits.blocker(claims, now) or memory.limits.awaited(claims)
    if blocker is not None:
        raise _busy(memory, blocker, now)


def reserve(memory: WorkingSet, flow: Flow, now: datetime) -> None:
    """Have slots at hand where jobs are refused, else not."""
    refuses = flow.settings.intake == "refuse" and memory.intake.bounded
    if not refuses:
        memory.limits.give_reserves_back()
        return
    memory.limits.reserve(memory.caps.of_job(""), RESERVE_SLOTS, now)


def _busy(memory: WorkingSet, blocker: Held, now: datetime) -> Busy:
    bounds, due = memory.limits.bounds(blocker), memory.limits.room_at(blocker, now)
    if bounds.rate is not None and (due is not None or bounds.slots is None):
        said = f"limit {blocker.name} takes in {bounds.rate.count:g} in {bounds.rate.seconds:g} s"
        if due is None:  # others have all of it just now
            return Busy(said, memory.intake.retry_seconds(now))
        return Busy(said, bounded_seconds((due - now).total_seconds()))
    said = f"as many jobs are open as limit {blocker.name} allows: {bounds.slots}"
    return Busy(said, memory.intake.retry_seconds(now))


def take_in(turn: Turn, active: ActiveJob) -> None:
    """Start a job that was submitted just now, or let it wait."""
    memory, flow = turn.memory, turn.flow
    refuses = flow.settings.intake == "refuse"  # what passes has room now, and is not to wait
    free = not memory.intake.idle and not claims_of(memory, flow, active.job.name)
    if refuses or (free and memory.intake.lets_in(flow)):
        start(turn, active)
    else:
        memory.intake.wait(active, flow)


def start(turn: Turn, active: ActiveJob) -> None:
    """Start a job that may."""
    memory, job = turn.memory, active.job
    memory.intake.waiting.pop(job.id, None)
    claims = claims_of(memory, turn.flow, job.name)
    if claims:
        memory.limits.take(job.id, claims, turn.batch.now)
    else:
        hold(memory, job)
    children.start_job(turn, active)


def hold(memory: WorkingSet, job: Job) -> None:
    """Count a root job that is open, whether or not there was room for it."""
    claims = memory.caps.of_job(job.name)
    if claims:
        memory.limits.hold(job.id, tuple(claim.held for claim in claims))


def leave(turn: Turn, job: Job) -> None:
    """A root job has ended."""
    turn.memory.limits.give_back(job.id)
    if job.started:
        turn.memory.intake.ends.append(turn.batch.now)


def go_on(turn: Turn) -> None:
    """Let those who wait for no limit start, or wait for one; once in a turn."""
    memory, flow, now = turn.memory, turn.flow, turn.batch.now
    intake = memory.intake
    intake.more = False
    while intake.idle and intake.lets_in(flow) and turn.starts < STARTS_MAX:
        waiter = intake.idle.take(now)
        active = None if waiter is None else _waiting(memory, waiter)
        if waiter is None or active is None:
            continue
        turn.cause = turn.cause_of_release(waiter.queued.ready)
        claims = claims_of(memory, flow, active.job.name)
        if claims:  # even if they have room: others may wait there whose turn it is
            blocker = memory.limits.blocker(claims, now) or claims[0].held
            memory.limits.wait(blocker, waiter, claims)
        else:
            turn.starts += 1
            start(turn, active)
            turn.drain()


def try_start(turn: Turn, waiter: Waiter) -> None:
    """Start a job that a limit has let through, unless another one holds it back."""
    memory, turn.cause = turn.memory, turn.cause_of_release(waiter.queued.ready)
    active = _waiting(memory, waiter)
    if active is None:
        return
    claims = claims_of(memory, turn.flow, active.job.name)
    blocker = memory.limits.blocker(claims, turn.batch.now) if claims else None
    if blocker is None:
        start(turn, active)
        turn.drain()
    else:
        memory.limits.wait(blocker, waiter, claims)


def _waiting(memory: WorkingSet, waiter: Waiter) -> ActiveJob | None:
    """Return the job of a waiter, None if it is not to start any more, or is paused."""
    active = memory.intake.waiting.get(waiter.queued.ready.job)
    return active if active is not None and active.job.state == "submitted" else None


def _standing(active: ActiveJob) -> Standing:
    job = active.job
    return Standing(
        Stage(JOBS, job.name, ""),
        active.tree.root,
        active.tree.submitted_at,
        priority=job.priority,
        fair=job.fair or "",
        deadline=job.deadline,
        remaining=len(active.plan.steps),
    )
