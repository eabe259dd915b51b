"""What can be done about starvation: each measure, how it is worked out and what it is bound by."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, get_args
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.flow_hand import finding, flood, queue, stage, victim, worker
from support.ready import QUEUE

from warrener.domain.flow.alleviation import (
    REMEDIES,
    Situation,
    fitting,
    put_together,
    victims_wait,
)
from warrener.domain.flow.figures import FlowSample, QueueSample
from warrener.domain.flow.incident_state import Incident, key_of
from warrener.domain.flow.incidents import Diagnosis, Measure, MeasureKind
from warrener.domain.flow.ready import Stage
from warrener.domain.flow.settings import Measures

NOW = datetime(2030, 1, 1, tzinfo=UTC)
MERGE = Stage(QUEUE, "job", "merge")
MAP = Stage(QUEUE, "job", "map")


def situation(*queues: QueueSample, diagnosis: str = "upstream-flood", **rest: Any) -> Situation:
    found = rest.pop("found", None) or finding(diagnosis)
    incident = Incident(UUID(int=1), found.queue, found.diagnosis, found.victims, NOW)
    sample = FlowSample(at=NOW, queues=queues or (flood(),))
    return Situation(incident, found, sample, **rest)


def proposed(kind: MeasureKind, at: Situation) -> Measure | None:
    return REMEDIES[kind].propose(at)


# --- which fit -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("diagnosis", "expected"),
    [
        (
            "upstream-flood",
            ["drain-downstream", "reserve-floor", "throttle-producer", "hold-intake"],
        ),
        ("priority", ["boost-aged", "reserve-floor"]),
        ("slow-step", ["reserve-floor", "throttle-producer"]),
        ("poison-loop", ["reserve-floor", "throttle-producer"]),
        ("no-worker", ["move-workers"]),
        ("too-few-workers", ["move-workers", "hold-intake"]),
        ("store-or-broker-slow", ["hold-intake"]),
        ("slots-full", []),
        ("rate-limit", []),
    ],
)
def test_each_diagnosis_has_its_measures_the_mildest_first(
    diagnosis: str, expected: list[str]
) -> None:
    at = situation(diagnosis=diagnosis, movable=[worker("w1", "idle")])

    assert [each.kind for each in fitting(at, REMEDIES.values(), set())] == expected


def test_every_kind_is_in_the_table_and_every_diagnosis_is_one() -> None:
    assert set(REMEDIES) == set(get_args(MeasureKind))
    fits = set().union(*(remedy.fits for remedy in REMEDIES.values()))
    assert fits <= set(get_args(Diagnosis))


def test_what_is_named_already_is_passed_over() -> None:
    drain = Measure(kind="drain-downstream", queue=QUEUE)

    left = list(fitting(situation(), REMEDIES.values(), {key_of(drain)}))

    assert left[0].kind == "reserve-floor"


# --- drain ---------------------------------------------------------------------------------------


def test_draining_lets_the_later_stages_of_the_queue_go_first() -> None:
    measure = proposed("drain-downstream", situation())

    assert measure == Measure(kind="drain-downstream", queue=QUEUE)
    assert put_together([measure]) == Measures(drained={QUEUE})


def test_there_is_nothing_to_drain_where_all_steps_are_as_near_to_the_end() -> None:
    alike = queue(stage("map", out=8), stage("merge", wait=70.0))

    assert proposed("drain-downstream", situation(alike)) is None


# --- throttle ------------------------------------------------------------------------------------


def test_a_throttle_leaves_the_producer_a_quarter_of_the_slots() -> None:
    measure = proposed("throttle-producer", situation())

    assert measure is not None
    assert (measure.step, measure.amount) == ("map", 2)
    assert put_together([measure]).throttled == {MAP: 2}


@given(slots=st.integers(0, 50), out=st.integers(2, 100))
def test_a_throttle_is_never_below_one_and_always_less_than_what_is_out(
    slots: int, out: int
) -> None:
    measure = proposed("throttle-producer", situation(flood(producer_out=out, slots=slots)))

    assert measure is not None
    assert 1 <= measure.amount < out


def test_a_stage_with_one_order_out_is_not_throttled() -> None:
    assert proposed("throttle-producer", situation(flood(producer_out=1))) is None


@pytest.mark.parametrize("name", ["slow_stage", "failing_stage"])
def test_what_the_evidence_names_is_throttled_be_it_the_stage_that_waits(name: str) -> None:
    busy = queue(stage("map", out=3, running=1), stage("merge", out=12, running=7, wait=70.0))
    found = finding("slow-step", evidence={name: "job/merge"})

    measure = proposed("throttle-producer", situation(busy, found=found))

    assert measure is not None
    assert measure.step == "merge"


def test_without_evidence_the_stage_with_most_slots_is_throttled() -> None:
    busy = queue(
        stage("a", out=5, running=1), stage("map", out=5, running=6), stage("merge", wait=70.0)
    )

    measure = proposed("throttle-producer", situation(busy, found=finding(evidence={})))

    assert measure is not None
    assert measure.step == "map"


def test_of_two_throttles_of_a_stage_the_lower_holds() -> None:
    both = [
        Measure(kind="throttle-producer", queue=QUEUE, job="job", step="map", amount=amount)
        for amount in (3, 2)
    ]

    assert put_together(both).throttled == put_together(both[::-1]).throttled == {MAP: 2}


# --- floor ---------------------------------------------------------------------------------------


def test_a_floor_keeps_slots_for_who_waits_longest() -> None:
    found = finding(victims=(victim("end", 65.0), victim("merge", 70.0)))

    measure = proposed("reserve-floor", situation(found=found))

    assert measure is not None
    assert (measure.step, measure.amount) == ("merge", 2)
    assert put_together([measure]).floors == {MERGE: 2}


def test_the_next_floor_is_for_the_next_victim() -> None:
    found = finding(victims=(victim("end", 65.0), victim("merge", 70.0)))
    first = proposed("reserve-floor", situation(found=found))
    assert first is not None

    second = proposed("reserve-floor", situation(found=found, others=[first]))

    assert second is not None
    assert second.step == "end"


@given(slots=st.integers(0, 40), count=st.integers(1, 30))
def test_the_floors_of_a_queue_are_at_most_half_its_window(slots: int, count: int) -> None:
    victims = tuple(victim(f"s{number}") for number in range(count))
    at = flood(slots=slots)
    kept: list[Measure] = []
    while (
        measure := proposed(
            "reserve-floor", situation(at, found=finding(victims=victims), others=list(kept))
        )
    ) is not None:
        assert measure.amount >= 1
        kept.append(measure)

    assert sum(each.amount for each in kept) <= at.window // 2
    assert len(kept) <= count


# --- boost, intake -------------------------------------------------------------------------------


def test_who_waits_longest_is_boosted() -> None:
    measure = proposed("boost-aged", situation(diagnosis="priority"))

    assert measure is not None
    assert put_together([measure]) == Measures(boosted={MERGE})


def test_intake_is_held_while_one_measure_says_so() -> None:
    measure = proposed("hold-intake", situation())

    assert measure is not None
    assert put_together([measure]).intake_held
    assert not put_together([]).intake_held


# --- moving workers ------------------------------------------------------------------------------


def idle(workers: int, *, name: str = "idle", **rest: Any) -> QueueSample:
    return queue(*rest.pop("stages", ()), workers=workers, name=name, **rest)


def moved(*queues: QueueSample, **rest: Any) -> tuple[str, ...]:
    at = situation(flood(), *queues, diagnosis="no-worker", **rest)
    measure = proposed("move-workers", at)
    if measure is None:
        return ()
    assert measure.amount == len(measure.workers)
    return measure.workers


def test_half_of_the_idle_workers_of_another_queue_are_moved() -> None:
    able = [worker(f"w{number}", "idle") for number in range(6)]

    assert moved(idle(6), movable=able) == ("w0", "w1", "w2")


def test_workers_whose_own_queue_waits_stay() -> None:
    busy = idle(6, stages=(stage("other", ready=1),))

    assert moved(busy, movable=[worker("w1", "idle")]) == ()


def test_the_last_worker_of_a_queue_with_orders_out_stays() -> None:
    at_work = idle(1, stages=(stage("other", ready=0, out=1),))

    assert moved(at_work, movable=[worker("w1", "idle")]) == ()
    assert moved(idle(1), movable=[worker("w1", "idle")]) == ("w1",)


def test_workers_that_another_incident_moved_are_left_alone() -> None:
    elsewhere = Measure(kind="move-workers", queue="x", amount=1, workers=("w1",))

    assert moved(movable=[worker("w1", "idle")], others=[elsewhere]) == ()


def test_only_workers_that_know_an_unknown_endpoint_are_moved() -> None:
    waits = QueueSample(
        queue=QUEUE,
        workers=1,
        slots=2,
        unknown=("paint",),
        stages=(stage("merge", endpoint="paint", wait=70.0),),
    )
    able = [worker("w1", "idle"), worker("w2", "idle", endpoints=("paint",))]
    at = situation(waits, diagnosis="no-worker", movable=able)

    measure = proposed("move-workers", at)

    assert measure is not None
    assert measure.workers == ("w2",)


def test_at_most_eight_workers_are_moved_at_once() -> None:
    able = [worker(f"w{number:02}", "idle") for number in range(40)]

    assert len(moved(idle(40), movable=able)) == 8


# --- whether it helps ----------------------------------------------------------------------------


def test_a_floor_is_judged_by_its_own_stage_and_other_measures_by_all_victims() -> None:
    at = situation(
        queue(stage("merge", wait=10.0), stage("end", wait=90.0)),
        found=finding(victims=(victim("merge"), victim("end"))),
    )
    floor = Measure(kind="reserve-floor", queue=QUEUE, job="job", step="merge", amount=1)
    drain = Measure(kind="drain-downstream", queue=QUEUE)

    assert victims_wait(at.incident, floor, at.sample, at.found) == 10.0
    assert victims_wait(at.incident, drain, at.sample, at.found) == 50.0


def test_orders_that_are_out_for_nobody_wait_as_long_as_the_detector_says() -> None:
    out = queue(stage("merge", ready=0, out=1))
    at = situation(out, found=finding("no-worker", wait=120.0))
    move = Measure(kind="move-workers", queue=QUEUE, amount=1, workers=("w1",))

    assert victims_wait(at.incident, move, at.sample, at.found) == 120.0
    assert victims_wait(at.incident, move, at.sample, None) == 0.0
