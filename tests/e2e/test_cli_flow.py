"""`warrener flow` and `warrener starvation` as processes of their own."""

from __future__ import annotations

import json
from pathlib import Path

from support.cli import Cli
from support.histories import History
from support.history_flow import queue, stage

from warrener.services.wiring import open_store

STORE = ("--store", "sqlite:///jobs.db")


def with_history(folder: Path, history: History) -> Cli:
    store = open_store(f"sqlite:///{folder / 'jobs.db'}")
    for each in history.store.log:
        store.commit([each.recorded], history.store.blobs)
    store.close()
    return Cli(folder)


def test_the_flow_is_watched_changed_and_shown_again(tmp_path: Path) -> None:
    history = History()
    history.sample(queue(stage("load", ready=3)))
    cli = with_history(tmp_path, history)

    with cli.started("flow", "--watch", "--json", *STORE) as process:
        assert process.stdout is not None
        looks = [json.loads(process.stdout.readline()) for _ in range(2)]

    changed = cli("flow", "--policy", "deadline", "--reason", "late", *STORE)
    shown = cli("flow", "--json", *STORE)
    refused = cli("flow", "--policy", "dedline", "--json", *STORE)
    assert [look["policy"] for look in looks] == ["finish-first"] * 2
    assert looks[0]["queues"][0]["stages"][0]["ready"] == 3
    assert (changed.code, changed.out) == (0, "flow: policy deadline\n")
    assert (shown.json["policy"], shown.json["reason"]) == ("deadline", "late")
    assert refused.code == 2
    assert "did you mean 'deadline'?" in refused.error["message"]


def test_incidents_are_lines_of_json(tmp_path: Path) -> None:
    history = History()
    incident = history.starve()
    cli = with_history(tmp_path, history)

    done = cli("starvation", "--json", *STORE)

    assert done.code == 0
    assert [line["incident"] for line in done.lines] == [str(incident)]
    assert cli("starvation", "--json", "--store", "sqlite:///none.db").code == 4
