"""The command `why`: for people and programs, now and at any time before."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from support.cli import Cli
from support.situations import CALL, Estate, after

from warrener.adapters.sqlite_events import open_sqlite
from warrener.domain.events import Error
from warrener.services.event_log import EventLog

STORE = ("--store", "sqlite:///jobs.db")
WHY_KEYS = {"job", "step", "state", "waiting", "at", "position"}
WAITING_KEYS = {"kind", "since", "until", "sentence", "blockers", "release"}
BLOCKER_KEYS = {"kind", "id", "path", "state", "job", "since", "sentence", "depth"}
BEGAN = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)
STEPS: dict[str, Any] = {
    "groups": {"for_each": [0, 1, 2], "job": "group"},
    "merge": after("groups"),
    "publish": after("merge"),
}


class FileEstate(Estate):
    """An estate whose log is a file that the command line can read."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.now = BEGAN
        self.store = self.controller._store = EventLog(open_sqlite(str(file)))
        self.controller.forget()


@pytest.fixture(scope="module")
def cli(tmp_path_factory: pytest.TempPathFactory) -> Cli:
    return Cli(tmp_path_factory.mktemp("cli"))


@pytest.fixture(scope="module")
def job(cli: Cli) -> UUID:
    """A job in whose second group a step waits for its next attempt, since the 60th second."""
    driver = FileEstate(cli.folder / "jobs.db")
    retry = [{"first": 1e8, "jitter": "none", "cap": 1e9}]
    group = {"fetch": {**CALL, "retry": retry}, "store": after("fetch")}
    made = driver.begin(STEPS, library={"group": group})
    driver.wait(60)
    order = driver.newest("fetch", driver.child(made, "groups[1]"))
    error = Error(code="broken", message="it \x1b[31mbroke")
    driver.handle(*driver.report(order, "failed", error=error))
    driver.store.close()
    return made


def test_why_has_the_fixed_shape(cli: Cli, job: UUID) -> None:
    found = cli("why", f"{job}/publish", "--json", *STORE).json

    assert set(found) >= WHY_KEYS
    assert set(found["waiting"]) >= WAITING_KEYS
    assert all(set(blocker) >= BLOCKER_KEYS for blocker in found["waiting"]["blockers"])
    assert (found["job"], found["step"], found["state"]) == (str(job), "publish", "pending")
    assert found["waiting"]["kind"] == "dependency"
    assert found["waiting"]["blockers"][-1]["path"] == "groups[1]/fetch"


def test_why_tells_people_the_whole_chain(cli: Cli, job: UUID) -> None:
    done = cli("why", f"{str(job)[:8]}/publish", *STORE, COLUMNS="400")

    assert done.code == 0
    assert "waits for merge, which waits for groups[1]/fetch (job " in done.out
    assert "attempt 1 failed with broken: it \\u001b[31mbroke" in done.out
    assert "warrener retry" in done.out
    tree = [line for line in done.out.splitlines() if "── " in line]
    names = ("merge", "groups", "groups[1]", "job ", "groups[1]/fetch")
    assert [
        line.partition("── ")[2].startswith(name) for line, name in zip(tree, names, strict=True)
    ]
    assert [line.index("── ") for line in tree] == sorted({line.index("── ") for line in tree})


def test_why_of_a_job_names_its_most_telling_cause(cli: Cli, job: UUID) -> None:
    found = cli("why", job, "--json", *STORE).json

    assert (found["step"], found["state"], found["waiting"]["kind"]) == (None, "running", "retry")
    assert found["waiting"]["until"] is not None


def test_why_takes_a_step_far_below_by_its_path(cli: Cli, job: UUID) -> None:
    found = cli("why", f"{job}/groups[1]/store", "--json", *STORE).json

    assert (found["step"], found["waiting"]["blockers"][-1]["path"]) == ("store", "fetch")


@pytest.mark.parametrize("at", [BEGAN, BEGAN + timedelta(seconds=30)])
def test_why_tells_of_the_past(cli: Cli, job: UUID, at: datetime) -> None:
    place = f"{job}/groups[1]/fetch"

    found = cli("why", place, "--at", at.isoformat(), "--json", *STORE).json

    assert found["state"] != "retrying"
    assert found["waiting"]["kind"] in {"worker", "reactor"}
    assert "as of" in cli("why", place, "--at", at.isoformat(), *STORE).out
    position = cli("why", place, "--at", found["position"], "--json", *STORE).json
    assert position["waiting"] == found["waiting"]
    assert cli("why", place, "--at", "1s", "--json", *STORE).json["state"] == "retrying"


def test_why_tells_how_a_job_ended(cli: Cli) -> None:
    cli.write(one_yaml="job: one\nsteps:\n  a: {set: {x: 1}}\n")
    store = ("--store", "sqlite:///now.db")
    job = cli("run", "one.yaml", "--json", "--runner", "inline", *store).json["job"]
    ended = cli("show", job, "--json", *store).json["ended_at"]

    now = cli("why", f"{job}/a", "--json", *store).json
    then = cli("why", f"{job}/a", "--at", ended, "--json", *store).json

    assert then["waiting"] == now["waiting"]
    assert (then["at"], now["waiting"]["kind"]) == (ended, "ended")


def test_why_names_the_command_that_lets_a_run_go_on(cli: Cli) -> None:
    cli.write(
        gate_yaml="job: gate\nsteps:\n  gate: {wait: {for: go}}\n  b: {set: 1, after: [gate]}\n"
    )
    store = ("--store", "sqlite:///gate.db")
    ran = cli("run", "gate.yaml", "--json", "--runner", "inline", *store)
    job = ran.json["job"]

    waiting = cli("why", f"{job}/b", "--json", *store).json["waiting"]

    assert ran.code == 3
    assert waiting["sentence"] == "waits for gate, which waits for signal go"
    assert cli(*waiting["release"].split()[1:], *store).code == 0
    assert cli("run", "--resume", job, "--runner", "inline", *store).code == 0
    assert cli("why", job, "--json", *store).json["waiting"]["kind"] == "ended"


@pytest.mark.parametrize(
    ("what", "at"),
    [
        ("zzzz", None),
        ("00000000", None),
        ("00000000-0000-0000-0000-000000000000", None),
        ("{job}/mrege", None),
        ("{job}/groups[7]", None),
        ("{job}/merge/x", None),
        ("{job}/", None),
        ("{job}", "soon"),
        ("{job}", "0"),
        ("{job}", "999999"),
        ("{job}", "1999-01-01"),
        ("{job}", "2999-01-01"),
        ("{job}", "1"),
    ],
)
def test_an_unknown_place_or_time_is_wrong_usage(
    cli: Cli, job: UUID, what: str, at: str | None
) -> None:
    arguments = [what.format(job=job), *(() if at is None else ("--at", at))]

    done = cli("why", *arguments, "--json", *STORE)

    assert done.code == 2
    assert done.error["code"] in {"unknown-job", "usage"}
    assert done.out == ""


def test_a_mistyped_step_is_answered_with_a_hint(cli: Cli, job: UUID) -> None:
    assert "did you mean 'merge'" in cli("why", f"{job}/mrege", *STORE).err


def test_a_store_that_cannot_be_read_is_an_answer_and_an_error(cli: Cli, job: UUID) -> None:
    (cli.folder / "text.db").write_text("this is no database " * 100)

    for url in ("sqlite:///typo.db", "sqlite:///text.db"):
        done = cli("why", job, "--json", "--store", url)

        assert done.code == 4
        assert done.json["waiting"]["kind"] == "store"
        assert done.error["code"] == "store-unavailable"
        assert "error: " in cli("why", job, "--store", url).err
    assert not (cli.folder / "typo.db").exists()


def test_narrow_terminals_lose_nothing_of_why(cli: Cli, job: UUID) -> None:
    done = cli("why", f"{job}/publish", *STORE, COLUMNS="40")

    assert max(map(len, done.out.splitlines()[1:])) <= 40
    assert "groups[1]/fetch" in done.out.replace("\n", "").replace(" ", "").replace("│", "")
