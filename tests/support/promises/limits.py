"""G9: slots, rates, windows and budgets are never exceeded. Checked from the log alone."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from uuid import UUID

from support.promises.caps import Caps
from support.promises.folded import Broken, Folded

from warrener.domain import control_events as ce
from warrener.domain import events as e
from warrener.domain import step_events as se
from warrener.domain.definition.model import Limit
from warrener.domain.definition.names import is_reserved
from warrener.domain.ids import split_path
from warrener.domain.job_state import Job

HAIR = 1e-3  # what rounding of times may come to


class G9:
    """Limits, release windows, windows of fan-outs and budgets hold at every event."""

    def __init__(self, folded: Folded, window_max: int) -> None:
        self._folded = folded
        self._window_max = window_max
        self._holders: dict[se.Held, dict[UUID, None]] = {}
        self._held: dict[UUID, tuple[se.Held, ...]] = {}
        self._rated: dict[se.Held, list[datetime]] = {}  # orders since a limit is as it is
        self.caps = Caps(folded)

    def event(self, recorded: e.Recorded) -> None:
        """Take the next event, after it was folded."""
        stream, event = recorded.originator_id, recorded.event
        self.caps.event(recorded)
        if not isinstance(event, se.StepEvent):
            if isinstance(event, e.JobSubmitted):
                self._check_depth(stream, event)
            elif isinstance(event, e.JobAdvanced):
                self._check_windows(self._folded.jobs[stream], event.begun)
            elif isinstance(event, ce.LimitChanged):
                for held in [held for held in self._rated if held.name == event.name]:
                    del self._rated[held]
            return
        if isinstance(event, se.StepReleased):
            self._check_queue(event.queue)
            self._check_limits(stream, event)
            self._held[stream] = event.limits
        elif not isinstance(event, se.StepStarted | se.StepProgressed):
            for held in self._held.pop(stream, ()):
                self._holders[held].pop(stream, None)
        if isinstance(event, se.StepReleased | se.StepOpened):
            self._check_budget(self._folded.jobs[event.job])

    def clock_set_back(self) -> None:
        """Times from before say nothing about those from now on."""
        self._rated.clear()

    @property
    def holders(self) -> dict[se.Held, set[UUID]]:
        """Return who holds what now; of limits with reserved names, of those that are set."""
        own = {held: set(steps) for held, steps in self._holders.items() if steps}
        return {k: v for k, v in own.items() if not is_reserved(k.name)} | self.caps.holders

    # --- limits ----------------------------------------------------------------------------------

    def _check_queue(self, queue: str) -> None:
        out = sum(step.queue == queue for step in self._folded.out())
        if out > self._window_max:
            raise Broken("G9", f"{out} orders of queue {queue} are out, of {self._window_max}")

    def _check_limits(self, stream: UUID, event: se.StepReleased) -> None:
        job = self._folded.jobs[event.job]
        name, _ = split_path(event.path)
        limits = self._folded.plan(job).steps[name].definition.limits
        limits += tuple(Limit(name=held.name) for held in event.limits[len(limits) :])
        if [limit.name for limit in limits] != [held.name for held in event.limits]:
            raise Broken("G9", f"{event.path} went out past the limits that its definition names")
        for limit, held in zip(limits, event.limits, strict=True):
            holders = self._holders.setdefault(held, {})
            holders[stream] = None
            slots, terms = self._terms(limit)
            if slots is not None and len(holders) > slots:
                raise Broken("G9", f"{len(holders)} steps hold {held}, of {slots}")
            if terms is not None:
                self._check_rate(held, terms, event.at)

    def _terms(self, limit: Limit) -> tuple[int | None, tuple[float, float, float] | None]:
        """Return the slots of a limit and its rate, as people have set them by now."""
        change = self._folded.limit_changes.get(limit.name)
        slots, rate, burst = limit.slots, limit.rate, limit.burst
        if change is not None:
            slots = slots if change.slots is None else change.slots
            rate, burst = change.rate or rate, change.burst or burst
        return slots, rate and (rate.count, rate.seconds, float(burst or 1))

    def _check_rate(self, held: se.Held, terms: tuple[float, float, float], at: datetime) -> None:
        """No stretch of time has seen more orders than the burst and what came in since.

        A clock that was set back begins anew, and so does a limit that people have changed.
        """
        times = self._rated.setdefault(held, [])
        if times and at < times[-1]:
            times.clear()
        times.append(at)
        count, seconds, burst = terms
        for number, earlier in enumerate(reversed(times), start=1):
            most = burst + (at - earlier).total_seconds() * count / seconds
            if number > most + HAIR:
                raise Broken("G9", f"{number} orders under {held} since {earlier}, of {most}")

    # --- fan-outs and trees ----------------------------------------------------------------------

    def _check_windows(self, job: Job, begun: dict[str, int]) -> None:
        """Items are in flight from when they are told to have begun, be a limit before them."""
        for name in begun:
            items = job.fan_outs.get(name)
            if items is None:
                continue
            window = job.windows.get(name, self._folded.plan(job).steps[name].definition.window)
            flying = items.begun - items.ended_count
            if window is not None and flying > window:
                raise Broken("G9", f"{flying} items of {name} are in flight, of {window}")

    def _check_depth(self, stream: UUID, event: e.JobSubmitted) -> None:
        if event.depth > event.budget.depth:
            raise Broken("G9", f"job {stream} is {event.depth} deep, of {event.budget.depth}")
        self._check_budget(self._folded.jobs[stream])

    def _check_budget(self, job: Job) -> None:
        """Count the steps under a root: of its latest generation, and of what that started."""
        root = job.root or job.id
        used = sum(self._used(root))
        if used > job.budget.steps:
            raise Broken("G9", f"{used} steps under {root}, of {job.budget.steps}")

    def _used(self, root: UUID) -> Iterator[int]:
        for job in self._folded.jobs.values():
            if job.root == root and job.generation == 1 and self._is_current(job):
                yield len(self._folded.plan(job).steps)
                yield sum(items.shape.count for items in job.fan_outs.values())
                yield sum(sum(counts.values()) for counts in job.item_counts.values())

    def _is_current(self, job: Job) -> bool:
        """Say whether a job belongs to the latest generation of all above it."""
        return all(each.generation == 1 for each in self._folded.ancestors(job))
