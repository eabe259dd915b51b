"""Every state of a step and of a job, and what each thing that can happen makes of it.

One table, run on the broker in memory and on RabbitMQ. What is not allowed is refused with the
reason, or ignored and counted; nothing else changes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID

import msgspec
import pytest
from support.hand_fleet import HandFleet

from warrener.adapters.memory import MemoryBroker
from warrener.adapters.rabbitmq import RabbitBroker
from warrener.domain import ids
from warrener.domain.messages import (
    AnswerUserAction,
    CancelJob,
    ChangeLimit,
    PauseJob,
    RerunJob,
    ResumeJob,
    RetryJob,
    RunStep,
    SignalJob,
)
from warrener.domain.states import JOB_MOVES, STEP_ENDED, STEP_MOVES

RETRY = [{"on": "broken", "max": 10, "first": 1000.0, "jitter": "none"}]
X: dict[str, Any] = {
    "call": "work",
    "retry": RETRY,
    "timeout": {"queue": 500.0, "run": 500.0},
    "on_user_action": {"expire": 500.0},
    "limits": [{"name": "open", "slots": 1000}],
}
OTHER = {"other": {"call": "work"}}  # keeps the job from ending
HOUR = 3600.0

Setup = Callable[[HandFleet], UUID]


@pytest.fixture(scope="module", params=["memory", "rabbitmq"])
def fleet(request: pytest.FixtureRequest) -> Iterator[HandFleet]:
    if request.param == "memory":
        found = HandFleet(MemoryBroker())
    else:
        found = HandFleet(RabbitBroker(request.getfixturevalue("module_broker_url")))
    yield found
    found.close()


# --- bringing a step `x` into each of its states ------------------------------------------------


def pending(fleet: HandFleet) -> UUID:
    return fleet.submit({"x": {**X, "after": ["other"]}, **OTHER})


def ready(fleet: HandFleet) -> UUID:
    fleet.command(ChangeLimit(name="closed", slots=0))
    return fleet.submit({"x": {**X, "limits": [{"name": "closed", "slots": 1}]}, **OTHER})


def released(fleet: HandFleet) -> UUID:
    return fleet.submit({"x": X, **OTHER})


def running(fleet: HandFleet) -> UUID:
    job = released(fleet)
    fleet.beat(fleet.order(job, "x"))
    return job


def retrying(fleet: HandFleet) -> UUID:
    job = released(fleet)
    fleet.report(fleet.order(job, "x"), "failed")
    return job


def waiting_user(fleet: HandFleet) -> UUID:
    job = released(fleet)
    fleet.ask(fleet.order(job, "x"), cause=str(job))
    return job


def waiting(fleet: HandFleet) -> UUID:
    return fleet.submit({"x": {"wait": {"for": "go", "expire": 500.0}}, **OTHER})


def succeeded(fleet: HandFleet) -> UUID:
    job = released(fleet)
    fleet.report(fleet.order(job, "x"), "succeeded")
    return job


def failed(fleet: HandFleet) -> UUID:
    job = released(fleet)
    fleet.report(fleet.order(job, "x"), "permanent")
    return job


def upstream_failed(fleet: HandFleet) -> UUID:
    job = fleet.submit({"y": {"call": "work"}, "x": {**X, "after": ["y"]}, **OTHER})
    fleet.report(fleet.order(job, "y"), "permanent")
    return job


def skipped(fleet: HandFleet) -> UUID:
    return fleet.submit({"x": {**X, "when": "${{ 1 == 2 }}"}, **OTHER})


def not_needed(fleet: HandFleet) -> UUID:
    reader = {"call": "work", "needs": {"x": {"when": "${{ 1 == 2 }}"}}}
    return fleet.submit({"x": X, "reader": reader, **OTHER})


def cancelled(fleet: HandFleet) -> UUID:
    first = {"call": "work", "after": ["x", "y"], "join": "any_ok", "cancel_rest": True}
    job = fleet.submit({"x": X, "y": {"call": "work"}, "first": first, **OTHER})
    fleet.report(fleet.order(job, "y"), "succeeded")
    return job


SETUPS: dict[str, Setup] = {
    setup.__name__: setup
    for setup in (
        pending,
        ready,
        released,
        running,
        retrying,
        waiting_user,
        waiting,
        succeeded,
        failed,
        upstream_failed,
        skipped,
        not_needed,
        cancelled,
    )
}

# --- what can happen to it ----------------------------------------------------------------------


def reports(outcome: str) -> Callable[[HandFleet, UUID], str | None]:
    def happen(fleet: HandFleet, job: UUID) -> None:
        fleet.report(order_or_forged(fleet, job), outcome)

    return happen


def asks(fleet: HandFleet, job: UUID) -> None:
    fleet.ask(order_or_forged(fleet, job), cause=f"again {job}")


def beats(fleet: HandFleet, job: UUID) -> None:
    fleet.beat(order_or_forged(fleet, job), progress=0.5)


def order_or_forged(fleet: HandFleet, job: UUID) -> RunStep:
    """Return the newest order of `x`; where there was none, an order that nobody gave."""
    if any(fleet.store.stream(ids.step_id(job, "x"))) and fleet.step(job, "x").attempt:
        return fleet.order(job, "x")
    real = fleet.order(job, "other")
    return msgspec.structs.replace(real, step=ids.step_id(job, "x"), path="x")


def time_passes(fleet: HandFleet, _: UUID) -> None:
    fleet.wait(HOUR)


def answered(fleet: HandFleet, job: UUID) -> str | None:
    begun = any(fleet.store.stream(ids.step_id(job, "x")))
    request = fleet.step(job, "x").request if begun else None
    return fleet.command(AnswerUserAction(request=request or job))


HAPPENINGS: dict[str, Callable[[HandFleet, UUID], str | None]] = {
    "succeeds": reports("succeeded"),
    "fails": reports("failed"),
    "fails for good": reports("permanent"),
    "asks": asks,
    "beats": beats,
    "time passes": time_passes,
    "answered": answered,
    "signalled": lambda fleet, job: fleet.command(SignalJob(job=job, name="go", key=f"s/{job}")),
    "retried": lambda fleet, job: fleet.command(RetryJob(job=job, path="x")),
    "rerun": lambda fleet, job: fleet.command(RerunJob(job=job, step="x", key=f"r/{job}")),
    "job cancelled": lambda fleet, job: fleet.command(CancelJob(job=job)),
}
COMMANDS = {"answered", "signalled", "retried", "rerun"}

# state -> what happens -> the state after it. What is not named changes nothing: a report or beat
# is ignored, and a command is refused.
TABLE: dict[str, dict[str, str]] = {
    "pending": {"job cancelled": "cancelled"},
    "ready": {"job cancelled": "cancelled", "retried": "ready"},
    "released": {
        "succeeds": "succeeded",
        "fails": "retrying",
        "fails for good": "failed",
        "asks": "waiting_user",
        "beats": "running",
        "time passes": "failed",  # no rule answers a queue timeout here
        "job cancelled": "cancelled",
    },
    "running": {
        "succeeds": "succeeded",
        "fails": "retrying",
        "fails for good": "failed",
        "asks": "waiting_user",
        "beats": "running",
        "time passes": "failed",
        "job cancelled": "cancelled",
    },
    "retrying": {"time passes": "released", "retried": "released", "job cancelled": "cancelled"},
    "waiting_user": {
        "time passes": "failed",
        "answered": "released",
        "retried": "released",
        "job cancelled": "cancelled",
    },
    "waiting": {"time passes": "failed", "signalled": "succeeded", "job cancelled": "cancelled"},
    "succeeded": {"rerun": "released"},
    "failed": {"rerun": "released", "retried": "released"},
    "upstream_failed": {"rerun": "upstream_failed"},  # by what failed before it
    "skipped": {"rerun": "skipped"},
    "not_needed": {"rerun": "not_needed"},
    "cancelled": {"rerun": "cancelled", "retried": "cancelled"},  # by who cancelled it before
}
CELLS = [(state, happening) for state in SETUPS for happening in HAPPENINGS]


@pytest.mark.parametrize(("state", "happening"), CELLS, ids=lambda value: value.replace(" ", "-"))
def test_what_happens_to_a_step_in_a_state(fleet: HandFleet, state: str, happening: str):
    job = SETUPS[state](fleet)
    assert fleet.state(job, "x") == state
    ignored = fleet.controller.ignored

    refused = HAPPENINGS[happening](fleet, job)

    allowed = happening in TABLE[state]
    assert fleet.state(job, "x") == TABLE[state].get(happening, state)
    if happening in COMMANDS:
        assert (refused is None) is allowed, refused
    elif not allowed and happening not in {"time passes", "job cancelled"}:
        assert fleet.controller.ignored == ignored + 1
    fleet.command(CancelJob(job=job))


def test_the_table_has_every_move_of_the_state_machine():
    told = {(state, to) for state, row in TABLE.items() for to in row.values() if to != state}
    told |= {("ready", "released"), ("pending", "ready")}  # by the setups
    told |= {("pending", state) for state in ("skipped", "not_needed", "upstream_failed")}
    told |= {("ready", "waiting"), ("retrying", "ready"), ("waiting_user", "ready")}
    told |= {(state, "ready") for state in STEP_ENDED}  # a rerun begins there
    elsewhere = {  # in tests of their own: fan-outs, sub-jobs, `set`, expressions, expiry
        ("pending", "waiting"),
        ("pending", "succeeded"),
        ("pending", "failed"),
        ("ready", "failed"),
        ("retrying", "failed"),
        ("waiting_user", "skipped"),
    }

    moves = {(source, target) for (source, _), target in STEP_MOVES.items() if source != target}

    assert moves - told - elsewhere == set()
    two_at_once = {(state, "released") for state in ("waiting_user", "succeeded", "failed")}
    assert told - moves == two_at_once  # made ready, and out in the same turn


# --- jobs ---------------------------------------------------------------------------------------

CLEAN = {"clean": {"call": "work", "always": True}}


def job_in(fleet: HandFleet, state: str) -> UUID:
    job = fleet.submit({"x": X, **CLEAN})
    if state == "paused":
        fleet.command(PauseJob(job=job))
    elif state == "cancelling":
        fleet.command(CancelJob(job=job))
    elif state != "running":
        if state == "cancelled":
            fleet.command(CancelJob(job=job))
        else:
            fleet.report(
                fleet.order(job, "x"), "succeeded" if state == "succeeded" else "permanent"
            )
        fleet.report(fleet.order(job, "clean"), "succeeded")
    assert fleet.job(job).state == state
    return job


JOB_COMMANDS: dict[str, Callable[[UUID], Any]] = {
    "pause": lambda job: PauseJob(job=job, by="ada", reason="lunch"),
    "resume": lambda job: ResumeJob(job=job),
    "cancel": lambda job: CancelJob(job=job, by="ada"),
    "rerun": lambda job: RerunJob(job=job, step="x", key=f"again/{job}"),
    "retry": lambda job: RetryJob(job=job),
}
# state -> command -> state after it; None: refused.
JOB_TABLE: dict[str, dict[str, str | None]] = {
    "running": {
        "pause": "paused",
        "resume": "running",
        "cancel": "cancelling",
        "rerun": None,
        "retry": None,
    },
    "paused": {
        "pause": "paused",
        "resume": "running",
        "cancel": "cancelling",
        "rerun": None,
        "retry": None,
    },
    "cancelling": {
        "pause": None,
        "resume": None,
        "cancel": "cancelling",
        "rerun": None,
        "retry": None,
    },
    "succeeded": {"pause": None, "resume": None, "cancel": None, "rerun": "running", "retry": None},
    "failed": {
        "pause": None,
        "resume": None,
        "cancel": None,
        "rerun": "running",
        "retry": "running",
    },
    "cancelled": {
        "pause": None,
        "resume": None,
        "cancel": "cancelled",
        "rerun": "running",
        "retry": None,
    },
}


@pytest.mark.parametrize("command", JOB_COMMANDS)
@pytest.mark.parametrize("state", JOB_TABLE)
def test_what_a_command_makes_of_a_job_in_a_state(fleet: HandFleet, state: str, command: str):
    job = job_in(fleet, state)
    head = fleet.store.head()

    refused = fleet.command(JOB_COMMANDS[command](job))

    expected = JOB_TABLE[state][command]
    assert fleet.job(job).state == (expected or state)
    if expected is None:
        assert refused is not None
        assert refused.startswith(f"cannot {command} {job}")
        assert fleet.store.head() == head
    else:
        assert refused is None
    fleet.command(CancelJob(job=job))


def test_the_table_of_jobs_has_every_move_of_the_state_machine():
    told = {(s, to) for s, row in JOB_TABLE.items() for to in row.values() if to and to != s}
    told |= {("submitted", "running")}
    told |= {("running", "succeeded"), ("running", "failed"), ("cancelling", "cancelled")}

    moves = {(source, target) for (source, _), target in JOB_MOVES.items()}

    told |= {("running", "running")}  # a rerun, or a deadline
    # A job starts in the turn that submits it, unless intake holds it back: see test_intake.py.
    waits = {("submitted", "cancelling"), ("submitted", "paused"), ("paused", "submitted")}
    assert moves - told == waits


def test_a_command_given_twice_changes_nothing_more(fleet: HandFleet):
    for command in ("pause", "cancel"):
        job = job_in(fleet, "running")
        fleet.command(JOB_COMMANDS[command](job))
        head = fleet.store.head()

        assert fleet.command(JOB_COMMANDS[command](job)) is None
        assert fleet.store.head() == head
    job = job_in(fleet, "failed")
    again = RerunJob(job=job, step="x", key="the same")
    fleet.command(again)
    fleet.command(again)
    assert fleet.job(job).generation == 2
