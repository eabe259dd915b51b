"""The jobs of a simulation that have not ended: which of their steps are ready, and which done."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from uuid import UUID

from warrener.domain.flow.lanes import Flow
from warrener.domain.flow.ready import Queued, Ready
from warrener.domain.simulation.agenda import Agenda, as_time
from warrener.domain.simulation.crews import Order
from warrener.domain.simulation.open_job import OpenJob
from warrener.domain.simulation.record import Record
from warrener.domain.simulation.trace import TraceJob


class Progress:
    """Leads jobs from their submission to their end."""

    def __init__(
        self,
        agenda: Agenda,
        flow: Flow,
        record: Record,
        ids: Iterator[int],
        ended: Callable[[UUID], None],
    ) -> None:
        """Begin with no job; `ended` is called with each that has ended."""
        self.open: dict[UUID, OpenJob] = {}  # the oldest first
        self.open_max = 0
        self._agenda = agenda
        self._flow = flow
        self._record = record
        self._ids = ids
        self._ended = ended

    def accept(self, trace: TraceJob) -> OpenJob:
        """A job is submitted."""
        key = self._record.keys.of(trace.fair)
        self._record.shares.know(key)
        due = None if trace.deadline is None else as_time(trace.deadline)
        job = OpenJob(trace, UUID(int=next(self._ids)), key, as_time(trace.at), due)
        self.open[job.id] = job
        self.open_max = max(self.open_max, len(self.open))
        if not job.left:
            self._end_job(job)
        for place, missing in enumerate(trace.shape.missing):
            if not missing:
                self._due(job, place)
        return job

    def answered(self, order: Order) -> None:
        """The attempt of an order has ended: go on with the job, or try again."""
        job, place, index = order.job, order.place, order.queued.ready.index
        if not order.run.succeeded and self._has_another(job, place, index):
            job.failed(place, index)
            self._agenda.call(self._agenda.now + order.run.pause, partial(self.again, order))
        elif index is None:
            self._end_step(job, place)
        else:
            self._end_item(job, place)

    def again(self, order: Order) -> None:
        """What an order was for is ready once more."""
        before = order.queued
        queued = Queued(before.ready, before.standing, self._agenda.at)
        self._ready(order.job, order.place, queued)

    def _due(self, job: OpenJob, place: int) -> None:
        """All that a step waits for has ended."""
        step = job.trace.shape.steps[place]
        if step.pause > 0:
            self._agenda.call(self._agenda.now + step.pause, partial(self._begin, job, place))
        else:
            self._begin(job, place)

    def _begin(self, job: OpenJob, place: int) -> None:
        shape = job.trace.shape
        step = shape.steps[place]
        if step.items:
            self._open_window(job, place)
        elif step.attempts and step.items is None:
            ready = Ready(job.id, shape.paths[place])
            self._ready(job, place, Queued(ready, job.standing(place), self._agenda.at))
        else:
            self._end_step(job, place)

    def _ready(self, job: OpenJob, place: int, queued: Queued) -> None:
        self._record.shares.ready[job.key] += job.seconds(place, queued.ready.index)
        self._flow.add(queued)

    def _open_window(self, job: OpenJob, place: int) -> None:
        """Items of a fan-out may begin, as far as the window lets them."""
        step, items = job.trace.shape.steps[place], job.items_of(place)
        assert step.items is not None
        end = len(step.items)
        if step.window is not None:
            end = min(end, items.ended + step.window)
        fresh = range(items.begun, end)
        if fresh:
            seconds = sum(job.seconds(place, index) for index in fresh)
            self._record.shares.ready[job.key] += seconds
            path, now = job.trace.shape.paths[place], self._agenda.at
            self._flow.add_items(job.id, path, items.standing, now, items=fresh)
            items.begun = end

    def _end_item(self, job: OpenJob, place: int) -> None:
        step, items = job.trace.shape.steps[place], job.items_of(place)
        assert step.items is not None
        items.ended += 1
        if items.ended == len(step.items):
            self._end_step(job, place)
        else:
            self._open_window(job, place)

    def _end_step(self, job: OpenJob, place: int) -> None:
        ended = [place]  # those that do nothing end at once: no recursion however many
        for each in ended:
            job.left -= 1
            for reader in job.trace.shape.readers[each]:
                job.missing[reader] -= 1
                if job.missing[reader]:
                    continue
                step = job.trace.shape.steps[reader]
                if step.pause > 0 or step.items or (step.attempts and step.items is None):
                    self._due(job, reader)
                else:
                    ended.append(reader)
        if not job.left:
            self._end_job(job)

    def _end_job(self, job: OpenJob) -> None:
        del self.open[job.id]
        self._ended(job.id)
        self._record.ended(job.trace, job.key, job.began_at, self._agenda.now)

    def _has_another(self, job: OpenJob, place: int, index: int | None) -> bool:
        step = job.trace.shape.steps[place]
        attempts = step.attempts if step.items is None or index is None else step.items[index]
        return job.attempt(place, index) + 1 < len(attempts)
