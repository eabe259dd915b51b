"""Everything in one process: broker, reactor and workers, on a store that may be a file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from uuid import UUID

import msgspec

from warrener.domain import ids
from warrener.domain.errors import UnknownJob, UsageError
from warrener.domain.events import JobSubmitted
from warrener.domain.flow.lanes import Flow
from warrener.domain.flow.orders import ORDERS, Order
from warrener.domain.messages import DEFAULT_QUEUE, Command, Steering, SubmitJob
from warrener.domain.ports import Broker, Clock, EventStore, Outgoing
from warrener.domain.topology import inbox_queue, results_queue
from warrener.services.controller import Controller
from warrener.services.logs import refuse_pruned
from warrener.services.outcomes import Outcome, outcome, so_far
from warrener.services.people import awaited
from warrener.services.reactor import Reactor
from warrener.services.turn import Chance
from warrener.services.worker import Runner, Worker

IDLE_SECONDS_MAX = 0.25
PROGRESS_SECONDS = 0.1


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
        orders: Mapping[str, Order] = ORDERS,
        watches: bool = False,
    ) -> None:
        """Wire reactor and worker to one broker; `queues` are those that the worker serves.

        `orders` are policies by name. With `watches` something is done about starvation. No samples
        are recorded: other runs may write the same log.
        """
        self._store = store
        self._clock = clock
        self._inbox = broker.channel()
        self.reactor = Reactor(
            Controller(
                store,
                lambda: Flow(lambda _: slots, orders=orders),
                chance,
                results_queue(),
                announces=False,
                bounds_intake=False,
                watches=watches,
                samples=False,
            ),
            store,
            broker.channel(),
            clock,
            inboxes=[results_queue(), inbox_queue()],
        )
        self.worker = Worker(
            broker.channel(), runner, tuple(queues), slots, name="embedded", clock=clock
        )

    def submit(self, message: SubmitJob) -> UUID:
        """Submit a job; submitting the same key again gives the same job.

        Raises `PrunedJob` if that was pruned: it is not started again.
        """
        job = ids.job_id(message.key)
        self._tell(message, f"submit/{message.key}")
        if job not in self.reactor.controller.memory.jobs:
            refuse_pruned(job, self._store.last(job))
            self.reactor.own([job])
        return job

    def steer(self, message: Steering, message_id: str) -> None:
        """Carry out a command; raises `UsageError` if it is refused."""
        self._tell(message, message_id)

    def _tell(self, message: Command, message_id: str) -> None:
        body = msgspec.json.encode(message)
        self._inbox.publish([Outgoing(inbox_queue(), body, message_id)])
        batch = self.reactor.turn()
        if batch is not None and batch.refused:
            raise UsageError("\n".join(refusal.reason for refusal in batch.refused))

    def turn(self) -> bool:
        """Do one turn of reactor and workers without waiting; say whether anything was to do."""
        batch = self.reactor.turn()
        return self.worker.turn(0.0) or batch is not None or not self.reactor.idle

    def resume(self, job: UUID) -> None:
        """Go on with a root job where the log stands."""
        first = next(iter(self._store.stream(job)), None)
        refuse_pruned(job, first)
        if first is None or not isinstance(first.event, JobSubmitted):
            raise UnknownJob(f"no job {job} in the store")
        if first.event.parent is not None:
            raise UsageError(
                f"job {job} was started by another: resume its root {first.event.root}"
            )
        self.reactor.own([job])

    def run(
        self,
        job: UUID,
        on_progress: Callable[[Progress], None] | None = None,
        *,
        wait_for_user: bool = False,
    ) -> Outcome:
        """Work until the job has ended, or cannot go on without people.

        With `wait_for_user` their answers are waited for: they come through the store.
        """
        reported = self._clock.now()
        controller = self.reactor.controller
        while job in controller.memory.jobs:
            batch = self.reactor.turn()
            idle = batch is None and self.reactor.idle
            reports = self.worker.turn(self._idle_seconds() if idle else 0.0)
            now = self._clock.now()
            if on_progress and (now - reported).total_seconds() >= PROGRESS_SECONDS:
                reported = now
                on_progress(self.progress(job))
            if idle and not reports:
                self.reactor.look_at_log()
                waiting = () if wait_for_user else awaited(controller, job)
                if waiting:
                    return so_far(self._store, job, waiting)
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
        now = self._clock.now()
        due = self.reactor.controller.next_due(now)
        if due is None:
            return IDLE_SECONDS_MAX
        return min(IDLE_SECONDS_MAX, max(0.0, (due - now).total_seconds()))
