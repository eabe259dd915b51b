"""Whatever the faults: the same seed writes the same log, and when they stop every job ends."""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import Any

import msgspec
import pytest
from support.scale import scaled
from support.world import World

from warrener.adapters.faults import Faults
from warrener.adapters.memory_events import MemoryEventStore
from warrener.domain import ids, job, step
from warrener.domain.definition.model import JobDefinition
from warrener.domain.events import JobEvent, JobSubmitted
from warrener.domain.messages import RunStep
from warrener.domain.states import JOB_ENDED
from warrener.domain.step_events import StepEvent, StepReleased, StepSucceeded
from warrener.services.outcomes import outcome
from warrener.services.submission import Source

SEEDS = 300
CHUNK = 25
FAULTY_TURNS = 60

TREE: dict[str, Any] = {
    "job": "tree",
    "steps": {
        "leaves": {
            "for_each": "${{ params.leaves }}",
            "call": "work",
            "with": {"value": "${{ item }}"},
            "window": 3,
            "retry": [{"on": "flaky", "first": 0.5}, {"on": "*", "max": 2}],
        },
        "below": {
            "for_each": "${{ params.below }}",
            "job": "tree",
            "with": {"leaves": "${{ item.leaves }}", "below": "${{ item.below }}"},
        },
        "rare": {
            "call": "work",
            "with": {"value": 0},
            "when": "${{ size(params.below) > 1 }}",
            "retry": [{"on": "flaky", "first": 0.5}],
        },
        "sum": {
            "call": "sum",
            "with": {
                "values": "${{ steps.leaves.results + steps.below.results }}",
                "rare": "${{ steps.rare.result }}",
            },
            "join": "all_done",
            "retry": [{"on": "flaky", "first": 0.5}],
        },
    },
    "result": "${{ steps.sum.result }}",
}


def answer(order: RunStep, random: Random) -> tuple[str, Any]:
    args = msgspec.json.decode(order.args)
    if random.random() < 0.2:
        return "failed", "flaky"
    if order.endpoint == "sum":
        return "succeeded", sum(value or 0 for value in args["values"]) + (args["rare"] or 0)
    return "succeeded", args["value"]


def tree(random: Random, depth: int) -> dict[str, Any]:
    below = [tree(random, depth - 1) for _ in range(random.randint(0, 2))] if depth else []
    return {"leaves": [random.randint(1, 9) for _ in range(random.randint(0, 5))], "below": below}


def total(params: dict[str, Any]) -> int:
    return sum(params["leaves"]) + sum(map(total, params["below"]))


def faults(random: Random) -> Faults:
    return Faults(
        drop=random.choice([0.0, 0.05]),
        duplicate=random.choice([0.0, 0.3]),
        delay=random.choice([0.0, 0.3]),
        crash=random.choice([0.0, 0.02, 0.1]),
        store_down=random.choice([0.0, 0.05]),
        outcome_unknown=random.choice([0.0, 0.05]),
        conflict=random.choice([0.0, 0.05]),
    )


def live(seed: int) -> tuple[World, dict[str, Any]]:
    random = Random(seed)
    params = tree(random, 2)
    world = World(seed, answer, faults(random))
    definition = msgspec.convert(TREE, JobDefinition)
    world.submit(Source(definition, {"tree": definition}), params, key=f"seed-{seed}")
    world.run(FAULTY_TURNS)
    return world, params


@pytest.mark.parametrize("chunk", range(scaled(SEEDS) // CHUNK))
def test_the_same_seed_writes_the_same_log_byte_for_byte_and_keeps_every_promise(
    chunk: int,
) -> None:
    for seed in range(chunk * CHUNK, (chunk + 1) * CHUNK):
        world, params = live(seed)
        again, _ = live(seed)

        assert world.log.dump() == again.log.dump(), f"seed {seed}"
        ended = outcome(world.log, world.roots[0])
        assert (ended.state, ended.result) == ("succeeded", total(params)), f"seed {seed}"
        check_promises(world.log, seed)


def check_promises(log: MemoryEventStore, seed: int) -> None:
    """G2, G4 and G6 on the whole log; the names are those of the list of promises."""
    events = log.read(0, log.head())
    streams = {positioned.recorded.originator_id for positioned in events}
    assert [positioned.position for positioned in events] == list(range(1, len(events) + 1)), seed
    accepted: Counter[Any] = Counter()
    for positioned in events:
        event = positioned.recorded.event
        if isinstance(event, StepSucceeded):
            accepted[positioned.recorded.originator_id] += 1
    assert set(accepted.values()) <= {1}, f"G2: a result was accepted twice, seed {seed}"
    for stream in streams:
        recorded = list(log.stream(stream))
        assert [r.originator_version for r in recorded] == list(range(1, len(recorded) + 1)), seed
        attempts = [r.event.attempt for r in recorded if isinstance(r.event, StepReleased)]
        assert attempts == list(range(1, len(attempts) + 1)), f"G4: attempts, seed {seed}"
        if isinstance(recorded[0].event, JobSubmitted):
            state = job.project(None, recorded)
            assert state is not None
            assert state.state in JOB_ENDED, f"G6: a job did not end, seed {seed}"
        elif isinstance(recorded[0].event, StepEvent):
            folded = step.project(None, recorded)
            assert folded is not None
            assert folded.state in {"succeeded", "failed", "cancelled"}, f"G6, seed {seed}"
        else:
            assert not isinstance(recorded[0].event, JobEvent)


def test_the_state_replayed_from_the_log_equals_the_live_state_after_every_turn() -> None:
    for seed in range(20):
        random = Random(seed)
        world = World(seed, answer, faults(random))
        definition = msgspec.convert(TREE, JobDefinition)
        params = tree(random, 2)
        world.submit(Source(definition, {"tree": definition}), params, key="replay")
        for _ in range(FAULTY_TURNS):
            if not world.turn():
                world.pass_time()
            memory = world.reactor.controller.memory
            for active in memory.jobs.values():
                assert job.project(None, world.log.stream(active.job.id)) == active.job
            for begun in memory.steps.values():
                assert step.project(None, world.log.stream(begun.id)) == begun
            assert ids.job_id("replay") == world.roots[0]
