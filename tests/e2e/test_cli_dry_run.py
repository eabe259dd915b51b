"""A dry run from the command line: what it says, to people and programs, and how it ends."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from support.cli import ENDPOINTS, SUM_JOB, Cli

COMMAND = ("replay",)
STORE = ("--store", "sqlite:///jobs.db")
RUNS = 3


@pytest.fixture(scope="module")
def cli(tmp_path_factory: pytest.TempPathFactory) -> Cli:
    """A folder with a store in which jobs have run, and with definitions."""
    made = Cli(tmp_path_factory.mktemp("cli"))
    made.write(endpoints_py=ENDPOINTS, sum_yaml=SUM_JOB)
    made.write(same_yaml=SUM_JOB.replace("version: 2", "version: 3"))
    made.write(other_yaml=SUM_JOB.replace('b: "${{ params.b }}"', 'b: "${{ params.b + 1 }}"'))
    made.write(offer_yaml=SUM_JOB.replace("job: sum", "job: offer"))
    made.write(broken_yaml=SUM_JOB.replace("params.a", "params."))
    for number in range(RUNS):
        assert made("run", "sum.yaml", "--param", f"a={number}", *STORE).code == 0
    return made


def test_a_definition_that_decides_the_same_ends_with_0(cli: Cli):
    done = cli(*COMMAND, "--definition", "same.yaml", *STORE)

    assert done.code == 0
    assert f"sum v3 on {RUNS} recorded jobs: {RUNS} the same, 0 differ, 0 cannot be" in done.out


def test_a_definition_that_decides_otherwise_ends_with_1(cli: Cli):
    done = cli(*COMMAND, "--definition", "other.yaml", *STORE)

    assert done.code == 1
    text = re.sub(r"\s+", " ", done.out)
    assert "first input-differs the input of attempt 1 would differ at $.b" in text
    assert "steps.first.with.b: ${{ params.b }}" in text
    assert f"{RUNS} differ" in text


def test_json_is_a_line_for_each_job_and_one_for_all(cli: Cli):
    done = cli(*COMMAND, "--definition", "other.yaml", *STORE, "--json")

    *jobs, last = done.lines
    assert (done.code, done.err, len(jobs)) == (1, "", RUNS)
    for job in jobs:
        assert (job["name"], job["version"], job["verdict"]) == ("sum", 2, "differs")
        (finding,) = job["findings"]
        assert (finding["path"], finding["kind"], finding["at"]) == (
            "first",
            "input-differs",
            "$.b",
        )
        assert (finding["old"], finding["new"]) == (10, 11)
    summary = last["summary"]
    assert (summary["jobs"], summary["same"], summary["differs"]) == (RUNS, 0, RUNS)
    assert [(each["kind"], each["path"], each["jobs"]) for each in summary["groups"]] == [
        ("input-differs", "first", RUNS)
    ]


def test_jobs_are_named_or_chosen(cli: Cli):
    job = cli("jobs", "--limit", "1", *STORE, "--json").json["job"]

    named = cli(*COMMAND, job[:8], "--definition", "other.yaml", *STORE, "--json")
    newest = cli(*COMMAND, "--definition", "other.yaml", "--limit", "2", *STORE, "--json")
    both = cli(*COMMAND, job, "--definition", "other.yaml", "--state", "failed", *STORE)
    none = cli(*COMMAND, "--definition", "other.yaml", "--state", "failed", *STORE)

    assert [line.get("job") for line in named.lines] == [job, None]
    assert len(newest.lines) == 3
    assert (both.code, none.code) == (2, 2)
    assert "not both" in both.err
    assert "there is no such job" in none.err


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--definition", "offer.yaml", "--name", "sum"), 2, "--force"),
        (("--definition", "offer.yaml"), 2, "there is no such job"),
        (("--definition", "broken.yaml"), 2, "broken.yaml:"),
        (("--definition", "missing.yaml"), 2, "missing.yaml"),
        (("--definition", "sum.yaml", "--state", "odd"), 2, "--state odd"),
        (("ffffffff", "--definition", "sum.yaml"), 2, "ffffffff"),
    ],
)
def test_what_cannot_be_used_is_refused(cli: Cli, arguments: list[str], code: int, said: str):
    done = cli(*COMMAND, *arguments, *STORE)

    assert done.code == code
    assert said in done.err


def test_jobs_of_another_name_are_compared_by_force(cli: Cli):
    done = cli(*COMMAND, "--definition", "offer.yaml", "--name", "sum", "--force", *STORE)

    assert done.code == 0


def test_an_exported_history_needs_no_store(cli: Cli):
    job = cli("jobs", "--limit", "1", *STORE, "--json").json["job"]
    assert cli("replay", job, "--export", "job.jsonl", *STORE).code == 0

    same = cli(*COMMAND, "--import", "job.jsonl", "--definition", "same.yaml")
    other = cli(*COMMAND, "--import", "job.jsonl", "--definition", "other.yaml", "--json")

    assert same.code == 0
    assert (other.code, other.lines[0]["job"]) == (1, job)
    assert [each["path"] for each in other.lines[0]["findings"]] == ["first"]


def test_endpoints_need_not_be_there_unless_their_modules_are_named(cli: Cli):
    cli.write(away_yaml=SUM_JOB.replace("t.text", "far.away").replace("./endpoints.py", "./no.py"))

    alone = cli(*COMMAND, "--definition", "away.yaml", *STORE)
    named = cli(*COMMAND, "--definition", "away.yaml", "--endpoints", "endpoints.py", *STORE)

    assert (alone.code, named.code) == (0, 2)


def test_views_of_the_past_and_a_dry_run_do_not_go_together(cli: Cli):
    viewed = cli(*COMMAND, "--definition", "same.yaml", "--at", "v3", *STORE)
    chosen = cli(*COMMAND, "--state", "failed", *STORE)
    several = cli(*COMMAND, "abcd", "ef01", *STORE)

    assert (viewed.code, chosen.code, several.code) == (2, 2, 2)
    assert "--definition" in viewed.err
    assert "--definition" in chosen.err
    assert "--definition" in several.err


def test_a_store_that_is_away_ends_with_4(cli: Cli, tmp_path: Path):
    away = f"sqlite:///{tmp_path}/none.db"

    assert cli(*COMMAND, "--definition", "sum.yaml", "--store", away).code == 4
