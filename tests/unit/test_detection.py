"""Detection by samples made by hand: each cause, and what is and is not found when."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from warrener.domain.flow.detection import Detector, Finding
from warrener.domain.flow.figures import FlowSample, QueueSample, StageSample
from warrener.domain.flow.ready import Stage
from warrener.domain.flow.settings import FlowSettings, Measures

START = datetime(2030, 1, 1, tzinfo=UTC)
SLOTS = 10
CALM = 300  # seconds in which all is well, at first

Film = Callable[[float], QueueSample]


def stage(step: str, remaining: int = 0, *, job: str = "job", **rest: Any) -> StageSample:
    return StageSample(job=job, step=step, remaining=remaining, endpoint=f"{step}.run", **rest)


def worked(
    t: float, ends: float, seconds: float = 1.0, failing: float = 0.0, arrives: float | None = None
) -> dict[str, Any]:
    """Return the counters of a stage after t seconds of so many attempts a second."""
    ended = int(t * ends)
    return {
        "arrived": int(t * (ends if arrives is None else arrives)),
        "released": ended,
        "ended": ended,
        "failed": int(ended * failing),
        "busy_seconds": ended * seconds,
        "failed_seconds": int(ended * failing) * seconds,
        "service_seconds": seconds,
    }


def add(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """Return the counters of one time after another; what a step takes is that of the second."""
    kept = {key: one[key] + other[key] for key in one if key != "service_seconds"}
    return {**kept, "service_seconds": other["service_seconds"]}


def queue(*stages: StageSample, **rest: Any) -> QueueSample:
    rest = {"slots": SLOTS, "busy": SLOTS, "out": 2 * SLOTS, "window": 2 * SLOTS, **rest}
    return QueueSample(queue="default", stages=stages, **rest)


def shown(
    film: Film,
    until: float,
    *,
    detector: Detector | None = None,
    begin: float = 0,
    every: float = 1.0,
    **rest: Any,
) -> tuple[Finding, ...]:
    """Show a film to a detector, one sample a second; return what stands at its end."""
    detector = detector or Detector(FlowSettings())
    found: tuple[Finding, ...] = ()
    t = begin
    while t <= until:
        at = START + timedelta(seconds=t)
        found = detector.look(FlowSample(at=at, queues=(film(t),), **rest))
        t += every
    return found


def names(found: tuple[Finding, ...]) -> dict[str, list[str]]:
    return {each.diagnosis: [victim.step for victim in each.victims] for each in found}


def waiting(t: float) -> float:
    """Return the wait of somebody who has waited since the beginning."""
    return t


# --- each cause ----------------------------------------------------------------------------------


def too_few(t: float) -> QueueSample:
    counts = worked(t, ends=10.0, arrives=15.0)
    return queue(stage("a", ready=100, out=20, running=10, oldest_wait=waiting(t), **counts))


def test_too_few_workers_if_all_are_busy_and_more_arrives() -> None:
    (found,) = shown(too_few, 80)

    assert found.diagnosis == "too-few-workers"
    assert found.evidence["load"] == pytest.approx(1.5, abs=0.1)
    assert found.since == START
    assert "150%" in str(found.evidence["sentence"])


def flood(t: float, of_first: int = 6, **last: Any) -> QueueSample:
    """Of ten slots so many work for the first stage, the others for what comes after it."""
    first = worked(t, ends=of_first, arrives=10.0)
    after = worked(t, ends=10.0 - of_first, arrives=of_first)
    behind = {"oldest_wait": max(0.0, t - 5), **last}
    return queue(
        stage("a", 1, ready=99, out=12, running=of_first, oldest_wait=waiting(t), **first),
        stage("b", 0, ready=9, out=8, running=10 - of_first, **after, **behind),
    )


def test_an_upstream_flood_if_earlier_stages_have_the_workers_and_later_ones_wait() -> None:
    (found,) = shown(flood, 80)

    assert names((found,)) == {"upstream-flood": ["b"]}
    assert found.evidence["producer"] == "job/a"


def test_no_flood_if_later_stages_are_served_and_only_first_steps_wait() -> None:
    assert names(shown(lambda t: flood(t, oldest_wait=1.0), 90)) == {"too-few-workers": ["a"]}


def test_no_flood_if_the_earlier_stages_take_little() -> None:
    assert names(shown(lambda t: flood(t, of_first=2), 90)) == {"too-few-workers": ["a", "b"]}


@pytest.mark.parametrize(
    ("reason", "diagnosis"), [("slots api/7", "slots-full"), ("rate api/7", "rate-limit")]
)
def test_a_limit_that_holds_steps_back_is_named(reason: str, diagnosis: str) -> None:
    def film(t: float) -> QueueSample:
        counts = worked(t, ends=2.0, arrives=3.0)
        held = {reason: 30, "paused": 50}
        return queue(stage("a", held=held, held_wait=waiting(t), out=2, **counts), busy=2, out=2)

    (found,) = shown(film, 80)

    assert found.diagnosis == diagnosis
    assert found.evidence["limit"] == "api/7"
    assert found.victims[0].waiting == 30


def test_paused_steps_do_not_starve() -> None:
    def film(t: float) -> QueueSample:
        return queue(stage("a", held={"paused": 50}), busy=0, out=0)

    assert shown(film, 200) == ()


def test_no_worker_if_nobody_serves_the_queue() -> None:
    def film(t: float) -> QueueSample:
        waits = stage("a", ready=3, out=1, oldest_wait=waiting(t))
        return queue(waits, slots=0, busy=0, out=1, window=1)

    assert names(shown(film, 80)) == {"no-worker": ["a"]}


def test_no_worker_for_the_only_order_which_is_out_already() -> None:
    def film(t: float) -> QueueSample:
        return queue(stage("a", out=1, arrived=1, released=1), slots=0, busy=0, out=1, window=1)

    (found,) = shown(film, 80)

    assert found.diagnosis == "no-worker"
    assert found.victims[0].waiting == 1


def test_a_worker_that_does_not_announce_itself_is_one() -> None:
    def film(t: float) -> QueueSample:
        counts = worked(t, ends=1.0, arrives=3.0)
        waits = stage("a", ready=3, out=1, oldest_wait=waiting(t), **counts)
        return queue(waits, slots=0, busy=0, out=1, window=1)

    assert names(shown(film, 90)) == {"too-few-workers": ["a"]}


def test_no_worker_for_an_endpoint_that_nobody_knows() -> None:
    def film(t: float) -> QueueSample:
        known = stage("a", ready=0, out=9, running=9, **worked(t, ends=9.0))
        lost = stage("b", out=1, ready=2, oldest_wait=waiting(t))
        return queue(known, lost, busy=9, out=10, unknown=("b.run",))

    (found,) = shown(film, 80)

    assert names((found,)) == {"no-worker": ["b"]}
    assert found.evidence["endpoint"] == "b.run"


def priorities(t: float, *, wait_p50: float) -> QueueSample:
    high = stage("high", ready=1, out=18, running=9, wait_p50=wait_p50, **worked(t, ends=9.0))
    low = stage("low", ready=50, out=1, oldest_wait=waiting(t), **worked(t, 1.0, arrives=3.0))
    return queue(high, low, worked={5: 9.0 * t, 0: 1.0 * t})


def test_priority_if_higher_ones_have_the_workers_and_pass() -> None:
    (found,) = shown(lambda t: priorities(t, wait_p50=0.5), 80)

    assert names((found,)) == {"priority": ["low"]}
    assert found.evidence["higher_share"] == pytest.approx(0.9)


def test_no_priority_if_the_higher_ones_wait_as_well() -> None:
    def film(t: float) -> QueueSample:
        return priorities(t, wait_p50=t)

    assert names(shown(film, 90)) == {"too-few-workers": ["low"]}


def slow(t: float, seconds: float, arrives: float = 6.0) -> QueueSample:
    """All is well at first, then a step takes longer than before."""
    before = worked(min(t, CALM), ends=6.0)
    if t <= CALM:
        return queue(stage("a", out=6, running=6, **before), busy=6, out=6)
    counts = add(before, worked(t - CALM, 10.0 / seconds, seconds, arrives=arrives))
    return queue(stage("a", ready=9, out=20, running=10, oldest_wait=t - CALM, **counts))


def test_a_slow_step_if_it_takes_longer_than_before() -> None:
    (found,) = shown(lambda t: slow(t, 4.0), CALM + 80)

    assert found.diagnosis == "slow-step"
    assert found.evidence["slow_stage"] == "job/a"
    assert found.evidence["usual_seconds"] == pytest.approx(1.0, rel=0.05)
    assert found.evidence["slow_seconds"] == pytest.approx(4.0, rel=0.1)


def test_a_slow_step_if_none_has_ended_since_long_ago() -> None:
    assert names(shown(lambda t: slow(t, 1000.0), CALM + 80)) == {"slow-step": ["a"]}


def test_no_slow_step_if_it_takes_a_little_longer_than_before() -> None:
    assert names(shown(lambda t: slow(t, 1.5, 15.0), CALM + 90)) == {"too-few-workers": ["a"]}


def test_what_is_main_is_named_if_steps_are_slower_and_far_more_arrives() -> None:
    assert names(shown(lambda t: slow(t, 2.0, 40.0), CALM + 90)) == {"too-few-workers": ["a"]}


def test_slow_steps_are_the_cause_if_they_fill_a_limit() -> None:
    def film(t: float) -> QueueSample:
        now = slow(t, 4.0)
        if t <= CALM:
            return now
        held: dict[str, Any] = {"held": {"slots api/": 9}, "held_wait": t - CALM}
        held |= {"ready": 0, "oldest_wait": 0.0, "out": 3, "running": 3}
        return queue(msgspec.structs.replace(now.stages[0], **held), busy=3, out=3)

    assert names(shown(film, CALM + 80)) == {"slow-step": ["a"]}


def test_a_slow_step_if_very_long_ones_have_the_workers_of_short_ones() -> None:
    def film(t: float) -> QueueSample:
        long = stage("long", out=10, running=9, arrived=10, service_seconds=300.0)
        short = stage(
            "short", job="b", ready=9, out=9, running=1, oldest_wait=waiting(t), **worked(t, 1.0)
        )
        return queue(long, short)

    (found,) = shown(film, 80)

    assert names((found,)) == {"slow-step": ["short"]}
    assert found.evidence["slow_stage"] == "job/long"


def failing(t: float, share: float, arrives: float = 12.0) -> QueueSample:
    counts = worked(t, ends=10.0, failing=share, arrives=arrives)
    return queue(stage("a", ready=9, out=20, running=10, oldest_wait=waiting(t), **counts))


def test_a_poison_loop_if_failing_attempts_take_the_time_of_the_workers() -> None:
    (found,) = shown(lambda t: failing(t, 0.7), 80)

    assert found.diagnosis == "poison-loop"
    assert found.evidence["failing_stage"] == "job/a"
    assert found.evidence["failing_share"] == pytest.approx(0.7, abs=0.02)


@pytest.mark.parametrize("share", [0.1, 0.3])
def test_no_poison_loop_if_few_attempts_fail(share: float) -> None:
    assert names(shown(lambda t: failing(t, share), 90)) == {"too-few-workers": ["a"]}


def test_no_poison_loop_if_failing_attempts_end_at_once() -> None:
    def film(t: float) -> QueueSample:
        quick = worked(t, ends=50.0, seconds=0.001, failing=1.0)
        long = worked(t, ends=10.0, arrives=15.0)
        counts = add(quick, long)
        return queue(stage("a", ready=9, out=20, running=10, oldest_wait=waiting(t), **counts))

    assert names(shown(film, 90)) == {"too-few-workers": ["a"]}


def test_a_poison_loop_if_failing_attempts_fill_a_limit() -> None:
    def film(t: float) -> QueueSample:
        counts = worked(t, ends=3.0, failing=0.9)
        held: dict[str, Any] = {"held": {"slots api/": 9}, "held_wait": waiting(t)}
        return queue(stage("a", out=3, running=3, **held, **counts), busy=3, out=3)

    assert names(shown(film, 80)) == {"poison-loop": ["a"]}


def idle(t: float) -> QueueSample:
    counts = worked(t, ends=1.0, seconds=0.5, arrives=3.0)
    return queue(stage("a", ready=9, out=20, running=10, oldest_wait=waiting(t), **counts), busy=1)


@pytest.mark.parametrize("figure", ["commit_seconds", "confirm_seconds", "unconfirmed"])
def test_a_slow_store_or_broker_if_workers_are_free_and_it_is_seen_to_be_slow(figure: str) -> None:
    (found,) = shown(idle, 70, **{figure: 6.0})

    assert found.diagnosis == "store-or-broker-slow"
    assert found.evidence["busy_share"] == pytest.approx(0.1)
    assert "6.0 s" in str(found.evidence["sentence"])


def test_a_slow_store_or_broker_if_workers_are_free_and_nothing_else_explains_it() -> None:
    assert names(shown(idle, 70)) == {}
    assert names(shown(idle, 90)) == {"store-or-broker-slow": ["a"]}


def test_of_workers_that_others_use_as_well_the_same_part_is_busy() -> None:
    def film(t: float) -> QueueSample:
        return msgspec.structs.replace(idle(t), slots=5, all_slots=20, busy=5)

    (found,) = shown(film, 90)

    assert found.diagnosis == "store-or-broker-slow"
    assert found.evidence["busy_share"] == pytest.approx(0.25)


def test_no_slow_store_if_the_workers_have_enough_to_do() -> None:
    assert names(shown(too_few, 90, commit_seconds=3.0)) == {"too-few-workers": ["a"]}


def test_a_slow_broker_if_the_only_order_reaches_no_worker() -> None:
    def film(t: float) -> QueueSample:
        lost = stage("a", out=1, arrived=9, ended=8)  # of two orders one is with a worker
        return queue(lost, stage("b", **worked(t, 1.0)), out=2, busy=1)

    assert names(shown(film, 130)) == {"store-or-broker-slow": ["a"]}


def test_a_step_that_runs_for_long_does_not_starve() -> None:
    def film(t: float) -> QueueSample:
        return queue(stage("a", out=1, running=1, arrived=1, released=1), out=1, busy=1)

    assert shown(film, 4_000, every=5.0) == ()


def test_a_throttled_stage_waits_though_workers_are_free() -> None:
    detector = Detector(FlowSettings())
    measures = Measures(throttled={Stage("default", "job", "a"): 1})
    for t in range(120):
        sample = FlowSample(at=START + timedelta(seconds=t), queues=(idle(t),))
        assert detector.look(sample, measures) == ()


# --- when it is found, and when it ends ----------------------------------------------------------


def test_nobody_starves_within_the_bound() -> None:
    assert shown(too_few, 60) == ()
    assert names(shown(too_few, 80)) == {"too-few-workers": ["a"]}


def test_the_bound_is_that_of_the_settings() -> None:
    detector = Detector(FlowSettings(bound_seconds=200.0))
    assert shown(too_few, 200, detector=detector) == ()

    detector.use(FlowSettings(bound_seconds=100.0))

    assert len(shown(too_few, 220, detector=detector, begin=201)) == 1


def test_a_wait_of_a_moment_is_no_starvation() -> None:
    def film(t: float) -> QueueSample:
        wait = 61.0 if t % 10 < 2 else 1.0
        counts = worked(t, ends=10.0)
        return queue(stage("a", ready=9, out=20, running=10, oldest_wait=wait, **counts))

    detector = Detector(FlowSettings())
    for t in range(300):
        assert shown(film, t, detector=detector, begin=t) == ()


def test_one_late_look_is_not_enough() -> None:
    detector = Detector(FlowSettings())
    shown(too_few, 50, detector=detector)

    assert shown(too_few, 90, detector=detector, begin=90) == ()
    assert len(shown(too_few, 110, detector=detector, begin=91)) == 1


def served_again(t: float, wait: float = 0.0) -> QueueSample:
    counts = worked(t, ends=10.0)
    return queue(stage("a", ready=1, out=20, running=10, oldest_wait=wait, **counts))


def test_it_ends_once_waits_are_clearly_below_the_bound_for_a_while() -> None:
    detector = Detector(FlowSettings())
    assert len(shown(too_few, 100, detector=detector)) == 1

    above = shown(lambda t: served_again(t, 40.0), 200, detector=detector, begin=101)
    assert len(above) == 1
    assert len(shown(served_again, 209, detector=detector, begin=201)) == 1
    assert len(shown(served_again, 213, detector=detector, begin=210)) == 0


def test_what_comes_back_within_a_moment_is_the_same_incident() -> None:
    detector = Detector(FlowSettings())
    (first,) = shown(too_few, 100, detector=detector)
    shown(served_again, 105, detector=detector, begin=101)

    (again,) = shown(too_few, 106, detector=detector, begin=106)

    assert (again.queue, again.diagnosis) == (first.queue, first.diagnosis)


def test_another_cause_takes_the_place_of_the_first_once_it_lasts() -> None:
    def film(t: float) -> QueueSample:
        now = too_few(t)
        return now if t < 100 else msgspec.structs.replace(now, slots=0, busy=0)

    def stopped(t: float) -> QueueSample:
        return msgspec.structs.replace(film(min(t, 100.0)), stages=(_still(t),))

    def _still(t: float) -> StageSample:
        return msgspec.structs.replace(film(100.0).stages[0], oldest_wait=t)

    detector = Detector(FlowSettings())
    assert names(shown(film, 99, detector=detector)) == {"too-few-workers": ["a"]}

    shown(stopped, 130, detector=detector, begin=100)
    assert names(shown(stopped, 131, detector=detector, begin=131)) == {"too-few-workers": ["a"]}
    assert names(shown(stopped, 150, detector=detector, begin=132)) == {"no-worker": ["a"]}


def test_a_backlog_that_shrinks_is_still_put_down_to_what_caused_it() -> None:
    def film(t: float) -> QueueSample:
        if t < 100:
            waits = stage("a", ready=300, out=1, oldest_wait=waiting(t))
            return queue(waits, slots=0, busy=0, out=1, window=1)
        counts = worked(t - 100, ends=10.0)
        shrinks = max(0.0, 100.0 - (t - 100) / 2)
        return queue(stage("a", ready=99, out=20, running=10, oldest_wait=shrinks, **counts))

    detector = Detector(FlowSettings())
    assert names(shown(film, 89, detector=detector)) == {"no-worker": ["a"]}
    for t in range(90, 200, 5):
        found = shown(film, t + 4, detector=detector, begin=t)
        assert names(found) == {"no-worker": ["a"]}
    assert shown(film, 330, detector=detector, begin=200) == ()


def test_no_slow_step_if_it_takes_little_of_the_time_of_the_workers() -> None:
    def film(t: float) -> QueueSample:
        before = worked(min(t, CALM), ends=0.3)
        late = add(before, worked(max(0.0, t - CALM), 0.3, seconds=3.0))
        slow = stage("slow", job="other", out=1, running=1, **late)
        counts = worked(t, ends=9.0)
        wait = max(0.0, t - CALM)
        return queue(slow, stage("a", ready=9, out=19, running=9, oldest_wait=wait, **counts))

    assert names(shown(film, CALM + 90)) == {"too-few-workers": ["a"]}


def test_a_diagnosis_does_not_change_to_and_fro() -> None:
    detector = Detector(FlowSettings())
    told = []
    for t in range(2_000):
        now = too_few(t) if t % 200 < 100 else msgspec.structs.replace(too_few(t), busy=0)
        found = detector.look(FlowSample(at=START + timedelta(seconds=t), queues=(now,)))
        told += [diagnosis for diagnosis in names(found) if told[-1:] != [diagnosis]]

    assert 1 < len(told) < 6


def test_two_stages_may_wait_for_different_reasons() -> None:
    def film(t: float) -> QueueSample:
        held: dict[str, Any] = {"held": {"slots api/": 9}, "held_wait": waiting(t)}
        limited = stage("limited", job="other", out=1, running=1, **held, **worked(t, 1.0))
        counts = worked(t, ends=9.0, arrives=15.0)
        free = stage("a", ready=99, out=19, running=9, oldest_wait=waiting(t), **counts)
        return queue(limited, free)

    assert names(shown(film, 80)) == {"slots-full": ["limited"], "too-few-workers": ["a"]}


def test_each_queue_is_looked_at_by_itself_and_forgotten_when_it_is_gone() -> None:
    detector = Detector(FlowSettings())
    for t in range(90):
        other = msgspec.structs.replace(served_again(t), queue="other")
        sample = FlowSample(at=START + timedelta(seconds=t), queues=(other, too_few(t)))
        found = detector.look(sample)

    assert [each.queue for each in found] == ["default"]
    assert detector.look(FlowSample(at=START + timedelta(seconds=91), queues=(other,))) == ()


# --- clocks --------------------------------------------------------------------------------------


def moved(film: Film, seconds: Callable[[float], float]) -> Callable[[float], FlowSample]:
    """Return a film as it looks while the clock is set; waits are by the clock."""

    def sample(t: float) -> FlowSample:
        at, now = START + timedelta(seconds=t + seconds(t)), film(t)
        stages = tuple(
            msgspec.structs.replace(each, oldest_wait=max(0.0, each.oldest_wait + seconds(t)))
            for each in now.stages
        )
        return FlowSample(at=at, queues=(msgspec.structs.replace(now, stages=stages),))

    return sample


def test_a_clock_that_leaps_ahead_for_a_moment_makes_nobody_starve() -> None:
    film = moved(served_again, lambda t: 3_600.0 if 100 <= t < 103 else 0.0)
    detector = Detector(FlowSettings())

    for t in range(300):
        assert detector.look(film(t)) == (), t


@pytest.mark.parametrize("leap", [-3_600.0, 3_600.0])
def test_the_diagnosis_does_not_change_because_the_clock_is_set(leap: float) -> None:
    film = moved(too_few, lambda t: leap if t >= 100 else 0.0)
    detector = Detector(FlowSettings())

    found = [detector.look(film(t)) for t in range(101)]
    assert names(found[-2]) == {"too-few-workers": ["a"]}
    later = [detector.look(film(t)) for t in range(101, 300)]
    assert {diagnosis for each in later for diagnosis in names(each)} <= {"too-few-workers"}


def test_a_controller_that_was_stopped_for_an_hour_judges_by_what_it_sees_since() -> None:
    detector = Detector(FlowSettings())
    shown(served_again, 100, detector=detector)

    assert shown(served_again, 3_800, detector=detector, begin=3_700) == ()


def test_counters_that_begin_anew_are_no_reason_for_anything() -> None:
    detector = Detector(FlowSettings())
    shown(too_few, 100, detector=detector)

    def restarted(t: float) -> QueueSample:
        old = too_few(t - 100)
        stages = (msgspec.structs.replace(old.stages[0], oldest_wait=t),)
        return msgspec.structs.replace(old, stages=stages)

    found = shown(restarted, 130, detector=detector, begin=101)
    assert names(found) == {"too-few-workers": ["a"]}


# --- cost ----------------------------------------------------------------------------------------


def test_a_look_at_twenty_stages_takes_less_than_a_millisecond() -> None:
    def film(t: float) -> QueueSample:
        stages = [
            stage(
                f"s{number % 4}",
                3 - number % 4,
                job=f"job{number // 4}",
                ready=9,
                out=1,
                running=1,
                oldest_wait=waiting(t),
                **worked(t, 1.0, arrives=2.0),
            )
            for number in range(20)
        ]
        return queue(*stages, slots=20, busy=20)

    samples = [FlowSample(at=START + timedelta(seconds=t), queues=(film(t),)) for t in range(200)]
    detector = Detector(FlowSettings())
    took = []
    for sample in samples:
        begin = time.perf_counter()
        found = detector.look(sample)
        took.append(time.perf_counter() - begin)

    assert found
    assert sorted(took)[len(took) // 2] < 0.001
