"""The commands that answer questions: check, graph, jobs, show, history, doctor; and help."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from support.cli import ENDPOINTS, SUM_JOB, Cli

STORE = ("--store", "sqlite:///jobs.db")
COMMANDS = (
    *("demo", "run", "check", "graph", "jobs", "show", "history", "why", "replay", "debug"),
    *("diff", "doctor"),
    *("cancel", "pause", "resume", "retry", "rerun", "signal"),
    *("actions", "answer", "limits", "adjust", "flow", "starvation"),
)
SHOW_KEYS = {
    *("job", "name", "version", "definition", "state", "params", "labels", "result", "error"),
    *("parent", "root", "depth", "submitted_at", "started_at", "ended_at", "progress", "steps"),
}
STEP_KEYS = {
    *("id", "name", "path", "state", "kind", "attempts", "result", "error", "worker", "ready_at"),
    *("released_at", "started_at", "ended_at", "waiting", "items", "child"),
}
HISTORY_KEYS = {"position", "stream", "id", "path", "version", "type", "at", "cause", "data"}
JOB_KEYS = {"job", "name", "version", "state", "labels", "submitted_at", "ended_at", "progress"}


@pytest.fixture(scope="module")
def cli(tmp_path_factory: pytest.TempPathFactory) -> Cli:
    made = Cli(tmp_path_factory.mktemp("cli"))
    made.write(
        sum_yaml=SUM_JOB,
        endpoints_py=ENDPOINTS,
        tree_yaml="""
job: tree
steps:
  sub: {job: sum, for_each: [1, 2], with: {a: "${{ item }}"}}
result: "${{ steps.sub.results }}"
""",
    )
    return made


@pytest.fixture(scope="module")
def job(cli: Cli) -> str:
    options = ("--label", "team=web", "--runner", "inline", "--json", *STORE)
    done = cli("run", "tree.yaml", *options)
    assert done.code == 0, done.err
    found: str = done.json["job"]
    return found


def test_show_gives_the_attempts_of_a_step_and_of_a_tree_by_time(cli: Cli, job: str) -> None:
    step = cli("show", f"{job}/sub[0]/first", "--attempts", "--json", *STORE).lines
    tree = cli("show", job, "--attempts", "--tree", "--json", *STORE).lines
    told = cli("show", job, "--attempts", "--tree", *STORE)

    (attempt,) = step
    assert (attempt["path"], attempt["attempt"], attempt["outcome"]) == ("first", 1, "succeeded")
    assert {each["kind"] for each in tree} == {"attempt", "job", "for_each"}
    assert [each["begun_at"] for each in tree] == sorted(each["begun_at"] for each in tree)
    assert len(tree) == 7  # the fan-out, its two sub-jobs, and two calls in each
    assert told.code == 0
    assert f"{attempt['job'][:8]}/first" in told.out


def test_show_has_the_fixed_shape(cli: Cli, job: str) -> None:
    shown = cli("show", job, "--json", *STORE).json

    assert set(shown) >= SHOW_KEYS
    assert shown["labels"] == {"team": "web"}
    assert shown["result"] == [22, 24]
    assert shown["progress"]["done"] == shown["progress"]["total"]
    assert set(shown["steps"]["sub"]) >= STEP_KEYS
    assert shown["steps"]["sub"]["items"] == {"succeeded": 2}
    assert shown["submitted_at"].endswith("Z")


def test_show_takes_a_step_by_its_path(cli: Cli, job: str) -> None:
    step = cli("show", f"{job[:8]}/sub[1]/twice", "--json", *STORE).json

    assert set(step) >= STEP_KEYS
    assert (step["path"], step["kind"], step["result"]) == ("twice", "call", 24)


def test_show_tree_has_the_jobs_below(cli: Cli, job: str) -> None:
    tree = cli("show", job, "--tree", "--json", *STORE).json["tree"]
    assert [child["path"] for child in tree["children"]] == ["sub[0]", "sub[1]"]

    text = cli("show", job, "--tree", *STORE).out
    assert "sub[1]" in text
    assert "warrener." not in text


def test_jobs_lists_one_line_a_job_and_filters(cli: Cli, job: str) -> None:
    (line,) = cli("jobs", "--json", *STORE).lines
    assert set(line) >= JOB_KEYS
    assert line["labels"] == {"team": "web"}

    assert cli("jobs", "--all", "--name", "sum", "--json", *STORE).out.count("\n") == 2
    for none in (["--state", "failed"], ["--label", "team=db"], ["--since", "2999-01-01"]):
        assert cli("jobs", *none, "--json", *STORE).out == ""
    assert job in cli("jobs", "--since", "1h", *STORE, COLUMNS="200").out


@pytest.mark.parametrize(
    "arguments", [("--state", "fail"), ("--since", "soon"), ("--label", "x"), ("--limit", "0")]
)
def test_a_wrong_filter_is_refused(cli: Cli, job: str, arguments: tuple[str, ...]) -> None:
    assert cli("jobs", *arguments, *STORE).code == 2


def test_history_has_one_line_an_event_in_order_of_position(cli: Cli, job: str) -> None:
    own = cli("history", job, "--json", *STORE).lines
    tree = cli("history", job, "--tree", "--json", *STORE).lines

    assert all(set(line) >= HISTORY_KEYS for line in tree)
    positions = [line["position"] for line in tree]
    assert positions == sorted(set(positions))
    assert len(tree) > len(own) > 3
    assert "sub[0]/first" in {line["path"] for line in tree}
    assert len(cli("history", job, *STORE).out.splitlines()) == len(own)


@pytest.mark.parametrize("form", ["mermaid", "dot", "svg", "json"])
def test_graph_draws_a_definition_and_a_job(cli: Cli, job: str, form: str) -> None:
    drawn = cli("graph", "sum.yaml", "--format", form, *STORE)
    of_job = cli("graph", job, "--format", form, *STORE)

    assert drawn.code == of_job.code == 0
    assert "twice" in drawn.out
    assert "succeeded" in of_job.out


def test_graph_with_json_is_one_document(cli: Cli, job: str) -> None:
    nodes = cli("graph", job, "--json", *STORE).json["nodes"]

    assert [(node["name"], node["state"]) for node in nodes] == [("sub", "succeeded")]


def test_check_names_the_jobs_and_their_hashes(cli: Cli) -> None:
    done = cli("check", "tree.yaml", "--json")

    assert done.json["valid"] is True
    assert {job["name"] for job in done.json["jobs"]} == {"tree", "sum"}
    assert "no problems" in cli("check", "sum.yaml").out


def test_check_tells_every_problem_with_place_and_hint(cli: Cli) -> None:
    cli.write(wrong_yaml="job: wrong\nsteps:\n  a: {call: t.ad}\n  b: {job: summ}\n")

    people = cli("check", "wrong.yaml", "--endpoints", "endpoints.py")
    assert people.code == 2
    assert "wrong.yaml:3" in people.err
    assert "wrong.yaml:4" in people.err
    assert "t.add" in people.err

    done = cli("check", "wrong.yaml", "--endpoints", "endpoints.py", "--json")
    assert done.code == 2
    assert done.json["valid"] is False
    assert len(done.json["problems"]) == len(done.error["problems"]) == 2


@pytest.mark.parametrize(
    ("command", "text"),
    [
        ("show", "zzzz"),
        ("show", "ab"),
        ("history", "00000000"),
        ("history", ""),
        ("graph", "<b>"),
        ("graph", "ffffffff/x/y"),
    ],
)
def test_an_unknown_job_is_wrong_usage(cli: Cli, job: str, command: str, text: str) -> None:
    done = cli(command, text, "--json", *STORE)

    assert done.code == 2
    assert done.error["code"] in {"unknown-job", "usage"}


def test_a_store_that_is_not_there_is_not_made_by_a_question(cli: Cli) -> None:
    done = cli("jobs", "--store", "sqlite:///typo.db")

    assert done.code == 4
    assert not (cli.folder / "typo.db").exists()


def test_the_default_store_may_be_asked_before_there_is_anything(tmp_path: Path) -> None:
    done = Cli(tmp_path)("jobs")

    assert (done.code, done.out) == (0, "no jobs\n")


def test_doctor_checks_the_store(cli: Cli, job: str) -> None:
    done = cli("doctor", "--json", *STORE)

    assert done.code == 0
    checks = {check["check"]: check["state"] for check in done.json["checks"]}
    assert {"python", "packages", "store", "fsync", "disk", "views", "terminal"} <= set(checks)
    assert done.json["ok"] is True


def test_doctor_says_what_to_do_about_a_store_that_does_not_work(cli: Cli) -> None:
    (cli.folder / "text.db").write_text("this is no database " * 100)

    for url in ("sqlite:///absent/jobs.db", "sqlite:///text.db"):
        done = cli("doctor", "--store", url, "--json")

        assert done.code == 4
        (store,) = [check for check in done.json["checks"] if check["check"] == "store"]
        assert store["state"] == "failed"
        assert store["advice"]


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example(cli: Cli, command: str) -> None:
    done = cli(command, "--help", COLUMNS="200")

    assert done.code == 0
    assert f"warrener {command}" in done.out.split("Examples:")[1]


def test_version_and_a_mistyped_command(cli: Cli) -> None:
    assert cli("--version").out.startswith("warrener ")

    done = cli("jbos")
    assert done.code == 2
    assert "jobs" in done.err


def test_narrow_terminals_lose_nothing(cli: Cli, job: str) -> None:
    done = cli("show", job, *STORE, COLUMNS="40")

    assert max(map(len, done.out.splitlines())) <= 40
    assert job in done.out.replace("\n", "").replace(" ", "")


def test_a_reader_that_leaves_early_is_not_complained_about(cli: Cli, job: str) -> None:
    for command in ("history", "show", "jobs"):
        arguments = () if command == "jobs" else (job,)
        with cli.started(command, *arguments, *STORE) as process:
            assert process.stdout is not None
            process.stdout.close()
            process.stdout = subprocess.DEVNULL  # type: ignore[assignment]
            assert process.stderr is not None
            assert process.stderr.read() == b""
            process.stdout = None

        assert process.returncode == 0


def test_a_fault_of_ours_is_one_line_and_a_file(cli: Cli, monkeypatch: Any) -> None:
    cli.write(sitecustomize_py="import os\nos.sched_getaffinity = lambda _: 1 / 0\n")
    variables = {"PYTHONPATH": str(cli.folder)}

    done = cli("run", "sum.yaml", "--param", "a=1", "--json", *STORE, **variables)

    assert done.code == 1
    assert done.error["code"] == "crash"
    assert "ZeroDivisionError" in done.error["message"]
    kept = Path(done.error["message"].split()[-1])
    assert "Traceback" in kept.read_text()
    kept.unlink()


def test_the_log_can_be_had_as_json(cli: Cli) -> None:
    done = cli("run", "sum.yaml", "--param", "a=1", "--log", "json,debug", "--runner", "inline")

    for line in done.err.splitlines():
        if line.startswith("{"):
            assert {"event", "level", "timestamp"} <= set(json.loads(line))
