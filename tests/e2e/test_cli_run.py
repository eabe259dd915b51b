"""`warrener run` from beginning to end, as users call it."""

from __future__ import annotations

import json
from pathlib import Path
from uuid import UUID

import pytest
from support.cli import ENDPOINTS, SUM_JOB, Cli

QUICK = ("--runner", "inline", "--store", "sqlite:///jobs.db")


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    made = Cli(tmp_path)
    made.write(sum_yaml=SUM_JOB, endpoints_py=ENDPOINTS)
    return made


def test_a_job_runs_in_worker_processes_and_prints_one_document(cli: Cli) -> None:
    done = cli("run", "sum.yaml", "--param", "a=1", "--workers", 2, "--json")

    assert done.code == 0, done.err
    assert done.err == ""
    shown = done.json
    assert UUID(shown.pop("job"))
    assert shown.pop("elapsed_seconds") >= 0
    assert shown == {
        "name": "sum",
        "version": 2,
        "state": "succeeded",
        "result": 22,
        "error": None,
        "steps": {"succeeded": 2, "skipped": 1},
        "waiting": [],
    }


def test_the_default_store_is_made_in_a_folder_for_the_user_alone(cli: Cli) -> None:
    assert cli("run", "sum.yaml", "--param", "a=1", "--runner", "inline").code == 0

    folder = cli.folder / "home/.local/share/warrener"
    assert (folder / "warrener.db").is_file()
    assert folder.stat().st_mode & 0o777 == 0o700


def test_people_get_the_result_on_stdout_and_the_rest_on_stderr(cli: Cli) -> None:
    done = cli("run", "sum.yaml", "--param", "a=1", *QUICK)

    assert done.out.startswith("22\n")
    assert "sum v2 succeeded" in done.out
    assert "\x1b" not in done.out + done.err
    assert "warrener show" in done.err


def test_what_endpoints_print_does_not_mix_with_the_answer(cli: Cli) -> None:
    cli.write(say_yaml='job: say\nsteps: {say: {call: t.text, with: {value: "1"}}}\n')

    for runner in ("inline", "processes"):
        done = cli("run", "say.yaml", "--endpoints", "endpoints.py", "--json", "--runner", runner)

        assert done.json["state"] == "succeeded"
        assert "noise" in done.err


def test_parameters_come_from_json_from_a_file_and_one_by_one(cli: Cli) -> None:
    (cli.folder / "in.json").write_text('{"a": 1, "b": 2}')

    done = cli("run", "sum.yaml", "--params", "@in.json", "--param", "b=5", "--json", *QUICK)

    assert done.json["result"] == 12


def test_a_job_of_a_python_module_runs(cli: Cli) -> None:
    cli.write(
        jobs_py="""
from endpoints import add
from warrener import job

@job("double")
def double(a: int):
    return add(a, a)
"""
    )

    done = cli("run", "jobs.py:double", "--param", "a=4", "--json", *QUICK)

    assert done.json["result"] == 8, done.err


def test_sub_jobs_are_found_in_the_same_file_and_beside_it(cli: Cli) -> None:
    cli.write(
        top_yaml="""
job: top
endpoints: [./endpoints.py]
steps:
  near: {job: near}
  far: {job: far, with: {a: 3}}
result: ["${{ steps.near.result }}", "${{ steps.far.result }}"]
---
job: near
steps: {one: {call: t.add, with: {a: 1, b: 1}}}
result: "${{ steps.one.result }}"
""",
        far_yml="""
job: far
steps: {sum: {job: sum, with: {a: "${{ params.a }}"}}}
result: "${{ steps.sum.result }}"
""",
    )

    done = cli("run", "top.yaml", "--json", *QUICK)

    assert done.json["result"] == [2, 26], done.err


def test_the_same_key_gives_the_same_job_once(cli: Cli) -> None:
    first = cli("run", "sum.yaml", "--param", "a=1", "--key", "k", "--json", *QUICK)
    again = cli("run", "sum.yaml", "--param", "a=2", "--key", "k", "--json", *QUICK)

    assert again.json == first.json
    assert len(cli("jobs", "--json", *QUICK[2:]).lines) == 1


def test_a_failed_job_has_exit_code_1_and_its_error(cli: Cli) -> None:
    cli.write(bad_yaml="job: bad\nendpoints: [./endpoints.py]\nsteps: {bad: {call: t.fail}}\n")

    done = cli("run", "bad.yaml", "--json", *QUICK)

    assert done.code == 1
    assert done.json["state"] == "failed"
    assert set(done.json["error"]) == {"code", "message", "type", "attempt", "traceback"}
    assert done.err == ""


def test_a_part_runs_on_what_a_job_gave_before(cli: Cli) -> None:
    whole = cli("run", "sum.yaml", "--param", "a=1", "--json", *QUICK).json["job"]

    only = cli("run", "--only", "twice", "--from", whole[:13], "--json", *QUICK)
    assert only.json["result"] == 22, only.err

    other = ("sum.yaml", "--only", "twice", "--from", whole, "--given", "first=100")
    assert cli("run", *other, "--json", *QUICK).json["result"] == 200


def test_a_part_without_what_it_needs_is_refused(cli: Cli) -> None:
    done = cli("run", "sum.yaml", "--param", "a=1", "--only", "twice", "--json", *QUICK)

    assert done.code == 2
    assert "--given first=JSON" in done.error["message"]


def test_upto_runs_a_step_and_what_it_needs(cli: Cli) -> None:
    done = cli("run", "sum.yaml", "--param", "a=1", "--upto", "first", "--json", *QUICK)

    assert done.code == 0, done.err
    assert done.json["steps"]["succeeded"] == 1


def test_downstream_runs_what_follows(cli: Cli) -> None:
    whole = cli("run", "sum.yaml", "--param", "a=1", "--json", *QUICK).json["job"]

    part = ("--downstream", "first", "--param", "a=2", "--from", whole)
    assert cli("run", *part, "--json", *QUICK).json["result"] == 24


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "say what to run"),
        (("sum",), "did you mean sum.yaml?"),
        (("endpoints.py",), "endpoints.py:job"),
        (("absent.yaml",), "cannot be read"),
        (("sum.yaml",), "a"),
        (("sum.yaml", "--param", "a=x"), "a"),
        (("sum.yaml", "--param", "a"), "NAME=VALUE"),
        (("sum.yaml", "--params", "[1]"), "object"),
        (("sum.yaml", "--params", "@absent"), "cannot be read"),
        (("sum.yaml", "--params", '{"a": NaN}'), "not JSON"),
        (("sum.yaml", "--param", "a=" + "[" * 50_000), "nested deeper"),
        (("sum.yaml", "--param", "a=1", "--label", "warrener.x=1"), "reserved"),
        (("sum.yaml", "--param", "a=1", "--only", "a", "--upto", "b"), "exclude each other"),
        (("sum.yaml", "--param", "a=1", "--from", "abcd"), "goes with --only"),
        (("sum.yaml", "--param", "a=1", "--only", "absent"), "no step"),
        (("sum.yaml", "--resume", "abcd", "--key", "k"), "leave --key out"),
        (("--resume", "abcd1234"), "no store"),
        (("sum.yaml", "--workers", "0"), "--workers"),
        (("sum.yaml", "--wokers", "1"), "--workers"),
        (("sum.yaml", "--store", "postgresql://u:hunter2@h/d"), "not supported yet"),
        (("sum.yaml", "--store", "sqlite://x"), "sqlite:///"),
        (("sum.yaml", "--log", "loud"), "log"),
    ],
)
def test_wrong_usage_is_one_clear_message(cli: Cli, arguments: tuple[str, ...], said: str) -> None:
    done = cli("run", *arguments, "--json", WARRENER_STORE_URL="sqlite:///jobs.db")

    assert done.code == (4 if said == "no store" else 2)
    assert done.out == ""
    assert said in done.error["message"]
    assert "hunter2" not in done.err


def test_a_store_that_cannot_be_reached_is_exit_code_4(cli: Cli) -> None:
    (cli.folder / "text.db").write_text("this is no database " * 100)

    for url in ("sqlite:///absent/jobs.db", "sqlite:///text.db"):
        done = cli("run", "sum.yaml", "--param", "a=1", "--store", url, "--json")

        assert done.code == 4, done
        assert done.error["code"] == "store-unavailable"


def test_settings_come_from_the_file_and_unknown_keys_are_refused(cli: Cli) -> None:
    cli.write(warrener_toml='store_url = "sqlite:///mine.db"')
    assert cli("run", "sum.yaml", "--param", "a=1", "--runner", "inline").code == 0
    assert (cli.folder / "mine.db").is_file()

    cli.write(warrener_toml='store = "sqlite:///mine.db"')
    done = cli("jobs")
    assert done.code == 2
    assert "did you mean store_url?" in done.err


def test_parameters_may_come_from_stdin(cli: Cli) -> None:
    done = cli("run", "sum.yaml", "--params", "@-", "--json", *QUICK, stdin=json.dumps({"a": 7}))

    assert done.json["result"] == 34
