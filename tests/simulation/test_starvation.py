"""Overloads with a known cause are named right, and healthy hours raise no alarm."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, get_args

import pytest
from support.healthy import healthy_hour
from support.loads import JobKind, StageKind, stream
from support.overloads import CALM, MAKERS, Maker, Overload, claim, overload
from support.scale import scaled

from warrener.domain.definition.model import Limit
from warrener.domain.flow.incidents import Diagnosis

SEEDS: Final = 2
HOURS: Final = 32
CHUNK: Final = 8
HEALTHY_MIN: Final = 6  # of a chunk: in other hours somebody does wait beyond the bound


@pytest.mark.parametrize("make", MAKERS, ids=lambda make: make.__name__)
def test_the_cause_of_an_overload_is_named(make: Callable[[Maker], Overload]) -> None:
    for seed in range(scaled(SEEDS)):
        made = overload(make, seed)

        made.watched.run()

        first = min((at for at, _ in made.watched.found.values()), default=0.0)
        assert {name for _, name in made.watched.found} == {made.cause}, (seed, made.watched.found)
        assert first > made.begin, seed


def test_there_are_overloads_of_every_cause() -> None:
    assert len(MAKERS) * SEEDS >= 25
    assert {overload(make, 0).cause for make in MAKERS} == set(get_args(Diagnosis))


def test_a_limit_and_too_few_workers_are_told_apart_where_both_hold_steps_back() -> None:
    make = Maker("both")
    make.policy, make.slots = "finish-first", 10
    make.end += make.bound
    kind = JobKind("limited", [StageKind("s0", 1.0)])
    kind.stages[0].claims = (claim(Limit(name="api", slots=1)),)
    others = [JobKind("job", [StageKind("s0", 1.0), StageKind("s1", 2.0)])]
    limited = stream(make.random, kind, 2.0, CALM, make.end)
    more = stream(make.random, others[0], make.rate(others[0], 1.5), CALM, make.end)

    made = make.overload("slots-full", [*make.calm(others), limited, more])
    made.watched.run()

    found = {
        diagnosis: {(victim.job, victim.step) for victim in finding.victims}
        for (_, diagnosis), (_, finding) in made.watched.found.items()
    }
    assert set(found) == {"slots-full", "too-few-workers"}
    assert found["slots-full"] == {("limited", "s0")}
    assert ("job", "s0") in found["too-few-workers"]


@pytest.mark.parametrize("chunk", range(scaled(HOURS) // CHUNK))
def test_a_healthy_hour_raises_no_alarm(chunk: int) -> None:
    healthy = 0
    for seed in range(chunk * CHUNK, (chunk + 1) * CHUNK):
        hour = healthy_hour(seed)

        hour.run()

        if hour.longest_wait <= hour.settings.bound_seconds:
            healthy += 1
            assert not hour.found, (seed, hour.found)
    assert healthy >= HEALTHY_MIN
