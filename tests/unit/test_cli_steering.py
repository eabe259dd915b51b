"""The commands that steer: what each sends to a fleet, and what it refuses."""

from __future__ import annotations

import io
import re
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import pytest
from support.desk import ASKED, CHILD, JOB, WHO, Desk, write
from support.driving import Driver
from support.inbox_side import InboxSide

from warrener.adapters.memory import MemoryBroker
from warrener.domain import ids
from warrener.domain.control_events import LimitChanged
from warrener.domain.definition.model import Rate, RetryRule
from warrener.domain.messages import (
    AdjustStep,
    CancelJob,
    ChangeLimit,
    PauseJob,
    RerunJob,
    ResumeJob,
    RetryJob,
    RunStep,
    SignalJob,
)
from warrener.domain.ports import EventStore
from warrener.domain.step_events import StepReleased
from warrener.services import client


@pytest.mark.parametrize(
    ("arguments", "command", "told"),
    [
        (["cancel", str(JOB)], CancelJob(job=JOB, **WHO), {"job": str(JOB)}),
        (["cancel", JOB.hex[:8]], CancelJob(job=JOB, **WHO), {"job": str(JOB)}),
        (["pause", str(JOB)], PauseJob(job=JOB, **WHO), {"job": str(JOB)}),
        (["pause", f"{JOB}/groups[1]"], PauseJob(job=CHILD, **WHO), {"job": str(CHILD)}),
        (["resume", f"{JOB}/groups[1]"], ResumeJob(job=CHILD, **WHO), {"job": str(CHILD)}),
        (["resume", str(JOB)], ResumeJob(job=JOB, **WHO), {"job": str(JOB)}),
        (["retry", str(JOB)], RetryJob(job=JOB, **WHO), {"job": str(JOB), "step": None}),
        (
            ["retry", f"{JOB}/own"],
            RetryJob(job=JOB, path="own", **WHO),
            {"job": str(JOB), "step": "own"},
        ),
        (
            ["retry", f"{JOB}/groups[1]"],
            RetryJob(job=CHILD, **WHO),
            {"job": str(CHILD), "step": None},
        ),
        (
            ["retry", f"{JOB}/groups[1]/b"],
            RetryJob(job=CHILD, path="b", **WHO),
            {"job": str(CHILD), "step": "b"},
        ),
        (
            ["rerun", str(JOB), "--from", "own", "--key", "k"],
            RerunJob(job=JOB, step="own", key="k", **WHO),
            {"job": str(JOB), "step": "own", "key": "k"},
        ),
        (
            ["signal", str(JOB), "go", "--data", '{"n": 1}', "--key", "k"],
            SignalJob(job=JOB, name="go", data=msgspec.Raw(b'{"n":1}'), key="k", **WHO),
            {"job": str(JOB), "name": "go", "key": "k"},
        ),
        (
            ["signal", f"{JOB}/groups[1]", "go", "--key", "k"],
            SignalJob(job=CHILD, name="go", key="k", **WHO),
            {"job": str(CHILD), "name": "go", "key": "k"},
        ),
        (
            ["adjust", f"{JOB}/groups", "--window", "3", "--tolerate", "0"],
            AdjustStep(job=JOB, step="groups", window=3, tolerated=0, **WHO),
            {"job": str(JOB), "step": "groups", "window": 3, "tolerated": 0, "retry": None},
        ),
        (
            ["limits", "api", "--set", "rate=20/min", "--set", "slots=4"],
            ChangeLimit(name="api", slots=4, rate=Rate(20, 60), **WHO),
            {"name": "api", "slots": 4, "rate": "20/min", "burst": None},
        ),
        (
            ["limits", "api", "--reset"],
            ChangeLimit(name="api", **WHO),
            {"name": "api", "slots": None, "rate": None, "burst": None},
        ),
    ],
)
def test_a_command_goes_to_the_fleet(
    desk: Desk, arguments: list[str], command: Any, told: dict[str, Any]
) -> None:
    code, document = desk(*arguments, *ASKED)

    assert code == 0, document
    assert desk.side.only() == command
    assert document == {"command": arguments[0], **told}


def test_retry_rules_are_written_as_in_a_definition(desk: Desk) -> None:
    rules = '[{"on": "throttled", "max": 3, "first": "2s"}]'

    code, _ = desk("adjust", f"{JOB}/groups[1]/a", "--retry", rules, *ASKED)

    assert code == 0
    rule = RetryRule(on="throttled", max=3, first=2.0)
    assert desk.side.only() == AdjustStep(job=CHILD, step="a", retry=(rule,), **WHO)


def test_whoever_is_logged_in_asks(desk: Desk) -> None:
    desk("pause", str(JOB))

    assert desk.side.only() == PauseJob(job=JOB, by="grace")


def test_data_may_come_from_a_file_or_the_standard_input(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("data.json").write_text("[1, 2]")
    stdin = io.TextIOWrapper(io.BytesIO(b"[3]"))
    monkeypatch.setattr("sys.stdin", stdin)

    desk("signal", str(JOB), "go", "--data", "@data.json")
    desk("signal", str(JOB), "go", "--data", "@-")

    assert [bytes(command.data) for command in desk.side.commands] == [b"[1,2]", b"[3]"]


def test_the_same_key_sent_twice_is_the_same_message(desk: Desk) -> None:
    for _ in range(2):
        assert desk("signal", str(JOB), "go", "--key", "k")[0] == 0
        assert desk("rerun", str(JOB), "--from", "own", "--key", "k")[0] == 0

    signal, rerun, signal_again, rerun_again = desk.side.names
    assert (signal, rerun) == (signal_again, rerun_again)
    assert signal != rerun


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["cancel", "ffff"], "no job has the id ffff"),
        (["cancel", "nothing"], "is not the id of a job"),
        (["cancel", f"{JOB}/own"], "is a step: name its job alone"),
        (["pause", f"{JOB}/own"], "step own of job .* has started no job"),
        (["pause", f"{JOB}/late"], "step late of job .* has started no job"),
        (["pause", f"{JOB}/ownn"], "has no step 'ownn': did you mean 'own'"),
        (["retry", f"{JOB}/groups[2]"], "has no item 2: it has 2"),
        (["retry", f"{JOB}/own/a"], "step 'own' of job .* has started no job"),
        (["rerun", str(JOB)], "--from"),
        (["rerun", str(JOB), "--from", ""], "step"),
        (["rerun", str(JOB), "--from", "own", "--key", ""], "key"),
        (["signal", str(JOB)], "NAME"),
        (["signal", str(JOB), "go", "--data", "{"], "--data: not JSON"),
        (["signal", str(JOB), "go", "--data", "NaN"], "--data: not JSON"),
        (["signal", str(JOB), "go", "--data", "@absent"], "--data @absent: cannot be read"),
        (["signal", str(JOB), ""], "name"),
        (["adjust", str(JOB), "--window", "3"], "is a job: name a step of it"),
        (["adjust", f"{JOB}/groups"], "say what to change"),
        (["adjust", f"{JOB}/groups", "--window", "0"], "--window"),
        (["adjust", f"{JOB}/own", "--retry", "[{"], "--retry: not JSON"),
        (["adjust", f"{JOB}/own", "--retry", '[{"onn": "x"}]'], r"retry\[0\].onn: unknown key"),
        (["adjust", f"{JOB}/own", "--retry", '[{"max": 0}]'], r"retry\[0\].max"),
        (["limits", "--set", "slots=4"], "say which limit"),
        (["limits", "api", "--set", "slots"], "write --set NAME=VALUE"),
        (["limits", "api", "--set", "slot=4"], "parts of a limit are slots, rate, burst"),
        (["limits", "api", "--set", "slots=four"], "write a whole number, or default"),
        (["limits", "api", "--set", "slots=-1"], "slots"),
        (["limits", "api", "--set", "rate=often"], "'often' is not a rate"),
        (["answer", "nobody"], "there is no user action 'nobody'"),
        (["pause", str(JOB), "--reason", "x" * 2_001], "reason"),
    ],
)
def test_what_cannot_be_meant_is_refused_and_nothing_is_sent(
    desk: Desk, arguments: list[str], said: str
) -> None:
    code, message = desk(*arguments)

    assert code == 2
    assert re.search(said, message), message
    assert desk.side.commands == []


def test_a_refusal_of_the_fleet_is_wrong_usage(
    fleet_store: EventStore, fleet_broker: MemoryBroker, capsys: Any
) -> None:
    with InboxSide(fleet_broker, "cannot pause: it has ended") as side:
        done = Desk(fleet_broker, side, capsys)("pause", str(JOB))

    assert done == (2, "cannot pause: it has ended")


def test_without_a_reactor_the_command_waits_and_the_service_counts_as_away(
    fleet_store: EventStore,
    fleet_broker: MemoryBroker,
    capsys: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(client, "Client", partial(client.Client, answer_seconds=0.01))

    code, message = Desk(fleet_broker, InboxSide(fleet_broker), capsys)("pause", str(JOB))

    assert code == 4
    assert "the command waits at the broker until one takes it" in message


def test_a_whole_id_needs_no_store_where_a_fleet_judges_it(desk: Desk) -> None:
    elsewhere = ("--broker", "amqp://fleet", "--store", "sqlite:///absent.db")
    number = UUID(int=9)

    for command in ("cancel", "pause", "resume", "retry"):
        assert desk(command, str(number), fleet=elsewhere)[0] == 0
    assert desk("signal", str(number), "go", fleet=elsewhere)[0] == 0
    assert desk("rerun", str(number), "--from", "a", fleet=elsewhere)[0] == 0
    assert desk("answer", str(number), "--data", "1", fleet=elsewhere)[0] == 0
    assert desk("limits", "api", "--reset", "--set", "burst=2", fleet=elsewhere)[0] == 0

    assert len(desk.side.commands) == 8
    assert not Path("absent.db").exists()
    assert desk("cancel", "00000000", fleet=elsewhere)[0] == 4  # there is no store to look it up in


@pytest.mark.parametrize("rate", [Rate(1_234_567.0, 1.0), Rate(0.1234567, 60.0), Rate(1e-7, 90.0)])
def test_a_rate_that_is_not_named_stays_just_as_it_is(
    desk: Desk, fleet_store: EventStore, rate: Rate
) -> None:
    write(fleet_store, ids.limit_id("api"), LimitChanged, name="api", rate=rate)

    assert desk("limits", "api", "--set", "slots=2")[0] == 0
    assert [each.rate for each in desk.side.commands] == [rate]


def test_a_change_of_a_limit_keeps_what_it_does_not_name(
    desk: Desk, fleet_store: EventStore
) -> None:
    stream = ids.limit_id("api")
    write(fleet_store, stream, LimitChanged, name="api", slots=2, rate=Rate(20, 60))

    desk("limits", "api", "--set", "burst=3")
    desk("limits", "api", "--set", "slots=default", "--set", "rate=5/s")
    desk("limits", "api", "--reset", "--set", "burst=3")

    assert [(c.slots, c.rate, c.burst) for c in desk.side.commands] == [
        (2, Rate(20, 60), 3),
        (None, Rate(5, 1), None),
        (None, None, 3),
    ]


def test_the_retry_of_a_step_whose_job_has_ended_is_one_of_the_step(
    desk: Desk, fleet_store: EventStore
) -> None:
    driver = Driver(fleet_store)
    driver.controller.recover([JOB], driver.now)
    step = ids.step_id(CHILD, "a")
    (released,) = [r.event for r in fleet_store.stream(step) if isinstance(r.event, StepReleased)]
    order = RunStep(
        job=CHILD,
        step=step,
        path="a",
        endpoint="t.a",
        attempt=1,
        token=released.token,
        args=msgspec.Raw(b"{}"),
        reply_to="results",
    )
    driver.fail(order)

    assert desk("retry", f"{JOB}/groups[1]", *ASKED)[0] == 0

    assert desk.side.only() == RetryJob(job=JOB, path="groups[1]", **WHO)
