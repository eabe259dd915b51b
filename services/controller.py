"""The controller: messages, due timers and the time go in, events and orders come out.

It never reads a clock, a random source, a socket or a file of its own; it reads the log through
the port it was given, and only for what it does not hold in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from warrener.domain import ids
from warrener.domain.caps import JOBS
from warrener.domain.control_events import FleetChanged, FlowChanged
from warrener.domain.errors import Busy, StoredDataError, UnknownJob, WarrenerError
from warrener.domain.events import Error, event_of
from warrener.domain.fleet import Fleet
from warrener.domain.flow.control import FlowControl
from warrener.domain.flow.incident_state import Incidents
from warrener.domain.flow.lanes import Flow
from warrener.domain.job_state import Job
from warrener.domain.messages import (
    Beat,
    Command,
    CommandReply,
    InboxMessage,
    Steering,
    StepReport,
    SubmitJob,
    WaitJob,
    WorkerState,
)
from warrener.domain.ports import EventStore, Notice, Outgoing, Positioned
from warrener.services import (
    attempts,
    children,
    commands,
    endings,
    flow_watch,
    intake,
    policies,
    user_actions,
)
from warrener.services.batch import Batch, Refusal
from warrener.services.outbox import Outbox
from warrener.services.pace import Pace
from warrener.services.recovery import Recovery
from warrener.services.release import release_all
from warrener.services.time_lines import unmarked
from warrener.services.turn import Chance, Turn
from warrener.services.waiters import Waiters, reply
from warrener.services.working_set import WorkingSet


def _nothing() -> None:
    """Do nothing."""


class Controller:
    """Decides for the jobs it has been given."""

    turns: type[Turn] = Turn  # what a batch is decided in

    def __init__(
        self,
        store: EventStore,
        new_flow: Callable[[], Flow],
        chance: Chance,
        reply_to: str,
        *,
        fleet: Fleet | None = None,
        announces: bool = True,
        shares_limits: bool = False,
        watches: bool = False,
        samples: bool = True,
        bounds_intake: bool = True,
        while_loading: Callable[[], None] = _nothing,
        new_memory: Callable[..., WorkingSet] = WorkingSet,
    ) -> None:
        """Begin with no job in memory; `reply_to` is the queue that workers report to.

        `fleet` hears what workers announce; without `announces` no events are published; with
        `shares_limits` limits let out only what they are told to, as `services.limit_balance` does.
        With `watches` it looks at the flow, and does something about starvation; without `samples`
        it records none, and leaves incidents of others alone, as where several write one log.
        Without `bounds_intake` every job is taken and starts at once.
        `while_loading` is called after each tree that is loaded, since that may take long.
        `new_memory` makes the working set, where time is not to bring things about by itself.
        """
        self._new_memory = new_memory
        self._while_loading = while_loading
        self._store = store
        self._new_flow = new_flow
        self._chance = chance
        self._reply_to = reply_to
        self._announces = announces
        self._watches = watches
        self._samples = samples
        self._incidents = Incidents()
        self.pace = Pace()  # as the reactor measures it
        self._bounds = {"shares_limits": shares_limits, "bounds_intake": bounds_intake}
        self._epoch = store.epoch()
        self.fleet = fleet or Fleet()
        self.waiters = Waiters(store)
        self.ignored = 0  # reports and beats that were late, doubled or forged
        self.forget()

    def forget(self) -> None:
        """Throw away everything in memory, as after a conflict; `recover` loads it again."""
        self.flow = self._new_flow()
        self.memory = self._new_memory(self._store, **self._bounds)
        change = event_of(self._store.last(ids.FLOW_ID), FlowChanged)
        if change is not None:
            self.flow.use(change.settings)
        policies.tell_if_unknown(self.flow.settings.policy, self.flow.orders)
        self.control = FlowControl(
            self.flow, self._reply_to, movable=self.fleet.movable, samples=self._samples
        )
        if self._samples:
            flow_watch.load(self.control, self.memory)
        else:  # no sample in the log names those that are open
            flow_watch.take_in(self.control, self.memory, self._incidents.known)
        self._incidents = self.control.incidents
        self.outbox = Outbox(
            self.memory,
            self._store,
            self._reply_to,
            announces=self._announces,
            epoch=self._epoch,
        )
        self.fleet.changed = bool(self.fleet.members)  # perhaps that was to be recorded just now

    def recover(self, roots: Iterable[UUID], now: datetime) -> dict[UUID, str]:
        """Load the trees of these roots from the log; return those that are unreadable, and why."""
        recovery = Recovery(self.memory, self.flow, now)
        unreadable: dict[UUID, str] = {}
        for root in roots:
            try:
                recovery.load_tree(root)
            except (StoredDataError, UnknownJob) as error:
                self.memory.drop_tree(root)
                unreadable[root] = str(error)
            self._while_loading()
        intake.reserve(self.memory, self.flow, now)
        return unreadable

    def next_due(self, now: datetime) -> datetime | None:
        """Return when the next timer is due; now, if ready steps may go out, as after a start."""
        work = self.next_work(now)
        if work == now or not self._watches:
            return work
        look = self.control.next_due(now)
        return min((due for due in (work, look) if due is not None), default=None)

    def next_work(self, now: datetime) -> datetime | None:
        """Return when something is due about jobs and steps, apart from looks at the flow."""
        if self.memory.orphans or self.flow.can_take() or self.memory.intake.may_go_on(self.flow):
            return now
        dues = (self.memory.next_due(), self.memory.limits.next_due(now, self._has_room))
        return min((due for due in dues if due is not None), default=None)

    def _has_room(self, queue: str) -> bool:
        return self.memory.intake.lets_in(self.flow) if queue == JOBS else self.flow.has_room(queue)

    def handle(self, messages: Sequence[tuple[str, InboxMessage]], now: datetime) -> Batch:
        """Decide all that follows from messages, each with its id, and from due timers."""
        batch = Batch(now)
        turn = self.turns(self.memory, self.control, batch, self._chance)
        turn.cause = "recovery"
        user_actions.take_in_orphans(turn)
        turn.cause = "time"
        for message_id, message in messages:
            self._take(turn, message_id, message)
            turn.drain()
        self.fleet.expire(now)
        for about in self.memory.take_due(now):
            self._take_due(turn, about)
            turn.drain()
        turn.begin_release()
        release_all(turn)
        if self._watches and flow_watch.look(turn, self.fleet, self.pace):
            turn.begin_release()
            release_all(turn)
        turn.finish()
        self._record_fleet(batch)
        self.ignored += batch.ignored
        return batch

    def outgoing(self, batch: Batch, position: int) -> list[Outgoing | Notice]:
        """Return what must be published once the batch is committed up to `position`."""
        events = batch.events
        first = position - len(events) + 1
        positioned = [Positioned(first + place, event) for place, event in enumerate(events)]

        def job_of(job: UUID) -> Job | None:
            active = self.memory.jobs.get(job)
            return batch.left.get(job) if active is None else active.job

        follows = self.outbox.follows(positioned, job_of, batch.blobs)
        return [*follows, *batch.replies, *self.waiters.answer(batch.ended)]

    # --- messages --------------------------------------------------------------------------------

    def _take(self, turn: Turn, message_id: str, message: InboxMessage) -> None:
        match message:
            case StepReport():
                turn.cause = f"report:{message_id}"
                attempts.take_report(turn, unmarked(message, self._epoch))
            case Beat():
                turn.cause = f"beat:{message_id}"
                attempts.take_beat(turn, unmarked(message, self._epoch))
            case WorkerState():
                self.fleet.hear(message, turn.batch.now)
            case Command():
                turn.cause = f"command:{message_id}"
                self._command(turn, message_id, message)

    def _command(self, turn: Turn, message_id: str, message: Command) -> None:
        """Carry out a command, and answer it if it asks for that."""
        job = ids.job_id(message.key) if isinstance(message, SubmitJob) else None
        job = job or getattr(message, "job", None)
        try:
            if isinstance(message, SubmitJob):
                children.submit(turn, message)
            elif isinstance(message, WaitJob):
                open_yet = message.job in self.memory.jobs or message.job in turn.batch.left
                self.waiters.add(turn.batch, message, running=open_yet)
                return
            elif isinstance(message, Steering):
                commands.steer(turn, message, message_id)
        except Busy as busy:
            reason = refusal(message, f"busy: {busy}")
            turn.batch.refused.append(Refusal(message_id, reason))
            said = Error(code="busy", message=reason)
            after = busy.retry_after
            answer = CommandReply(command=message_id, job=job, error=said, retry_after=after)
            reply(turn.batch, message, answer)
        except (WarrenerError, msgspec.MsgspecError) as error:
            reason = refusal(message, str(error))
            turn.batch.refused.append(Refusal(message_id, reason))
            said = Error(code="refused", message=reason)
            reply(turn.batch, message, CommandReply(command=message_id, job=job, error=said))
        else:
            reply(turn.batch, message, CommandReply(command=message_id, job=job))

    # --- time ------------------------------------------------------------------------------------

    def _take_due(self, turn: Turn, about: UUID) -> None:
        """Do what time alone brings about a step, a job or a request."""
        memory = self.memory
        step = memory.steps.get(about)
        if step is not None:
            attempts.take_due(turn, step)
        elif about in memory.jobs:
            turn.cause = f"timer:{about}/deadline"
            endings.pass_deadline(turn, memory.jobs[about])
        elif about in memory.requests.open:
            turn.cause = f"timer:{about}/reminder"
            user_actions.remind(turn, memory.requests.open[about])

    def _record_fleet(self, batch: Batch) -> None:
        """Keep in the log who serves which queue, so that it can be told later, too."""
        if not self.fleet.changed:
            return
        self.fleet.changed = False
        slots, endpoints = self.fleet.served()
        if (slots, endpoints) != self.memory.fleet_served:
            self.memory.fleet_served = slots, endpoints
            event = FleetChanged(at=batch.now, cause="fleet", slots=slots, endpoints=endpoints)
            batch.append(ids.FLEET_ID, self.memory.next_version(ids.FLEET_ID), event)


def refusal(message: Command, reason: str) -> str:
    """Return why a command was not carried out, as its sender reads it."""
    if isinstance(message, SubmitJob):
        return f"cannot submit: {reason}"
    if isinstance(message, WaitJob):
        return f"cannot wait: {reason}"
    return commands.refusal(message, reason)
