"""What a simulation keeps and comes to: fairness, samples, summaries, pictures."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warrener.domain.errors import UsageError
from warrener.domain.flow.settings import FlowSettings
from warrener.domain.simulation.crews import Crew
from warrener.domain.simulation.engine import Simulation
from warrener.domain.simulation.fairness import fair_shares, jain
from warrener.domain.simulation.record import KEYS_MAX, OTHERS, SAMPLES_MAX, Numbers, Record
from warrener.domain.simulation.summary import distribution, summarise
from warrener.domain.simulation.trace import Attempt, Shape, TraceJob, TraceStep
from warrener.services.simulate import plot


def shape(name: str, seconds: float, count: int = 1) -> Shape:
    items = ((Attempt(seconds),),) * count
    return Shape(name, [TraceStep(name="work", items=items)])


def beside(policy: str, **settings: object) -> Record:
    """Let ada have 400 seconds of work, and bob as many a little later, on four workers."""
    jobs = [
        TraceJob(0.0, shape("big", 1.0, 400), fair="ada"),
        TraceJob(10.0, shape("big", 1.0, 400), fair="bob"),
    ]
    given = FlowSettings(policy=policy, **settings)  # type: ignore[arg-type]
    return Simulation(jobs, [Crew(workers=4)], given).run()


# --- fairness ------------------------------------------------------------------------------------


def test_jains_index_is_one_for_equals_and_one_nth_if_one_has_all() -> None:
    assert jain([3.0, 3.0, 3.0]) == 1.0
    assert jain([1.0, 0.0, 0.0, 0.0]) == 0.25
    assert jain([]) == 1.0
    assert jain([0.0, 0.0]) == 1.0


def test_fair_shares_give_nobody_more_than_it_wants_and_the_rest_to_others() -> None:
    assert fair_shares(10.0, {0: 1.0, 1: 100.0, 2: 100.0}, dict.fromkeys(range(3), 1.0)) == {
        0: 1.0,
        1: 4.5,
        2: 4.5,
    }
    assert fair_shares(9.0, {0: 100.0, 1: 100.0}, {0: 2.0, 1: 1.0}) == {0: 6.0, 1: 3.0}


@given(
    st.floats(0, 1e6),
    st.dictionaries(st.integers(0, 9), st.floats(0.001, 1e6), min_size=1),
    st.floats(0.1, 10),
)
def test_fair_shares_deal_out_all_there_is_up_to_what_is_wanted(
    total: float, wants: dict[int, float], heavy: float
) -> None:
    weights = {key: heavy if key % 2 else 1.0 for key in wants}

    shares = fair_shares(total, wants, weights)

    assert sum(shares.values()) == pytest.approx(min(total, sum(wants.values())))
    assert all(share <= wants[key] + 1e-9 for key, share in shares.items())


def test_the_index_tells_sharing_from_taking_turns() -> None:
    assert beside("fair").shares.index() > 0.99
    assert beside("fifo").shares.index() < 0.9


def test_who_has_twice_the_weight_may_have_twice_as_much() -> None:
    weighted = beside("fair", weights={"ada": 3.0})

    assert weighted.shares.index() > 0.98
    assert weighted.completion[0] < 0.85 * weighted.completion[1]


# --- samples -------------------------------------------------------------------------------------


def test_samples_become_fewer_and_stay_in_step() -> None:
    jobs = [TraceJob(0.0, shape("long", 1.0, 3 * SAMPLES_MAX)), TraceJob(5.0, shape("late", 1.0))]

    found = Simulation(jobs, [Crew(workers=1)], FlowSettings(policy="fifo")).run()

    assert SAMPLES_MAX / 2 <= len(found.times) <= SAMPLES_MAX
    assert found.times[-1] - found.times[-2] == found.interval == 4.0
    for series in found.stages.values():
        assert len(series.waiting) == len(series.running) == len(found.times)
    assert len(found.oldest_wait()) == len(found.oldest_open) == len(found.times)


def test_what_waits_is_counted_wherever_it_waits() -> None:
    jobs = [TraceJob(0.0, shape("many", 10.0, 50))]
    late, eager = (
        Simulation(jobs, [Crew(workers=2)], FlowSettings(policy="fifo"), eager=each).run()
        for each in (False, True)
    )

    (by_late,), (by_eager,) = late.stages.values(), eager.stages.values()
    assert list(by_late.waiting) == list(by_eager.waiting)
    assert by_late.waiting[0] == 48
    assert late.oldest_wait() == pytest.approx(eager.oldest_wait())


def test_names_beyond_the_limit_count_as_one() -> None:
    numbers = Numbers(3)

    assert [numbers.of(name) for name in ("a", "b", "c", "d", "e", "a", OTHERS)] == [
        0,
        1,
        2,
        3,
        3,
        0,
        3,
    ]
    assert KEYS_MAX > 3


# --- summaries -----------------------------------------------------------------------------------


def test_a_summary_tells_all_and_each_name_and_key() -> None:
    jobs = [
        TraceJob(0.0, shape("a", 1.0), fair="ada"),
        TraceJob(0.0, shape("b", 3.0), fair="bob"),
        TraceJob(0.0, shape("b", 3.0), fair="ada"),
    ]
    record = Simulation(jobs, [Crew(workers=1)], FlowSettings(policy="fifo"), round_trip=0.0).run()

    found = summarise("fifo", record)

    assert found.all.jobs == 3
    assert (found.seconds, found.utilisation, found.attempts) == (7.0, 1.0, 3)
    assert {name: group.jobs for name, group in found.names.items()} == {"b": 2, "a": 1}
    assert found.names["b"].completion.longest == 7.0
    assert found.keys["ada"].wait.longest == 4.0
    assert found.fairness is not None


def test_a_distribution_of_nothing_is_nothing() -> None:
    assert distribution([]).p99 == 0.0
    assert distribution([3.0, 1.0, 2.0]).p50 == 2.0
    assert distribution(range(101)).p95 == 95.0


# --- pictures ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["svg", "png"])
def test_a_picture_is_drawn(kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"picture.{kind}"
    records = {"fifo": beside("fifo"), "$x^{ \x1b[2J": Record()}

    plot.draw(path, records, "a $title$")

    assert path.read_bytes()[:5] in (b"<?xml", b"\x89PNG\r")


def test_a_picture_of_another_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"must end in \.svg or \.png"):
        plot.check_plot(tmp_path / "picture.pdf")


def test_a_missing_library_is_told_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)

    with pytest.raises(UsageError, match=r"pip install 'warrener\[plot\]'"):
        plot.check_plot(Path("picture.svg"))
