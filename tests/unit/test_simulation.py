"""The engine of simulations: cases computed by hand, and what it must never do."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warrener.domain.definition.model import Limit, Rate
from warrener.domain.flow.orders import ORDERS
from warrener.domain.flow.ready import Stage
from warrener.domain.flow.settings import FlowSettings
from warrener.domain.limit_state import Claim
from warrener.domain.simulation.crews import LOST_SECONDS, Crew
from warrener.domain.simulation.engine import Simulation
from warrener.domain.simulation.record import Record
from warrener.domain.simulation.trace import Attempt, Shape, TraceJob, TraceStep
from warrener.domain.step_events import Held


def step(name: str, seconds: float = 1.0, after: tuple[int, ...] = (), **rest: object) -> TraceStep:
    return TraceStep(name=name, after=after, attempts=(Attempt(seconds),), **rest)  # type: ignore[arg-type]


def line(*seconds: float, name: str = "job") -> Shape:
    """Return steps that follow each other."""
    steps = [
        step("abcdefgh"[place], each, (place - 1,) if place else ())
        for place, each in enumerate(seconds)
    ]
    return Shape(name, steps)


def play(
    jobs: Iterable[TraceJob], workers: int = 1, policy: str = "fifo", **rest: object
) -> Record:
    rest.setdefault("round_trip", 0.0)
    settings = FlowSettings(policy=policy)
    crews = [Crew(workers=workers)]
    return Simulation(jobs, crews, settings, **rest).run()  # type: ignore[arg-type]


def one(step: TraceStep) -> list[TraceJob]:
    return [TraceJob(0.0, Shape("job", [step]))]


def claim(slots: int | None = None, rate: Rate | None = None) -> Claim:
    return Claim(Limit(name="limit", slots=slots, rate=rate), Held("limit", "key"))


# --- by hand -------------------------------------------------------------------------------------


def test_two_stages_by_fifo_as_by_hand() -> None:
    """The window is 2: both first steps are out when the first second one becomes ready."""
    jobs = [TraceJob(0.0, line(1.0, 1.0)) for _ in range(3)]

    found = play(jobs)

    assert list(found.completion) == [4.0, 5.0, 6.0]  # a1 a2 a3 b1 b2 b3
    assert list(found.wait) == [0.0, 1.0, 2.0]


def test_two_stages_by_finish_first_as_by_hand() -> None:
    jobs = [TraceJob(0.0, line(1.0, 1.0)) for _ in range(3)]

    found = play(jobs, policy="finish-first")

    assert list(found.completion) == [3.0, 4.0, 6.0]  # a1 a2 b1 b2 a3 b3
    assert list(found.wait) == [0.0, 1.0, 4.0]


def test_time_on_the_way_counts_once_for_the_order_and_once_for_the_answer() -> None:
    found = play([TraceJob(5.0, line(1.0, 2.0))], round_trip=0.5)

    assert list(found.completion) == [4.0]
    assert found.seconds == 9.0


def test_a_worker_takes_its_time_from_one_order_to_the_next() -> None:
    found = play([TraceJob(0.0, line(1.0)) for _ in range(3)], hand_over=0.5)

    assert list(found.completion) == [1.0, 2.5, 4.0]


def test_a_retry_waits_for_its_time_and_holds_no_worker() -> None:
    attempts = (Attempt(1.0, succeeded=False, pause=10.0), Attempt(2.0))
    jobs = [*one(TraceStep(name="a", attempts=attempts)), TraceJob(1.0, line(9.0))]

    found = play(jobs)

    assert sorted(found.completion) == [9.0, 13.0]
    assert found.attempts == 3


def test_what_fails_for_good_ends() -> None:
    attempts = (Attempt(1.0, succeeded=False), Attempt(1.0, succeeded=False))
    shape = Shape("job", [TraceStep(name="a", attempts=attempts), step("b", 1.0, (0,))])

    assert list(play([TraceJob(0.0, shape)]).completion) == [3.0]


def test_a_window_bounds_the_items_under_way() -> None:
    items = ((Attempt(1.0),),) * 6
    fan_out = TraceStep(name="a", items=items, window=2)

    assert list(play(one(fan_out), workers=10).completion) == [3.0]


def test_steps_that_only_wait_and_empty_fan_outs_need_no_worker() -> None:
    steps = [
        TraceStep(name="sleep", pause=7.0),
        TraceStep(name="none", items=(), after=(0,)),
        TraceStep(name="join", after=(1,)),
        TraceStep(name="work", after=(2,), pause=1.0, attempts=(Attempt(2.0),)),
    ]

    found = play([TraceJob(0.0, Shape("job", steps))])

    assert list(found.completion) == [10.0]
    assert found.attempts == 1


def test_a_long_way_of_joins_does_not_recurse() -> None:
    steps = [TraceStep(name="a", after=(n - 1,) if n else ()) for n in range(10_000)]

    assert list(play([TraceJob(0.0, Shape("job", steps))]).completion) == [0.0]


def test_own_seconds_of_a_job_replace_those_of_its_shape() -> None:
    job = TraceJob(0.0, line(1.0, 1.0), seconds=(3.0, 4.0))

    assert list(play([job]).completion) == [7.0]
    assert job.work_seconds == 7.0


# --- workers -------------------------------------------------------------------------------------


def test_work_waits_for_workers_and_those_who_leave_end_theirs() -> None:
    jobs = [TraceJob(0.0, line(2.0)) for _ in range(2)]
    crews = [Crew(workers=1, since=10.0, until=11.0), Crew(workers=1, since=20.0)]

    found = Simulation(jobs, crews, round_trip=0.0).run()

    assert list(found.completion) == [12.0, 22.0]


def test_work_of_those_who_vanish_is_done_again() -> None:
    def vanish() -> None:
        simulation.crews.vanish(1, ("default",))
        simulation.crews.change(("default",), 1)

    simulation = Simulation([TraceJob(0.0, line(2.0))], [Crew(workers=1)], round_trip=0.0)
    simulation.call(1.0, vanish)

    assert list(simulation.run().completion) == [1.0 + LOST_SECONDS + 2.0]


def test_workers_of_two_queues_take_what_lies_longest() -> None:
    steps = [step("a", queue="left"), step("b", queue="right"), step("c", queue="left")]
    crews = [Crew(workers=1, queues=("left", "right"))]

    found = Simulation([TraceJob(0.0, Shape("job", steps))], crews, round_trip=0.0).run()

    assert list(found.completion) == [3.0]


def test_workers_that_are_moved_serve_the_other_queue() -> None:
    jobs = one(step("a", 1.0, queue="other"))
    simulation = Simulation(jobs, [Crew(workers=2)], round_trip=0.0)
    simulation.call(5.0, lambda: simulation.crews.move(1, ("default",), ("other",)))

    assert list(simulation.run().completion) == [6.0]
    assert simulation.crews.present() == {("default",): 1, ("other",): 1}


def test_a_stage_that_became_slow_takes_longer() -> None:
    simulation = Simulation([TraceJob(1.0, line(2.0))], [Crew(workers=1)], round_trip=0.0)
    simulation.call(
        0.5, lambda: simulation.crews.slowness.update({Stage("default", "job", "a"): 3})
    )

    assert list(simulation.run().completion) == [6.0]


def test_a_load_that_nobody_serves_comes_to_an_end() -> None:
    found = Simulation(one(step("a")), [Crew(workers=1, queues=("other",), until=1e9)]).run()

    assert not found.completion


# --- limits --------------------------------------------------------------------------------------


def test_a_limit_of_slots_lets_so_many_run() -> None:
    shape = Shape("job", [step("a", claims=(claim(slots=2),))])

    found = play([TraceJob(0.0, shape) for _ in range(6)], workers=10)

    assert sorted(found.completion) == [1.0, 1.0, 2.0, 2.0, 3.0, 3.0]


def test_a_limit_of_rate_lets_so_many_out() -> None:
    shape = Shape("job", [step("a", 0.5, claims=(claim(rate=Rate(1.0, 10.0)),))])

    found = play([TraceJob(0.0, shape) for _ in range(3)], workers=10)

    assert list(found.wait) == pytest.approx([0.0, 10.0, 20.0], abs=0.01)


# --- always --------------------------------------------------------------------------------------

SHAPES = st.lists(
    st.builds(
        lambda seconds, slots: Shape(
            "job", [step("a", seconds, claims=slots), step("b", 1.0, (0,))]
        ),
        st.floats(0.0, 10.0),
        st.sampled_from([(), (claim(slots=2),)]),
    ),
    min_size=1,
    max_size=20,
)


@pytest.mark.parametrize("policy", ORDERS)
@given(SHAPES, st.integers(1, 5))
def test_all_ends_no_limit_is_exceeded_and_no_worker_is_idle(
    policy: str, shapes: list[Shape], workers: int
) -> None:
    def look() -> None:
        held.append(sum(len(state.holders) for state in simulation.limits._states.values()))

    held: list[int] = []
    jobs = [TraceJob(number / 10, shape) for number, shape in enumerate(shapes)]
    simulation = Simulation(jobs, [Crew(workers=workers)], FlowSettings(policy=policy))
    for number in range(200):
        simulation.call(number / 3, look)

    found = simulation.run()

    assert len(found.completion) == len(jobs)
    assert max(held, default=0) <= 2
    assert found.busy_seconds == pytest.approx(sum(job.work_seconds for job in jobs))
    assert found.busy_seconds <= found.slot_seconds


@pytest.mark.parametrize("policy", ORDERS)
def test_the_same_load_gives_the_same_record(policy: str) -> None:
    jobs = [
        TraceJob(number / 7, line(1 + number % 3, 0.5), fair=str(number % 4), priority=number % 2)
        for number in range(100)
    ]
    first, second = (play(jobs, workers=3, policy=policy) for _ in range(2))

    assert first.completion == second.completion
    assert first.oldest_wait() == second.oldest_wait()


@pytest.mark.parametrize("policy", ORDERS)
def test_a_fleet_that_is_never_short_makes_nobody_wait(policy: str) -> None:
    jobs = [TraceJob(float(number), line(1.0, 2.0)) for number in range(20)]

    found = play(jobs, workers=100, policy=policy)

    assert set(found.wait) == {0.0}
    assert set(found.completion) == {3.0}
    assert not found.times


# --- intake --------------------------------------------------------------------------------------


def test_jobs_wait_while_intake_is_held_and_while_a_limit_for_them_is_full() -> None:
    def claims(name: str) -> tuple[Claim, ...]:
        return (claim(slots=1),) if name == "few" else ()

    jobs = [TraceJob(0.0, line(2.0, name="few")) for _ in range(2)]
    jobs += [TraceJob(0.0, line(2.0, name="free")), TraceJob(3.0, line(1.0, name="late"))]
    simulation = Simulation(jobs, [Crew(workers=9)], round_trip=0.0, intake=claims)
    simulation.call(2.5, lambda: setattr(simulation.flow.measures, "intake_held", True))
    simulation.call(7.5, lambda: setattr(simulation.flow.measures, "intake_held", False))

    found = simulation.run()

    ended = sorted(zip(found.job_name, found.completion, strict=True))
    assert [(found.names.names[name], seconds) for name, seconds in ended] == [
        ("few", 2.0),
        ("few", 4.0),
        ("free", 2.0),
        ("late", 6.0),
    ]
