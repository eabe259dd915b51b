"""What can be done about starvation: the measures that fit a diagnosis, the mildest first.

Limits are the will of people: no measure is against them. A measure is worked out from a sample,
and is in force as long as it stands in `Measures`, which are put together anew at every change.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final

import msgspec

from warrener.domain.flow.detection import Finding
from warrener.domain.flow.figures import FlowSample, QueueSample, StageSample
from warrener.domain.flow.incident_state import Incident, MeasureKey, key_of
from warrener.domain.flow.incidents import Diagnosis, Measure, MeasureKind, Victim
from warrener.domain.flow.ready import Stage
from warrener.domain.flow.settings import Measures
from warrener.domain.messages import WorkerState

FLOORS_SHARE_MAX: Final = 0.5  # of a queue's window may be kept for stages with a floor
THROTTLE_SHARE: Final = 0.25  # of a queue's slots are left to a stage that is throttled
MOVED_SHARE: Final = 0.5  # of the workers that could be moved are
MOVED_MAX: Final = 8  # workers at once
GRACE_SECONDS_MAX: Final = 600.0
STUCK: Final = frozenset({"no-worker", "store-or-broker-slow"})  # orders may be out for nobody
NAMES: Final = (
    "producer",
    "slow_stage",
    "failing_stage",
)  # in evidence: `job/step` of who takes the slots


class Situation(msgspec.Struct, frozen=True):
    """An incident that something is to be done about. `others` are all measures in force.

    `movable` are the workers that do not serve the queue but could.
    """

    incident: Incident
    found: Finding
    sample: FlowSample
    others: Sequence[Measure] = ()
    movable: Sequence[WorkerState] = ()

    @property
    def queue(self) -> QueueSample:
        """Return the sample of the queue."""
        return queue_of(self.sample, self.incident.queue)

    def victims(self) -> list[Victim]:
        """Return the victims, who waits longest first."""
        return sorted(self.found.victims, key=lambda victim: -victim.oldest_wait)


class Remedy(msgspec.Struct, frozen=True):
    """A kind of measure.

    `propose` works it out, None if it cannot help here. It is withdrawn when the waits of the
    victims have not fallen after `grace_seconds`, and ends `linger_seconds` after the incident, or
    after `lasts_seconds` in any case. What `costs_nothing` stays while its queue has others.
    """

    kind: MeasureKind
    fits: frozenset[Diagnosis]
    propose: Callable[[Situation], Measure | None]
    apply: Callable[[Measures, Measure], None]
    says: str
    grace_seconds: float = 30.0
    linger_seconds: float = 60.0
    lasts_seconds: float = 600.0
    costs_nothing: bool = False


def queue_of(sample: FlowSample, queue: str) -> QueueSample:
    """Return the sample of a queue, an empty one if there is none."""
    found = (each for each in sample.queues if each.queue == queue)
    return next(found, QueueSample(queue=queue))


def stage_of(measure: Measure) -> Stage:
    """Return the stage that a measure is about."""
    return Stage(measure.queue, measure.job, measure.step)


def fitting(
    situation: Situation, remedies: Iterable[Remedy], named: set[MeasureKey]
) -> Iterable[Measure]:
    """Yield the measures that fit a situation, the mildest first; none that is `named` already."""
    for remedy in remedies:
        if situation.incident.diagnosis in remedy.fits:
            measure = remedy.propose(situation)
            if measure is not None and key_of(measure) not in named:
                yield measure


def put_together(measures: Iterable[Measure]) -> Measures:
    """Return what the flow obeys while these measures are in force."""
    found = Measures()
    for measure in measures:
        REMEDIES[measure.kind].apply(found, measure)
    return found


def grace_seconds(measure: Measure, sample: FlowSample) -> float:
    """Return how long a measure needs before it can be seen whether it helps.

    What runs when it is taken has to end first.
    """
    stages = queue_of(sample, measure.queue).stages
    running = max((each.service_seconds or 0.0 for each in stages if each.out), default=0.0)
    return min(REMEDIES[measure.kind].grace_seconds + running, GRACE_SECONDS_MAX)


def victims_wait(
    incident: Incident, measure: Measure, sample: FlowSample, found: Finding | None
) -> float:
    """Return how long those wait whom a measure is to help: in each stage the longest, on average.

    Of orders that are out and reach nobody only the detector knows for how long they wait.
    """
    about = {(victim.job, victim.step) for victim in incident.victims}
    if (measure.job, measure.step) in about:  # and no other one of them
        about = {(measure.job, measure.step)}
    stuck: dict[tuple[str, str], float] = {}
    if found is not None and incident.diagnosis in STUCK:
        stuck = {(victim.job, victim.step): victim.oldest_wait for victim in found.victims}
    waits = dict.fromkeys(about, 0.0)
    for each in queue_of(sample, incident.queue).stages:
        name = (each.job, each.step)
        if name in about:
            lost = stuck.get(name, 0.0) if each.out and not each.ready else 0.0
            waits[name] = max(each.oldest_wait, lost)
    return sum(waits.values()) / max(1, len(waits))


# --- each kind -----------------------------------------------------------------------------------


def _drain(situation: Situation) -> Measure | None:
    queue = situation.queue
    if len({each.remaining for each in queue.stages if each.ready or each.out}) < 2:
        return None  # all are as near to the end of their jobs: no order would change
    return Measure(kind="drain-downstream", queue=queue.queue)


def _put_drain(measures: Measures, measure: Measure) -> None:
    measures.drained.add(measure.queue)


def _throttle(situation: Situation) -> Measure | None:
    producer = _producer(situation)
    if producer is None or producer.out < 2:
        return None
    amount = max(1, min(int(situation.queue.slots * THROTTLE_SHARE), producer.out - 1))
    return _about("throttle-producer", situation, producer, amount)


def _put_throttle(measures: Measures, measure: Measure) -> None:
    stage, amount = stage_of(measure), max(1, measure.amount)
    measures.throttled[stage] = min(amount, measures.throttled.get(stage, amount))


def _floor(situation: Situation) -> Measure | None:
    queue, others = situation.queue, situation.others
    kept = {
        stage_of(each): each.amount
        for each in others
        if each.kind == "reserve-floor" and each.queue == queue.queue
    }
    room = int(queue.window * FLOORS_SHARE_MAX) - sum(kept.values())
    for victim in situation.victims():
        if Stage(queue.queue, victim.job, victim.step) not in kept:
            fair = max(1, queue.slots // (2 * len(situation.incident.victims)))
            return _about("reserve-floor", situation, victim, min(room, fair)) if room > 0 else None
    return None


def _put_floor(measures: Measures, measure: Measure) -> None:
    stage = stage_of(measure)
    measures.floors[stage] = max(measure.amount, measures.floors.get(stage, 0))


def _boost(situation: Situation) -> Measure | None:
    victims = situation.victims()
    return _about("boost-aged", situation, victims[0], 0) if victims else None


def _put_boost(measures: Measures, measure: Measure) -> None:
    measures.boosted.add(stage_of(measure))


def _hold_intake(situation: Situation) -> Measure | None:
    return Measure(kind="hold-intake", queue=situation.incident.queue)


def _put_hold_intake(measures: Measures, _: Measure) -> None:
    measures.intake_held = True


def _move(situation: Situation) -> Measure | None:
    """Move workers whose own queues have more slots than work, but the last one of none."""
    moved = {name for each in situation.others for name in each.workers}
    wanted = _unknown(situation)
    spare: list[str] = []
    left = {each.queue: each.workers for each in situation.sample.queues}
    able = [each for each in situation.movable if each.worker not in moved]
    for worker in sorted(able, key=lambda each: (each.busy, each.worker)):
        knows = not wanted or not wanted.isdisjoint(worker.endpoints)
        if knows and all(_can_spare(situation.sample, queue, left) for queue in worker.queues):
            spare.append(worker.worker)
            left.update({queue: left.get(queue, 1) - 1 for queue in worker.queues})
    count = min(MOVED_MAX, max(1, int(len(able) * MOVED_SHARE)), len(spare))
    if not count:
        return None
    workers = tuple(sorted(spare[:count]))
    return Measure(kind="move-workers", queue=situation.queue.queue, amount=count, workers=workers)


def _put_move(_: Measures, __: Measure) -> None:
    """Workers obey by themselves: they are told when it is taken and when it ends."""


def _can_spare(sample: FlowSample, queue: str, left: dict[str, int]) -> bool:
    found = queue_of(sample, queue)
    if queue not in left:
        return True  # nothing was ever sent there
    waits = any(each.ready for each in found.stages)
    return not waits and (left[queue] > 1 or not found.out)


def _unknown(situation: Situation) -> set[str]:
    """Return the endpoints of the victims, if no worker of the queue knows them."""
    about = {(victim.job, victim.step) for victim in situation.incident.victims}
    of_victims = {e.endpoint for e in situation.queue.stages if (e.job, e.step) in about}
    return of_victims & set(situation.queue.unknown)


def _producer(situation: Situation) -> StageSample | None:
    """Return the stage that takes the slots: as the evidence says, or who has most of them."""
    stages = {f"{each.job}/{each.step}": each for each in situation.queue.stages}
    for name in NAMES:
        found = stages.get(str(situation.found.evidence.get(name, "")))
        if found is not None:
            return found
    about = {(victim.job, victim.step) for victim in situation.incident.victims}
    rest = [each for each in stages.values() if (each.job, each.step) not in about]
    return max(rest, key=lambda each: (each.running, each.out, each.remaining), default=None)


def _about(
    kind: MeasureKind, situation: Situation, stage: StageSample | Victim, amount: int
) -> Measure:
    queue = situation.incident.queue
    return Measure(kind=kind, queue=queue, job=stage.job, step=stage.step, amount=amount)


_ALL: Final = (
    Remedy(
        kind="drain-downstream",
        fits=frozenset({"upstream-flood"}),
        propose=_drain,
        apply=_put_drain,
        says="let the steps nearest to the end of their jobs go first",
        linger_seconds=120.0,
        costs_nothing=True,
    ),
    Remedy(
        kind="boost-aged",
        fits=frozenset({"priority"}),
        propose=_boost,
        apply=_put_boost,
        says="give every second turn to who waits longest",
    ),
    Remedy(
        kind="reserve-floor",
        fits=frozenset({"upstream-flood", "priority", "slow-step", "poison-loop"}),
        propose=_floor,
        apply=_put_floor,
        says="keep slots for the steps that wait",
    ),
    Remedy(
        kind="throttle-producer",
        fits=frozenset({"upstream-flood", "slow-step", "poison-loop"}),
        propose=_throttle,
        apply=_put_throttle,
        says="let fewer orders out of the step that takes the slots",
        linger_seconds=30.0,
    ),
    Remedy(
        kind="move-workers",
        fits=frozenset({"no-worker", "too-few-workers"}),
        propose=_move,
        apply=_put_move,
        says="have workers of other queues serve this one",
        grace_seconds=60.0,
    ),
    Remedy(
        kind="hold-intake",
        fits=frozenset({"upstream-flood", "too-few-workers", "store-or-broker-slow"}),
        propose=_hold_intake,
        apply=_put_hold_intake,
        says="take no new jobs in",
        grace_seconds=120.0,
        linger_seconds=10.0,
    ),
)
REMEDIES: Final[dict[MeasureKind, Remedy]] = {remedy.kind: remedy for remedy in _ALL}
