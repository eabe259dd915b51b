"""Everything in one process: broker, reactor and workers, on a store that may be a file."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from warrener.domain import ids
from warrener.domain import job as jobs
from warrener.domain.errors import UnknownJob, UsageError
from warrener.domain.events import Error, JobEnded, JobSubmitted, Recorded
from warrener.domain.flow import Flow
from warrener.domain.messages import DEFAULT_QUEUE, SubmitJob
from warrener.domain.ports import Broker, Clock, EventStore, Outgoing
from warrener.domain.states import JOB_ENDED
from warrener.services.controller import Chance, Controller
from warrener.services.reactor import Reactor
from warrener.services.worker import Runner, Worker
from warrener.services.working_set import read_payload

INBOX = "warrener.results.0"
IDLE_SECONDS_MAX = 0.25
PROGRESS_SECONDS = 0.1


class Outcome(msgspec.Struct, frozen=True):
    """How a job ended; `steps` counts the steps of its whole tree by state."""

    job: UUID
    name: str
    version: int
    state: str
    result: Any
    error: Error | None
    steps: dict[str, int]
    elapsed_seconds: float


class Progress(msgspec.Struct, frozen=True):
    """How far a tree of jobs has come. `total` grows while jobs start others."""

    done: int
    total: int
    running: int
    ready: int
    retrying: int
    jobs: int


class Embedded:
    """Runs jobs in this process."""

    def __init__(
        self,
        store: EventStore,
        broker: Broker,
        runner: Runner,
        clock: Clock,
        chance: Chance,
        *,
        slots: int,
        queues: Iterable[str] = (DEFAULT_QUEUE,),
    ) -> None:
        """Wire reactor and worker to one broker; `queues` are those that the worker serves."""
        self._store = store
        self._clock = clock
        self._inbox = broker.channel()
        self.reactor = Reactor(
            Controller(store, lambda: Flow(lambda _: slots), chance, INBOX),
            store,
            broker.channel(),
            clock,
            inbox=INBOX,
        )
        self.worker = Worker(
            broker.channel(), runner, tuple(queues), slots, name="embedded", clock=clock
        )

    def submit(self, message: SubmitJob) -> UUID:
        """Submit a job; submitting the same key again gives the same job."""
        body = msgspec.json.encode(message)
        self._inbox.publish([Outgoing(INBOX, body, f"submit/{message.key}")])
        job = ids.job_id(message.key)
        batch = self.reactor.turn()
        if batch is not None and batch.refused:
            raise UsageError("\n".join(batch.refused))
        if job not in self.reactor.controller.memory.jobs:
            self.reactor.own([job])
        return job

    def resume(self, job: UUID) -> None:
        """Go on with a root job where the log stands."""
        first = next(iter(self._store.stream(job)), None)
        if first is None or not isinstance(first.event, JobSubmitted):
            raise UnknownJob(f"no job {job} in the store")
        if first.event.parent is not None:
            raise UsageError(
                f"job {job} was started by another: resume its root {first.event.root}"
            )
        self.reactor.own([job])

    def run(self, job: UUID, on_progress: Callable[[Progress], None] | None = None) -> Outcome:
        """Work until the job has ended."""
        reported = self._clock.now()
        while job in self.reactor.controller.memory.jobs:
            batch = self.reactor.turn()
            self.worker.turn(0.0 if batch is not None else self._idle_seconds())
            now = self._clock.now()
            if on_progress and (now - reported).total_seconds() >= PROGRESS_SECONDS:
                reported = now
                on_progress(self.progress(job))
        return outcome(self._store, job)

    def progress(self, root: UUID) -> Progress:
        """Return how far the tree of a root job has come."""
        controller = self.reactor.controller
        active = [a for a in controller.memory.jobs.values() if a.tree.root == root]
        steps = [s.state for s in controller.memory.steps.values()]
        return Progress(
            done=sum(a.job.ended_count() for a in active),
            total=active[0].tree.steps_used if active else 0,
            running=steps.count("released") + steps.count("running"),
            ready=sum(controller.flow.waiting().values()),
            retrying=steps.count("retrying"),
            jobs=len(active),
        )

    def close(self) -> None:
        """Stop the workers."""
        self.worker.close()

    def _idle_seconds(self) -> float:
        due = self.reactor.controller.next_due()
        if due is None:
            return IDLE_SECONDS_MAX
        return min(IDLE_SECONDS_MAX, max(0.0, (due - self._clock.now()).total_seconds()))


def outcome(store: EventStore, job: UUID) -> Outcome:
    """Return how a job ended, from the log."""
    events = list(store.stream(job))
    state = jobs.project(None, events)
    if state is None or not isinstance(events[0].event, JobSubmitted):
        raise UnknownJob(f"no job {job} in the store")
    last = events[-1].event
    if state.state not in JOB_ENDED or not isinstance(last, JobEnded):
        raise UsageError(f"job {job} has not ended: it is {state.state}")
    return Outcome(
        job=job,
        name=state.name,
        version=events[0].event.version,
        state=state.state,
        result=read_payload(state.result, store),
        error=state.error,
        steps=last.steps,
        elapsed_seconds=_seconds(events[0], events[-1].event.at),
    )


def _seconds(first: Recorded, end: datetime) -> float:
    return (end - first.event.at).total_seconds()
