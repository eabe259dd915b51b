"""Flow control: incidents open and end, measures are taken, helped by, withdrawn, and cool down."""

from __future__ import annotations

from uuid import UUID

import pytest
from support.flow_hand import (
    HandControl,
    finding,
    flood,
    kinds,
    measures,
    queue,
    seconds_later,
    stage,
    victim,
    worker,
)
from support.ready import QUEUE, START, queued

from warrener.domain import ids
from warrener.domain.control_events import (
    FlowSampled,
    MeasureProposed,
    MeasureTaken,
    StarvationDetected,
    StarvationEnded,
)
from warrener.domain.flow.alleviation import REMEDIES
from warrener.domain.flow.control import COOL_DOWN_SECONDS, LOADED_SECONDS
from warrener.domain.flow.lanes import Flow
from warrener.domain.flow.ready import Stage
from warrener.domain.flow.rhythm import Rhythm
from warrener.domain.flow.settings import Measures

GRACE = REMEDIES["drain-downstream"].grace_seconds
LASTS = REMEDIES["drain-downstream"].lasts_seconds
LINGERS = REMEDIES["drain-downstream"].linger_seconds
QUIET = queue(stage("map", ready=0, remaining=1), stage("merge", ready=0))


def begun(mode: str = "act", **rest: object) -> HandControl:
    """Return control that has found `merge` starving by a flood."""
    hand = HandControl(mode, **rest)  # type: ignore[arg-type]
    hand.tick(flood(), found=[finding()])
    return hand


# --- incidents -----------------------------------------------------------------------------------


def test_an_incident_opens_with_its_first_measure_and_a_sample_that_names_it() -> None:
    hand = HandControl()

    events = hand.tick(flood(), found=[finding()])

    assert kinds(events) == ["StarvationDetected", "MeasureTaken", "FlowSampled"]
    detected, taken, sampled = events
    assert isinstance(detected, StarvationDetected)
    assert isinstance(taken, MeasureTaken)
    assert isinstance(sampled, FlowSampled)
    assert (detected.queue, detected.diagnosis, detected.since) == (QUEUE, "upstream-flood", START)
    assert taken.victims_wait == 70.0
    assert taken.until == seconds_later(hand.now, LASTS)
    assert sampled.incidents == (hand.log[0][0],)
    assert hand.flow.measures == Measures(drained={QUEUE})


def test_ids_of_incidents_follow_from_who_found_what_and_when() -> None:
    first, second = begun(), begun()

    assert first.log[0][0] == second.log[0][0]
    assert first.log[0][0] == ids.incident_id("results", QUEUE, "upstream-flood", first.now)


def test_an_incident_that_stands_is_not_opened_again() -> None:
    hand = begun()

    assert kinds(hand.tick(flood(60.0))) == []


def test_an_incident_ends_when_nobody_is_found_to_starve() -> None:
    hand = begun()

    ended = hand.tick(flood(5.0), found=[])

    assert kinds(ended) == ["StarvationEnded"]
    assert hand.flow.measures.drained == {QUEUE}  # for a while, so that it does not come back


def test_an_incident_that_is_diagnosed_otherwise_ends_and_another_opens() -> None:
    hand = begun()

    events = hand.tick(flood(), found=[finding("slow-step")])

    ended = events[0]
    assert isinstance(ended, StarvationEnded)
    assert ended.why == "it is diagnosed as slow-step now"
    assert [type(each) for each in events[1:3]] == [StarvationDetected, MeasureTaken]


def test_two_diagnoses_of_a_queue_are_two_incidents() -> None:
    hand = HandControl()

    events = hand.tick(flood(), found=[finding(), finding("slots-full")])

    assert kinds(events).count("StarvationDetected") == 2
    assert measures(events) == [("taken", "drain-downstream")]  # nothing is done about limits


def test_all_ends_at_once_when_everything_is_at_rest() -> None:
    hand = begun()

    events = hand.tick(QUIET)

    assert kinds(events) == ["StarvationEnded", "MeasureEnded", "FlowSampled"]
    assert hand.flow.measures == Measures()
    assert not hand.control.incidents.known


def test_what_the_detector_finds_yet_after_a_rest_does_not_open_it_again() -> None:
    hand = begun()
    hand.tick(QUIET)

    assert kinds(hand.tick(flood(1.0), after=0.1)) == []
    hand.tick(flood(2.0), found=[])
    assert "StarvationDetected" in kinds(hand.tick(flood(), found=[finding()]))


# --- measures ------------------------------------------------------------------------------------


def test_a_measure_that_helps_stays_until_a_while_after_the_incident() -> None:
    hand = begun()
    for wait in (60.0, 50.0, 40.0):
        assert measures(hand.tick(flood(wait), after=GRACE)) == []
    hand.tick(flood(5.0), found=[])

    assert measures(hand.tick(flood(5.0), after=LINGERS - 1)) == []
    assert measures(hand.tick(flood(5.0), after=1.0)) == [("ended", "drain-downstream")]
    assert hand.flow.measures == Measures()


def test_a_measure_that_does_not_help_is_withdrawn_and_the_next_one_taken() -> None:
    hand = begun()

    assert measures(hand.tick(flood(90.0), after=GRACE - 1)) == []
    events = hand.tick(flood(70.0), after=1.0)

    assert measures(events) == [("no-help", "drain-downstream"), ("taken", "reserve-floor")]
    assert hand.flow.measures == Measures(floors={Stage(QUEUE, "job", "merge"): 4})


def test_what_runs_when_a_measure_is_taken_has_to_end_before_it_is_judged() -> None:
    slow = queue(
        stage("map", out=16, running=8, remaining=1, service_seconds=40.0),
        stage("merge", wait=90.0),
    )
    hand = begun()

    assert measures(hand.tick(slow, after=GRACE + 39)) == []
    assert measures(hand.tick(slow, after=1.0))[0] == ("no-help", "drain-downstream")


def test_where_a_measure_helps_no_further_another_joins_it() -> None:
    hand = begun()
    hand.tick(flood(65.0), after=GRACE - 1)

    assert measures(hand.tick(flood(66.0), after=GRACE - 1)) == []
    assert measures(hand.tick(flood(66.0), after=1.0)) == [("taken", "reserve-floor")]
    assert hand.flow.measures.drained == {QUEUE}
    assert hand.flow.measures.floors


def test_all_that_fits_is_tried_one_after_the_other_and_then_waits_to_cool_down() -> None:
    hand = begun()
    tried = [name for _ in range(6) for name in measures(hand.tick(flood(90.0), after=60.0))]

    assert [kind for why, kind in tried if why == "taken"][:3] == [
        "reserve-floor",
        "throttle-producer",
        "hold-intake",
    ]
    assert [kind for why, kind in tried if why == "no-help"][:3] == [
        "drain-downstream",
        "reserve-floor",
        "throttle-producer",
    ]


def test_a_measure_is_not_taken_again_before_it_has_cooled_down() -> None:
    priority = finding("priority")
    hand = HandControl()
    hand.tick(flood(), found=[priority])
    hand.tick(flood(), found=[])
    hand.tick(flood(), after=60.0)
    assert hand.flow.measures == Measures()

    assert measures(hand.tick(flood(), found=[priority])) == [("taken", "reserve-floor")]
    hand.tick(flood(), found=[])
    hand.tick(flood(), after=COOL_DOWN_SECONDS)
    assert measures(hand.tick(flood(), found=[priority])) == [("taken", "boost-aged")]


def test_a_measure_ends_by_its_time_even_if_it_helps() -> None:
    hand = begun()
    wait = 70.0
    while (hand.now - START).total_seconds() + 10 < LASTS:
        wait -= 0.1
        assert ("expired", "drain-downstream") not in measures(hand.tick(flood(wait), after=10.0))

    hand.tick(flood(wait - 0.1), after=10.0)
    assert ("expired", "drain-downstream") in measures([event for _, event in hand.log])


def test_a_drained_queue_stays_so_while_it_has_another_incident() -> None:
    hand = begun()
    hand.tick(flood(), found=[finding("slots-full")])

    assert measures(hand.tick(flood(), after=LINGERS + 1)) == []
    assert ("ended", "drain-downstream") in measures(hand.tick(flood(), found=[]))


def test_no_incident_has_more_than_three_measures() -> None:
    hand = HandControl()
    many = tuple(victim(f"s{number}") for number in range(9))
    stages = [stage(f"s{number}", wait=90.0) for number in range(9)]
    wait = 90.0
    for _ in range(12):
        wait -= 0.01  # a little help each time, and then none
        helped = [stage(f"s{number}", wait=wait) for number in range(9)]
        hand.tick(queue(*helped, slots=40), found=[finding("slow-step", victims=many, evidence={})])
        hand.tick(queue(*helped, slots=40), after=31.0)

    assert stages
    assert max(len(each.taken) for each in hand.control.incidents.known.values()) == 3


# --- modes ---------------------------------------------------------------------------------------


def test_with_off_nothing_is_looked_for() -> None:
    hand = begun("off")

    assert kinds([event for _, event in hand.log]) == ["FlowSampled"]
    assert hand.detector.looks == 0


def test_switched_off_all_ends() -> None:
    hand = begun()
    hand.use(mode="off")

    events = hand.tick(flood())

    assert kinds(events) == ["StarvationEnded", "MeasureEnded", "FlowSampled"]
    assert measures(events) == [("withdrawn", "drain-downstream")]


def test_observing_says_once_what_would_be_done_and_does_nothing() -> None:
    hand = begun("observe")
    hand.tick(flood(90.0), after=GRACE)

    events = [event for _, event in hand.log]
    assert measures(events) == [("proposed", "drain-downstream")]
    assert hand.flow.measures == Measures()


def test_measures_are_withdrawn_when_only_observing_is_wanted() -> None:
    hand = begun()
    hand.use(mode="observe")

    assert ("withdrawn", "drain-downstream") in measures(hand.tick(flood()))
    assert hand.flow.measures == Measures()


def asked(hand: HandControl) -> UUID:
    proposed = next(e for _, e in reversed(hand.log) if isinstance(e, MeasureProposed))
    assert proposed.request is not None
    return proposed.request


def test_with_advise_a_person_is_asked_and_nothing_else_happens_meanwhile() -> None:
    hand = begun("advise")
    hand.tick(flood(90.0), after=GRACE)

    assert measures([event for _, event in hand.log]) == [("proposed", "drain-downstream")]
    assert hand.flow.measures == Measures()


def test_a_measure_that_a_person_agrees_to_is_taken_by_them() -> None:
    hand = begun("advise")
    hand.tick(flood(80.0), after=10.0)

    taken = hand.answer(asked(hand), agreed=True)

    assert kinds(taken) == ["MeasureTaken"]
    assert isinstance(taken[0], MeasureTaken)
    assert (taken[0].by, taken[0].victims_wait) == ("ada", 80.0)
    assert hand.flow.measures == Measures(drained={QUEUE})
    assert measures(hand.tick(flood(80.0), after=GRACE)) == [
        ("no-help", "drain-downstream"),
        ("proposed", "reserve-floor"),
    ]


def test_a_measure_that_a_person_declines_is_not_taken_and_the_next_is_asked_for_later() -> None:
    hand = begun("advise")

    declined = hand.answer(asked(hand), agreed=False)

    assert measures(declined) == [("declined", "drain-downstream")]
    assert hand.flow.measures == Measures()
    assert measures(hand.tick(flood(), after=COOL_DOWN_SECONDS - 1)) == []
    assert measures(hand.tick(flood(), after=1.0)) == [("proposed", "drain-downstream")]


def test_an_answer_to_what_is_asked_no_more_changes_nothing() -> None:
    hand = begun("advise")
    request = asked(hand)
    hand.tick(flood(), found=[])

    assert hand.control.incidents.requests() == {}
    assert hand.answer(request, agreed=True) == []


def test_each_question_of_an_incident_has_an_id_of_its_own() -> None:
    hand = begun("advise")
    first = asked(hand)
    hand.answer(first, agreed=False)
    hand.tick(flood(), after=COOL_DOWN_SECONDS)

    assert asked(hand) != first


def test_what_was_asked_is_done_without_an_answer_once_acting_is_wanted() -> None:
    hand = begun("advise")
    hand.use(mode="act")

    assert measures(hand.tick(flood())) == [("taken", "drain-downstream")]
    assert hand.control.incidents.requests() == {}


# --- restarts ------------------------------------------------------------------------------------


def test_after_a_restart_measures_are_in_force_and_nothing_is_doubled() -> None:
    hand = begun()
    hand.restart()

    assert hand.flow.measures == Measures(drained={QUEUE})
    assert kinds(hand.tick(flood(60.0), found=[finding()])) == []


def test_after_a_restart_an_incident_is_given_time_to_be_seen_again() -> None:
    hand = begun()
    hand.restart()

    assert kinds(hand.tick(flood(), found=[])) == []
    assert kinds(hand.tick(flood(70.0), after=LOADED_SECONDS - 1)) == []
    assert "StarvationEnded" in kinds(hand.tick(flood(), after=1.0))


def test_a_measure_whose_time_went_by_meanwhile_expires() -> None:
    hand = begun()
    hand.restart()

    assert measures(hand.tick(flood(), after=LASTS)) == [("expired", "drain-downstream")]
    assert hand.flow.measures == Measures()


def test_a_measure_that_lingers_outlives_a_restart_and_ends() -> None:
    hand = begun()
    hand.tick(flood(5.0), found=[], after=6.0)
    hand.restart()

    assert hand.flow.measures.drained == {QUEUE}
    assert measures(hand.tick(flood(5.0), after=LINGERS)) == [("ended", "drain-downstream")]


def test_an_open_question_outlives_a_restart() -> None:
    hand = begun("advise")
    request = asked(hand)
    hand.restart()

    assert list(hand.control.incidents.requests()) == [request]
    assert measures(hand.answer(request, agreed=True)) == [("taken", "drain-downstream")]


# --- samples -------------------------------------------------------------------------------------


def test_a_sample_is_recorded_every_five_seconds_while_things_change() -> None:
    hand = HandControl()
    recorded = []
    for second in range(20):
        moving = queue(stage("map", ready=5, out=2, arrived=second))
        recorded += [hand.now for _ in hand.tick(moving)]

    assert len(recorded) == 4


def test_nothing_is_recorded_while_nothing_changes() -> None:
    hand = HandControl()
    still = queue(stage("map", ready=5, out=2, wait=1.0))

    assert kinds(hand.tick(still)) == ["FlowSampled"]
    assert [event for _ in range(20) for event in hand.tick(still)] == []


def test_one_last_sample_tells_that_all_is_at_rest() -> None:
    hand = HandControl()
    hand.tick(queue(stage("map", ready=5, out=2)))

    assert kinds(hand.tick(QUIET, after=0.1)) == ["FlowSampled"]
    assert [event for _ in range(20) for event in hand.tick(QUIET)] == []


def test_what_does_not_begin_to_move_is_not_recorded() -> None:
    assert HandControl().tick(QUIET) == []


# --- when to look --------------------------------------------------------------------------------


def rhythm(slots: int = 8) -> tuple[Rhythm, Flow]:
    flow = Flow(lambda _: slots)
    return Rhythm(flow, samples=True), flow


def test_nothing_is_looked_at_while_nothing_waits() -> None:
    watch, flow = rhythm()

    assert watch.next_due(START, open_yet=False) is None
    assert not watch.is_due(START, open_yet=False)
    step = queued(1)
    flow.released(step.ready.job, step, START)
    assert watch.next_due(START, open_yet=False) is None
    assert not watch.is_due(START, open_yet=False)
    assert watch.is_due(seconds_later(START, 5.0), open_yet=False)  # as a message comes


@pytest.mark.parametrize("held", [False, True])
def test_while_a_step_waits_a_look_is_due_every_second(held: bool) -> None:
    watch, flow = rhythm()
    if held:
        flow.hold(queued(1), "slots api/1")
    else:
        flow.add(queued(1))

    assert watch.next_due(START, open_yet=False) == START
    assert not watch.is_due(START, open_yet=False)
    assert watch.next_due(START, open_yet=False) == seconds_later(START, 1.0)
    assert watch.is_due(seconds_later(START, 1.0), open_yet=False)


def test_steps_that_people_hold_back_are_no_reason_to_look() -> None:
    watch, flow = rhythm()
    flow.hold(queued(1), "paused")

    assert watch.next_due(START, open_yet=False) is None


def test_an_order_that_no_worker_takes_is_a_reason_to_look() -> None:
    watch, flow = rhythm(slots=0)
    step = queued(1)
    flow.released(step.ready.job, step, START)

    assert watch.next_due(START, open_yet=False) is not None


def test_looks_go_on_after_the_clock_was_set_back() -> None:
    watch, flow = rhythm()
    flow.add(queued(1))
    watch.is_due(START, open_yet=False)
    earlier = seconds_later(START, -3600.0)

    assert watch.next_due(earlier, open_yet=False) == earlier
    assert not watch.is_due(earlier, open_yet=False)
    assert watch.is_due(seconds_later(earlier, 1.0), open_yet=False)


def test_workers_are_moved_where_nobody_serves_a_queue() -> None:
    hand = HandControl(movable=[worker("w1", "idle"), worker("w2", "idle")])
    deserted = queue(stage("merge", wait=70.0), slots=0, workers=0)

    events = hand.tick(deserted, found=[finding("no-worker")])

    taken = next(event for event in events if isinstance(event, MeasureTaken))
    assert taken.measure.workers == ("w1",)
