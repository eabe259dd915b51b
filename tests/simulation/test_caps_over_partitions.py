"""Limits with reserved names and intake hold over all partitions, however they are changed."""

from __future__ import annotations

from typing import Any

import pytest
from support.scale import scaled
from support.shared_limits import SharedLimits

from warrener.adapters.faults import Faults
from warrener.domain.caps import NO_KEY
from warrener.domain.definition.model import Rate
from warrener.domain.messages import ChangeFlow
from warrener.domain.step_events import Held

SEEDS = 40
CHUNK = 10
CHANGES = 8
JOBS_MAX = 40
TURNS_BETWEEN_MAX = 120
RATED: dict[str, Any] = {"name": "rated", "rate": [5, 1], "burst": 3}
THREE: dict[str, Any] = {"name": "three", "slots": 3}
CAPS = ("@root", "@job:limited", "@step:limited/s0", "@queue:default", "@jobs", "@jobs:limited")
FAULTS = {"duplicate": 0.05, "delay": 0.05, "crash": 0.01, "store_down": 0.01}


def world_of(seed: int, *, freeze: float) -> SharedLimits:
    """Return a world in which jobs wait for intake."""
    faults = Faults(**FAULTS, outcome_unknown=0.01)
    world = SharedLimits(seed, (THREE, RATED), faults, freeze=freeze)
    world.tell_all(ChangeFlow(intake="queue"))
    submit(world, 6)
    return world


def submit(world: SharedLimits, count_max: int) -> None:
    """Submit some jobs."""
    for _ in range(world.random.randint(0, count_max)):
        partition = world.random.randrange(world.count)
        world.submit(partition, f"job-{len(world.submitted)}", world.random.randint(1, 4))


def change(world: SharedLimits) -> None:
    """Set, raise, lower or reset what some limit lets out."""
    name = world.random.choice((*CAPS, *CAPS, "three", "rated"))
    slots = world.random.choice([None, 1, 2, 3, 5])
    rate = world.random.choice([None, None, Rate(1, 2), Rate(5, 1)])
    world.change(name=name, slots=slots, rate=rate, burst=world.random.choice([None, 1, 4]))
    for _ in range(world.random.randint(0, TURNS_BETWEEN_MAX)):
        world.step()
        if world.random.random() < 0.1 and len(world.submitted) < JOBS_MAX:
            submit(world, 2)


@pytest.mark.parametrize("chunk", range(scaled(SEEDS) // CHUNK))
def test_caps_and_intake_hold_through_crashes_take_overs_and_live_changes(chunk: int) -> None:
    checked: dict[str, int] = {}
    for seed in range(chunk * CHUNK, (chunk + 1) * CHUNK):
        world = world_of(seed, freeze=0.02 * (seed % 2))
        for _ in range(CHANGES):
            change(world)
        for name in CAPS:
            world.change(name=name)
        world.run(0)
        for name, count in world.ledger.checked.items():
            checked[name] = checked.get(name, 0) + count

    assert len(set(CAPS) & set(checked)) >= len(CAPS) - 1


@pytest.mark.parametrize("seed", range(scaled(8)))
def test_caps_that_are_set_from_the_start_are_made_use_of_and_never_exceeded(seed: int) -> None:
    world = SharedLimits(seed, (), Faults(crash=0.01))
    world.tell_all(ChangeFlow(intake="queue"))
    world.change(name="@jobs", slots=4)
    world.change(name="@queue:default", slots=3)
    for _ in range(60):
        world.step()
    for number in range(30):
        world.submit(number % world.count, f"{seed}-{number}", 2)

    world.run(200)

    most = {held.name: count for held, count in world.ledger.most.items()}
    assert (most["@jobs"], most["@queue:default"]) == (4, 3)


@pytest.mark.parametrize("seed", range(scaled(8)))
def test_jobs_that_are_refused_get_in_when_they_are_sent_again(seed: int) -> None:
    world = SharedLimits(seed, (THREE, RATED), Faults(crash=0.01))
    world.tell_all(ChangeFlow(intake="refuse"))
    world.change(name="@jobs", slots=3)
    for _ in range(60):
        world.step()
    for number in range(12):
        world.submit(number % world.count, f"{seed}-{number}", 2)

    world.run(100)

    assert world.ledger.most[Held("@jobs", NO_KEY)] <= 3
