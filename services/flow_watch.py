"""Looking after the flow: samples for its control, and what follows from what that decides."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING
from uuid import UUID

from msgspec.structs import replace

from warrener.domain import ids
from warrener.domain.control_events import FlowSampled, MeasureProposed
from warrener.domain.events import event_of
from warrener.domain.fleet import Fleet
from warrener.domain.flow.alleviation import REMEDIES
from warrener.domain.flow.control import FlowControl, Recording
from warrener.domain.flow.figures import FlowSample, QueueSample
from warrener.domain.flow.lanes import Flow
from warrener.domain.flow.ready import Ready
from warrener.services import user_actions
from warrener.services.release import still_ready
from warrener.services.requests import load_request
from warrener.services.working_set import WorkingSet

if TYPE_CHECKING:
    from warrener.services.pace import Pace
    from warrener.services.turn import Turn

_NO_MORE = "nothing needs to be done about it any more"


def load(control: FlowControl, memory: WorkingSet) -> None:
    """Take the incidents that are open, with their measures and requests, from the log."""
    sampled = event_of(memory.store.last(ids.FLOW_SAMPLES_ID), FlowSampled)
    if sampled is None:
        return
    take_in(control, memory, sampled.incidents)
    control.evolve(ids.FLOW_SAMPLES_ID, sampled)
    for request_id, incident in control.incidents.requests().items():
        request = load_request(memory.store, request_id)
        if request is not None:
            memory.requests.add(request)
            memory.join(request, incident, None)


def take_in(control: FlowControl, memory: WorkingSet, incidents: Iterable[UUID]) -> None:
    """Take these incidents as the log has them; what was never committed is none."""
    for incident in incidents:
        for recorded in memory.store.stream(incident):
            control.evolve(incident, recorded.event)


def look(turn: Turn, fleet: Fleet, pace: Pace) -> bool:
    """Look at the flow if it is time; say whether other measures are in force now."""
    now = turn.batch.now
    if not turn.control.is_due(now):
        return False
    turn.cause = "flow"
    before = turn.flow.measures
    sample = sampled(turn.memory, turn.flow, fleet, now)
    commit_seconds, confirm_seconds, unconfirmed = pace.take(now)
    sample = replace(
        sample,
        commit_seconds=commit_seconds,
        confirm_seconds=confirm_seconds,
        unconfirmed=unconfirmed,
    )
    _decide(turn, turn.control.tick(sample, now))
    _withdraw_requests(turn)
    return turn.flow.measures is not before


def _decide(turn: Turn, recordings: Sequence[Recording]) -> None:
    """Record what flow control has decided, and ask people what it wants to know."""
    turn.record_control(recordings)
    for stream, event in recordings:
        if isinstance(event, MeasureProposed) and event.request is not None:
            says = REMEDIES[event.measure.kind].says
            user_actions.ask_about_measure(turn, stream, event, says)


def _withdraw_requests(turn: Turn) -> None:
    """Withdraw what nobody has to answer any more."""
    wanted = turn.control.incidents.requests()
    for request in list(turn.memory.requests.open.values()):
        if request.asked.job is None and request.id not in wanted:
            user_actions.let_go(turn, request, _NO_MORE)


def sampled(memory: WorkingSet, flow: Flow, fleet: Fleet, now: datetime) -> FlowSample:
    """Return the figures of a flow, with who serves its queues."""
    sample = flow.sample(now, lambda ready: _is_ready(memory, ready))
    queues = tuple(_served(queue, fleet) for queue in sample.queues)
    return replace(sample, queues=queues)


def _is_ready(memory: WorkingSet, ready: Ready) -> bool:
    active = memory.jobs.get(ready.job)
    if active is None or not still_ready(active, ready):
        return False
    step = memory.steps.get(ids.step_id(ready.job, ready.path))
    return step is None or step.state in ("ready", "retrying")


def _served(sample: QueueSample, fleet: Fleet) -> QueueSample:
    """Return a sample of a queue with who serves it; in one process nobody says so."""
    states = [m.state for m in fleet.members.values() if sample.queue in m.state.queues]
    if not fleet.members:
        busy = min(sample.out, sample.slots)
        return replace(sample, workers=min(sample.slots, 1), busy=busy)
    known = {endpoint for state in states for endpoint in state.endpoints}
    asked = {each.endpoint for each in sample.stages if each.ready or each.out}
    return replace(
        sample,
        workers=len(states),
        all_slots=sum(state.slots for state in states),
        busy=sum(state.busy for state in states),
        unknown=tuple(sorted(asked - known - {""})) if states else (),
    )
