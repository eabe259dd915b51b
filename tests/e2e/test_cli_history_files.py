"""A history file on a machine without any store: all that looks works on it, all else refuses."""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from support.cli import ENDPOINTS, SUM_JOB, Cli, Done
from support.driving import Driver
from support.histories import definition

from warrener.adapters.sqlite_events import open_sqlite
from warrener.domain.errors import UsageError
from warrener.services.cli.app import run
from warrener.services.cli.output import StdoutClosed
from warrener.services.cli.replay_files import export_history
from warrener.services.cli.session import Session
from warrener.services.event_log import EventLog

STORE = ("--store", "history:job.jsonl")


class Here:
    """The command line in this process and in a folder; quicker than one of its own."""

    def __init__(self, folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self._capfd = capfd

    def __call__(self, *arguments: object) -> Done:
        self._capfd.readouterr()
        with contextlib.chdir(self.folder):
            code = run(list(map(str, arguments)))
        out, err = self._capfd.readouterr()
        return Done(code, out, err)


@pytest.fixture
def here(live: Cli, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Here:
    monkeypatch.setenv("HOME", str(live.folder / "home"))
    return Here(live.folder, capfd)


@pytest.fixture
def there(empty: Cli, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Here:
    monkeypatch.setenv("HOME", str(empty.folder / "home"))
    return Here(empty.folder, capfd)


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Cli:
    """The machine that the jobs ran on."""
    cli = Cli(tmp_path_factory.mktemp("live"))
    store = EventLog(open_sqlite(str(cli.folder / "jobs.db")))
    driver = Driver(store)
    leaf = definition("leaf", only={"call": "a.b"})
    tree = definition(
        "tree",
        first={"call": "a.b", "with": {"password": "${{ params.password }}"}},
        below={"job": "leaf", "after": ["first"], "with": {}},
        ask={"wait": {"for": "go", "form": {"type": "boolean"}}},
    )
    driver.submit(tree, {"password": "hunter2-is-mine"}, {"leaf": leaf}, labels={"team": "web"})
    driver.succeed(driver.order("first"), 1)
    driver.fail(driver.order("only"), "broken")
    store.close()
    return cli


@pytest.fixture(scope="module")
def root(live: Cli) -> str:
    return str(live("jobs", "--store", "sqlite:///jobs.db", "--json").json["job"])


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory, live: Cli, root: str) -> Cli:
    """Another machine, with nothing on it but the file."""
    cli = Cli(tmp_path_factory.mktemp("empty"))
    export(live, root, str(cli.folder / "job.jsonl"))
    return cli


def export(live: Cli, job: str, file: str, *redact: str, **options: Any) -> None:
    session = Session(as_json=True, store=f"sqlite:///{live.folder}/jobs.db")
    export_history(session, job, file, redact, **options)


# --- export --------------------------------------------------------------------------------------


def test_an_export_is_for_its_owner_alone_and_says_what_it_has(
    live: Cli, root: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "job.jsonl"
    child = live("show", root, "--store", "sqlite:///jobs.db", "--json").json["steps"]["below"]

    export(live, child["child"], str(file))

    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    told = json.loads(capsys.readouterr().out)
    assert told["file"] == str(file)
    assert told["bytes"] == file.stat().st_size
    assert told["history"]["root"] == root
    assert told["history"]["jobs"] == 2
    assert told["values"] == sum(told["history"]["redaction"]["counts"].values()) > 0
    assert b"hunter2" not in file.read_bytes()
    assert list(tmp_path.iterdir()) == [file]
    with pytest.raises(UsageError, match="is there already"):
        export(live, root, str(file))


def test_an_export_for_people_tells_what_was_taken_out(
    live: Cli, root: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    session = Session(as_json=False, store=f"sqlite:///{live.folder}/jobs.db")

    export_history(session, root[:8], str(tmp_path / "job.jsonl.zst"), ["team"])

    told = capsys.readouterr()
    assert f"job {root} with 2 jobs" in told.out
    assert "--store history:" in told.out
    assert "values taken out" in told.err
    assert "key *password*: 2" in told.err
    assert (tmp_path / "job.jsonl.zst").read_bytes()[:4] == b"\x28\xb5\x2f\xfd"


def test_secrets_stay_where_that_is_asked_for_and_that_is_told(
    live: Cli, root: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    session = Session(as_json=False, store=f"sqlite:///{live.folder}/jobs.db")

    export_history(session, root, str(tmp_path / "all"), (), no_redact=True)

    assert b"hunter2" in (tmp_path / "all").read_bytes()
    assert "warning: nothing was taken out" in capsys.readouterr().err
    with pytest.raises(UsageError, match="exclude each other"):
        export_history(session, root, "x", ["a"], no_redact=True)


def test_settings_name_what_else_is_secret(
    live: Cli, root: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WARRENER_REDACT", "team, nothing.else")

    export(live, root, str(tmp_path / "job"))

    assert b'"team":"[redacted]"' in (tmp_path / "job").read_bytes()


def test_an_export_to_stdout_is_the_file_and_nothing_else(
    live: Cli, root: str, empty: Cli, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    session = Session(as_json=False, store=f"sqlite:///{live.folder}/jobs.db")

    export_history(session, root, "-", ())

    lines = capfdbinary.readouterr().out.splitlines()
    assert lines[1:-1] == (empty.folder / "job.jsonl").read_bytes().splitlines()[1:-1]
    with pytest.raises(UsageError, match="name a file"):
        export(live, root, "-")


def test_an_export_to_a_reader_that_goes_ends_quietly_and_to_a_full_disk_says_so(
    live: Cli, root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = Session(as_json=False, store=f"sqlite:///{live.folder}/jobs.db")
    for number, raised in ((errno.EPIPE, StdoutClosed), (errno.ENOSPC, UsageError)):
        failing = io.TextIOWrapper(io.BufferedWriter(_Failing(number), 1))
        monkeypatch.setattr("sys.stdout", failing)

        with pytest.raises(raised):
            export_history(session, root, "-", ())
        monkeypatch.undo()
        with contextlib.suppress(OSError):
            failing.close()


class _Failing(io.RawIOBase):
    """Takes no byte."""

    def __init__(self, number: int) -> None:
        self._number = number

    def writable(self) -> bool:
        return True

    def write(self, _data: Any) -> int:
        raise OSError(self._number, os.strerror(self._number))


def test_what_cannot_be_exported_is_said(live: Cli, root: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is a step"):
        export(live, f"{root}/first", str(tmp_path / "x"))
    with pytest.raises(UsageError, match="cannot be written"):
        export(live, root, str(tmp_path / "missing" / "x"))
    assert list(tmp_path.iterdir()) == []


# --- what looks ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "command",
    [
        ("show",),
        ("show", "--tree"),
        ("history", "--tree"),
        ("show", "/below"),
        ("show", "/first", "--attempts"),
    ],
)
def test_what_is_said_of_a_file_is_what_is_said_of_the_store(
    command: tuple[str, ...], here: Here, there: Here, root: str
) -> None:
    name, *rest = command
    path = rest.pop(0) if rest and rest[0].startswith("/") else ""
    words = (name, f"{root}{path}", *rest, "--json", "--store")

    store, file = here(*words, "sqlite:///jobs.db"), there(*words, "history:job.jsonl")

    assert (file.code, file.err) == (0, "")
    assert plain(file.out) == plain(store.out)


def test_a_file_needs_nothing_else_on_the_machine(empty: Cli, root: str) -> None:
    done = empty("show", root[:6], "--tree", "--json", *STORE)

    assert (done.code, done.err) == (0, "")
    assert done.json["job"] == root
    assert not (empty.folder / "home").exists()


def test_a_job_in_a_file_is_drawn(live: Cli, empty: Cli, root: str) -> None:
    assert (
        empty("graph", root, *STORE).out == live("graph", root, "--store", "sqlite:///jobs.db").out
    )


def plain(text: str) -> list[str]:
    """Return what was printed without the secret, its stand-in, and the tokens of attempts."""
    found = text.replace("hunter2-is-mine", "[redacted]").splitlines()
    lines = [json.loads(line) for line in found]
    for line in lines:
        if "data" in line:
            line["data"].pop("token", None)
            line["data"].pop("params_digest", None)
    return [json.dumps(line) for line in lines]


def test_why_says_of_a_file_what_it_was_when_it_was_made(
    here: Here, there: Here, root: str
) -> None:
    last = here("history", root, "--tree", "--json", "--store", "sqlite:///jobs.db").lines[-1]

    then = there("why", root, "--at", last["position"], "--json", *STORE)
    now = there("why", root, "--json", *STORE)

    same = here("why", root, "--at", last["position"], "--json", "--store", "sqlite:///jobs.db")
    assert then.json == same.json
    header = json.loads((there.folder / "job.jsonl").read_bytes().splitlines()[0])
    assert now.json["at"] == header["made_at"]
    assert now.json["waiting"]["kind"] == then.json["waiting"]["kind"]
    assert "other jobs" in there("why", root, *STORE).err


@pytest.mark.parametrize("words", ["jobs", "actions", "limits", "flow", "starvation"])
def test_lists_are_those_of_the_file(words: str, there: Here) -> None:
    done = there(*words.split(), "--json", *STORE)

    assert (done.code, done.err) == (0, "")


def test_a_file_is_a_load_to_simulate(there: Here, root: str) -> None:
    by_file = there("simulate", "--history", "job.jsonl", "--policy", "fifo", "--json")
    by_store = there("simulate", *STORE, "--policy", "fifo", "--json")

    assert by_file.code == by_store.code == 0
    assert by_file.json == by_store.json
    lines = there("history", root, "--tree", "--json", *STORE).out
    (there.folder / "lines.jsonl").write_text(lines)
    assert there("simulate", "--history", "lines.jsonl", "--policy", "fifo").code == 0
    mixed = there("simulate", "--history", "lines.jsonl", "--history", "job.jsonl")
    assert mixed.code == 2
    assert "give one kind" in mixed.err


def test_an_import_needs_no_job_to_be_named(there: Here, root: str) -> None:
    shown = there("replay", "--import", "job.jsonl", "--json")
    missing = there("replay", "--import", "missing", "--json")

    assert shown.json["job"] == root
    assert missing.code == 2
    assert "missing" in missing.err


def test_replay_writes_a_file_and_takes_it_in_the_place_of_a_store(
    live: Cli, empty: Cli, root: str
) -> None:
    told = live("replay", root, "--export", "new.jsonl.zst", "--store", "sqlite:///jobs.db")
    (empty.folder / "new.jsonl.zst").write_bytes((live.folder / "new.jsonl.zst").read_bytes())

    then = live("replay", root, "--at", "v3", "--json", "--store", "sqlite:///jobs.db").out
    again = empty("replay", "--import", "new.jsonl.zst", "--at", "v3", "--json")

    assert (told.code, again.code, again.err) == (0, 0, "")
    assert f"job {root} with 2 jobs" in told.out
    assert "values taken out" in told.err
    assert plain(again.out) == plain(then)
    out = live("replay", root, "--export", "-", "--redact", "team", "--store", "sqlite:///jobs.db")
    assert '"team":"[redacted]"' in out.out
    assert out.lines[-1]["type"] == "end"


def test_a_job_that_is_not_in_the_file_is_said_to_be_unknown(there: Here) -> None:
    for words in (("show",), ("history",), ("why",)):
        done = there(*words, "deadbeef", *STORE)
        assert done.code == 2
        assert "no job has the id deadbeef" in done.err


# --- what does not -------------------------------------------------------------------------------


WRITES = [
    ("run", "add.yaml", "--params", '{"a":1,"b":2}'),
    ("run", "--resume", "JOB"),
    ("demo",),
    ("cancel", "JOB"),
    ("pause", "JOB"),
    ("resume", "JOB"),
    ("retry", "JOB"),
    ("rerun", "JOB", "--from", "first"),
    ("signal", "JOB", "go"),
    ("answer", "go", "--data", "true"),
    ("limits", "few", "--set", "slots=2"),
    ("flow", "--policy", "fifo"),
    ("reactor", "--broker", "amqp://nobody:x@127.0.0.1:1/"),
    ("projector",),
    ("store", "init"),
    ("store", "info"),
    ("store", "verify"),
    ("store", "backup", "backup.zst"),
    ("store", "prune", "--older-than", "1d"),
    ("store", "rebuild-views"),
]


@pytest.mark.parametrize("command", WRITES, ids=" ".join)
def test_what_runs_or_changes_anything_refuses_a_file(
    command: tuple[str, ...], there: Here, empty: Cli, root: str
) -> None:
    empty.write(add_yaml=SUM_JOB, endpoints_py=ENDPOINTS)
    before = (there.folder / "job.jsonl").read_bytes()

    done = there(*(root if word == "JOB" else word for word in command), *STORE)

    assert done.code == 2, done
    assert "is the history of jobs that ran elsewhere" in done.err
    assert done.out == ""
    assert (empty.folder / "job.jsonl").read_bytes() == before


@pytest.mark.parametrize("name", ["missing.jsonl", ".", "add.yaml", "cut.jsonl", "other.jsonl"])
def test_a_file_that_is_no_history_is_refused_in_one_sentence(
    name: str, there: Here, empty: Cli
) -> None:
    whole = (empty.folder / "job.jsonl").read_bytes()
    empty.write(add_yaml=SUM_JOB, cut_jsonl=whole[:-30].decode(), other_jsonl="{}\n")

    done = there("jobs", "--store", f"history:{name}")

    assert (done.code, done.out) == (2, "")
    assert name in done.err
    assert done.err.count("\n") == 1


def test_read_models_elsewhere_are_left_alone(
    there: Here, root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WARRENER_VIEWS_URL", "sqlite:///views.db")
    done = there("show", root, *STORE)

    assert done.code == 0
    assert not (there.folder / "views.db").exists()
    monkeypatch.setenv("WARRENER_VIEWS_URL", "history:job.jsonl")
    wrong = there("jobs", "--store", "sqlite:///x.db")
    assert wrong.code == 2
    assert "no place for read models" in wrong.err


def test_nobody_runs_a_job_in_a_file(empty: Cli) -> None:
    empty.write(sum_yaml=SUM_JOB, endpoints_py=ENDPOINTS)

    done = empty("run", "sum.yaml", "--params", '{"a":1}', *STORE)

    assert done.code == 2
    assert "nothing can be run or changed in it" in done.err


def test_a_file_is_not_opened_to_be_written(there: Here) -> None:
    with contextlib.chdir(there.folder):
        session = Session(as_json=True, store=STORE[1])

        with pytest.raises(UsageError, match="ran elsewhere"), session.logs(create=True):
            pass


def test_events_that_the_read_models_cannot_digest_are_told_and_not_left_out(
    there: Here, root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_down(*_: object) -> None:
        raise LookupError("no such thing")

    monkeypatch.setattr("warrener.projections.apply.apply_step_event", break_down)
    done = there("show", root, *STORE)

    assert done.code == 2
    assert "does not fit what is before it: LookupError: no such thing" in done.err
