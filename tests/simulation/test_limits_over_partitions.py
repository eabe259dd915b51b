"""Limits hold over all partitions together, whatever becomes of the reactors that work on them."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from support.scale import scaled
from support.shared_limits import SharedLimits

from warrener.adapters.faults import Faults
from warrener.domain.definition.model import Rate
from warrener.domain.step_events import Held

SEEDS = 60
CHUNK = 10
FAULTY_TURNS = 400
ONE: dict[str, Any] = {"name": "one", "slots": 1}
THREE: dict[str, Any] = {"name": "three", "slots": 3}
RATED: dict[str, Any] = {"name": "rated", "rate": [2, 1], "burst": 3}
SLOW: dict[str, Any] = {"name": "slow", "slots": 2, "rate": [1, 3]}
LIMITS = ((ONE,), (THREE,), (RATED,), (SLOW,), (ONE, RATED), (ONE, THREE, RATED, SLOW))


def world_of(seed: int, **options: Any) -> SharedLimits:
    """Return a world in which jobs of every partition come under the same limits."""
    random = Random(seed)
    world = SharedLimits(seed, random.choice(LIMITS), **options)
    for number in range(random.randint(4, 12)):
        world.submit(random.randrange(world.count), f"{seed}-{number}", random.randint(1, 5))
    return world


@pytest.mark.parametrize("chunk", range(scaled(SEEDS) // CHUNK))
def test_limits_hold_over_all_partitions_through_crashes_and_every_job_ends(chunk: int) -> None:
    crashes = 0
    for seed in range(chunk * CHUNK, (chunk + 1) * CHUNK):
        faults = Faults(duplicate=0.1, delay=0.1, crash=0.02, store_down=0.02, outcome_unknown=0.02)
        world = world_of(seed, faults=faults)
        world.run(FAULTY_TURNS)
        crashes += world.crashes

    assert crashes > CHUNK


@pytest.mark.parametrize("chunk", range(scaled(SEEDS) // CHUNK))
def test_limits_hold_though_reactors_freeze_in_the_middle_of_a_turn(chunk: int) -> None:
    frozen = 0
    for seed in range(chunk * CHUNK, (chunk + 1) * CHUNK):
        world = world_of(seed, faults=Faults(crash=0.005), freeze=0.1)
        world.run(FAULTY_TURNS)
        frozen += world.frozen

    assert frozen > CHUNK


@pytest.mark.parametrize("chunk", range(scaled(SEEDS) // CHUNK))
def test_a_limit_that_is_changed_holds_as_soon_as_all_partitions_have_heard(chunk: int) -> None:
    for seed in range(chunk * CHUNK, (chunk + 1) * CHUNK):
        world = world_of(seed, faults=Faults(crash=0.01))
        for _ in range(6):
            limit = world.random.choice(world.limits)
            slots = world.random.choice([None, 1, 2, 4])
            rate = world.random.choice([None, Rate(1, 2), Rate(5, 1)])
            burst = world.random.choice([None, 1, 5])
            world.change(name=limit["name"], slots=slots, rate=rate, burst=burst)
            for _ in range(world.random.randint(0, 30)):
                world.step()
        world.run(0)


def test_partitions_make_use_of_all_that_a_limit_lets_out() -> None:
    world = SharedLimits(7, (THREE,), Faults(), partitions=4)
    for number in range(40):
        world.submit(number % 4, f"job-{number}", 3)

    world.run(0)

    assert world.ledger.most[Held("three", "null")] == 3
    assert world.seconds() < 1.5 * 120 / 3  # 120 steps of a second each on average, by threes


def test_a_rate_is_used_up_by_partitions_that_take_turns() -> None:
    world = SharedLimits(7, ({"name": "rated", "rate": [2, 1]},), Faults(), partitions=4)
    for number in range(40):
        world.submit(number % 4, f"job-{number}", 3)

    world.run(0)

    assert world.seconds() < 1.3 * 120 / 2
