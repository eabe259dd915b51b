"""Overloads with a known cause are named right, and healthy hours raise no alarm."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, get_args

import pytest
from support.healthy import healthy_hour
from support.overloads import MAKERS, Maker, Overload, overload
from support.scale import scaled

from warrener.domain.flow.incidents import Diagnosis

SEEDS: Final = 2
HOURS: Final = 40
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
