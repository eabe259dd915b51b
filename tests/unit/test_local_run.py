"""Running a job inside a test of one's own, on a clock that jumps."""

from __future__ import annotations

import runpy
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from warrener.domain.definition.model import JobDefinition
from warrener.domain.errors import RetryLater, UsageError, UserActionRequired
from warrener.services.local_run import START
from warrener.testing import LocalRun


def definition(**steps: Any) -> JobDefinition:
    return msgspec.convert({"job": "trial", "steps": steps}, JobDefinition)


TRIAL = definition(
    welcome={"call": "mail.welcome"},
    decision={"wait": {"for": "decided", "expire": 14 * 86_400.0}, "after": ["welcome"]},
    charge={"call": "shop.charge", "after": ["decision"]},
    remind={"call": "mail.remind", "after": ["decision"], "join": "any_failed"},
)


def test_a_wait_of_14_days_takes_no_time():
    mails: list[str] = []
    endpoints = {
        "mail.welcome": lambda: mails.append("welcome"),
        "mail.remind": lambda: mails.append("remind"),
        "shop.charge": lambda: "paid",
    }
    run = LocalRun(TRIAL, endpoints)
    begun = time.monotonic()

    waiting = run.start()
    run.advance("14d")

    assert [each.name for each in waiting.waiting] == ["decided"]
    assert mails == ["welcome", "remind"]
    assert run.step("decision").error.code == "wait-expired"
    assert run.now == START + timedelta(days=14)
    assert time.monotonic() - begun < 5


def test_a_signal_in_time_lets_the_job_go_on():
    run = LocalRun(TRIAL, {"mail.welcome": lambda: None, "shop.charge": lambda: "paid"})
    run.start()

    run.advance("13d")
    outcome = run.signal("decided", {"plan": "large"})

    assert outcome.state == "succeeded"
    assert run.step("decision").result == {"plan": "large"}
    assert [line.type for line in run.history()].count("JobSignalled") == 1


def test_an_attempt_that_asks_to_be_called_in_an_hour_is_called_then():
    calls: list[float] = []

    def busy() -> str:
        calls.append(run.now.timestamp())
        if len(calls) < 3:
            raise RetryLater(3600, code="throttled")
        return "done"

    run = LocalRun(definition(a={"call": "busy"}), {"busy": busy})

    assert run.start().state == "succeeded"
    assert [later - calls[0] for later in calls] == [0, 3600, 7200]


def test_a_user_action_is_answered_and_the_endpoint_sees_the_answer():
    from warrener import current_step

    def posts() -> Any:
        if current_step().answer is None:
            raise UserActionRequired("reconnect", cause="facebook", form={"type": "object"})
        return current_step().answer

    run = LocalRun(definition(a={"call": "posts"}), {"posts": posts})

    outcome = run.start()
    assert [(each.kind, each.name) for each in outcome.waiting] == [("user-action", "reconnect")]
    assert run.answer({"token": "t"}).state == "succeeded"
    assert run.step("a").result == {"token": "t"}


def test_a_refused_command_says_why():
    run = LocalRun(definition(a={"call": "a"}), {"a": lambda: 1})
    with pytest.raises(UsageError, match="not started"):
        run.signal("go")
    run.start()

    with pytest.raises(UsageError, match=r"cannot cancel .*: it has already succeeded"):
        run.cancel()
    with pytest.raises(UsageError, match="0 user actions fit"):
        run.answer()


def test_a_real_clock_passes():
    calls: list[int] = []

    def flaky() -> int:
        calls.append(1)
        if len(calls) == 1:
            raise RetryLater(0.05)
        return len(calls)

    run = LocalRun(definition(a={"call": "flaky"}), {"flaky": flaky}, clock="real")

    assert run.start().state == "succeeded"
    assert len(calls) == 2


def test_the_example_of_a_test_passes(monkeypatch: pytest.MonkeyPatch):
    root = Path(__file__).parents[2]
    monkeypatch.chdir(root)
    names = runpy.run_path(str(root / "ops/examples/test_trial.py"))

    names["test_whoever_does_not_decide_in_14_days_is_reminded"]()
