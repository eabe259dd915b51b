"""`replay` and `history`: the past of a job, told from its events; on a terminal, too."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pexpect
import pytest
from support.cli import ENDPOINTS, PROGRAM, Cli

STORE = ("--store", "sqlite:///jobs.db")
ROWS, COLUMNS = 24, 80
_ESCAPES = re.compile(r"\x1b(\[[0-9;?]*[A-Za-z]?|O?)|\r(?!\n)")
TREE = """
job: tree
steps:
  first: {call: t.add, with: {a: 1, b: 2}}
  sub: {job: leaf, for_each: [1, 2], after: [first], with: {a: "${{ item }}"}}
  bad: {call: t.fail, after: [sub]}
  after_bad: {call: t.text, with: {value: x}, after: [bad]}
"""
LEAF = """
job: leaf
params: {type: object, properties: {a: {type: integer}}}
steps:
  one: {call: t.add, with: {a: "${{ params.a }}", b: 1}}
  two: {call: t.add, with: {a: "${{ steps.one.result }}", b: 1}}
result: "${{ steps.two.result }}"
"""


@pytest.fixture(scope="module")
def cli(tmp_path_factory: pytest.TempPathFactory) -> Cli:
    made = Cli(tmp_path_factory.mktemp("cli"))
    made.write(endpoints_py=ENDPOINTS, tree_yaml=TREE, leaf_yaml=LEAF)
    return made


@pytest.fixture(scope="module")
def job(cli: Cli) -> str:
    options = ("--endpoints", "endpoints.py", "--runner", "inline", "--json", *STORE)
    done = cli("run", "tree.yaml", *options)
    assert done.code == 1, done.err
    found: str = done.json["job"]
    return found


@pytest.fixture(scope="module")
def history(cli: Cli, job: str) -> list[dict[str, Any]]:
    return cli("history", job, "--tree", "--json", *STORE).lines


def test_at_the_end_it_says_what_show_says(cli: Cli, job: str, history: list[Any]) -> None:
    shown = cli("show", job, "--tree", "--json", *STORE).json
    past = cli("replay", job, "--tree", "--json", *STORE).json

    assert {name: past[name] for name in shown} == shown
    assert past.keys() - shown.keys() == {"position", "at", "event"}
    assert past["event"] == history[-1]
    assert past["position"] >= history[-1]["position"]


def test_every_way_to_name_a_point_leads_there(cli: Cli, job: str, history: list[Any]) -> None:
    own = [line for line in history if line["id"] == job]
    wanted = own[len(own) // 2]
    position = wanted["position"]

    by_position = cli("replay", job, "--at", position, "--json", *STORE).json
    by_version = cli("replay", job, "--at", f"v{wanted['version']}", "--json", *STORE).json
    by_time = cli("replay", job, "--at", wanted["at"], "--json", *STORE).json
    by_age = cli("replay", job, "--at", "0s", "--json", *STORE).json

    assert by_position == by_version
    assert by_position["event"] == wanted
    assert by_position["state"] == "running"
    last = [line for line in history if line["at"] <= wanted["at"]][-1]
    assert by_time["event"] == last
    assert by_age["state"] == "failed"


def test_a_step_is_told_as_it_was(cli: Cli, job: str, history: list[Any]) -> None:
    place = f"{job}/sub[1]/one"
    events = [line for line in history if line["path"] == "sub[1]/one"]
    released = next(line for line in events if line["type"] == "StepReleased")

    then = cli("replay", place, "--at", released["position"], "--json", *STORE).json
    now = cli("replay", place, "--json", *STORE).json

    assert (then["state"], then["result"]) == ("released", None)
    assert (now["state"], now["result"]) == ("succeeded", 3)
    assert now["event"]["path"] == ""  # as the job of the step sees it: its own end
    told = cli("replay", place, "--at", released["position"], *STORE).out
    assert "as of " in told
    assert "released" in told


def test_people_read_the_point_the_steps_and_the_jobs_below(
    cli: Cli, job: str, history: list[Any]
) -> None:
    position = next(line["position"] for line in history if line["path"] == "sub[0]/two")

    told = cli("replay", job, "--at", position, "--tree", *STORE).out

    assert f"position {position}" in told
    assert re.search(r"first +call +succeeded", told)
    assert re.search(r"bad +call +pending", told)
    assert re.search(r"sub\[0\] running", told)


@pytest.mark.parametrize(
    ("at", "said"),
    [
        ("v9999", "has no version 9999: it has the versions 1 to "),
        ("999999", "there is no position 999999: the log has the positions 1 to"),
        ("1", "was not there at position 1: it was submitted at position "),
        ("2020-01-01", "the log has nothing from"),
        ("noon", "'noon' is not a time"),
    ],
)
def test_a_point_that_is_none_is_refused(cli: Cli, job: str, at: str, said: str) -> None:
    done = cli("replay", job, "--at", at, "--json", *STORE)

    assert (done.code, done.out) == (2, "")
    assert said in done.error["message"]


def test_options_that_do_not_go_together_are_refused(cli: Cli, job: str) -> None:
    cases = {
        ("replay", job, "--redact", "*.x"): "--redact and --no-redact are about --export",
        ("replay", job, "--export", "x", "--at", "v2"): "leave --at and --step-through out",
        ("replay", job, "--export", "x", "--step-through"): "leave --at and --step-through out",
        ("replay", *STORE, "--import", "x"): "leave --store away",
        ("replay", *STORE, job, "--step-through"): "needs a terminal: --at POSITION",
        ("history", job, "--last", "1", "--follow"): "exclude each other",
        ("history", job, "--why", "999999", *STORE): "is no event of the tree",
    }
    for arguments, said in cases.items():
        done = cli(*arguments, *(() if "--store" in arguments else STORE))
        assert done.code == 2, arguments
        assert said in " ".join(done.err.split()), arguments


def test_step_through_as_json_gives_every_event_with_what_it_changed(
    cli: Cli, job: str, history: list[Any]
) -> None:
    lines = cli("replay", job, "--step-through", "--tree", "--json", *STORE).lines

    assert [line["number"] for line in lines] == list(range(1, len(history) + 1))
    assert {line["count"] for line in lines} == {len(history)}
    for line, event in zip(lines, history, strict=True):
        assert {name: line[name] for name in event} == event
    changes = {change["path"]: change for line in lines for change in line["changes"]}
    assert changes["bad"]["fields"]["state"] == ["released", "failed"]
    assert changes["bad"]["fields"]["error"] == [None, "broken"]
    assert changes["sub[1]/two"]["fields"]["state"] == ["released", "succeeded"]
    later = cli("replay", job, "--step-through", "--json", "--at", "v3", *STORE).lines
    assert later[0]["version"] == 3


def test_filters_of_history_go_together(cli: Cli, job: str, history: list[Any]) -> None:
    def asked(*options: object) -> list[Any]:
        return cli("history", job, *options, "--json", *STORE).lines

    below = [line for line in history if line["path"].startswith("sub[1]")]
    assert asked("--step", "sub[1]") == below
    failed = [line for line in history if line["type"].endswith("Failed")]
    cause = f"report:{failed[0]['id']}"
    since = ("--since", failed[0]["position"], "--until", history[-1]["at"])
    types = ("--type", "*Failed", "--cause", cause, "--grep", "broken")
    assert asked("--tree", *types, *since, "--limit", 1) == failed[:1]
    assert asked("--follow", "--tree") == history
    assert asked("--follow", "--since", 9_999) == []


def test_why_an_event_happened_is_told_back_to_the_submission(
    cli: Cli, job: str, history: list[Any]
) -> None:
    last = history[-1]

    chain = cli("history", job, "--why", last["position"], "--json", *STORE).lines
    told = cli("history", job, "--why", last["position"], *STORE).out

    assert chain[0] == last
    assert chain[-1] == history[0]
    steps = [line["path"] for line in chain if line["type"] == "StepReleased"]
    assert steps[0] == "bad"
    assert steps[-1] == "first"
    assert "report of attempt 1 of bad" in told
    assert "goes out after report of attempt 1 of " in told


def test_an_exported_history_replays_the_same_on_an_empty_machine(
    cli: Cli, job: str, history: list[Any], tmp_path: Path
) -> None:
    elsewhere, file = Cli(tmp_path), tmp_path / "history.jsonl"
    position = next(line["position"] for line in history if line["path"] == "sub[0]/two")

    done = cli("replay", job, "--export", file, *STORE)
    here = cli("replay", job, "--at", position, "--tree", "--json", *STORE).json
    there = elsewhere("replay", "--import", file, "--at", position, "--tree", "--json").json

    assert done.code == 0, done.err
    for document in (here, there):
        del document["event"]["data"]["token"]  # it is taken out of the file
    assert there == here
    lines = elsewhere("replay", "--import", file, "--step-through", "--tree", "--json").lines
    assert [line["position"] for line in lines] == [line["position"] for line in history]
    why = elsewhere("history", job, "--why", history[-1]["position"], "--store", f"history:{file}")
    assert "report of attempt 1 of bad" in why.out


# --- on a terminal --------------------------------------------------------------------------------


class Terminal:
    """`replay --step-through` in a pseudo-terminal, and what it shows."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        names = ("PATH", "PYTHONPATH", "LANG", "TMPDIR")
        kept = {key: os.environ[key] for key in names if key in os.environ}
        self._process = pexpect.spawn(
            sys.executable,
            ["-c", PROGRAM, "replay", *arguments, *STORE],
            cwd=str(folder),
            env={**kept, "HOME": str(folder / "home"), "TERM": "xterm", "NO_COLOR": "1"},  # type: ignore[arg-type]
            dimensions=(ROWS, COLUMNS),
            encoding="utf-8",
            timeout=30,
        )
        self._drawn = ""

    def press(self, keys: str, shows: str = "") -> None:
        """Send keys, and wait until this is shown by what is drawn after them."""
        self._drawn = ""
        self._process.send(keys)
        self.wait(shows)

    def wait(self, shows: str) -> str:
        """Wait until this is shown; return what was drawn since the last keys, without styles."""
        while shows not in (plain := _ESCAPES.sub("", self._drawn)):
            try:
                self._drawn += self._process.read_nonblocking(4_096, timeout=30)
            except pexpect.TIMEOUT:
                raise AssertionError(f"{shows!r} is not shown: {plain}") from None
        return plain

    def end(self) -> int:
        """Wait for the end of the process; return its exit code."""
        self._process.expect(pexpect.EOF)
        self._process.close()
        code = self._process.exitstatus
        assert code is not None
        return code


@pytest.fixture
def terminal(cli: Cli, job: str) -> Iterator[Terminal]:
    opened = Terminal(cli.folder, job, "--step-through")
    yield opened
    opened._process.close(force=True)


def test_keys_lead_forth_and_back(terminal: Terminal) -> None:
    terminal.wait("event 1 of")
    terminal.wait("JobSubmitted v1")
    terminal.wait("command")
    terminal.press("n", "event 2 of")
    terminal.press("\x1b[C", "event 3 of")
    terminal.press(" ", "event 4 of")
    terminal.press("p", "event 3 of")
    terminal.press("\x1b[D", "event 2 of")
    terminal.press("\x1b[F", "JobFailed")
    terminal.press("n", "that was the last event")
    terminal.press("\x1b[H", "event 1 of")
    terminal.press("nnn", "event 4 of")
    terminal.press("q")

    assert terminal.end() == 0


def test_a_failure_is_found_with_what_changed_and_why(terminal: Terminal) -> None:
    terminal.wait("event 1 of")
    terminal.press("f", "StepFailed")
    terminal.wait("because: report of attempt 1 of bad by worker")
    terminal.wait("state: released → failed")
    terminal.wait("▶ bad")
    terminal.press("d", '"code": "broken"')
    terminal.press("x", "because: report of attempt 1 of bad")
    terminal.press("w", "why of which step")
    terminal.press("\r", "broken")
    terminal.press("x", "event ")
    terminal.press("f", "JobFailed")
    terminal.press("f", "no later failure")
    terminal.press("?", "the next event of the same step")
    terminal.press("x", "event ")
    terminal.press("q")

    assert terminal.end() == 0


def test_a_jump_leads_to_a_version_or_says_what_is_wrong(terminal: Terminal) -> None:
    terminal.wait("event 1 of")
    terminal.press("g", "go to")
    terminal.press("v3\r", "v3")
    terminal.press("g", "go to")
    terminal.press("noom\x7fn\r", "'noon' is not a time")
    terminal.press("s", "event ")
    terminal.press("\x03")

    assert terminal.end() == 130


def test_it_fits_a_terminal_of_80_columns_and_24_lines(terminal: Terminal) -> None:
    lines = terminal.wait("q quit").split("\r\n")

    assert len(lines) <= ROWS
    assert max(map(len, lines)) <= COLUMNS
