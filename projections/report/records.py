"""The records of a tree while its events come in: how steps and items begin and end."""

from __future__ import annotations

from array import array
from typing import Final, NamedTuple
from uuid import UUID

from warrener.domain.ids import split_path
from warrener.projections.report import steps
from warrener.projections.report.model import (
    AT_WORK,
    CHILDREN,
    HELD,
    REACTOR,
    WINDOW,
    Items,
    JobTimes,
    StepTimes,
    Summary,
)
from warrener.projections.report.profile import Profile
from warrener.projections.report.summing import close, summary_of

ITEMS_KEPT: Final = 30  # of a fan-out of the job of the report
ITEMS_KEPT_BELOW: Final = 5  # of fan-outs of jobs below it
_HAS_OWN_END: Final = frozenset({"released", "running", "retrying", "waiting", "waiting_user"})


class _Settled(NamedTuple):
    """What a job has said of a step."""

    job: JobTimes
    step: StepTimes
    state: str
    at: int
    position: int


class Records:
    """The records of a job and of everything below it; `now` is the time of the last event."""

    def __init__(self) -> None:
        self.jobs: dict[UUID, JobTimes] = {}
        self.now = 0  # it never goes back
        self.position = 0
        self._settling: dict[int, _Settled] = {}  # by identity of the step

    def named(self, job: JobTimes, name: str, at: int) -> StepTimes:
        """Return a step; one that undoes another is there from when it is first heard of."""
        step = job.steps.get(name)
        if step is None:
            step = job.steps[name] = StepTimes(name, at)
        return step

    def begun(
        self, job: JobTimes, items: Items, index: int, path: str, at: int
    ) -> StepTimes | None:
        """Return the record of an item that has begun, None if it has ended."""
        found = items.known.get(index)
        if found is None and index < items.count and not items.ended[index]:
            found = StepTimes(path, items.opened_at, WINDOW, state="ready")
            kind = HELD if job.plan.at(path).kind == "call" else REACTOR
            found.turn(kind, min(items.room_for(index), at))
            items.known[index] = found
        return found

    def open_items(self, job: JobTimes, step: StepTimes, count: int, at: int) -> None:
        """Open a fan-out, once."""
        steps.wait_for(self, job, step, steps.Wait(CHILDREN))
        if step.items is None:
            kept = ITEMS_KEPT if job.parent is None else ITEMS_KEPT_BELOW
            step.items = Items(
                count=count,
                opened_at=at,
                past=Summary(),
                ended=bytearray(count),
                ends=array("q"),
                profile=Profile(at),
                stride=max(1, -(-count // kept)),
            )

    def end_item(self, job: JobTimes, path: str, state: str, at: int) -> None:
        """A job says that an item has ended, perhaps without ever having begun."""
        name, index = split_path(path)
        items = self.named(job, name, at).items
        if items is None or index is None:
            return
        cancelled = state == "cancelled"  # such a one may never have begun
        step = items.known.get(index) if cancelled else self.begun(job, items, index, path, at)
        if step is not None:
            self.told(job, step, state, at)

    def told(self, job: JobTimes, step: StepTimes, state: str, at: int) -> None:
        """A job says that a step has ended.

        It may do so for all reports of a turn at once, before the steps' own events tell of each.
        """
        if step.state in _HAS_OWN_END:
            self._settling.setdefault(id(step), _Settled(job, step, state, at, self.position))
        else:
            self.end(job, step, state, at)

    def is_told(self, step: StepTimes) -> bool:
        """Say whether a job has said that a step has ended, and the step's own event is to come."""
        return id(step) in self._settling

    def settle(self) -> None:
        """End what its job has said to have ended: no event of its own will come any more."""
        while self._settling:
            each = next(iter(self._settling.values()))
            self.end(each.job, each.step, each.state, each.at)

    def end(self, job: JobTimes, step: StepTimes, state: str, at: int) -> None:
        """A step or an item has ended, unless it had before."""
        told = self._settling.pop(id(step), None)
        if step.ended:
            return
        close(job, step, at)
        step.state, step.ended_at = state, at
        step.ended_position = self.position if told is None else told.position
        name, index = split_path(step.path)
        if index is not None:
            self._fold_item(job, job.steps[name], index, step)
        elif step.items is not None:
            for item in list(step.items.known.values()):
                known = self._settling.get(id(item))
                self.end(job, item, "cancelled" if known is None else known.state, at)

    def _fold_item(self, job: JobTimes, fan_out: StepTimes, index: int, item: StepTimes) -> None:
        """Count an ended item, and forget it unless it is one of those that are kept."""
        items = fan_out.items
        if items is None or items.known.get(index) is not item:
            return
        items.ended[index] = True
        items.ends.append(self.now)
        items.states[item.state] = items.states.get(item.state, 0) + 1
        items.past.add(job, item, item.spans)
        for span in item.spans:
            if span.kind in AT_WORK:
                items.profile.add(span.begin, span.end)
        child = None if item.child is None else self.jobs.get(item.child)
        if child is not None:
            items.past.merge(summary_of(self.jobs, child, self.now))
        # What is cut off with its fan-out is not what this has waited for.
        is_last = item.state != "cancelled" or items.last is None
        gone = items.last if is_last else item
        items.last = item if is_last else items.last
        number = None if gone is None else split_path(gone.path)[1]
        if number is not None and number % items.stride:
            del items.known[number]
            self.forget_below(gone)

    def forget_below(self, step: StepTimes | None) -> None:
        """Forget the jobs that a step or its items started, and everything below them."""
        waiting = [] if step is None else [step]
        while waiting:
            each = waiting.pop()
            waiting += each.items.known.values() if each.items is not None else ()
            job = None if each.child is None else self.jobs.pop(each.child, None)
            waiting += job.steps.values() if job is not None else ()
