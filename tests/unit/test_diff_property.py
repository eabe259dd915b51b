"""Comparing random runs: none differs from one that went alike, and one change is found exactly."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from random import Random
from typing import Any

import msgspec
import pytest
import structlog
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.case import Case
from support.everything import run as run_world
from support.pairs import Played, differ
from support.scale import scaled
from support.strategies import cases

from warrener.domain.definition.model import JobDefinition
from warrener.domain.errors import PermanentError
from warrener.domain.events import JobSubmitted
from warrener.domain.ports import EventStore
from warrener.projections.diff.facts import StepFacts, job_facts, step_facts
from warrener.projections.why.tales import Tales
from warrener.services.diff import LogRun, Side, compare_runs
from warrener.services.local_run import START
from warrener.services.log_at import PAGE_EVENTS
from warrener.services.perform import current_step
from warrener.services.places import Place
from warrener.services.why import LogPast, moment_at
from warrener.testing import LocalRun

CASES = 200
WORLDS = 30
MOMENTS = 12
TOO_SLOW = [HealthCheck.too_slow]


def play(case: Case, *, key: str = "a", changed: dict[str, Any] | None = None) -> Played:
    """Run a case; `changed` has results of steps, or an error for one that is to fail."""
    given_up = changed or {}

    def work(**_: Any) -> Any:
        name = current_step().path
        outcome = given_up.get(name, case.results[name])
        if isinstance(outcome, Exception):
            raise outcome
        if name not in given_up and case.outcomes[name] == "fail":
            raise PermanentError("work")
        return outcome

    definition = msgspec.convert(case.definition, JobDefinition)
    start = START + timedelta(days=len(key))
    run = LocalRun(definition, {"work": work}, start=start, seed=len(key))
    run.start(case.params, key=key)
    return Played(run)


def succeeded_calls(played: Played) -> list[str]:
    """Return the steps that an endpoint gave a result for."""
    steps = played.run.show.steps.values()
    return [step.name for step in steps if step.state == "succeeded" and step.attempts]


@settings(max_examples=scaled(CASES), deadline=None, suppress_health_check=TOO_SLOW)
@given(case=cases())
def test_a_run_differs_neither_from_itself_nor_from_one_with_other_ids_and_times(
    case: Case,
) -> None:
    first, second = play(case), play(case, key="another")

    assert differ(first, first).first is None
    assert differ(first, second).first is None


@settings(max_examples=scaled(CASES), deadline=None, suppress_health_check=TOO_SLOW)
@given(case=cases(), pick=st.integers(0, 11), fails=st.booleans())
def test_the_one_step_that_went_otherwise_is_the_first_difference(
    case: Case, pick: int, fails: bool
) -> None:
    a = play(case)
    names = succeeded_calls(a)
    if not names:
        return
    name = names[pick % len(names)]
    otherwise: Any = PermanentError("otherwise") if fails else {"otherwise": True}

    found = differ(a, play(case, key="another", changed={name: otherwise}))

    assert found.first is not None
    assert (found.first.path, found.first.kind) == (name, "state" if fails else "result")


# --- worlds in which everything happens ----------------------------------------------------------


@pytest.fixture(autouse=True)
def _quiet() -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))


def jobs_of(store: EventStore) -> list[Any]:
    found, after = [], 0
    while page := store.read(after, PAGE_EVENTS):
        found += [
            each.recorded.originator_id
            for each in page
            if isinstance(each.recorded.event, JobSubmitted)
        ]
        after = page[-1].position
    return found


@pytest.mark.parametrize("seed", range(scaled(WORLDS)))
def test_whatever_happens_to_a_job_it_is_the_same_as_itself(seed: int) -> None:
    store = run_world(seed).store

    for job in jobs_of(store):
        side = Side(store, Place(job), str(job))
        found = compare_runs(side, side)
        assert found.first is None
        assert (found.steps_differing, found.times) == (0, ())


@pytest.mark.parametrize("seed", range(scaled(WORLDS)))
def test_the_facts_have_the_state_that_is_told_of_every_step(seed: int) -> None:
    world = run_world(seed)
    head = world.store.head()

    for position in {head, *Random(seed).sample(range(1, head + 1), min(MOMENTS, head))}:
        assert_states(world.store, position, world.clock.now())


def assert_states(store: EventStore, position: int, now: datetime) -> None:
    past = LogPast(store, moment_at(store, position, now))
    tales, run = Tales(past), LogRun(past.log)
    for job in jobs_of(past.log):
        facts, tale = job_facts(run, job), tales.job(job)
        assert facts is not None
        assert tale is not None
        for name in facts.plan.steps:
            found = step_facts(run, facts, name)
            assert found.state == tales.state(tale, name)
            assert_items(run, facts, found, tales, tale)


def assert_items(run: LogRun, facts: Any, found: StepFacts, tales: Tales, tale: Any) -> None:
    for index in range(found.count or 0):
        path = f"{found.path}[{index}]"
        assert step_facts(run, facts, path).state == tales.state(tale, path), path
