"""What the flow does about a step that waits for its release: its policy, and starvation.

All of it is told by the log: what people set, who went out instead, and what the latest sample of
the flow named as open.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from functools import cached_property
from itertools import islice
from uuid import UUID

import msgspec

from warrener.domain import ids
from warrener.domain.control_events import FlowSampled, flow_settings
from warrener.domain.events import JobSubmitted, event_of
from warrener.domain.flow.orders import AGEING_SECONDS, ORDERS, Order
from warrener.domain.flow.settings import FlowSettings
from warrener.projections.flow import told_incident
from warrener.projections.flow_views import IncidentView, MeasureView
from warrener.projections.why.model import NEXT_MAX, lasting, moment
from warrener.projections.why.tales import JobTale, Tales
from warrener.projections.why.world import Out

INCIDENTS_MAX = 20  # that are looked at


class Throttle(msgspec.Struct, frozen=True):
    """What holds a stage back so that others do not starve."""

    says: str
    until: datetime | None


class Flowing:
    """What the flow does about the steps of one stage."""

    def __init__(self, tales: Tales, tale: JobTale, path: str, queue: str) -> None:
        """Take a step of the stage, and its queue."""
        self._past = tales.past
        self._job = tale.submitted
        self._step = ids.split_path(path)[0]
        self._queue = queue

    @cached_property
    def settings(self) -> FlowSettings:
        """Return what people have set."""
        return flow_settings(self._past.last(ids.FLOW_ID))

    @property
    def order(self) -> Order | None:
        """Return the order that steps are released in, None for one of somebody else."""
        return ORDERS.get(self.settings.policy)

    @property
    def policy(self) -> str:
        """Return the policy and what goes first by it, as the end of a sentence."""
        order, name = self.order, self.settings.policy
        return f"by the policy {name}{f' ({order.summary})' if order else ''}"

    def passes(self, out: Sequence[Out], since: datetime | None) -> bool:
        """Say whether since then only steps of a higher priority went out, and some did."""
        order = self.order
        if order is None or order.tier is None or since is None:
            return False
        later = [each for each in out if each.released_at >= since]
        jobs = list(dict.fromkeys(each.job for each in later))[:NEXT_MAX]
        own = self._job.priority
        return bool(jobs) and all(self._submitted(job)[1] > own for job in jobs)

    @property
    def by_age(self) -> str:
        """Return when a step of a lower priority is released all the same."""
        order = self.order
        if order is None or not order.ages:
            return ""
        return f", or its age: after {lasting(AGEING_SECONDS)} the oldest has a turn now and then"

    # --- starvation ------------------------------------------------------------------------------

    @cached_property
    def _named(self) -> list[IncidentView]:
        """Return the incidents of the queue that the latest sample names.

        They are open, or something is still done about them, or both are over since.
        """
        sampled = event_of(self._past.last(ids.FLOW_SAMPLES_ID), FlowSampled)
        incidents = () if sampled is None else sampled.incidents
        told = (told_incident(self._past.stream(each)) for each in incidents)
        return [
            view
            for view, _ in zip(told, range(INCIDENTS_MAX), strict=False)
            if view is not None and view.queue == self._queue
        ]

    def starves(self) -> str:
        """Return the incident that the stage is a victim of and what is done, "" without one."""
        for view in self._named:
            if view.closed_at is None and any(
                (each.job, each.step) == (self._job.name, self._step) for each in view.victims
            ):
                done = "; ".join(_told(each) for each in self._in_force(view))
                return (
                    f"it starves: incident {view.incident} of {moment(view.opened_at)},"
                    f" {view.diagnosis}; {done or 'nothing is done about it'}"
                )
        return ""

    def throttle(self, out: Sequence[Out]) -> Throttle | None:
        """Return what holds the stage back while so many orders for steps of its name are out."""
        for view in self._named:
            for each in self._in_force(view):
                measure = each.measure
                ours = (measure.job, measure.step) == (self._job.name, self._step)
                throttles = measure.kind == "throttle-producer" and ours
                if throttles and self._has(out, measure.amount):
                    says = (
                        f"its stage may have {measure.amount} orders out until"
                        f" {moment(each.until)}, so that others do not starve"
                        f" (incident {view.incident}, {view.diagnosis})"
                    )
                    return Throttle(says, each.until)
        return None

    def _in_force(self, view: IncidentView) -> Iterator[MeasureView]:
        for each in view.measures:
            until = each.until
            if each.state == "taken" and (until is None or until > self._past.now):
                yield each

    def _has(self, out: Iterable[Out], count: int) -> bool:
        """Say whether so many orders are out for jobs of the same name."""
        ours = (each for each in out if self._submitted(each.job)[0] == self._job.name)
        return len(list(islice(ours, count))) == count

    def _submitted(self, job: UUID) -> tuple[str, int]:
        """Return name and priority of a job."""
        event = event_of(next(iter(self._past.stream(job)), None), JobSubmitted)
        return ("", 0) if event is None else (event.name, event.priority)


def _told(view: MeasureView) -> str:
    """Return a measure as in a sentence."""
    measure = view.measure
    about = f"{measure.job}/{measure.step}" if measure.step else measure.queue
    return f"{measure.kind} of {about} until {moment(view.until)}"
