"""What the read models say of jobs that the real controller runs: what the log itself sums up."""

from __future__ import annotations

from random import Random
from typing import Any
from uuid import UUID

import msgspec
import pytest
from support.driving import Driver
from support.scale import scaled

from warrener.adapters.memory_views import MemoryViewStore
from warrener.domain import ids
from warrener.domain.definition.model import JobDefinition
from warrener.domain.events import JobEnded
from warrener.domain.messages import (
    AdjustStep,
    AnswerUserAction,
    CancelJob,
    PauseJob,
    RerunJob,
    ResumeJob,
    RetryJob,
    SignalJob,
)
from warrener.domain.states import JOB_ENDED
from warrener.projections.views import JOBS, JobView
from warrener.services.logs import LogSet
from warrener.services.projector import catch_up
from warrener.services.queries import Queries

PART = {
    "job": "part",
    "steps": {
        "work": {"call": "w", "compensate": "u", "retry": [{"on": "again", "max": 3}]},
        "tidy": {"call": "t", "always": True},
    },
}
WHOLE = {
    "job": "whole",
    "deadline": 5_000,
    "steps": {
        "load": {"call": "l", "compensate": "u", "on_user_action": {"expire": 50, "then": "skip"}},
        "fan": {"call": "w", "for_each": [1, 2, 3, 4, 5], "window": 2, "tolerate": 1},
        "parts": {"job": "part", "for_each": [1, 2, 3], "after": ["load"]},
        "sub": {"job": "part", "catch": [{"on": "*", "go": "mend"}]},
        "mend": {"call": "m"},
        "merge": {"call": "m", "after": ["fan", "parts", "sub"]},
        "tidy": {"call": "t", "always": True},
    },
}
WAITS = {
    "nap": {"sleep": 3, "after": ["load"]},
    "hold": {"wait": {"for": "go", "form": {"type": "object"}, "expire": 900}},
}
WAITING = {**WHOLE, "steps": {**WHOLE["steps"], **WAITS}}
DEFINITIONS = {"plain": WHOLE, "waiting": WAITING}


def defined(raw: dict[str, Any]) -> JobDefinition:
    return msgspec.convert(raw, JobDefinition)


def submitted(raw: dict[str, Any]) -> tuple[Driver, UUID]:
    driver = Driver()
    return driver, driver.submit(defined(raw), {}, {"part": defined(PART)})


class Hands:
    """Does what workers and people may do, as chance has it."""

    def __init__(self, raw: dict[str, Any], seed: int) -> None:
        self.chance = Random(seed)
        self.steps = list(raw["steps"])
        self.driver, self.job = submitted(raw)
        self.done: set[tuple[UUID, int]] = set()

    def play(self, moves: int) -> None:
        for move in range(moves):
            kind = self.chance.choice(("report",) * 12 + ("wait", "wait", "command"))
            getattr(self, f"_{kind}")(move)

    def _report(self, _move: int) -> None:
        left = [
            order for order in self.driver.orders if (order.step, order.attempt) not in self.done
        ]
        if not left:
            return
        order = self.chance.choice(left)
        driver = self.driver
        what = self.chance.choice(("ok", "ok", "ok", "ok", "again", "broken", "ask", "beat"))
        if what == "beat":
            driver.beat(order, progress=self.chance.random())
            return
        self.done.add((order.step, order.attempt))
        if what == "ok":
            driver.succeed(order, 1)
        elif what == "ask":
            driver.ask(order, cause=self.chance.choice("ab"))
        else:
            driver.fail(order, code=what, outcome="failed" if what == "again" else "permanent")

    def _wait(self, _move: int) -> None:
        self.driver.wait(self.chance.choice((1, 5, 60)))

    def _command(self, move: int) -> None:
        job, key, step = self.job, str(move), self.chance.choice(self.steps)
        requests = self.driver.requests()
        choices: list[Any] = [
            PauseJob(job=job, by="ada"),
            *[ResumeJob(job=job)] * 3,
            SignalJob(job=job, name="go", key=key, data=msgspec.Raw(b"{}")),
            RerunJob(job=job, step=step, key=key, by="ada"),
            RetryJob(job=job),
            RetryJob(job=job, path=step),
            AdjustStep(job=job, step="fan", window=self.chance.choice((1, 4))),
            *[AnswerUserAction(request=each, data=msgspec.Raw(b"{}")) for each in requests],
        ]
        if self.chance.random() < 0.1:
            choices = [CancelJob(job=job)]
        self.driver.command(self.chance.choice(choices))


def jobs_of(driver: Driver) -> dict[UUID, JobView]:
    views = MemoryViewStore()
    catch_up(driver.store, views)
    found: dict[UUID, JobView] = {
        key: view for key, view in views.tables()[JOBS].items() if isinstance(view, JobView)
    }
    return found


@pytest.mark.parametrize("name", DEFINITIONS)
@pytest.mark.parametrize("seed", range(scaled(25)))
def test_an_ended_job_counts_the_steps_that_its_last_event_counts(name: str, seed: int) -> None:
    hands = Hands(DEFINITIONS[name], seed)
    for _ in range(12):
        hands.play(20)

        for job, view in jobs_of(hands.driver).items():
            last = hands.driver.store.last(job)
            assert last is not None
            assert view.state == hands.driver.job(job).state, job
            if view.state in JOB_ENDED and isinstance(last.event, JobEnded):
                assert view.counts.by_state() == last.event.steps, (view.name, view.state)
                assert view.counts.done() == view.counts.total()


@pytest.mark.parametrize("name", DEFINITIONS)
@pytest.mark.parametrize("seed", range(scaled(10)))
def test_every_step_of_every_job_can_be_shown_with_the_state_that_the_log_says(
    name: str, seed: int
) -> None:
    hands = Hands(DEFINITIONS[name], 1_000 + seed)
    hands.play(120)
    queries = Queries(LogSet([hands.driver.store]), MemoryViewStore())

    for job in jobs_of(hands.driver):
        known = hands.driver.job(job)
        for path, step in queries.show(job).steps.items():
            if known.ended(path) or step.state == "pending":
                assert step.state == known.step(path), (job, path)
            elif step.state != "ready":
                assert step.state == hands.driver.step(job, path).state, (job, path)
    for action in queries.actions():
        assert action.steps == len(
            hands.driver.controller.memory.requests.open[action.request].members
        )
    assert {action.request for action in queries.actions()} == set(hands.driver.requests())


def test_a_rerun_takes_back_the_child_jobs_of_the_old_generation() -> None:
    driver, job = submitted(WHOLE)
    driver.succeed(driver.order("load"))
    before = jobs_of(driver)[job].counts.by_state()
    for order in [order for order in driver.orders if order.path == "work"]:
        driver.succeed(order)
    for order in [order for order in driver.orders if order.path == "tidy"]:
        driver.succeed(order)
    after = jobs_of(driver)[job].counts.by_state()

    refused = driver.command(RerunJob(job=job, step="load", key="again"))

    assert refused is None
    found = jobs_of(driver)
    parts = [
        view for view in found.values() if view.parent and view.parent.path.startswith("parts")
    ]
    assert after != before
    assert len(parts) == 3
    assert {view.state for view in parts} == {"succeeded"}
    assert found[job].generation == 2
    child = ids.child_job_id(ids.step_id(job, "sub"), 1)
    counted = sum(found[job].counts.by_state().values())
    own = len(WHOLE["steps"]) + 1 + 5
    assert counted == own + found[child].counts.total()
