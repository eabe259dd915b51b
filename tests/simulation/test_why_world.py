"""Whatever happens, and wherever one looks: `why` has an answer, and the same one ever after."""

from __future__ import annotations

from random import Random
from typing import Any

import msgspec
import pytest
from support.asking import places, why_at
from support.scale import scaled
from support.world import INBOX, World

from warrener.adapters.faults import Faults
from warrener.domain import ids
from warrener.domain.definition.model import JobDefinition, Rate
from warrener.domain.messages import (
    AnswerUserAction,
    CancelJob,
    ChangeFlow,
    ChangeLimit,
    PauseJob,
    RerunJob,
    ResumeJob,
    RetryJob,
    RunStep,
    SignalJob,
)
from warrener.domain.ports import Outgoing
from warrener.domain.states import JOB_ENDED, STEP_ENDED
from warrener.projections.why.model import Place
from warrener.services.shapes import Why
from warrener.services.submission import Source
from warrener.services.why import Moment, moment_at

SEEDS = 8
TURNS = 60

LEAF: dict[str, Any] = {
    "job": "leaf",
    "steps": {
        "look": {"call": "work", "compensate": "undo", "limits": [{"name": "few", "slots": 2}]},
        "ask": {"wait": {"for": "approval", "form": {"type": "boolean"}, "expire": 20}},
        "tidy": {"call": "work", "always": True},
    },
}
ROOT: dict[str, Any] = {
    "job": "root",
    "deadline": 90,
    "steps": {
        "first": {
            "call": "work",
            "compensate": "undo",
            "catch": [{"on": "broken", "go": "instead"}],
            "timeout": {"run": 5, "total": 30},
        },
        "instead": {"call": "work"},
        "nap": {"sleep": 3, "after": ["first"]},
        "gate": {"wait": {"for": "go"}},
        "extra": {"call": "work"},
        "items": {
            "for_each": [1, 2, 3, 4, 5],
            "call": "work",
            "window": 2,
            "tolerate": 1,
            "limits": [{"name": "slow", "key": "${{ item < 3 ? 'a' : 'b' }}", "rate": [1, 2]}],
            "on_user_action": {"expire": 8, "then": "skip"},
            "needs": {"nap": {}},
        },
        "below": {"for_each": [1, 2], "job": "leaf", "tolerate": 1},
        "sum": {
            "call": "work",
            "with": {"a": "${{ steps.items.results }}", "b": "${{ steps.extra.result }}"},
            "needs": {"extra": {"when": "${{ steps.nap.status == 'succeeded' }}"}},
            "after": ["below"],
            "join": "all_done",
            "when": "${{ steps.items.status == 'succeeded' }}",
        },
        "early": {
            "call": "work",
            "after": ["gate", "below"],
            "join": "any_ok",
            "cancel_rest": True,
        },
        "tidy": {"call": "work", "always": True},
    },
}
CAPS = ("@root", "@job:root", "@step:root/items", "@queue:default", "@jobs", "@jobs:root")
KINDS = {
    "pending": {"dependency", "window", "children", "paused", "reactor", "limit", "rate"},
    "ready": {"limit", "rate", "window", "worker", "paused", "reactor"},
    "released": {"worker", "reactor"},
    "running": {"worker", "reactor"},
    "retrying": {"retry", "limit", "rate", "window", "worker", "paused", "reactor"},
    "waiting_user": {"user-action", "reactor"},
    "waiting": {"children", "signal", "timer", "reactor"},
}


def answer(order: RunStep, random: Random) -> tuple[str, Any]:
    outcomes = ["succeeded"] * 6 + ["failed", "permanent", "user_action"]
    outcome = random.choice(outcomes)
    return outcome, random.choice(["broken", "flaky"]) if outcome != "succeeded" else 1


def steer(world: World, random: Random) -> None:
    """Have somebody ask for something at times."""
    memory = world.reactor.controller.memory
    if random.random() < 0.7 or not memory.jobs:
        return
    root, some = world.roots[0], random.choice(list(memory.jobs))
    key = str(random.random())
    requests = list(memory.requests.open)
    asked: list[Any] = [
        PauseJob(job=some, by="ann"),
        *[ResumeJob(job=job) for job in memory.paused] * 3,
        SignalJob(
            job=some, name=random.choice(["go", "approval"]), data=msgspec.Raw(b"true"), key=key
        ),
        RetryJob(job=some),
        ChangeLimit(name="few", slots=random.choice([0, 1, None])),
        ChangeLimit(name=random.choice(CAPS), slots=random.choice([0, 1, 2, None])),
        ChangeLimit(name=random.choice(CAPS), rate=random.choice([Rate(1, 5), None])),
        RerunJob(job=root, step=random.choice(["first", "items", "below"]), key=key),
        *[AnswerUserAction(request=each, data=msgspec.Raw(b"true")) for each in requests],
    ]
    if random.random() < 0.05:
        asked = [CancelJob(job=root, by="bob", reason="enough")]
    tell(world, random.choice(asked))


def tell(world: World, command: Any) -> None:
    """Give a command."""
    body = msgspec.json.encode(command)
    world.client.publish([Outgoing(INBOX, body, f"command/{ids.content_hash(body)}")])


def run(seed: int, on_turn: Any) -> World:
    random = Random(seed)
    faults = Faults(duplicate=0.1, crash=random.choice([0.0, 0.02]), delay=0.1)
    world = World(seed, answer, faults)
    root, leaf = (msgspec.convert(each, JobDefinition) for each in (ROOT, LEAF))
    source = Source(root, {"leaf": leaf})
    world.submit(source, {}, key=f"why-{seed}")
    if seed % 2:
        tell(world, ChangeFlow(intake="queue"))
        tell(world, ChangeLimit(name="@jobs", slots=1))
        world.submit(source, {}, key=f"why-{seed}-too")
    for _ in range(TURNS):
        steer(world, random)
        busy = world.turn()
        on_turn(world)
        if not busy:
            world.pass_time()
    return world


def state_in_memory(world: World, place: Place) -> str | None:
    """Return the state that the controller itself has in mind, None where it has none."""
    memory = world.reactor.controller.memory
    active = memory.jobs.get(place.job)
    if active is None:
        return None
    if place.path is None:
        return active.job.state
    name, index = ids.split_path(place.path)
    step = memory.steps.get(place.id)
    if step is not None:
        return step.state
    return active.job.step(name) if index is None else None


def check(found: Why) -> None:
    waiting = found.waiting
    assert "unknown" not in f"{found.state} {waiting.kind} {waiting.sentence}", found
    assert waiting.sentence
    assert waiting.release
    if found.step is None:
        assert (found.state in JOB_ENDED) == (waiting.kind == "ended"), found
    elif found.state in STEP_ENDED:
        assert waiting.kind == "ended", found
    else:
        assert waiting.kind in KINDS[found.state], found
    depths = [blocker.depth for blocker in waiting.blockers]
    assert depths == sorted(depths)


@pytest.mark.parametrize("seed", range(scaled(SEEDS)))
def test_there_is_an_answer_at_every_position_of_the_log_for_everything(seed: int) -> None:
    world = run(seed, lambda _: None)
    states = set()

    for position in range(1, world.log.head() + 1):
        now = world.log.read(position - 1, 1)[0].recorded.event.at
        for place in places(world.log, position):
            found = why_at(world.log, place, Moment(position, now))
            check(found)
            states.add((found.state, found.waiting.kind))

    assert len(states) > 12


@pytest.mark.parametrize("seed", range(scaled(SEEDS)))
def test_what_was_answered_live_is_answered_ever_after(seed: int) -> None:
    heard: list[tuple[Place, Moment, Why]] = []

    def listen(world: World) -> None:
        moment = moment_at(world.log, None, world.clock.now())
        for place in places(world.log, moment.position):
            found = why_at(world.log, place, moment)
            heard.append((place, moment, found))
            assert found.state == (state_in_memory(world, place) or found.state)

    world = run(seed, listen)

    for place, moment, found in heard:
        again = Moment(moment.position, moment.now)
        assert why_at(world.log, place, again) == found
