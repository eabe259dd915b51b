"""Starvation in simulated loads: found, cured by measures, and every measure withdrawn after it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from random import Random

import pytest
from support.cured import Cured
from support.flow_hand import kinds, measures
from support.loads import JobKind, StageKind, by_time, stream
from support.overloads import MAKERS, Maker, Overload, overload

from warrener.domain.control_events import (
    FlowSampled,
    MeasureEnded,
    MeasureTaken,
    StarvationDetected,
)
from warrener.domain.flow.alleviation import REMEDIES
from warrener.domain.flow.settings import FlowSettings, Measures
from warrener.domain.simulation.crews import Crew
from warrener.domain.simulation.trace import TraceJob

SLOTS = 8
CALM, FLOODED, OVER = 300.0, 700.0, 1_200.0
REPORT = JobKind("report", [StageKind(name, 1.0) for name in ("load", "merge", "send")])
URGENT = JobKind("urgent", [StageKind("act", 1.0)], priority=5)


def coming(
    random: Random, kind: JobKind, load: float, begin: float, end: float
) -> Iterator[TraceJob]:
    """Yield jobs that ask for a part of the slots."""
    return stream(random, kind, load * SLOTS / kind.work, begin, end)


def upstream_flood(random: Random) -> Iterator[TraceJob]:
    """Jobs of three stages come faster than they can be done, for some minutes."""
    return by_time(
        coming(random, REPORT, 0.5, 0.0, CALM),
        coming(random, REPORT, 1.8, CALM, FLOODED),
        coming(random, REPORT, 0.3, FLOODED, OVER),
    )


def urgent_work(random: Random) -> Iterator[TraceJob]:
    """Jobs of a high priority take all slots, for some minutes."""
    return by_time(
        coming(random, REPORT, 0.2, 0.0, OVER),
        coming(random, URGENT, 0.3, 0.0, CALM),
        coming(random, URGENT, 0.96, CALM, FLOODED),
        coming(random, URGENT, 0.3, FLOODED, OVER),
    )


def cured(jobs: Iterator[TraceJob], mode: str, policy: str) -> Cured:
    settings = FlowSettings(mode=mode, policy=policy)  # type: ignore[arg-type]
    found = Cured(jobs, [Crew(workers=SLOTS)], settings, until=4_000.0)
    found.run()
    return found


def is_over(found: Cured) -> bool:
    """Say whether nothing is open or in force, and all that was taken has ended."""
    done = measures(found.events())
    taken = sum(why == "taken" for why, _ in done)
    ended = sum(why not in ("taken", "proposed") for why, _ in done)
    last = next(e for e in reversed(found.events()) if isinstance(e, FlowSampled))
    names = kinds(found.events())
    return (
        not found.control.incidents.known
        and found.simulation.flow.measures == Measures()
        and taken == ended
        and names.count("StarvationDetected") == names.count("StarvationEnded")
        and last.incidents == ()
        and not found.simulation.open
    )


@pytest.mark.parametrize("seed", range(3))
def test_an_upstream_flood_is_found_and_cured_and_every_measure_is_withdrawn(seed: int) -> None:
    found = cured(upstream_flood(Random(seed)), "act", "fifo")
    alone = cured(upstream_flood(Random(seed)), "observe", "fifo")

    first = next((at, e) for at, _, e in found.log if isinstance(e, StarvationDetected))
    assert CALM < first[0] < FLOODED
    assert first[1].diagnosis == "upstream-flood"
    assert {"send"} <= {victim.step for victim in first[1].victims} <= {"merge", "send"}
    assert ("taken", "drain-downstream") in measures(found.events())
    grace = first[0] + 60.0
    for later in ("merge", "send"):
        assert alone.longest(later, grace, FLOODED) > 60.0
    assert found.longest("send", grace, FLOODED) < 5.0
    assert found.longest("merge", grace + 60.0, FLOODED) < 5.0
    assert is_over(found)
    assert measures(alone.events()) == [("proposed", "drain-downstream")]


@pytest.mark.parametrize("seed", range(3))
def test_who_starves_by_priority_is_served_by_measures_and_they_end(seed: int) -> None:
    found = cured(urgent_work(Random(seed)), "act", "finish-first")
    alone = cured(urgent_work(Random(seed)), "observe", "finish-first")

    diagnoses = {e.diagnosis for e in found.events() if isinstance(e, StarvationDetected)}
    assert "priority" in diagnoses
    assert ("taken", "boost-aged") in measures(found.events())
    assert found.longest("load", CALM, OVER) < alone.longest("load", CALM, OVER)
    assert is_over(found)


@pytest.mark.parametrize("make", MAKERS, ids=lambda make: make.__name__)
def test_whatever_the_cause_what_is_done_is_bounded_and_ends(
    make: Callable[[Maker], Overload],
) -> None:
    watched = overload(make, 7).watched
    found = Cured(watched.jobs, watched.crews, watched.settings, until=watched.until + 900.0)
    for at, call in watched.calls:
        found.simulation.call(at, partial(call, found.simulation))

    found.run()

    for at, incident, event in found.log:
        if isinstance(event, MeasureTaken):
            lasts = REMEDIES[event.measure.kind].lasts_seconds
            ended = (e for e in found.log if e[1] == incident and isinstance(e[2], MeasureEnded))
            assert any(at < later <= at + lasts + 1 for later, _, _ in ended) or (
                at + lasts > found.simulation.now
            )
    if not found.simulation.open:
        assert is_over(found)


def test_a_healthy_hour_sees_no_measure_and_few_samples() -> None:
    found = cured(coming(Random(1), REPORT, 0.6, 0.0, 3_600.0), "act", "finish-first")

    assert measures(found.events()) == []
    assert len(found.events()) <= 3_600 / 4
