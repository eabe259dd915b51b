"""What simulations foretell, beside what the real controller and worker made of the same load."""

from __future__ import annotations

import random
from collections.abc import Sequence
from statistics import median
from typing import Any

import msgspec
import pytest
from support.virtual_fleet import Coming, record

from warrener.domain.definition.model import JobDefinition
from warrener.domain.ports import EventStore
from warrener.services.logs import LogSet
from warrener.services.simulate.facts import read_store
from warrener.services.simulate.what_if import Load, Question, Rules, gather, simulate

ERROR_MAX = 0.05
SLOTS = 4


def call(seconds: str, **more: Any) -> dict[str, Any]:
    return {"call": "work", "with": {"seconds": seconds}, **more}


STAGES: dict[str, Any] = {
    "job": "stages",
    "steps": {
        "split": call("${{ params.first }}"),
        "work": call("${{ item }}", for_each="${{ params.each }}", after=["split"]),
        "rest": {"sleep": "2s", "after": ["split"]},
        "merge": {
            "call": "work",
            "with": {"seconds": "${{ params.last }}", "fails": "${{ params.fails }}"},
            "after": ["work", "rest"],
            "retry": [{"on": "*", "max": 3, "first": 1.0, "jitter": "none"}],
        },
    },
}
LIMITED = {"window": 2, "limits": [{"name": "few", "slots": 3}]}


def stages(**work: Any) -> JobDefinition:
    """Return the definition with more said of the fan-out."""
    steps = {**STAGES["steps"], "work": {**STAGES["steps"]["work"], **work}}
    return msgspec.convert({**STAGES, "steps": steps}, JobDefinition)


def coming(count: int, seed: int, mean_seconds: float, **work: Any) -> list[Coming]:
    chance, now, found = random.Random(seed), 0.0, []
    definition = stages(**work)
    for number in range(count):
        now += chance.expovariate(1 / mean_seconds)
        each = [round(chance.uniform(0.2, 2.0), 3) for _ in range(chance.randint(0, 5))]
        params = {
            "first": round(chance.uniform(0.2, 2.0), 3),
            "each": each,
            "last": round(chance.uniform(0.2, 2.0), 3),
            "fails": int(number % 10 == 0),
        }
        found.append((now, definition, params, {"fair": f"tenant{number % 3}"}))
    return found


def load_of(store: EventStore, **asked: Any) -> Load:
    rules = Rules()
    events = read_store(LogSet([store]), rules.take, lambda *_: None)
    return gather(events, rules, Question(**asked), infer=False)


def told(load: Load, policy: str) -> Sequence[float]:
    return simulate(load, policy, lambda *_: None)[1].completion


@pytest.mark.parametrize("policy", ["fifo", "finish-first", "fair"])
def test_a_record_foretells_itself(policy: str) -> None:
    jobs = coming(150, 1, 1.4, **LIMITED)
    load = load_of(record(jobs, SLOTS, policy, ("default",)), workers=(str(SLOTS),))

    found = told(load, policy)

    assert len(found) == load.recorded.jobs == 150
    assert load.hand_over == 0.0
    assert median(found) == pytest.approx(load.recorded.completion.p50, rel=ERROR_MAX)
    mean = sum(found) / len(found)
    assert mean == pytest.approx(load.recorded.completion.mean, rel=ERROR_MAX)


def test_a_record_foretells_what_another_policy_would_have_made_of_it() -> None:
    jobs = coming(150, 2, 1.3)
    by_fifo = load_of(record(jobs, SLOTS, "fifo", ("default",)), workers=(str(SLOTS),))
    by_finish_first = load_of(record(jobs, SLOTS, "finish-first", ("default",)))

    found = told(by_fifo, "finish-first")

    truth = by_finish_first.recorded.completion.p50
    assert median(found) == pytest.approx(truth, rel=ERROR_MAX)
    assert by_fifo.recorded.completion.p50 > 1.1 * truth


def test_a_record_foretells_what_another_fleet_would_have_made_of_it() -> None:
    jobs = coming(150, 3, 1.3)
    by_few = load_of(record(jobs, SLOTS, "fifo", ("default",)), workers=("6",))
    by_more = load_of(record(jobs, 6, "fifo", ("default",)))

    found = told(by_few, "fifo")

    assert median(found) == pytest.approx(by_more.recorded.completion.p50, rel=ERROR_MAX)


def test_the_fleet_is_as_large_as_it_was_seen_at_work() -> None:
    load = load_of(record(coming(50, 4, 1.0), SLOTS, "fifo", ("default",)))

    assert [(crew.workers, crew.queues) for crew in load.crews] == [(SLOTS, ("default",))]
