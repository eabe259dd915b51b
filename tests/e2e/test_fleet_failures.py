"""A fleet of real daemons, whose endpoints hang, fall silent, and ask people."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.cli import Cli
from support.daemons import Daemons
from support.log_checks import eventually

STORE = ("--store", "sqlite:///jobs.db")
ENDPOINTS = """
import os
import time
from pathlib import Path

from warrener import UserActionRequired, current_step, endpoint


@endpoint("f.hang_once")
def hang_once(folder: str) -> int:
    step = current_step()
    with Path(folder, "attempts").open("a") as file:
        file.write(f"{os.getpid()}\\n")
    while step.attempt == 1:
        time.sleep(0.05)
        step.progress(0.5, "hanging")
    return step.attempt


@endpoint("f.freeze_once")
def freeze_once() -> int:
    step = current_step()
    if step.attempt == 1:
        time.sleep(3600)
    return step.attempt


@endpoint("f.ask")
def ask(page: str) -> dict:
    answer = current_step().answer
    if answer is None:
        form = {"type": "object", "required": ["token"]}
        raise UserActionRequired("reconnect", cause=f"page:{page}", message="please", form=form)
    return answer
"""
HANGING = """
job: hanging
endpoints: [./endpoints.py]
params: {type: object, properties: {folder: {type: string}}}
steps:
  hung:
    call: f.hang_once
    with: {folder: "${{ params.folder }}"}
    timeout: {run: 1s}
    retry: [{on: run-timeout, max: 3, first: 0s}]
  next: {call: f.freeze_once, after: [hung], timeout: {run: 1s}, retry: [{first: 0s}]}
result: ["${{ steps.hung.result }}", "${{ steps.next.result }}"]
"""
ASKING = """
job: asking
endpoints: [./endpoints.py]
steps:
  posts: {for_each: [1, 2, 3], call: f.ask, with: {page: "7"}}
result: "${{ steps.posts.results }}"
"""


@pytest.fixture
def cli(tmp_path: Path, broker_url: str) -> Cli:
    made = Cli(tmp_path, {"WARRENER_BROKER_URL": broker_url})
    made.write(hanging_yaml=HANGING, asking_yaml=ASKING, endpoints_py=ENDPOINTS)
    return made


def history(cli: Cli, job: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in cli("history", job, "--json", *STORE).out.splitlines()]


def test_an_attempt_that_hangs_is_given_up_and_its_slot_is_free_for_the_next(cli: Cli) -> None:
    with Daemons(cli.folder, cli.variables) as daemons:
        daemons.reactor(*STORE)
        daemons.worker("--endpoints", "endpoints.py", "--processes", "--slots", 1)

        folder = ("--param", f"folder={cli.folder}")
        done = cli("submit", "hanging.yaml", *folder, "--wait", "--json")

        assert (done.code, done.json["result"]) == (0, [2, 2])
        events = history(cli, done.json["job"])
        retried = [each["data"]["error"]["code"] for each in events if "due" in each["data"]]
        assert retried == ["run-timeout", "run-timeout"]
        assert any(each["type"] == "StepProgressed" for each in events)
        first, second = (cli.folder / "attempts").read_text().split()
        assert first != second  # the process that hung is gone


def test_a_person_answers_once_and_all_steps_that_asked_go_on(cli: Cli) -> None:
    with Daemons(cli.folder, cli.variables) as daemons:
        daemons.reactor(*STORE)
        daemons.worker("--endpoints", "endpoints.py", "--threads", "--slots", 2)
        job = cli("submit", "asking.yaml", "--json").json["job"]

        def asked() -> list[dict[str, Any]]:
            lines = cli("actions", "--json", *STORE).out.splitlines()
            return [json.loads(line) for line in lines]

        eventually(lambda: [each["steps"] for each in asked()] == [3], "three steps that wait")
        (action,) = asked()
        refused = cli("answer", "page:7", "--data", "{}", "--json", *STORE)
        answered = cli("answer", "page:7", "--data", '{"token": "t"}', "--json", *STORE)

        assert (action["action"], action["cause"]) == ("reconnect", "page:7")
        assert refused.code == 2
        assert "token" in refused.error["message"]
        assert answered.code == 0
        show = ("show", job, "--json", *STORE)
        eventually(lambda: cli(*show).json["state"] == "succeeded", "the end of the job")
        assert cli(*show).json["result"] == [{"token": "t"}] * 3
        assert asked() == []
