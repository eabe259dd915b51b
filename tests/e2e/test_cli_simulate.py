"""The command `simulate`: a recorded load under other policies and fleets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from support.cli import Cli
from support.virtual_fleet import record

from warrener.adapters.sqlite_events import open_sqlite
from warrener.domain.definition.model import JobDefinition
from warrener.services.event_log import EventLog

STORE = ("--store", "sqlite:///jobs.db")
JOBS = 12
FAN: dict[str, Any] = {
    "job": "fan",
    "steps": {
        "items": {
            "call": "t.work",
            "for_each": [1, 2, 3],
            "with": {"seconds": "${{ item }}"},
        },
        "last": {"call": "t.work", "with": {"seconds": 1}, "after": ["items"]},
    },
}


@pytest.fixture(scope="module")
def cli(tmp_path_factory: pytest.TempPathFactory) -> Cli:
    """A folder with a store that has recorded some jobs, on two workers."""
    made = Cli(tmp_path_factory.mktemp("cli"))
    definition = msgspec.convert(FAN, JobDefinition)
    jobs = [(float(n), definition, {}, {"fair": f"key\x1b[2J{n % 2}"}) for n in range(JOBS)]
    store = EventLog(open_sqlite(str(made.folder / "jobs.db")))
    record(jobs, 2, "fifo", ("default",), store)
    store.close()
    return made


def test_a_store_is_played_under_all_policies(cli: Cli) -> None:
    done = cli("simulate", *STORE, "--json")

    assert done.code == 0
    found = done.json
    assert found["load"]["jobs"] == JOBS
    assert found["load"]["recorded"]["jobs"] == JOBS
    policies = {each["policy"]: each for each in found["policies"]}
    assert set(policies) == {"fifo", "finish-first", "fair", "deadline", "weighted", "plain"}
    for each in policies.values():
        assert each["all"]["jobs"] == JOBS
        assert set(each["all"]["wait"]) == {"p50", "p95", "p99", "longest", "mean"}
        assert each["names"]["fan"]["jobs"] == JOBS
        assert len(each["keys"]) == 2
        assert 0 < each["fairness"] <= 1
        assert 0.9 < each["utilisation"] <= 1
    by_fifo = policies["fifo"]["all"]["completion"]["p50"]
    assert by_fifo == pytest.approx(found["load"]["recorded"]["completion"]["p50"], rel=0.05)
    assert policies["finish-first"]["all"]["completion"]["p50"] < by_fifo


def test_more_workers_are_done_sooner(cli: Cli) -> None:
    two, ten = (
        cli("simulate", *STORE, "--policy", "fifo", "--workers", number, "--json").json
        for number in ("2", "default=10")
    )

    assert two["fleet"][0]["workers"] == 2
    assert ten["policies"][0]["seconds"] < two["policies"][0]["seconds"] / 2


def test_people_get_tables_in_which_nothing_steers_the_terminal(cli: Cli) -> None:
    done = cli("simulate", *STORE, "--policy", "fifo", "--policy", "fair")

    assert done.code == 0
    for word in ("as recorded", "fifo", "fair", "slots in use", "job name", "fairness key"):
        assert word in done.out
    assert "\x1b" not in done.out


def test_exported_histories_are_played_as_well(cli: Cli) -> None:
    jobs = [line["job"] for line in cli("jobs", *STORE, "--json").lines]
    history = "".join(cli("history", job, "--tree", *STORE, "--json").out for job in jobs[:2])
    cli.write(some_jsonl=history)

    done = cli("simulate", "--history", "some.jsonl", "--policy", "fifo", "--json")

    assert done.code == 0
    assert done.json["load"]["jobs"] == 2
    assert done.json["load"]["steps"] == 8


def test_a_picture_is_drawn(cli: Cli) -> None:
    done = cli("simulate", *STORE, "--policy", "fifo", "--plot", "a.svg", "--json")

    assert done.code == 0
    assert (cli.folder / "a.svg").read_text().startswith("<?xml")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--policy", "lifo"), "no policy 'lifo'"),
        (("--workers", "none"), "--workers none"),
        (("--workers", "0"), "--workers 0"),
        (("--slots", "0"), "--slots"),
        (("--mode", "advise"), "off, observe and act"),
        (("--speed-up", "0"), "--speed-up"),
        (("--since", "soon"), "is not a time"),
        (("--since", "2031-01-01"), "no job to simulate since 2031-01-01"),
        (("--plot", "a.pdf"), ".svg or .png"),
        (("--plot", "nowhere/a.svg"), "cannot be written"),
        (("--history", "missing.jsonl"), "exclude each other"),
    ],
)
def test_what_cannot_be_asked_for_is_refused(cli: Cli, words: tuple[str, ...], told: str) -> None:
    done = cli("simulate", *STORE, *words, "--json")

    assert done.code == 2
    assert told in done.error["message"]


def test_a_bad_history_is_refused_with_its_place(cli: Cli) -> None:
    Path(cli.folder, "bad.jsonl").write_bytes(b"\n\xff{\n")

    done = cli("simulate", "--history", "bad.jsonl", "--json")

    assert done.code == 2
    assert "bad.jsonl:2" in done.error["message"]


def test_a_store_that_is_not_there_is_not_made(cli: Cli) -> None:
    done = cli("simulate", "--store", "sqlite:///none.db", "--json")

    assert done.code in (2, 4)
    assert not (cli.folder / "none.db").exists()
