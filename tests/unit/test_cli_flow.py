"""`flow`, `starvation` and `limits`: what is shown, and what is sent to change it."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from support.desk import ASKED, WHO, Desk
from support.histories import History
from support.history_flow import queue, stage

from warrener.domain.flow.incidents import Victim
from warrener.domain.flow.orders import ORDERS
from warrener.domain.messages import ChangeFlow
from warrener.domain.ports import EventStore
from warrener.services.cli.app import run
from warrener.services.cli.output import spark_text

STORE = ("--store", "sqlite:///jobs.db")
HOSTILE = "load\x1b[2J[bold]"


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")  # or words are broken


def told(store: EventStore, history: History) -> None:
    """Write a history into the store of the desk."""
    for each in history.store.log:
        store.commit([each.recorded], history.store.blobs)


def overloaded() -> History:
    """Return a history of a queue in which a stage starves."""
    history = History()
    history.set_flow(policy="fair", weights={"a": 2.0}, reason="the quarter ends")
    history.change_fleet({"default": 8})
    for number in range(3):
        flood = stage(
            HOSTILE,
            ready=100 * number,
            held={"slots api/eu": 12},
            out=14,
            oldest_wait=2.5,
            wait_p50=0.5,
            wait_p99=4.0,
            service_seconds=0.25,
            ended=number,
            busy_seconds=float(number),
        )
        starved = stage("merge", ready=40, oldest_wait=95.0)
        history.sample(queue(flood, starved, slots=8, busy=8, workers=2, unknown=("a.gone",)))
    return history


@pytest.fixture
def shown(capsys: pytest.CaptureFixture[str], desk: Desk) -> Any:
    """Run a command for people on the store; return what it shows."""

    def show(*arguments: str) -> str:
        capsys.readouterr()
        assert run([*arguments, *STORE]) == 0
        return capsys.readouterr().out

    return show


@pytest.mark.parametrize(
    ("arguments", "command", "changes"),
    [
        (["--policy", "fair"], ChangeFlow(policy="fair", **WHO), {"policy": "fair"}),
        (
            ["--mode", "advise", "--bound", "2m", "--intake", "queue"],
            ChangeFlow(mode="advise", bound_seconds=120.0, intake="queue", **WHO),
            {"mode": "advise", "bound_seconds": 120.0, "intake": "queue"},
        ),
        (
            ["--weight", "a=3", "--weight", "b=0.5"],
            ChangeFlow(weights={"a": 3.0, "b": 0.5}, **WHO),
            {"weights": {"a": 3.0, "b": 0.5}},
        ),
    ],
)
def test_a_change_of_the_flow_goes_to_the_fleet(
    desk: Desk, arguments: list[str], command: ChangeFlow, changes: dict[str, Any]
) -> None:
    code, document = desk("flow", *arguments, *ASKED)

    assert code == 0, document
    assert desk.side.only() == command
    assert document == {"command": "flow", **changes}


def test_weights_that_are_not_named_stay_as_they_are(desk: Desk, fleet_store: EventStore) -> None:
    history = History()
    history.set_flow(weights={"a": 2.0, "b": 3.0})
    told(fleet_store, history)

    code, _ = desk("flow", "--weight", "b=default", "--weight", "c=4", *ASKED)

    assert code == 0
    assert desk.side.only() == ChangeFlow(weights={"a": 2.0, "c": 4.0}, **WHO)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--policy", "fare"], "there is no policy 'fare': did you mean 'fair'?"),
        (["--policy", "x"], f"fifo: {ORDERS['fifo'].summary}"),
        (["--mode", "watch"], "Known are off, observe, advise, act"),
        (["--mode", "observer"], "did you mean 'observe'?"),
        (["--intake", "refused"], "did you mean 'refuse'?"),
        (["--bound", "soon"], "'soon' is not a duration: write such as"),
        (["--bound", "0s"], "a time longer than nothing is needed"),
        (["--weight", "a"], "write --weight NAME=VALUE"),
        (["--weight", "a=much"], "write a number, or default"),
        (["--weight", "a=nan"], "write a number, or default"),
        (["--weight", "a=inf"], "write a number, or default"),
        (["--weight", "a=-1"], "cannot send ChangeFlow"),
        (["--policy", "fair", "--watch"], "--watch only shows"),
    ],
)
def test_what_cannot_be_set_is_refused_before_it_is_sent(
    desk: Desk, arguments: list[str], said: str
) -> None:
    code, message = desk("flow", *arguments)

    assert code == 2
    assert said in message
    assert desk.side.commands == []


def test_a_change_without_a_fleet_is_made_in_the_store_itself(desk: Desk, capsys: Any) -> None:
    assert run(["flow", "--policy", "fifo", "--bound", "90s", *STORE]) == 0
    assert capsys.readouterr().out == "flow: policy fifo, bound 1m30s\n"

    code, found = desk("flow", fleet=STORE)

    assert code == 0
    assert (found["policy"], found["bound_seconds"], found["by"]) == ("fifo", 90.0, "grace")


def test_the_flow_is_shown_with_its_figures_and_who_starves(
    shown: Any, fleet_store: EventStore
) -> None:
    history = overloaded()
    history.starve(Victim(job="report", step="merge", waiting=40, oldest_wait=95.0))
    told(fleet_store, history)

    text = shown("flow")

    for part in (
        f"fair: {ORDERS['fair'].summary}",
        *("a=2", "the quarter ends", "after 1m, then something is done", "8 of 8 slots busy"),
        *("no worker knows a.gone", "held back: 12 by slots api/eu", "0.5/0/4 s", "▂▅█"),
        "! upstream-flood in queue default",
        "report/merge (40 wait, 95 s)",
    ):
        assert part in text, part
    assert "\x1b" not in text
    row = next(line for line in text.splitlines() if line.strip().startswith("report/merge"))
    assert re.search(r"report/merge\s+40\s+█", row)


def test_without_figures_that_is_said(shown: Any) -> None:
    text = shown("flow")

    assert "finish-first" in text
    assert "no figures yet" in text


def test_the_flow_as_json_is_one_document(desk: Desk, fleet_store: EventStore) -> None:
    told(fleet_store, overloaded())

    code, found = desk("flow", fleet=STORE)

    assert code == 0
    (queued,) = found["queues"]
    assert (queued["queue"], queued["slots"], queued["held"]) == ("default", 8, 12)
    stages = {each["step"]: each for each in queued["stages"]}
    assert stages[HOSTILE]["series"]["ready"] == [12, 112, 212]
    assert stages["merge"]["oldest_wait"] == 95.0


def test_starvation_lists_open_incidents_and_with_all_those_that_are_over(
    shown: Any, fleet_store: EventStore, capsys: Any
) -> None:
    history = History()
    over = history.starve(diagnosis="no-worker", queue="gpu")
    history.end_starving(over)
    incident = history.starve(evidence={"producer": "report/load", "share": 0.93})
    history.take_measure(incident)
    told(fleet_store, history)

    open_ones, everything, one = (
        shown("starvation"),
        shown("starvation", "--all"),
        shown("starvation", incident.hex[:8]),
    )

    assert "upstream-flood" in open_ones
    assert "throttle-producer" in open_ones
    assert "no-worker" not in open_ones
    assert "no-worker" in everything
    for part in (str(incident), "producer", "report/load", "0.93", "taken"):
        assert part in one, part
    assert run(["starvation", "--all", "--json", *STORE]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    fixed = ("incident", "cause", "queue", "victims", "evidence", "opened_at", "closed_at")
    assert [line["incident"] for line in lines] == [str(incident), str(over)]
    assert {*fixed, "actions"} <= set(lines[0])
    assert lines[0]["actions"][0]["state"] == "taken"
    assert run(["starvation", "--json", *STORE]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1


def test_nobody_starves_is_said_and_an_unknown_incident_refused(shown: Any, desk: Desk) -> None:
    assert shown("starvation") == "nobody starves\n"
    assert shown("starvation", "--all") == "nobody starves\n"
    code, message = desk("starvation", "ffff", fleet=STORE)
    assert (code, message) == (2, "there is no incident 'ffff': there is none")


def test_limits_in_use_are_listed_beside_those_that_were_changed(
    shown: Any, fleet_store: EventStore
) -> None:
    history = overloaded()
    history.change_limit("mail", slots=2, by="ada")
    told(fleet_store, history)

    text, one = shown("limits"), shown("limits", "api")

    assert re.search(r"api\s+0\s+36\s*\n|api\s+0\s+12\s", text)
    assert re.search(r"mail\s+0\s+0\s+2\s", text)
    assert re.search(r"eu\s+0\s+12\s+slots", one)
    assert shown("limits", "none") == "none is not in use\n"


def test_a_sparkline_is_as_high_as_its_greatest_and_shows_what_is_more_than_nothing() -> None:
    assert spark_text([0, 1, 70, 35]).plain == "▁▂█▅"
    assert spark_text([0, 0]).plain == "▁▁"
    assert spark_text([]).plain == ""
    assert spark_text(range(100), 3).plain == "███"
