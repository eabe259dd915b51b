"""The outbox: what must be published follows from committed events alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from warrener.domain import ids
from warrener.domain.control_events import (
    StarvationEvent,
    UserActionAnswered,
    UserActionEvent,
    UserActionReminded,
    UserActionRequested,
    UserActionWithdrawn,
)
from warrener.domain.definition.model import Timeout
from warrener.domain.events import (
    Event,
    JobCancelled,
    JobFailed,
    JobOverdue,
    JobPaused,
    JobRerun,
    JobResumed,
    JobSucceeded,
    Recorded,
    event_of,
)
from warrener.domain.job import project
from warrener.domain.job_state import Job
from warrener.domain.messages import CancelStep, EventNotice, RunStep, UserActionNotice
from warrener.domain.ports import EventStore, Notice, Outgoing, Positioned
from warrener.domain.step import OUT
from warrener.domain.step_events import (
    StepCancelled,
    StepEvent,
    StepFailed,
    StepReleased,
    StepRetryScheduled,
)
from warrener.domain.timers import TIMEOUT_CODES
from warrener.domain.topology import CONTROL, EVENTS, orders_queue
from warrener.domain.trace_context import traceparent
from warrener.services import flow_notices
from warrener.services.active_job import ActiveJob, payload_bytes
from warrener.services.time_lines import marked
from warrener.services.working_set import WorkingSet

CATCH_UP_EVENTS = 1_000
BEATS_IN_TIMEOUT = 3
BEAT_SECONDS_MIN = 0.05
KEYS: dict[type[Event], str] = {
    JobSucceeded: "job.succeeded",
    JobFailed: "job.failed",
    JobCancelled: "job.cancelled",
    JobPaused: "job.paused",
    JobResumed: "job.resumed",
    JobOverdue: "job.overdue",
    JobRerun: "job.rerun",
    StepFailed: "step.failed",
    StepRetryScheduled: "step.retrying",
    UserActionRequested: "user_action.requested",
    UserActionReminded: "user_action.reminded",
    UserActionAnswered: "user_action.answered",
    UserActionWithdrawn: "user_action.withdrawn",
    **flow_notices.KEYS,
}
_ENCODE = msgspec.json.Encoder().encode

JobOf = Callable[[UUID], Job | None]


class Outbox:
    """Turns events into orders for workers, cancellations, and notices for everybody."""

    def __init__(
        self,
        memory: WorkingSet,
        store: EventStore,
        reply_to: str,
        *,
        announces: bool = True,
        epoch: int = 0,
    ) -> None:
        """Orders ask workers to report to the queue `reply_to`, and are marked with the epoch.

        Without `announces` nothing goes to the events exchange.
        """
        self._epoch = epoch
        self._memory = memory
        self._store = store
        self._reply_to = reply_to
        self._announces = announces

    def follows(
        self,
        events: Iterable[Positioned],
        job_of: JobOf,
        fresh: Mapping[str, bytes] | None = None,
    ) -> list[Outgoing | Notice]:
        """Return what follows from events just committed; `fresh` has their batch's blobs.

        `job_of` gives the jobs of these events, those that have ended by now included.
        """
        return [
            message for positioned in events for message in self._follow(positioned, job_of, fresh)
        ]

    def catch_up(self, after: int) -> list[Outgoing | Notice]:
        """Return what follows from the log after a position, as far as it is still of use."""
        job_of = _Jobs(self._memory, self._store).get
        return [
            message
            for positioned in self._log(after)
            if self._is_open(positioned.recorded)
            for message in self._follow(positioned, job_of, None)
        ]

    def open_orders(self) -> list[Outgoing | Notice]:
        """Return the orders of all attempts that are out, from the log."""
        found: list[Outgoing | Notice] = []
        for step in self._memory.steps.values():
            if step.state in OUT:
                events = [recorded.event for recorded in self._store.stream(step.id)]
                released = [event for event in events if isinstance(event, StepReleased)]
                found.append(self._order(step.id, released[-1], None))
        return found

    def _log(self, after: int) -> Iterator[Positioned]:
        while batch := self._store.read(after, CATCH_UP_EVENTS):
            yield from batch
            after = batch[-1].position

    def _is_open(self, recorded: Recorded) -> bool:
        """Say whether an event from the log is no order, or one whose attempt is still out."""
        event = recorded.event
        if not isinstance(event, StepReleased):
            return True
        step = self._memory.steps.get(recorded.originator_id)
        return step is not None and step.state in OUT and step.attempt == event.attempt

    def _follow(
        self, positioned: Positioned, job_of: JobOf, fresh: Mapping[str, bytes] | None
    ) -> Sequence[Outgoing | Notice]:
        stream, event = positioned.recorded.originator_id, positioned.recorded.event
        if isinstance(event, StepReleased):
            return (self._order(stream, event, fresh),)
        found: list[Outgoing | Notice] = []
        given_up = _given_up(event)
        if given_up is not None and isinstance(event, StepEvent):
            found.append(cancellation(event.job, stream, given_up))
        found += flow_notices.advice(positioned)
        if type(event) in KEYS and self._announces:
            notice = self._notice(positioned, job_of)
            found += () if notice is None else (notice,)
        return found

    def _notice(self, positioned: Positioned, job_of: JobOf) -> Notice | None:
        stream, event = positioned.recorded.originator_id, positioned.recorded.event
        if isinstance(event, StarvationEvent):
            return flow_notices.starvation_notice(positioned, self._store)
        asked = self._asked(stream) if isinstance(event, UserActionEvent) else None
        about = _job_id(stream, event, asked)
        if about is None:  # the service itself asks
            return None
        job = job_of(about)
        if job is None and asked is not None:  # who asked first has ended, others still wait
            job = project(None, self._store.stream(about))
        if job is None:
            return None
        key = KEYS[type(event)]
        message = EventNotice(
            event=key,
            position=positioned.position,
            at=event.at,
            job=job.id,
            root=job.root or job.id,
            name=job.name,
            path=asked.path if asked else getattr(event, "path", None),
            labels=job.labels,
            error=getattr(event, "error", None),
            user_action=None if asked is None else _action_notice(stream, event, asked),
        )
        return Notice(EVENTS, key, _ENCODE(message), f"event/{positioned.position}")

    def _deadline(self, active: ActiveJob, path: str) -> datetime | None:
        """Return when a step must be done; clean-up and compensation have no such time."""
        root = self._memory.jobs.get(active.tree.root)
        if root is None or active.plan.at(path).phase != "main":
            return None
        return root.job.deadline

    def _asked(self, request: UUID) -> UserActionRequested | None:
        return event_of(next(iter(self._store.stream(request)), None), UserActionRequested)

    def _order(
        self, step: UUID, event: StepReleased, fresh: Mapping[str, bytes] | None
    ) -> Outgoing:
        """Return the order for one release; the same release always gives the same order."""
        active = self._memory.jobs.get(event.job)
        known = self._memory.steps.get(step)
        context: dict[str, Any] = {}
        deadline = None
        trace = ""
        if active is not None:
            deadline = self._deadline(active, event.path)
            trace = traceparent(active.tree.root, step, event.attempt)
            context = {
                "root": str(active.tree.root),
                "labels": dict(active.job.labels),
                "traceparent": trace,
            }
        if known is not None and known.answer is not None:
            answer = payload_bytes(known.answer, self._store, fresh)
            context["answer"] = msgspec.json.decode(answer)
        timeout = None
        if active is not None:
            timeout = active.plan.at(event.path).definition.timeout
        message = RunStep(
            job=event.job,
            step=step,
            path=event.path,
            endpoint=event.endpoint,
            attempt=event.attempt,
            token=marked(event.token, self._epoch),
            args=msgspec.Raw(payload_bytes(event.args, self._store, fresh)),
            reply_to=self._reply_to,
            deadline=deadline,
            beat_seconds=beat_seconds(timeout),
            context=context,
        )
        name = ids.message_id(step, event.attempt, "run")
        return Outgoing(orders_queue(event.queue), _ENCODE(message), name, trace)


class _Jobs:
    """Jobs of events that are caught up with: from memory, or as the log has them."""

    def __init__(self, memory: WorkingSet, store: EventStore) -> None:
        self._memory = memory
        self._store = store
        self._known: dict[UUID, Job | None] = {}

    def get(self, job: UUID) -> Job | None:
        active = self._memory.jobs.get(job)
        if active is not None:
            return active.job
        if job not in self._known:
            self._known[job] = project(None, self._store.stream(job))
        return self._known[job]


def beat_seconds(timeout: Timeout | None) -> float | None:
    """Return how often a worker must say that it is alive for these timeouts to be told in time."""
    if timeout is None:
        return None
    bounds = [each for each in (timeout.queue, timeout.run, timeout.beat) if each is not None]
    return max(min(bounds) / BEATS_IN_TIMEOUT, BEAT_SECONDS_MIN) if bounds else None


def _given_up(event: Event) -> int | None:
    """Return the attempt that a worker may still have though nobody waits for it."""
    if isinstance(event, StepCancelled):
        return event.attempt
    if isinstance(event, StepFailed | StepRetryScheduled) and event.error.code in TIMEOUT_CODES:
        return event.attempt
    return None


def cancellation(job: UUID, step: UUID, attempt: int) -> Notice:
    """Return what tells the worker that has an attempt that nobody waits for it."""
    message = CancelStep(job=job, step=step, attempt=attempt)
    name = ids.message_id(step, attempt, "cancel")
    return Notice(CONTROL, "step.cancel", _ENCODE(message), name)


def _action_notice(request: UUID, event: Event, asked: UserActionRequested) -> UserActionNotice:
    return UserActionNotice(
        request=request,
        action=asked.action,
        cause=asked.subject,
        message=asked.message,
        reminder=event.number if isinstance(event, UserActionReminded) else 0,
    )


def _job_id(stream: UUID, event: Event, asked: UserActionRequested | None) -> UUID | None:
    """Return the job that an event is about, if any; `asked` is the request of a user action."""
    if isinstance(event, StepEvent):
        return event.job
    return stream if asked is None else asked.job
